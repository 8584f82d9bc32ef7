"""One call in the dispatcher: its life, its text, and who waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tokenizers import Tokenizer

from sgl_conveyor import events, life
from sgl_conveyor import messages as m
from sgl_conveyor.dispatcher.text import TextOptions, TextStream
from sgl_conveyor.specs import ToolSpec


class Call:
    """A call that the dispatcher keeps.

    Args:
        id: the call's id.
        spec: its tool.
        region: its region's name.
        partial: whether the tool is fed while the region is decoded.
        start: t = 0, in monotonic seconds.
    """

    def __init__(
        self, id: str, spec: ToolSpec, *, region: str, partial: bool, start: float
    ) -> None:
        self.id = id
        self.spec = spec
        self.region = region
        self.life = life.CallLife(spec, partial=partial, start=start)
        self.ended_at: float | None = None
        #: How many calls this one lies within, and those that its tool has made (by their refs).
        self.depth = 0
        self.children: dict[int, Call] = {}
        self._options = TextOptions()
        self._stream: TextStream | None = None
        self._seen = 0
        self._waiters: list[Callable[[], None]] = []
        self._deadlines: dict[str, asyncio.TimerHandle] = {}

    @property
    def size_bytes(self) -> int:
        """About how much memory the call's text, output and timings hold."""
        outcome, timings = self.life.outcome, self.life.outcome.timings
        marks = 32 * (len(timings.tokens) + 3 * len(timings.units) + 3 * len(timings.spans))
        files = sum(len(file.data) for file in outcome.attachments)
        value = len(outcome.value) if isinstance(outcome.value, bytes) else 0
        return len(self.life.text) + len(outcome.emitted) + value + files + marks

    def attach(self, request: m.AttachRequest) -> None:
        """Remember how the request's text is shown."""
        self._options = TextOptions(request.stop, request.keep_stop, request.skip_special_tokens)

    def text_event(
        self, record: m.TapRecord, at: float, tokenizer: Tokenizer
    ) -> events.Event | None:
        """Turn a record of the tap into an event; None if it brings nothing new.

        Args:
            record: what one step committed for this call.
            at: when it did, in monotonic seconds.
            tokenizer: the served model's.
        """
        if self.life.region_ended:
            return None
        if record.offset != self._seen:
            return events.TokensLost(expected=self._seen, got=record.offset)
        if self._stream is None:
            self._stream = TextStream(tokenizer, record.prompt_tail or [], self._options)
        self._seen += len(record.tokens)
        text = self._stream.feed(record.tokens, record.finish)
        finish = record.finish.type if record.finish is not None else None
        return events.TextCommitted(at, len(record.tokens), text, finish)

    def wait(self, seconds: float, answer: Callable[[], None]) -> None:
        """Call `answer` when the call has ended, or after so many seconds."""
        if self.ended_at is not None or seconds <= 0:
            answer()
            return
        done = False

        def once() -> None:
            nonlocal done
            if not done:
                done = True
                timer.cancel()
                if once in self._waiters:
                    self._waiters.remove(once)
                answer()

        timer = asyncio.get_running_loop().call_later(seconds, once)
        self._waiters.append(once)

    def settle(self) -> None:
        """The outcome is there: answer whoever waits."""
        if self.ended_at is None:
            self.ended_at = time.monotonic()
        for answer in list(self._waiters):
            answer()

    def set_deadline(self, name: str, seconds: float, passed: Callable[[], None]) -> None:
        """Call `passed` after so many seconds, unless the deadline is cleared before."""
        self.clear_deadline(name)
        self._deadlines[name] = asyncio.get_running_loop().call_later(seconds, passed)

    def clear_deadline(self, name: str) -> None:
        """Forget a deadline."""
        if (timer := self._deadlines.pop(name, None)) is not None:
            timer.cancel()

    def view(self, seq: int) -> m.CallView:
        """What a client may know of the call, as the answer to its request `seq`."""
        return m.CallView(
            seq=seq,
            call=self.id,
            tool=self.spec.name,
            region=self.region,
            state=str(self.life.state),
            text=self.life.text,
            ended=self.ended_at is not None,
            outcome=self.life.outcome,
        )
