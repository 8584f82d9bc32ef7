"""The life of a call: one state machine, events in, instructions out, no I/O.

`created → attached → decoding → draining → done`, or `failed` or `aborted` from any of them.
That the worker has opened is no state: text that comes before is buffered by whoever feeds it.

A life knows of its text and of its region's end, not where they come from: a request of its own, a
turn that holds several calls, another tool. Between the end of its units and `finish` is a gate.
Every state that is not final can end by itself: `created` and `draining` by a deadline here,
`attached` and `decoding` by the request, whose end is always reported.
"""

from __future__ import annotations

import enum
from collections import deque

from sgl_conveyor.core import TextPiece, ToolError
from sgl_conveyor.errors import TransitionError
from sgl_conveyor.events import (
    AbortAsked,
    AbortTool,
    ClearDeadline,
    DeadlinePassed,
    EndInput,
    Event,
    Feed,
    FileAttached,
    GateOpened,
    Instruction,
    KillTool,
    LetFinish,
    OutputEmitted,
    RegionAttached,
    RegionEnded,
    SetDeadline,
    Settle,
    StopDecoding,
    TextCommitted,
    ToolAborted,
    ToolFailed,
    ToolFinished,
    ToolOpened,
    ToolRestarted,
    UnitsDone,
    UnitsRan,
    WorkEnded,
)
from sgl_conveyor.record import CallRecord
from sgl_conveyor.specs import ToolSpec

#: Seconds that a created call waits for its region to begin.
ATTACH_LIMIT_S = 30.0
#: Seconds that a call whose units have run waits at its gate.
GATE_LIMIT_S = 600.0


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
        attached: whether its text comes without a `RegionAttached`: from a turn, or another tool.
        gated: whether `finish` waits for `GateOpened`; that of a `read_only` tool never does.
    """

    def __init__(
        self,
        spec: ToolSpec,
        *,
        partial: bool,
        start: float,
        attached: bool = False,
        gated: bool = False,
    ) -> None:
        self.spec = spec
        self.partial = partial
        self.state = State.ATTACHED if attached else State.CREATED
        self.record = CallRecord(partial=partial, start=start)
        # Text that the tool has not got yet: all of it until the end, in sequential mode.
        self._held: list[TextPiece] = []
        self._attached = attached
        self._region_ended = False
        self._gate_is_open = not gated or spec.read_only
        self._at_gate = False
        self._finishing = False
        self._abort_when_restarted: str | None = None
        # When what remains of the drain's time began to run (absolute), and how much that is.
        self._drain_began = 0.0
        self._drain_left = spec.limits.timeout_s
        # The last steps, for the message of an impossible transition.
        self._history: deque[tuple[State, str, State]] = deque(maxlen=64)

    @property
    def history(self) -> list[str]:
        """The last transitions, oldest first."""
        return [f"{before} --{event}--> {after}" for before, event, after in self._history]

    @property
    def attached(self) -> bool:
        """Whether somebody gives the call its text."""
        return self._attached

    @property
    def region_ended(self) -> bool:
        """Whether no more text will come."""
        return self._region_ended

    @property
    def may_finish(self) -> bool:
        """Whether the result may come now."""
        asked = self._finishing or self.spec.read_only
        return self.state is State.DRAINING and asked

    def begin(self) -> list[Instruction]:
        """The instructions that a new call starts with."""
        return [] if self._attached else [SetDeadline("attach", ATTACH_LIMIT_S)]

    def handle(self, event: Event) -> list[Instruction]:
        """Take an event and say what must be done.

        Raises:
            TransitionError: the event is impossible in this state; the call is unchanged.
        """
        before = self.state
        instructions = self._dispatch(event)
        step = (before, type(event).__name__, self.state)
        if not self._history or self._history[-1] != step:
            self._history.append(step)
        return instructions

    def _dispatch(self, event: Event) -> list[Instruction]:
        match event:
            case TextCommitted():
                return self._committed(event)
            case RegionAttached():
                return self._region_attached(event)
            case RegionEnded():
                return self._end_of_region(event)
            case DeadlinePassed():
                return self._deadline_passed(event)
            case UnitsDone():
                return self._units_done(event)
            case GateOpened():
                return self._gate_opened(event)
            case ToolRestarted():
                return self._tool_restarted(event)
            case ToolFinished():
                return self._tool_finished(event)
            case ToolFailed():
                return [] if self.state.ended else self._fail(event.error, event.at)
            case ToolAborted():
                return self._tool_aborted(event)
            case AbortAsked():
                return self._abort_asked(event)
            case _:
                return self._tool_said(event)

    # --- the region's side ---

    def _region_attached(self, event: RegionAttached) -> list[Instruction]:
        if self._attached or self.state in (State.DONE, State.ABORTED):
            raise self._impossible(event)
        # A call whose tool has failed may still be decoded: the program's text stays the model's.
        if self.state is State.CREATED:
            self.state = State.ATTACHED
        self._attached = True
        self.record.timings.queued = self.record.since_start(event.at)
        return [ClearDeadline("attach")]

    def _committed(self, event: TextCommitted) -> list[Instruction]:
        if not self._attached or self._region_ended:
            raise self._impossible(event)
        self.record.committed(event.at, event.tokens, event.text)
        if self.state.ended:
            return []
        self.state = State.DECODING
        if event.text:
            self._held.append(TextPiece(event.text, event.at))
        return self._feed() if self.partial and self.spec.takes_units else []

    def _end_of_region(self, event: RegionEnded) -> list[Instruction]:
        complete = event.error is None and event.aborted is None
        if not self._attached or self._region_ended or (complete and event.at is None):
            raise self._impossible(event)
        self._region_ended = True
        if event.at is not None:
            self.record.committed(event.at, event.tokens, event.text)
            self.record.timings.region_end = self.record.since_start(event.at)
        if self.state.ended:
            return []
        if event.error is not None:
            return self._fail_and_abort(event.error, event.at)
        if event.aborted is not None or event.at is None:
            return self._abort(event.at, event.aborted or "")
        if event.text:
            self._held.append(TextPiece(event.text, event.at))
        self.state = State.DRAINING
        self._drain_began = event.at
        drain = SetDeadline("drain", self._drain_left)
        return [*self._feed(), EndInput(event.at), drain]

    def _feed(self) -> list[Instruction]:
        if not self._held:
            return []
        pieces, self._held = self._held, []
        return [Feed(pieces)]

    def _deadline_passed(self, event: DeadlinePassed) -> list[Instruction]:
        if event.name == "attach" and self.state is State.CREATED:
            return self._abort(None, f"no request came within {ATTACH_LIMIT_S:g} s")
        if event.name == "gate" and self._at_gate and self.state is State.DRAINING:
            return self._abort(None, f"the call waited at its gate for {GATE_LIMIT_S:g} s")
        if event.name == "drain" and self.state is State.DRAINING and not self._at_gate:
            limit = self.spec.limits.timeout_s
            message = f"the tool took longer than {limit:g} s after its region's end"
            return [*self._fail(ToolError("ToolTimeout", message)), KillTool(message)]
        return []

    # --- the gate ---

    def _units_done(self, event: UnitsDone) -> list[Instruction]:
        if self.state.ended:
            return []
        if self.state is not State.DRAINING or self._at_gate or self._finishing:
            raise self._impossible(event)
        if self._gate_is_open:
            return self._let_finish()
        self._at_gate = True
        self._drain_left -= max(0.0, event.at - self._drain_began)
        return [ClearDeadline("drain"), SetDeadline("gate", GATE_LIMIT_S)]

    def _gate_opened(self, event: GateOpened) -> list[Instruction]:
        self._gate_is_open = True
        if not self._at_gate or self.state.ended:
            return []
        return [*self._leave_gate(event.at), *self._let_finish()]

    def _leave_gate(self, at: float) -> list[Instruction]:
        self._at_gate = False
        self._drain_began = at
        left = max(0.0, self._drain_left)
        return [ClearDeadline("gate"), SetDeadline("drain", left)]

    def _let_finish(self) -> list[Instruction]:
        self._finishing = True
        return [LetFinish()]

    # --- the tool's side ---

    def _tool_said(self, event: Event) -> list[Instruction]:
        """Keep what concerns only the record: times and output."""
        record = self.record
        match event:
            case ToolOpened():
                record.timings.open_started = record.since_start(event.started)
                record.timings.opened = record.since_start(event.ended)
            case UnitsRan():
                record.units_ran(event.units)
            case WorkEnded():
                record.work_ended(event.span)
            case OutputEmitted() if not self.state.ended:
                record.emitted(event.text)
            case FileAttached() if not self.state.ended:
                record.attached(event.attachment)
        return []

    def _tool_restarted(self, event: ToolRestarted) -> list[Instruction]:
        if self.state.ended:
            return []
        self.record.forget_the_tool()
        self._finishing = False
        if self._abort_when_restarted is not None:
            return self._abort(event.at, self._abort_when_restarted)
        return self._leave_gate(event.at) if self._at_gate else []

    def _tool_finished(self, event: ToolFinished) -> list[Instruction]:
        if self.state.ended:
            return []
        if not self.may_finish:
            raise self._impossible(event)
        record, outcome = self.record, self.record.outcome
        record.timings.finish_started = record.since_start(event.started)
        record.timings.finished = record.since_start(event.ended)
        outcome.value, outcome.error = event.value, event.error
        self.state = State.DONE
        return [ClearDeadline("drain"), Settle()]

    def _tool_aborted(self, event: ToolAborted) -> list[Instruction]:
        if self.state.ended:
            return []
        return self._abort(event.at, event.reason, tell_tool=False)

    def _abort_asked(self, event: AbortAsked) -> list[Instruction]:
        if self.state.ended:
            return []
        if self._finishing:
            # What `finish` does can no longer be prevented: the call ends as it does, unless its
            # worker was lost before it began.
            self._abort_when_restarted = event.reason
            return []
        return self._abort(event.at, event.reason)

    # --- ends ---

    def _fail_and_abort(self, error: ToolError, at: float | None = None) -> list[Instruction]:
        return [AbortTool(str(error)), *self._fail(error, at)]

    def _fail(self, error: ToolError, at: float | None = None) -> list[Instruction]:
        self.state = State.FAILED
        self.record.outcome.error = error
        return self._end(at)

    def _abort(self, at: float | None, reason: str, *, tell_tool: bool = True) -> list[Instruction]:
        self.state = State.ABORTED
        self.record.outcome.aborted = reason
        instructions: list[Instruction] = []
        if self._attached and not self._region_ended:
            instructions.append(StopDecoding())
        if tell_tool:
            instructions.append(AbortTool(reason))
        return instructions + self._end(at)

    def _end(self, at: float | None) -> list[Instruction]:
        if at is not None:
            self.record.timings.finished = self.record.since_start(at)
        deadlines = [ClearDeadline(name) for name in ("attach", "gate", "drain")]
        return [*deadlines, Settle()]

    def _impossible(self, event: Event) -> TransitionError:
        return TransitionError(
            f"{type(event).__name__} is impossible in state {self.state}; "
            f"the call's history: {'; '.join(self.history) or 'created'}"
        )
