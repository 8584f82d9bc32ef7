"""What can happen to a call, and what its life instructs: plain data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sgl_conveyor.core import Attachment, TextPiece, ToolError
from sgl_conveyor.timings import Span, UnitTiming

# --- events; every `at` is in monotonic seconds ----------------------------------------------


@dataclass(frozen=True)
class RegionAttached:
    """A request that will decode the region has been handed to SGLang."""

    at: float


@dataclass(frozen=True)
class TextCommitted:
    """The region goes on: tokens were committed, and made this text certain."""

    at: float
    tokens: int
    text: str


@dataclass(frozen=True)
class RegionEnded:
    """No more text will come after this; complete, unless a reason says why not.

    Args:
        at: the commit of the finishing token; None if none was seen.
        tokens: how many the finishing step committed.
        text: what they made certain.
        error: why the region is not complete, if that is an error.
        aborted: why it is not complete, if it was given up.
    """

    at: float | None
    tokens: int = 0
    text: str = ""
    error: ToolError | None = None
    aborted: str | None = None


@dataclass(frozen=True)
class DeadlinePassed:
    """The deadline of this name, which an instruction had set, has passed."""

    name: str


@dataclass(frozen=True)
class ToolOpened:
    """`open()` has returned."""

    started: float
    ended: float


@dataclass(frozen=True)
class UnitsRan:
    """Unit hooks have returned (absolute times)."""

    units: list[UnitTiming]


@dataclass(frozen=True)
class OutputEmitted:
    """The tool has sent output to the program."""

    text: str


@dataclass(frozen=True)
class FileAttached:
    """The tool has added a file to the result."""

    attachment: Attachment


@dataclass(frozen=True)
class WorkEnded:
    """Work beside the hooks has ended (absolute times)."""

    span: Span


@dataclass(frozen=True)
class UnitsDone:
    """All units have run: the tool asks whether it may finish (a `read_only` one does not ask)."""

    at: float


@dataclass(frozen=True)
class GateOpened:
    """The call may finish as soon as its units have run."""

    at: float


@dataclass(frozen=True)
class ToolRestarted:
    """The worker died or stalled, and another one starts the call again from its beginning."""

    at: float


@dataclass(frozen=True)
class ToolFinished:
    """`finish()` has returned."""

    value: Any
    error: ToolError | None
    started: float
    ended: float


@dataclass(frozen=True)
class ToolFailed:
    """A hook raised, its worker died or the tool took too long: no result will come."""

    at: float
    error: ToolError


@dataclass(frozen=True)
class ToolAborted:
    """A hook raised `ToolAbort`."""

    at: float
    reason: str


@dataclass(frozen=True)
class AbortAsked:
    """Nobody wants more of the call: its client left, its turn fell, the server shuts down."""

    at: float
    reason: str


Event = (
    RegionAttached | TextCommitted | RegionEnded | DeadlinePassed | ToolOpened | UnitsRan
    | OutputEmitted | FileAttached | WorkEnded | UnitsDone | GateOpened | ToolRestarted
    | ToolFinished | ToolFailed | ToolAborted | AbortAsked
)  # fmt: skip


# --- instructions ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Feed:
    """Give the tool text, in the pieces in which it became certain."""

    pieces: list[TextPiece]


@dataclass(frozen=True)
class EndInput:
    """Tell the tool that its region is complete."""

    at: float


@dataclass(frozen=True)
class LetFinish:
    """Let the tool run `finish()`: what it does can no longer be prevented."""


@dataclass(frozen=True)
class AbortTool:
    """Have the tool undo what it did."""

    reason: str


@dataclass(frozen=True)
class KillTool:
    """End the tool where it is: it took too long, or lied."""

    reason: str


@dataclass(frozen=True)
class StopDecoding:
    """No more text of the region is wanted."""


@dataclass(frozen=True)
class SetDeadline:
    """Send `DeadlinePassed(name)` after this many seconds, unless it is cleared before."""

    name: str
    seconds: float


@dataclass(frozen=True)
class ClearDeadline:
    """Forget the deadline of this name."""

    name: str


@dataclass(frozen=True)
class Settle:
    """The outcome is there: answer whoever waits."""


Instruction = (
    Feed | EndInput | LetFinish | AbortTool | KillTool | StopDecoding | SetDeadline | ClearDeadline
    | Settle
)  # fmt: skip
