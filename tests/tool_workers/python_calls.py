"""Calls of the python tool in a dispatcher: what several test files use."""

from __future__ import annotations

from sgl_conveyor import messages as m
from tests.dispatcher.harness import Harness

MIB = 1024**2


def run(conveyor: Harness, source: str, *, partial: bool = True) -> m.CallView:
    return conveyor.run("python", source, partial=partial)


def value(conveyor: Harness, source: str) -> str:
    view = run(conveyor, source)
    assert view.outcome.error is None, view.outcome
    assert isinstance(view.outcome.value, str)
    return view.outcome.value
