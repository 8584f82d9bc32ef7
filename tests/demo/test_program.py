"""The demo's program, where there is no repository beside the package."""

from __future__ import annotations

import sys

import pytest


def test_the_demo_has_its_program_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "programs", None)
    for name in [n for n in sys.modules if n.startswith(("sgl_conveyor.demo", "programs."))]:
        monkeypatch.delitem(sys.modules, name)
    from sgl_conveyor.demo import run_demo
    from sgl_conveyor.demo.program import RECORDED, codegen

    assert run_demo.__module__ == "sgl_conveyor.demo.run"
    assert codegen.func.__module__ == "sgl_conveyor.demo.program"
    assert RECORDED.startswith("import json, time\n")
