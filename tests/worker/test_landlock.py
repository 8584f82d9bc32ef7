"""Landlock stands by itself: these processes are in no sandbox."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sgl_conveyor.worker.landlock import landlock_version

pytestmark = pytest.mark.skipif(landlock_version() == 0, reason="the kernel has no Landlock")


def error_after_restriction(statement: str, folder: Path) -> str:
    """What a statement raises in a process that has restricted itself; empty if it does not."""
    source = (
        "import os, signal, subprocess, sys\n"
        "from sgl_conveyor.worker.landlock import restrict_files\n"
        "restrict_files()\nfolder = sys.argv[1]\n"
        f"try:\n    {statement}\nexcept OSError as error:\n    print(type(error).__name__)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", source, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout.strip()


@pytest.mark.parametrize(
    "statement",
    [
        "open(folder + '/planted', 'w')",
        "open(folder + '/kept', 'a')",
        "os.truncate(folder + '/kept', 0)",
        "os.unlink(folder + '/kept')",
        "os.mkdir(folder + '/planted')",
        "os.link(folder + '/kept', '/tmp/linked')",
        "open('/proc/self/autogroup', 'w')",
        "os.mknod('/tmp/device', 0o600 | 0o020000, 259)",
    ],
)
def test_nothing_is_written_but_in_the_scratch_folders(statement: str) -> None:
    if statement.startswith("os.truncate") and landlock_version() < 3:
        pytest.skip("this kernel's Landlock knows no truncation")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        (Path(name) / "kept").write_text("kept")
        assert error_after_restriction(statement, Path(name)) in ("PermissionError", "OSError")
        assert sorted(p.name for p in Path(name).iterdir()) == ["kept"]
        assert (Path(name) / "kept").read_text() == "kept"


@pytest.mark.parametrize(
    "statement",
    [
        "with open(f'/tmp/landlock-{os.getpid()}', 'w') as file: os.unlink(file.name)",
        "with open(f'/dev/shm/landlock-{os.getpid()}', 'w') as file: os.unlink(file.name)",
        "open('/dev/null', 'w').write('x')",
        "open('/etc/hostname').read()",
        "subprocess.run(['true'], check=True)",
    ],
)
def test_what_programs_need_is_left(statement: str, tmp_path: Path) -> None:
    assert error_after_restriction(statement, tmp_path) == ""


@pytest.mark.skipif(landlock_version() < 6, reason="this kernel's Landlock knows no scopes")
def test_no_signal_reaches_out(tmp_path: Path) -> None:
    assert error_after_restriction("os.kill(os.getppid(), 0)", tmp_path) == "PermissionError"
