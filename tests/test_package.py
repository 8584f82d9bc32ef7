"""What an installation of the package holds, and does without."""

from __future__ import annotations

import tomllib
from pathlib import Path

from setuptools import find_packages

ROOT = Path(__file__).parents[1]


def test_only_the_package_and_its_tools_are_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = project["tool"]["setuptools"]["packages"]["find"]
    packages = find_packages(str(ROOT), include=found["include"])
    assert {package.partition(".")[0] for package in packages} == {"sgl_conveyor", "tool_workers"}
