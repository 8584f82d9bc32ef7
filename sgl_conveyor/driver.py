"""What moves a call: its life, the worker that its life instructs, and its deadlines.

Whoever runs a tool uses this class: the dispatcher with a pool of processes, `testing` with a tool
in its own process or in one sandbox.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Protocol

from sgl_conveyor import events
from sgl_conveyor import messages as m
from sgl_conveyor.core import TextPiece, ToolError
from sgl_conveyor.errors import TransitionError
from sgl_conveyor.heard import event_of
from sgl_conveyor.life import CallLife

logger = logging.getLogger(__name__)


class CallWorker(Protocol):
    """The tool's side of one call, wherever it runs."""

    def feed(self, pieces: list[TextPiece]) -> None:
        """Take text, in the pieces in which it became certain."""

    def end_input(self, at: float) -> None:
        """The region is complete; `at` is the commit of the finishing token."""

    def let_finish(self) -> None:
        """Run `finish()`, all units having run."""

    def abort(self, reason: str) -> None:
        """Undo what was done."""

    def kill(self) -> None:
        """End the call where it is."""


class Timer(Protocol):
    """A deadline that is set."""

    def cancel(self) -> None:
        """Forget it."""


#: Calls a function after so many seconds: a loop's `call_later`, say.
CallLater = Callable[[float, Callable[[], None]], Timer]


class CallDriver:
    """Gives a life its events and carries out what it instructs.

    Args:
        name: what the log calls the call.
        life: the call's.
        worker: the tool's side.
        call_later: sets deadlines.
        stop_decoding: called when no more text is wanted.
        settled: called when the outcome is there.
    """

    def __init__(
        self,
        name: str,
        life: CallLife,
        worker: CallWorker,
        *,
        call_later: CallLater,
        stop_decoding: Callable[[], None],
        settled: Callable[[], None],
    ) -> None:
        self.life = life
        self._name = name
        self._worker = worker
        self._call_later = call_later
        self._stop_decoding = stop_decoding
        self._settled = settled
        self._deadlines: dict[str, Timer] = {}

    def begin(self) -> None:
        """Set the deadlines of a new call."""
        self._carry_out(self.life.begin())

    def handle(self, event: events.Event) -> None:
        """Take an event, and do what the life instructs."""
        try:
            instructions = self.life.handle(event)
        except TransitionError as error:
            # Only a worker that lies, or an error of ours, can bring a call here.
            logger.error("call %s: %s", self._name, error)
            self.fail(ToolError("TransitionError", str(error)))
        else:
            self._carry_out(instructions)

    def heard(self, message: m.FromWorker) -> None:
        """Take what the worker said."""
        event = event_of(message)
        if event is not None:
            self.handle(event)

    def fail(self, error: ToolError) -> None:
        """End the call where it is, with an error of ours."""
        self._carry_out(self.life.handle(events.ToolFailed(time.monotonic(), error)))
        self._worker.kill()

    def _carry_out(self, instructions: list[events.Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case events.Feed():
                    self._worker.feed(instruction.pieces)
                case events.EndInput():
                    self._worker.end_input(instruction.at)
                case events.LetFinish():
                    self._worker.let_finish()
                case events.AbortTool():
                    self._worker.abort(instruction.reason)
                case events.KillTool():
                    self._worker.kill()
                case events.StopDecoding():
                    self._stop_decoding()
                case events.SetDeadline():
                    self._set_deadline(instruction.name, instruction.seconds)
                case events.ClearDeadline():
                    self._clear_deadline(instruction.name)
                case events.Settle():
                    self._settled()

    def _set_deadline(self, name: str, seconds: float) -> None:
        self._clear_deadline(name)
        passed = functools.partial(self.handle, events.DeadlinePassed(name))
        self._deadlines[name] = self._call_later(seconds, passed)

    def _clear_deadline(self, name: str) -> None:
        if (timer := self._deadlines.pop(name, None)) is not None:
            timer.cancel()
