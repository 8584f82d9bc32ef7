"""The same checks for an ordinary user, whose interpreter lies below that user's home."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sgl_conveyor.conformance.checks import all_checks

pytestmark = pytest.mark.skipif(
    os.getuid() != 0, reason="only root can become another user; test_conformance ran as one"
)

#: Nobody's number here.
USER = 61_234
#: What `sgl-conveyor doctor` imports, besides Python's own.
PACKAGES = ("ijson", "msgspec", "psutil", "rich", "sgl_conveyor", "tool_workers")
#: Of Python's own what it does not need, and takes long to copy.
LEFT_OUT = shutil.ignore_patterns(
    "site-packages", "test", "idlelib", "ensurepip", "config-*", "tkinter", "*.opt-?.pyc"
)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home that only its user may enter, with an interpreter and our packages below."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    try:
        copy_interpreter(folder / "python")
        # What a sandbox must not see of it.
        (folder / ".profile").touch()
        os.chown(folder, USER, USER)
        yield folder
    finally:
        shutil.rmtree(folder)


def copy_interpreter(to: Path) -> None:
    library = Path(os.__file__).parent
    prefix = Path(sys.base_prefix)
    shutil.copytree(library, to / "lib" / library.name, ignore=LEFT_OUT, symlinks=True)
    (to / "bin").mkdir()
    shutil.copy(Path(sys.executable).resolve(), to / "bin" / "python")
    for shared in (prefix / "lib").glob("libpython3*.so*"):
        shutil.copy(shared, to / "lib", follow_symlinks=False)
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        for folder in (package, package.with_name(f"{name}.libs")):
            if folder.exists():
                shutil.copytree(folder, to / "lib" / library.name / "site-packages" / folder.name)


def test_every_check_holds(home: Path) -> None:
    python = home / "python"
    run = subprocess.run(
        ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--",
         str(python / "bin" / "python"), "-m", "sgl_conveyor.cli", "doctor"],
        env={
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "PYTHONHOME": str(python),
            "LD_LIBRARY_PATH": str(python / "lib"),
            "COLUMNS": "200",
        },
        cwd="/",
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "an ordinary user" in run.stdout
    assert f"All {len(all_checks())} checks hold." in run.stdout
