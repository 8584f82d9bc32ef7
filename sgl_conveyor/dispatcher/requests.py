"""Requests: one generation on SGLang each, with its tokens, its text and its end.

A request knows nothing of calls. Its text goes into a sink: a tool region, all of whose text is
one call, or whatever else splits a text into calls.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, Protocol

from tokenizers import Tokenizer

from sgl_conveyor import messages as m
from sgl_conveyor.core import ToolError
from sgl_conveyor.dispatcher.text import TextOptions, TextStream
from sgl_conveyor.errors import CallRefused

logger = logging.getLogger(__name__)

#: Seconds that a normal end, reported by the HTTP side, waits for the tap's last tokens.
TAP_LIMIT_S = 1.0
#: Lists of live requests in which a request may be missing before it counts as ended.
_MAX_MISSING = 2
#: Seconds without any such list after which nobody believes that the HTTP side lives.
SILENCE_LIMIT_S = 60.0


@dataclass(frozen=True)
class RequestEnd:
    """How a request ended.

    Args:
        how: `stop` is normal; `length` is the limit of tokens; `lost` is a fault between SGLang
            and us.
        at: the commit of the finishing token (monotonic seconds); None if none was seen.
        tokens: how many the finishing step committed.
        text: what they made certain.
        total: tokens of the request.
        reason: why it was aborted or lost.
        failed: whether an abort is an error of the request: a grammar that does not compile.
    """

    how: Literal["stop", "length", "abort", "lost"]
    at: float | None = None
    tokens: int = 0
    text: str = ""
    total: int = 0
    reason: str = ""
    failed: bool = False


class Sink(Protocol):
    """Where a request's text goes."""

    def attached(self, request: Request, at: float) -> None:
        """The request has been handed to SGLang."""

    def committed(self, at: float, tokens: int, text: str) -> None:
        """Tokens were committed, and made this text certain."""

    def ended(self, end: RequestEnd) -> None:
        """No more text will come after this."""

    def failed(self, error: ToolError) -> None:
        """An error of ours: what the sink holds ends with it."""


def internal_error(error: Exception) -> ToolError:
    """An error of ours as the error of a call."""
    return ToolError("InternalError", f"{type(error).__name__}: {error}")


class Request:
    """One generation on SGLang.

    Args:
        rid: SGLang's id of it.
        sink: where its text goes.
        text: its tokens as text.
        stop: has SGLang end a request, by its id.
        forget: called when the request has ended.
    """

    def __init__(
        self,
        rid: str,
        sink: Sink,
        text: Callable[[list[int]], TextStream],
        *,
        stop: Callable[[str], None],
        forget: Callable[[str], None],
    ) -> None:
        self.rid = rid
        self.sink = sink
        self.ended = False
        #: In how many lists of live requests it was missing, one after the other.
        self.missing = 0
        self._make_stream = text
        self._stream: TextStream | None = None
        self._seen = 0
        self._stop = stop
        self._forget = forget
        self._waiting_for_tap: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Have SGLang end it; what it still decodes is taken as ever."""
        if not self.ended:
            self._stop(self.rid)

    def tapped(self, record: m.TapRecord, at: float) -> None:
        """Take what one step committed, `at` this time (monotonic seconds)."""
        if self.ended:
            return
        if record.offset != self._seen:
            expected = f"expected offset {self._seen}, got {record.offset}"
            reason = f"tokens were lost between SGLang and the dispatcher: {expected}"
            self.end(RequestEnd("lost", reason=reason))
            return
        self._seen += len(record.tokens)
        try:
            text = self._text_of(record)
        except (OverflowError, TypeError) as error:
            # Which of them depends on where the tokenizer meets it.
            reason = f"SGLang sent a number that is no token: {error}"
            self.end(RequestEnd("lost", reason=reason))
            return
        if record.finish is None:
            self.sink.committed(at, len(record.tokens), text)
        else:
            self.end(self._finished(record.finish, at, len(record.tokens), text))

    def _text_of(self, record: m.TapRecord) -> str:
        if self._stream is None:
            self._stream = self._make_stream(record.prompt_tail or [])
        return self._stream.feed(record.tokens, record.finish)

    def _finished(self, finish: m.Finish, at: float, tokens: int, text: str) -> RequestEnd:
        how: Literal["stop", "length", "abort"] = "stop"
        if finish.type == "length":
            how = "length"
        elif finish.type == "abort":
            how = "abort"
        reason = finish.message or "the request was aborted"
        return RequestEnd(how, at, tokens, text, self._seen, reason, finish.failed)

    def reported(self, report: m.RequestEnded) -> None:
        """Take the HTTP side's view of its end."""
        if self.ended:
            return
        if report.tokens is None:
            self.end(RequestEnd("abort", reason=report.reason, failed=report.failed))
        elif self._waiting_for_tap is None:
            loop = asyncio.get_running_loop()
            self._waiting_for_tap = loop.call_later(TAP_LIMIT_S, self._tap_is_late, report.tokens)

    def _tap_is_late(self, tokens: int) -> None:
        reason = (
            f"SGLang reported the end after {tokens} tokens, but only {self._seen} and no end "
            f"reached the dispatcher within {TAP_LIMIT_S:g} s"
        )
        self.end(RequestEnd("lost", reason=reason))

    def end(self, end: RequestEnd) -> None:
        """End it, once."""
        if self.ended:
            return
        self.ended = True
        if self._waiting_for_tap is not None:
            self._waiting_for_tap.cancel()
        self._forget(self.rid)
        try:
            self.sink.ended(end)
        except Exception as error:
            # Nobody would hear of its end a second time.
            logger.exception("the end of request %s failed in the dispatcher", self.rid)
            self.sink.failed(internal_error(error))


class RequestTable:
    """The requests that SGLang decodes for us, by SGLang's ids.

    Args:
        stop: has SGLang end a request, by its id.
    """

    def __init__(self, stop: Callable[[str], None]) -> None:
        self._stop = stop
        self._requests: dict[str, Request] = {}
        self._heard_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._requests)

    def attach(self, rid: str, sink: Sink, options: TextOptions, tokenizer: Tokenizer) -> None:
        """Take a request that is handed to SGLang now.

        Args:
            rid: SGLang's id of it.
            sink: where its text goes.
            options: how SGLang shows its text.
            tokenizer: the served model's.

        Raises:
            CallRefused: a request of this id is being decoded already (400).
        """
        if rid in self._requests:
            raise CallRefused(400, f"a request with the rid {rid} is being decoded already")
        request = Request(
            rid,
            sink,
            lambda tail: TextStream(tokenizer, tail, options),
            stop=self._stop,
            forget=self._forget,
        )
        if not self._requests:
            # Nobody had to name requests while there were none.
            self._heard_at = time.monotonic()
        self._requests[rid] = request
        sink.attached(request, time.monotonic())

    def tapped(self, step: m.TapStep) -> None:
        """Take what one step committed."""
        for record in step.records:
            request = self._requests.get(record.rid)
            if request is None:
                continue
            try:
                request.tapped(record, step.at)
            except Exception as error:
                # An error of ours ends the one request that it happened in, not the dispatcher.
                logger.exception("request %s failed in the dispatcher", record.rid)
                self._requests.pop(record.rid, None)
                request.ended = True
                request.sink.failed(internal_error(error))

    def reported(self, report: m.RequestEnded) -> None:
        """Take the HTTP side's view of a request's end."""
        if (request := self._requests.get(report.rid)) is not None:
            request.reported(report)

    def named(self, rids: Collection[str]) -> None:
        """Take the HTTP side's list of live requests: one that is missing twice has ended."""
        self._heard_at = time.monotonic()
        alive = set(rids)
        for request in list(self._requests.values()):
            request.missing = 0 if request.rid in alive else request.missing + 1
            if request.missing >= _MAX_MISSING:
                reason = "SGLang's HTTP side no longer knows the request"
                request.end(RequestEnd("abort", reason=reason))

    def end_if_silent(self) -> None:
        """End all of them if the HTTP side has named none for long: it hangs, or is gone."""
        if time.monotonic() - self._heard_at > SILENCE_LIMIT_S:
            self.end_all(f"SGLang's HTTP side was silent for {SILENCE_LIMIT_S:g} s")

    def end_all(self, reason: str) -> None:
        """End all of them: their server is gone."""
        for request in list(self._requests.values()):
            request.end(RequestEnd("abort", reason=reason))

    def _forget(self, rid: str) -> None:
        self._requests.pop(rid, None)
