"""What can happen to a call, and what its life instructs: plain data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sgl_conveyor.core import Attachment, TextPiece, ToolError
from sgl_conveyor.timings import Span, UnitTiming

# --- events; every `at` is in monotonic seconds ----------------------------------------------


@dataclass(frozen=True)
class RequestAttached:
    """A request of this id will decode the region."""

    at: float
    rid: str


@dataclass(frozen=True)
class TextCommitted:
    """The tap brought tokens: how many, the text that they made certain, and how it ended."""

    at: float
    tokens: int
    text: str
    finish: str | None = None


@dataclass(frozen=True)
class TokensLost:
    """The tap's offset does not follow on the tokens that came before."""

    expected: int
    got: int


@dataclass(frozen=True)
class RequestEnded:
    """The HTTP side saw the request end; `tokens` is None when it did not end normally."""

    tokens: int | None
    reason: str


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
class ToolFinishing:
    """All units have run, and `finish()` begins: what it does can no longer be prevented."""


@dataclass(frozen=True)
class ToolRestarted:
    """The worker died or stalled, and another one starts the call again from its beginning."""


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
class ClientAborted:
    """The client, or the server that shuts down, wants no more of the call."""

    at: float
    reason: str


Event = (
    RequestAttached | TextCommitted | TokensLost | RequestEnded | DeadlinePassed | ToolOpened
    | UnitsRan | OutputEmitted | FileAttached | WorkEnded | ToolFinishing | ToolRestarted
    | ToolFinished | ToolFailed | ToolAborted | ClientAborted
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
class AbortTool:
    """Have the tool undo what it did."""

    reason: str


@dataclass(frozen=True)
class KillTool:
    """End the tool where it is: it took too long, or lied."""

    reason: str


@dataclass(frozen=True)
class StopDecoding:
    """Have SGLang end this request."""

    rid: str


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
    Feed | EndInput | AbortTool | KillTool | StopDecoding | SetDeadline | ClearDeadline | Settle
)
