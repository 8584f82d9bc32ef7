"""What an installation of the package holds, and does without."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from setuptools import find_packages

ROOT = Path(__file__).parents[1]


def test_only_the_package_and_its_tools_are_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = project["tool"]["setuptools"]["packages"]["find"]
    packages = find_packages(str(ROOT), include=found["include"])
    assert {package.partition(".")[0] for package in packages} == {"sgl_conveyor", "tool_workers"}


def test_the_demo_has_its_program_where_there_is_no_repository(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['programs'] = None\n"
        "from sgl_conveyor.demo.program import RECORDED, codegen\n"
        "import sgl_conveyor.demo.run, inspect\n"
        "assert 'programs' not in inspect.getsource(sgl_conveyor.demo.run)\n"
        "print(RECORDED.splitlines()[0])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=tmp_path,
    )
    assert run.stdout == "import json, time\n"
