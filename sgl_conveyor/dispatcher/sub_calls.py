"""Calls that tools make: each is a call of its own, whose region is there as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from sgl_conveyor import events
from sgl_conveyor import messages as m
from sgl_conveyor.core import Outcome, ToolError
from sgl_conveyor.dispatcher.call import Call
from sgl_conveyor.errors import CallRefused

#: How deep a call may lie within others, and how many a call may have running at once.
MAX_DEPTH = 4
MAX_RUNNING = 256


class Calls(Protocol):
    """What the dispatcher does for us."""

    def open_call(
        self, tool: str, region: str, *, partial: bool, start: float, attached: bool = False
    ) -> Call:
        """Create a call."""

    def forget(self, call: Call) -> None:
        """Keep an ended call no longer: no client can read it."""


class SubCalls:
    """Makes the calls that tools ask for, and ends them with the calls that made them.

    Args:
        calls: the dispatcher.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def make(self, parent: Call, question: m.CallTool) -> None:
        """Run the tool that a call's tool asks for; the answer follows, whatever happens."""
        try:
            child = self._open(parent, question)
        except CallRefused as refused:
            error = ToolError("Refused", refused.message)
            parent.pool.answer(m.ToolAnswer(parent.id, question.ref, Outcome(error=error)))
            return
        child.handle(events.RegionEnded(time.monotonic(), 0, question.text))
        child.wait(m.MAX_WAIT_S, self._answerer(parent, child, question.ref))

    def _open(self, parent: Call, question: m.CallTool) -> Call:
        if parent.ended_at is not None:
            raise CallRefused(400, "the call that asks has ended")
        if len(question.text.encode(errors="replace")) > m.MAX_CALL_BYTES:
            raise CallRefused(400, f"the text has more than {m.MAX_CALL_BYTES} bytes")
        if parent.depth + 1 >= MAX_DEPTH:
            raise CallRefused(400, f"calls within calls may be {MAX_DEPTH} deep")
        if len(parent.children) >= MAX_RUNNING:
            raise CallRefused(503, f"{MAX_RUNNING} calls of this one are running already")
        child = self._calls.open_call(
            question.tool, parent.region, partial=False, start=time.monotonic(), attached=True
        )
        child.depth = parent.depth + 1
        parent.children[question.ref] = child
        return child

    def _answerer(self, parent: Call, child: Call, ref: int) -> Callable[[], None]:
        def answer() -> None:
            # A call that began again has forgotten what it had asked.
            if parent.children.get(ref) is not child:
                return
            if child.ended_at is None:
                # Its own deadlines end it.
                child.wait(m.MAX_WAIT_S, answer)
                return
            del parent.children[ref]
            self._calls.forget(child)
            full = child.life.record.outcome
            # The rest may be more than a frame holds, and is for clients.
            outcome = Outcome(value=full.value, error=full.error, aborted=full.aborted)
            parent.pool.answer(m.ToolAnswer(parent.id, ref, outcome))

        return answer

    def end(self, parent: Call) -> None:
        """Abort the calls that a call has made: it has ended, or begins again."""
        for ref in list(parent.children):
            self.drop(parent, ref)

    def drop(self, parent: Call, ref: int) -> None:
        """Abort a call that its maker no longer waits for."""
        child = parent.children.pop(ref, None)
        if child is None:
            return
        child.abort("the call that made this one gave it up")
        # One that finishes already cannot be stopped: it is kept until it has.
        child.wait(m.MAX_WAIT_S, lambda: self._calls.forget(child))
