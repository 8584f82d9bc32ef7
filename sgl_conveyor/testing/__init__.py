"""Run a tool without any server: give it a text, cut anywhere, and see its hooks and its result.

A call here has the life, the units and the hooks of a served one; only SGLang and the sockets are
missing. A tool with a sandbox runs in one: a real worker process of its own.

    run = run_tool(Sum, '{"values": [1, 2]}', cuts=[5])
    assert run.result.value == 3
    check_every_cut(Sum, '{"values": [1, 2]}')
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from sgl_conveyor.core import ToolResult
from sgl_conveyor.describe import is_async
from sgl_conveyor.testing.cutting import cuts, every_cut, pieces
from sgl_conveyor.testing.run import End, HookCall, Run, ToolRun
from sgl_conveyor.tools import Tool
from sgl_conveyor.worker.loop import run_without_loop


def run_tool(
    tool: type[Tool],
    text: str,
    *,
    cuts: Iterable[int] = (),
    end: End = "stop",
    partial: bool = True,
    region: str = "region",
    tools: Iterable[type[Tool]] = (),
) -> ToolRun:
    """Run one call.

    Args:
        tool: the tool's class.
        text: the region's text.
        cuts: the positions (characters) at which the text is cut; a piece comes at a time.
        end: how the region ends.
        partial: False holds the text back until the region is complete.
        region: the region's name.
        tools: other tools, that this one may call.

    Raises:
        TimeoutError: a call in a sandbox took longer than two minutes.
    """
    run = Run(tool, region, partial=partial, others=list(tools))
    work = run.go(pieces(text, cuts), end)
    if run.spec.sandbox or is_async(tool):
        return asyncio.run(work)
    done: list[ToolRun] = []

    async def keep() -> None:
        done.append(await work)

    # As in a worker: plain hooks run without an event loop, and may start one of their own.
    run_without_loop(keep())
    return done[0]


def check_every_cut(
    tool: type[Tool],
    text: str,
    *,
    tools: Iterable[type[Tool]] = (),
    same: Callable[[ToolResult], Any] | None = None,
) -> ToolRun:
    """Run a call sequentially, then partially at every cut: the result must be the same.

    Args:
        tool: the tool's class.
        text: the region's text.
        tools: other tools, that this one may call.
        same: what of a result is compared; by default value, error, abort's reason, emitted
            text and attachments.

    Returns:
        The sequential run.

    Raises:
        AssertionError: a cut gave another result; the message names it.
    """
    look = same or _comparable
    others = list(tools)
    sequential = run_tool(tool, text, partial=False, tools=others)
    expected = look(sequential.result)
    for places in every_cut(text):
        got = look(run_tool(tool, text, cuts=places, tools=others).result)
        assert got == expected, f"cut at {places}: {got!r}, but in one piece {expected!r}"
    return sequential


def _comparable(result: ToolResult) -> tuple[Any, ...]:
    outcome = result.outcome()
    return outcome.value, outcome.error, outcome.aborted, outcome.emitted, outcome.attachments


__all__ = [
    "End", "HookCall", "ToolRun", "check_every_cut", "cuts", "every_cut", "pieces", "run_tool",
]  # fmt: skip
