"""docs/security.md names a test for each promise: they are all there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sgl_conveyor.conformance.checks import WALLS, all_checks

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
COMMANDS = sorted(set(re.findall(r"`python -m ([\w.]+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_is_there(path: str, name: str) -> None:
    source = (ROOT / path).read_text()
    assert re.search(rf"(def|class) {name or 'test_'}", source), f"{path} has no {name}"


@pytest.mark.parametrize("module", COMMANDS)
def test_a_named_command_is_there(module: str) -> None:
    path = ROOT / module.replace(".", "/")
    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def promises() -> list[list[str]]:
    """The rows of the tables whose last column is `test`."""
    found = []
    for table in PAGE.split("\n\n"):
        rows = [row.strip("| ").split(" | ") for row in table.splitlines() if row.startswith("|")]
        if rows and rows[0][-1] == "test":
            found += rows[2:]
    return found


def test_each_promise_names_a_test() -> None:
    assert len(promises()) > 20
    for promise, *_, tests in promises():
        assert "tests/" in tests or tests.startswith("the same, "), promise


def test_every_group_of_checks_is_on_the_page() -> None:
    for group in set(WALLS) - {"works"}:
        assert re.search(rf"(test_conformance\.py`, |the same, )[\w ]*\b{group}\b", PAGE), group
        assert [check for check in all_checks() if check.group == group]
