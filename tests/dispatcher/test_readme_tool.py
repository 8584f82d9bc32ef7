"""The tool that the README shows, served from a file of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.dispatcher.harness import STOP, dispatcher

README = Path(__file__).parents[2] / "README.md"


def test_the_tool_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)\n```", README.read_text(), re.DOTALL)
    [source] = [block for block in blocks if "class Total" in block]
    assert len(source.splitlines()) <= 20
    (tmp_path / "mytools.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with dispatcher(["mytools:Total"]) as conveyor:
        assert conveyor.run("total", "1\n2.5\n").outcome.value == 3.5
        call = conveyor.create("total")
        conveyor.attach(call)
        conveyor.decode(call, "1\n# not a number\n2\n", STOP)
        assert conveyor.read(call).outcome.aborted == "no comments, please"
