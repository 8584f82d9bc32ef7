"""Runs test_cgroup.py under a kernel of its own: user mode Linux, a process as any other.

It sees this machine's files (hostfs), has cgroup v2 with all controllers, and starts in seconds.
Debian's package is user-mode-linux; for x86-64 only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNEL = shutil.which("linux.uml")
HOW_TO_GET = "no cgroup was made: sudo apt-get install user-mode-linux"
#: It calls this machine's kernel many times for each call of its programs (seconds).
LIMIT_S = 600
#: What runs first there. It ends by powering that kernel off.
INIT = """\
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "+memory +pids +cpu" > /sys/fs/cgroup/cgroup.subtree_control
cd {root}
{python} -m pytest --color=no -p no:cacheprovider -p no:xdist tests/cgroup/test_cgroup.py
echo o > /proc/sysrq-trigger
sleep 10
"""


@pytest.mark.server
@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="there is no such kernel")
@pytest.mark.skipif(os.getuid() != 0, reason="only root may read all that this kernel shows there")
def test_cgroups_under_a_kernel_that_has_them(tmp_path: Path) -> None:
    if KERNEL is None:
        if os.environ.get("CONVEYOR_LEAVE_NOTHING_OUT") == "1":
            pytest.fail(HOW_TO_GET, pytrace=False)
        pytest.skip(HOW_TO_GET)
    init = tmp_path / "init.sh"
    init.write_text(INIT.format(root=ROOT, python=sys.executable))
    init.chmod(0o755)
    run = subprocess.run(
        [KERNEL, "mem=768M", "root=/dev/root", "rootfstype=hostfs", "rw", f"init={init}", "quiet",
         "con=null", "con0=fd:0,fd:1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert re.search(r"^\d+ passed in", run.stdout, re.MULTILINE), run.stdout + run.stderr
