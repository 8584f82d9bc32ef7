"""The simplest sink: a tool region, all of whose text is one call."""

from __future__ import annotations

from sgl_conveyor import events
from sgl_conveyor.core import ToolError
from sgl_conveyor.dispatcher.call import Call
from sgl_conveyor.dispatcher.requests import Request, RequestEnd


class RegionSink:
    """Gives a request's text to one call.

    Args:
        call: the call whose input the region is.
    """

    def __init__(self, call: Call) -> None:
        self._call = call

    def attached(self, request: Request, at: float) -> None:
        self._call.stop_decoding = request.stop
        self._call.handle(events.RegionAttached(at))

    def committed(self, at: float, tokens: int, text: str) -> None:
        self._call.handle(events.TextCommitted(at, tokens, text))

    def ended(self, end: RequestEnd) -> None:
        error, aborted = _why_incomplete(end)
        self._call.handle(events.RegionEnded(end.at, end.tokens, end.text, error, aborted))

    def failed(self, error: ToolError) -> None:
        self._call.fail(error)


def _why_incomplete(end: RequestEnd) -> tuple[ToolError | None, str | None]:
    """Why a region is not complete, as an error or as the reason of an abort."""
    match end.how:
        case "stop":
            return None, None
        case "length":
            message = (
                f"the region reached its limit of {end.total} tokens before it was complete: "
                "raise max_tokens"
            )
            return ToolError("RegionCut", message), None
        case "lost":
            return ToolError("TokensLost", end.reason), None
        case "abort":
            if end.failed:
                return ToolError("RequestFailed", end.reason), None
            return None, end.reason
