"""Tools that are slower than their text, or louder than the dispatcher reads."""

import asyncio
import os
import sys
import time
from pathlib import Path

from sgl_conveyor.tools import Tool


class Slow(Tool):
    """Takes as many seconds for a line as it says; tells `abort` how many lines it took."""

    def __init__(self) -> None:
        self.lines = 0

    def on_line(self, line: str) -> None:
        self.lines += 1
        self.emit("began\n")
        time.sleep(float(line))

    def abort(self, reason: str) -> None:
        self.emit(f"aborted after {self.lines}: {reason}")


class SlowCoroutine(Slow):
    """The same, as coroutines."""

    async def on_line(self, line: str) -> None:  # type: ignore[override]
        self.lines += 1
        self.emit("began\n")
        await asyncio.sleep(float(line))


class Loud(Tool):
    """Emits as often as a line says, without a pause, and then makes the file that it names."""

    async def on_line(self, line: str) -> None:
        times, _, path = line.partition(" ")
        try:
            for _ in range(int(times)):
                self.emit("x")
        finally:
            Path(path).touch()

    async def finish(self) -> str:
        return "said all"


class Reads(Tool):
    """Reads its standard input."""

    def finish(self) -> str:
        return sys.stdin.read()


class ReadsInSandbox(Reads):
    """The same, in a sandbox."""

    sandbox = True


class Wordy(Tool):
    __doc__ = "words of the schema " * 10_000

    def finish(self) -> str:
        return "started"


class WordyInSandbox(Wordy):
    __doc__ = Wordy.__doc__

    sandbox = True


class WritesErrorsInSandbox(Tool):
    """Writes more to its standard error than is read of it at once."""

    sandbox = True

    def finish(self) -> str:
        for _ in range(5):
            os.write(2, b"x" * 64 * 1024)
        return "written"
