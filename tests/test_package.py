"""What an installation of the package holds, and does without."""

from __future__ import annotations

import tomllib
from pathlib import Path

from setuptools import find_packages

from sgl_conveyor.conformance.checks import all_checks

ROOT = Path(__file__).parents[1]


def test_only_the_package_and_its_tools_are_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = project["tool"]["setuptools"]["packages"]["find"]
    packages = find_packages(str(ROOT), include=found["include"])
    assert {package.partition(".")[0] for package in packages} == {"sgl_conveyor", "tool_workers"}


def test_the_programs_of_the_checks_are_installed_as_well() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["sgl_conveyor"]
    found = {path for pattern in patterns for path in (ROOT / "sgl_conveyor").glob(pattern)}
    assert sum(path.parent.parent.name == "programs" for path in found) == len(all_checks())
