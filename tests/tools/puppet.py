"""Tools that do what their input says, good or bad, and leave a record of what was called."""

import os
import time
from pathlib import Path

from sgl_conveyor.errors import ToolAbort
from sgl_conveyor.tools import Tool


class Puppet(Tool):
    """Each line is an order: `sleep 5`, `raise`, `stop`, `die`, `say hello`, `chatter 5`, or none.

    What is called is written to the file that PUPPET_RECORD names, a line a call.
    """

    timeout_s = 3.0

    def __init__(self) -> None:
        self.lines: list[str] = []

    def record(self, what: str) -> None:
        path = os.environ.get("PUPPET_RECORD")
        if path:
            with Path(path).open("a") as file:
                file.write(f"{self.call.region} {what}\n")

    def open(self) -> None:
        self.record("open")
        self.obey(self.call.region)

    def on_line(self, line: str) -> None:
        self.obey(line)
        self.lines.append(line)

    def finish(self) -> list[str]:
        self.record("finish")
        self.obey(self.lines[-1].removeprefix("at the end ") if self.lines else "")
        return self.lines

    def abort(self, reason: str) -> None:
        self.record(f"abort {reason}")

    def obey(self, order: str) -> None:
        verb, _, argument = order.partition(" ")
        if verb == "sleep":
            time.sleep(float(argument))
        elif verb == "raise":
            raise ValueError("as ordered")
        elif verb == "stop":
            raise ToolAbort("as ordered")
        elif verb == "die":
            os._exit(7)
        elif verb == "say":
            self.emit(argument)
        elif verb == "chatter":
            for _ in range(int(float(argument) / 0.1)):
                self.emit("still here\n")
                time.sleep(0.1)


class AsyncPuppet(Puppet):
    """The same, as coroutines: many calls in one worker."""

    concurrency = 8

    async def on_line(self, line: str) -> None:  # type: ignore[override]
        import asyncio

        verb, _, argument = line.partition(" ")
        if verb == "sleep":
            await asyncio.sleep(float(argument))
        else:
            self.obey(line)
        self.lines.append(line)


class Nothing(Tool):
    """Does nothing with each piece of text: what is measured with it is ours."""

    def on_text(self, delta: str) -> None:
        pass

    def finish(self) -> None:
        return None


class Large(Tool):
    """Its result is a larger integer than MessagePack has."""

    def finish(self) -> int:
        return 2**70


class Strict(Tool):
    """Takes one of two words: its regex is the region's grammar."""

    regex = "(yes|no)"

    def on_text(self, delta: str) -> None:
        self.text = getattr(self, "text", "") + delta

    def finish(self) -> str:
        return self.text
