"""The life of a call: one state machine, events in, instructions out, no I/O.

`created → attached → decoding → draining → done`, or `failed` or `aborted` from any of them.
That the worker has opened is no state: text that comes before is buffered by whoever feeds it.
"""

from __future__ import annotations

import enum
import math
from collections import deque

from sgl_conveyor.core import Outcome, TextPiece, ToolError
from sgl_conveyor.errors import TransitionError
from sgl_conveyor.events import (
    AbortTool,
    ClearDeadline,
    ClientAborted,
    DeadlinePassed,
    EndInput,
    Event,
    Feed,
    FileAttached,
    Instruction,
    KillTool,
    OutputEmitted,
    RequestAttached,
    RequestEnded,
    SetDeadline,
    Settle,
    StopDecoding,
    TextCommitted,
    TokensLost,
    ToolAborted,
    ToolFailed,
    ToolFinished,
    ToolFinishing,
    ToolOpened,
    ToolRestarted,
    UnitsRan,
    WorkEnded,
)
from sgl_conveyor.specs import ToolSpec
from sgl_conveyor.timings import Span, Timings, UnitTiming

#: Seconds that a created call waits for its request.
ATTACH_LIMIT_S = 30.0
#: Seconds that a normal end, reported by the HTTP side, waits for the tap's last tokens.
TAP_LIMIT_S = 1.0
#: Units, and spans of work, whose times a call keeps.
MAX_UNITS = 20_000
MAX_SPANS = 10_000
#: Files that a call may attach, and their bytes together; what comes after is dropped.
MAX_FILES = 100
MAX_FILE_BYTES = 16 * 1024 * 1024
#: Bytes of output that a call may emit; what comes after is dropped, and the output says so.
MAX_EMITTED_BYTES = 1024 * 1024


class State(enum.StrEnum):
    """Where a call is."""

    CREATED = "created"
    ATTACHED = "attached"
    DECODING = "decoding"
    DRAINING = "draining"
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def ended(self) -> bool:
        return self in (State.DONE, State.FAILED, State.ABORTED)


class CallLife:
    """One call from its creation to its end.

    Args:
        spec: the call's tool.
        partial: whether the tool is fed while the region is decoded.
        start: the call's t = 0, in monotonic seconds.
    """

    def __init__(self, spec: ToolSpec, *, partial: bool, start: float) -> None:
        self.spec = spec
        self.partial = partial
        self.start = start
        self.state = State.CREATED
        self.rid: str | None = None
        self.text = ""
        self.tokens = 0
        self.outcome = Outcome(
            attachments=[], timings=Timings(partial=partial, tokens=[], units=[], spans=[])
        )
        # Text that the tool has not got yet: all of it until the end, in sequential mode.
        self._held: list[TextPiece] = []
        self._emitted_bytes = 0
        self._region_ended = False
        self._finishing = False
        self._awaited_tokens: int | None = None
        # The last steps, for the message of an impossible transition.
        self._history: deque[str] = deque(maxlen=64)

    @property
    def history(self) -> list[str]:
        """The last transitions, oldest first."""
        return list(self._history)

    @property
    def region_ended(self) -> bool:
        """Whether no more text will come."""
        return self._region_ended

    def begin(self) -> list[Instruction]:
        """The instructions that a new call starts with."""
        return [SetDeadline("attach", ATTACH_LIMIT_S)]

    def handle(self, event: Event) -> list[Instruction]:
        """Take an event and say what must be done.

        Raises:
            TransitionError: the event is impossible in this state; the call is unchanged.
        """
        before = self.state
        instructions = self._dispatch(event)
        step = f"{before} --{type(event).__name__}--> {self.state}"
        if not self._history or self._history[-1] != step:
            self._history.append(step)
        return instructions

    def _dispatch(self, event: Event) -> list[Instruction]:
        match event:
            case RequestAttached():
                return self._attached(event)
            case TextCommitted():
                return self._committed(event)
            case TokensLost():
                return self._tokens_lost(event)
            case RequestEnded():
                return self._request_ended(event)
            case DeadlinePassed():
                return self._deadline_passed(event)
            case ToolOpened():
                timings = self.outcome.timings
                timings.open_started, timings.opened = self._t(event.started), self._t(event.ended)
                return []
            case UnitsRan():
                return self._units_ran(event)
            case OutputEmitted():
                return self._emitted(event)
            case FileAttached():
                return self._attached_file(event)
            case WorkEnded():
                return self._work_ended(event)
            case ToolFinishing():
                self._finishing = True
                return []
            case ToolRestarted():
                return self._tool_restarted()
            case ToolFinished():
                return self._tool_finished(event)
            case ToolFailed():
                return self._tool_failed(event)
            case ToolAborted():
                return self._tool_aborted(event)
            case ClientAborted():
                return self._client_aborted(event)

    # --- the request's side ---

    def _attached(self, event: RequestAttached) -> list[Instruction]:
        if self.rid is not None or self.state in (State.DONE, State.ABORTED):
            raise self._impossible(event)
        # A call whose tool has failed may still be decoded: the program's text stays the model's.
        if self.state is State.CREATED:
            self.state = State.ATTACHED
        self.rid = event.rid
        self.outcome.timings.queued = self._t(event.at)
        return [ClearDeadline("attach")]

    def _committed(self, event: TextCommitted) -> list[Instruction]:
        if self.rid is None or self._region_ended:
            raise self._impossible(event)
        self._record_tokens(event)
        if event.finish is not None:
            self._region_ended = True
            self.outcome.timings.region_end = self._t(event.at)
        if self.state.ended:
            return []
        self.state = State.DECODING
        if event.finish == "abort":
            return self._abort(event.at, "the request was aborted")
        if event.finish == "length":
            return self._cut(event.at)
        instructions: list[Instruction] = []
        if event.text:
            self._held.append(TextPiece(event.text, event.at))
        if self._held and (event.finish is not None or (self.partial and self.spec.takes_units)):
            instructions.append(Feed(self._held))
            self._held = []
        if event.finish is not None:
            self.state = State.DRAINING
            instructions += [
                EndInput(event.at),
                ClearDeadline("tap"),
                SetDeadline("drain", self.spec.limits.timeout_s),
            ]
        return instructions

    def _record_tokens(self, event: TextCommitted) -> None:
        at = self._t(event.at)
        timings = self.outcome.timings
        if event.tokens and timings.first_token is None:
            timings.first_token = at
        timings.tokens += [at] * event.tokens
        self.tokens += event.tokens
        self.text += event.text

    def _tokens_lost(self, event: TokensLost) -> list[Instruction]:
        self._region_ended = True
        if self.state.ended:
            return []
        message = (
            f"tokens were lost between SGLang and the dispatcher: expected offset "
            f"{event.expected}, got {event.got}"
        )
        return self._fail_and_abort(ToolError("TokensLost", message))

    def _request_ended(self, event: RequestEnded) -> list[Instruction]:
        if self._region_ended:
            return []
        if self.state.ended:
            self._region_ended = event.tokens is None or self.tokens >= event.tokens
            return []
        if event.tokens is None:
            self._region_ended = True
            return self._abort(None, event.reason)
        self._awaited_tokens = event.tokens
        return [SetDeadline("tap", TAP_LIMIT_S)]

    def _deadline_passed(self, event: DeadlinePassed) -> list[Instruction]:
        if event.name == "attach" and self.state is State.CREATED:
            return self._abort(None, f"no request came within {ATTACH_LIMIT_S:g} s")
        if event.name == "tap" and not self.state.ended and not self._region_ended:
            self._region_ended = True
            message = (
                f"SGLang reported {self._awaited_tokens} tokens, but only {self.tokens} "
                f"reached the dispatcher within {TAP_LIMIT_S:g} s"
            )
            return self._fail_and_abort(ToolError("TokensLost", message))
        if event.name == "drain" and self.state is State.DRAINING:
            limit = self.spec.limits.timeout_s
            message = f"the tool took longer than {limit:g} s after its region's end"
            return [*self._fail(ToolError("ToolTimeout", message)), KillTool(message)]
        return []

    # --- the tool's side ---

    def _units_ran(self, event: UnitsRan) -> list[Instruction]:
        units = self.outcome.timings.units
        for unit in event.units[: MAX_UNITS - len(units)]:
            times = [self._t(at) for at in (unit.ready, unit.started, unit.ended)]
            if all(map(math.isfinite, times)):
                units.append(UnitTiming(*times))
        return []

    def _emitted(self, event: OutputEmitted) -> list[Instruction]:
        if self.state.ended or self._emitted_bytes > MAX_EMITTED_BYTES:
            return []
        data = event.text.encode(errors="replace")
        room = MAX_EMITTED_BYTES - self._emitted_bytes
        self._emitted_bytes += len(data)
        if len(data) <= room:
            self.outcome.emitted += event.text
        else:
            kept = data[:room].decode(errors="ignore")
            self.outcome.emitted += kept + "\n[the rest of the output was dropped]\n"
        return []

    def _attached_file(self, event: FileAttached) -> list[Instruction]:
        files = self.outcome.attachments
        held = sum(len(file.data) for file in files) + len(event.attachment.data)
        if not self.state.ended and len(files) < MAX_FILES and held <= MAX_FILE_BYTES:
            files.append(event.attachment)
        return []

    def _work_ended(self, event: WorkEnded) -> list[Instruction]:
        spans = self.outcome.timings.spans
        started, ended = self._t(event.span.started), self._t(event.span.ended)
        if len(spans) < MAX_SPANS and math.isfinite(started) and math.isfinite(ended):
            spans.append(Span(event.span.label, started, ended, event.span.unit))
        return []

    def _tool_restarted(self) -> list[Instruction]:
        """Forget what the lost worker said: its call begins again."""
        if self.state.ended:
            return []
        timings = self.outcome.timings
        timings.units, timings.spans = [], []
        timings.open_started = timings.opened = None
        self._finishing = False
        self.outcome.emitted, self.outcome.attachments = "", []
        self._emitted_bytes = 0
        return []

    def _tool_finished(self, event: ToolFinished) -> list[Instruction]:
        if self.state.ended:
            return []
        if self.state is not State.DRAINING:
            raise self._impossible(event)
        timings = self.outcome.timings
        timings.finish_started, timings.finished = self._t(event.started), self._t(event.ended)
        self.outcome.value = event.value
        self.outcome.error = event.error
        self.state = State.DONE
        return [ClearDeadline("drain"), Settle()]

    def _tool_failed(self, event: ToolFailed) -> list[Instruction]:
        return [] if self.state.ended else self._fail(event.error, event.at)

    def _tool_aborted(self, event: ToolAborted) -> list[Instruction]:
        if self.state.ended:
            return []
        return self._abort(event.at, event.reason, tell_tool=False)

    def _client_aborted(self, event: ClientAborted) -> list[Instruction]:
        # What `finish` does can no longer be prevented: the call ends as it does.
        if self.state.ended or self._finishing:
            return []
        return self._abort(event.at, event.reason)

    # --- ends ---

    def _cut(self, at: float) -> list[Instruction]:
        error = ToolError(
            "RegionCut",
            f"the region reached its limit of {self.tokens} tokens before it was complete: "
            "raise max_tokens",
        )
        return self._fail_and_abort(error, at)

    def _fail_and_abort(self, error: ToolError, at: float | None = None) -> list[Instruction]:
        return [AbortTool(str(error)), *self._fail(error, at)]

    def _fail(self, error: ToolError, at: float | None = None) -> list[Instruction]:
        self.state = State.FAILED
        self.outcome.error = error
        return self._end(at)

    def _abort(self, at: float | None, reason: str, *, tell_tool: bool = True) -> list[Instruction]:
        self.state = State.ABORTED
        self.outcome.aborted = reason
        instructions: list[Instruction] = []
        if self.rid is not None and not self._region_ended:
            instructions.append(StopDecoding(self.rid))
        if tell_tool:
            instructions.append(AbortTool(reason))
        return instructions + self._end(at)

    def _end(self, at: float | None) -> list[Instruction]:
        if at is not None:
            self.outcome.timings.finished = self._t(at)
        return [ClearDeadline("attach"), ClearDeadline("tap"), ClearDeadline("drain"), Settle()]

    def _t(self, at: float) -> float:
        return at - self.start

    def _impossible(self, event: Event) -> TransitionError:
        return TransitionError(
            f"{type(event).__name__} is impossible in state {self.state}; "
            f"the call's history: {'; '.join(self._history) or 'created'}"
        )
