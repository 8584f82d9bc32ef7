"""The nouns of a call: its text's pieces, its error, its outcome, and the result a program sees."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from sgl_conveyor.timings import Timings


def shown_call(call: str) -> str:
    """A call's id as logs show it: a part, since who knows it whole can read the call.

    Args:
        call: the id.
    """
    return f"{call[:8]}…" if len(call) > 8 else call


class Attachment(msgspec.Struct, frozen=True):
    """A file in a result: a figure, say.

    Args:
        name: `figure-1.png`.
        media_type: `image/png`.
        data: its bytes (in JSON: as base64).
    """

    name: str
    media_type: str
    data: bytes


class ToolError(msgspec.Struct, frozen=True):
    """Why a call has no result, or only a part of one."""

    type: str
    message: str

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class TextPiece(msgspec.Struct, frozen=True, array_like=True):
    """Text that one token made certain, and that token's commit (monotonic seconds)."""

    text: str
    at: float


class Outcome(msgspec.Struct, kw_only=True):
    """What a call came to; `ToolResult` shows it to programs."""

    value: Any = None
    error: ToolError | None = None
    aborted: str | None = None
    emitted: str = ""
    attachments: list[Attachment] = []
    timings: Timings = msgspec.field(default_factory=Timings)

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return self.value
        if self.error is not None:
            return f"Error: {self.error}"
        if self.aborted is not None:
            return f"Aborted: {self.aborted}"
        return msgspec.json.encode(self.value).decode()


class ToolResult:
    """The result of a call: there already, or waited for by whoever first reads a field.

    Args:
        outcome: the outcome itself, or a function that waits for it (with a limit of its own)
            and returns it; it is called at most once at a time and its answer is kept.
    """

    def __init__(self, outcome: Outcome | Callable[[], Outcome]) -> None:
        self._outcome = outcome
        self._asking = threading.Lock()

    def outcome(self) -> Outcome:
        """Wait for the call's end, decoding included, and return what it came to."""
        with self._asking:
            if not isinstance(self._outcome, Outcome):
                self._outcome = self._outcome()
            return self._outcome

    @property
    def value(self) -> Any:
        return self.outcome().value

    @property
    def error(self) -> ToolError | None:
        return self.outcome().error

    @property
    def aborted(self) -> str | None:
        return self.outcome().aborted

    @property
    def emitted(self) -> str:
        return self.outcome().emitted

    @property
    def attachments(self) -> list[Attachment]:
        return self.outcome().attachments

    @property
    def timings(self) -> Timings:
        return self.outcome().timings

    def __str__(self) -> str:
        return str(self.outcome())

    def __repr__(self) -> str:
        pending = not isinstance(self._outcome, Outcome)
        return "ToolResult(pending)" if pending else f"ToolResult({self._outcome!r})"
