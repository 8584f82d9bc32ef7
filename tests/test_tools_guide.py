"""The guide for tool authors: what it shows runs, and prints what it says."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sgl_conveyor.describe import describe
from sgl_conveyor.tools_config import apply_overrides, load_overrides
from sgl_conveyor.worker.loading import load_tool

GUIDE = (Path(__file__).parents[1] / "docs" / "tools.md").read_text()
LIMIT_S = 120


def blocks(language: str) -> list[str]:
    """The fenced examples in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def kind(block: str) -> str:
    """The file that a Python example belongs to, or `session`."""
    head = re.match(r"# (\w+\.py)\n", block)
    if head is not None:
        return head[1]
    return "session" if block.startswith("from mytools import") else "mytools.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on `sys.path` with the guide's files."""
    files: dict[str, list[str]] = {}
    for block in blocks("python"):
        files.setdefault(kind(block), []).append(block)
    sessions = files.pop("session")
    assert (len(files), len(sessions)) == (3, 2)
    for name, parts in files.items():
        (tmp_path / name).write_text("\n\n".join(parts))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in files:
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_examples_print_what_the_guide_says() -> None:
    namespace: dict[str, Any] = {}
    sessions = [block for block in blocks("python") if kind(block) == "session"]
    for block in sessions:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, "docs/tools.md", "exec"), namespace)
        assert printed.getvalue().splitlines() == re.findall(r"# → (.*)", block)


def test_the_tests_of_the_guide_pass_and_find_a_missing_transaction(folder: Path) -> None:
    assert re.search(r"^5 passed", own_tests(folder), re.MULTILINE)
    module = folder / "mytools.py"
    module.write_text(module.read_text().replace('self.db.execute("BEGIN")', "pass"))
    assert "FAILED test_mytools.py::test_what_is_cut_or_not_valid" in own_tests(folder)


def own_tests(folder: Path) -> str:
    """What pytest says of the guide's own tests."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mytools.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return run.stdout + run.stderr


@pytest.mark.usefixtures("folder")
def test_its_configuration_fits_its_tools(tmp_path: Path) -> None:
    [table] = blocks("toml")
    (tmp_path / "tools.toml").write_text(table)
    specs = [describe(load_tool(f"mytools:{name}")) for name in ("Order", "Quote", "convert")]
    overrides = load_overrides(tmp_path / "tools.toml")
    order, quote, _ = apply_overrides(specs, overrides, tmp_path / "tools.toml")
    assert (order.limits.timeout_s, order.limits.workers) == (10, 2)
    assert list(order.environment) == ["SHOP_DATABASE"]
    assert (quote.limits.timeout_s, quote.environment) == (30, {})


@pytest.mark.usefixtures("folder")
def test_its_program_can_be_imported() -> None:
    import program  # type: ignore[import-not-found]

    assert program.shop.arg_names == ["wish"]


def test_it_is_short() -> None:
    assert len(GUIDE.splitlines()) < 300
