"""The dispatcher's log, read while it is written: its sentences, and what must not be there."""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections import Counter, deque

from bench.fuzz.reasons import reason_of

#: An exception that nobody expected, in the dispatcher itself; a worker that must not be harmed.
_WRONG = re.compile(r"Traceback \(most recent call last\)|.*\] (killing )?(echo|target) worker")
_LINE = re.compile(r"\[[-\d]+ [:\d]+ conveyor\] ")
_PIPE_BYTES = 1024 * 1024
_KEPT_LINES = 30
#: Different sentences that are counted; what a worker chose should not fill this process.
_MOST_REASONS = 2000


class Log:
    """A pipe to log to, and what came out of it."""

    def __init__(self) -> None:
        reading, self.descriptor = os.pipe()
        fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._file = os.fdopen(reading, errors="replace")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.lines = 0
        self.reasons: Counter[str] = Counter()
        #: The last lines.
        self.last: deque[str] = deque(maxlen=_KEPT_LINES)
        #: The first thing that must not be there, with some lines before and after it.
        self.wrong: list[str] = []

    def _read(self) -> None:
        for line in self._file:
            self.lines += 1
            self.last.append(line.rstrip())
            if _WRONG.match(line) and not self.wrong:
                self.wrong = list(self.last)[-3:]
            elif self.wrong and len(self.wrong) < _KEPT_LINES:
                self.wrong.append(line.rstrip())
            if (found := _LINE.match(line)) is None:
                continue
            reason = reason_of(line[found.end() :].rstrip())
            if reason in self.reasons or len(self.reasons) < _MOST_REASONS:
                self.reasons[reason] += 1

    def close(self) -> None:
        """Read what is left; whoever logged has ended."""
        os.close(self.descriptor)
        self._thread.join(5.0)
