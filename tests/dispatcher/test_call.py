"""One call in the dispatcher: who waits for it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from sgl_conveyor.dispatcher.call import Call
from sgl_conveyor.life import CallLife
from sgl_conveyor.specs import ToolSpec


def new_call() -> Call:
    """A call that nobody serves; made in the event loop that runs."""
    life = CallLife(ToolSpec(name="t", source="t:T"), partial=True, start=0.0)
    nobody: Any = None
    return Call(
        "c", nobody, region="r", call_life=life, result_bytes=1, check=nobody, settled=nobody
    )


@pytest.mark.parametrize("seconds", [0.0, -math.inf, math.nan])
def test_who_does_not_wait_is_answered_at_once(seconds: float) -> None:
    async def go() -> list[str]:
        answers: list[str] = []
        # A timer at no time at all would put those of all other calls out of order.
        new_call().wait(seconds, lambda: answers.append("now"))
        return list(answers)

    assert asyncio.run(go()) == ["now"]
