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
from sgl_conveyor.core import TextPiece, ToolError, shown_call
from sgl_conveyor.errors import ConveyorError, TransitionError
from sgl_conveyor.heard import event_of, finished, why_no_json
from sgl_conveyor.life import CallLife
from sgl_conveyor.returned import Returned
from sgl_conveyor.specs import RESULT_BYTES

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


#: Checks a value, and calls the function with what is wrong with it, or None.
Check = Callable[[bytes | bytearray, Callable[[str | None], None]], None]


def check_at_once(value: bytes | bytearray, then: Callable[[str | None], None]) -> None:
    """Check a value here and now; for a large one this takes a while."""
    then(why_no_json(value))


class CallDriver:
    """Gives a life its events and carries out what it instructs.

    Args:
        name: what the log calls the call.
        life: the call's.
        worker: the tool's side.
        call_later: sets deadlines.
        stop_decoding: called when no more text is wanted.
        settled: called when the outcome is there.
        result_bytes: that the call may return.
        check: has a value checked, and calls a function with what is wrong with it, or None.
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
        result_bytes: int = RESULT_BYTES,
        check: Check = check_at_once,
    ) -> None:
        self.life = life
        self._name = name
        self._worker = worker
        self._call_later = call_later
        self._stop_decoding = stop_decoding
        self._settled = settled
        self._returned = Returned(result_bytes)
        self._check = check
        #: Whether the result is there, and its value is being checked.
        self.checking = False
        self._deadlines: dict[str, Timer] = {}

    def begin(self) -> None:
        """Set the deadlines of a new call."""
        self._carry_out(self.life.begin())

    def handle(self, event: events.Event) -> None:
        """Take an event, and do what the life instructs."""
        if isinstance(event, events.ToolRestarted):
            self._returned.begin_again()
        try:
            instructions = self.life.handle(event)
        except TransitionError as error:
            # Only a worker that lies, or an error of ours, can bring a call here.
            logger.error("call %s: %s", shown_call(self._name), error)
            self.fail(ToolError("TransitionError", str(error)))
        else:
            self._carry_out(instructions)

    def heard(self, message: m.FromWorker) -> None:
        """Take what the worker said."""
        try:
            whole = self._returned.take(message)
        except ConveyorError as error:
            # What is kept of a call should not be more for that it returned too much.
            self.life.record.outcome.attachments = []
            self.fail(ToolError(type(error).__name__, str(error)))
            return
        if isinstance(whole, m.Finished) and not self.life.may_finish:
            self.handle(finished(whole, None))
        elif isinstance(whole, m.Finished):
            self.checking = True
            self._check(whole.value, functools.partial(self._checked, whole))
        elif whole is not None and (event := event_of(whole)) is not None:
            self.handle(event)

    def _checked(self, result: m.Finished, why_not: str | None) -> None:
        self.checking = False
        self.handle(finished(result, why_not))

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
