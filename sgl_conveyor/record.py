"""What a call leaves behind: its text, its tool's output, its times; bounded, no I/O."""

from __future__ import annotations

import math

from sgl_conveyor.core import Attachment, Outcome
from sgl_conveyor.timings import Span, Timings, UnitTiming

#: Units, and spans of work, whose times a call keeps.
MAX_UNITS = 20_000
MAX_SPANS = 10_000
#: Files that a call may attach, and their bytes together; what comes after is dropped.
MAX_FILES = 100
MAX_FILE_BYTES = 16 * 1024 * 1024
#: Bytes of output that a call may emit; what comes after is dropped, and the output says so.
MAX_EMITTED_BYTES = 1024 * 1024


class CallRecord:
    """The record of one call; its outcome grows until the call has ended.

    Args:
        partial: whether the tool is fed while the region is decoded.
        start: the call's t = 0, in monotonic seconds.
    """

    def __init__(self, *, partial: bool, start: float) -> None:
        self.text = ""
        self.tokens = 0
        self.outcome = Outcome(
            attachments=[], timings=Timings(partial=partial, tokens=[], units=[], spans=[])
        )
        self._start = start
        self._emitted_bytes = 0

    @property
    def timings(self) -> Timings:
        return self.outcome.timings

    def since_start(self, at: float) -> float:
        """An absolute time as seconds since the call's t = 0."""
        return at - self._start

    def committed(self, at: float, tokens: int, text: str) -> None:
        """Tokens were committed, and made this text certain."""
        since = self.since_start(at)
        if tokens and self.timings.first_token is None:
            self.timings.first_token = since
        self.timings.tokens += [since] * tokens
        self.tokens += tokens
        self.text += text

    def units_ran(self, units: list[UnitTiming]) -> None:
        """Keep the times of unit hooks; what a hostile worker sends beside numbers is dropped."""
        kept = self.timings.units
        for unit in units[: MAX_UNITS - len(kept)]:
            times = [self.since_start(at) for at in (unit.ready, unit.started, unit.ended)]
            if all(map(math.isfinite, times)):
                kept.append(UnitTiming(*times))

    def emitted(self, text: str) -> None:
        """Keep output, up to the limit."""
        if self._emitted_bytes > MAX_EMITTED_BYTES:
            return
        data = text.encode(errors="replace")
        room = MAX_EMITTED_BYTES - self._emitted_bytes
        self._emitted_bytes += len(data)
        if len(data) <= room:
            self.outcome.emitted += text
        else:
            kept = data[:room].decode(errors="ignore")
            self.outcome.emitted += kept + "\n[the rest of the output was dropped]\n"

    def attached(self, file: Attachment) -> None:
        """Keep a file, if there is room."""
        files = self.outcome.attachments
        held = sum(len(other.data) for other in files) + len(file.data)
        if len(files) < MAX_FILES and held <= MAX_FILE_BYTES:
            files.append(file)

    def work_ended(self, span: Span) -> None:
        """Keep the times of work beside the hooks."""
        spans = self.timings.spans
        started, ended = self.since_start(span.started), self.since_start(span.ended)
        if len(spans) < MAX_SPANS and math.isfinite(started) and math.isfinite(ended):
            spans.append(Span(span.label, started, ended, span.unit))

    def forget_the_tool(self) -> None:
        """Forget what a lost worker said: its call begins again."""
        timings = self.timings
        timings.units, timings.spans = [], []
        timings.open_started = timings.opened = None
        self.outcome.emitted, self.outcome.attachments = "", []
        self._emitted_bytes = 0
