"""What processes of ours do to themselves."""

from __future__ import annotations

import resource
import subprocess
import sys


def test_the_limit_of_descriptors_is_raised_as_far_as_it_goes() -> None:
    source = (
        "import resource\nfrom sgl_conveyor.processes import raise_descriptor_limit\n"
        "raise_descriptor_limit()\nprint(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", source],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout == "(512, 512)\n"
