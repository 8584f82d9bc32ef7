"""Tools that call other tools."""

import asyncio
import json
import os
from pathlib import Path

from sgl_conveyor.tools import Tool, tool


@tool(read_only=True)
def add(a: int, b: int) -> int:
    """The sum of two integers."""
    return a + b


def record(what: str) -> None:
    """Add a line to the file that ASKING_RECORD names."""
    with Path(os.environ["ASKING_RECORD"]).open("a") as file:
        file.write(what + "\n")


class Patient(Tool):
    """Waits in a unit, and records what it comes to."""

    async def on_line(self, line: str) -> None:
        record(f"begun {line}")
        await asyncio.sleep(float(line))

    async def finish(self) -> str:
        record("effect")
        return "waited"

    async def abort(self, reason: str) -> None:
        record(f"aborted {reason}")


class Impatient(Tool):
    """Calls `patient`, and gives it up soon."""

    async def finish(self) -> str:
        try:
            async with asyncio.timeout(0.3):
                await self.call_tool("patient", "1\n")
        except TimeoutError:
            return "given up"
        return "waited for"


class Many(Tool):
    """Makes as many calls as its text says, one after the other."""

    async def on_line(self, line: str) -> None:
        self.sums = [(await self.call_tool("add", '{"a": 1, "b": 2}')).value] * int(line)
        for _ in range(int(line) - 1):
            await self.call_tool("add", '{"a": 1, "b": 2}')

    async def finish(self) -> int:
        return sum(self.sums)


class Lying(Tool):
    """Its result is made to be no JSON that anybody can read; plain hooks, as in a sandbox."""

    def finish(self) -> None:
        from sgl_conveyor.worker import runner

        runner.encode_value = lambda value: b"1" * 5000


class Full(Tool):
    """Its result, its files and its output are all that a call may return."""

    async def finish(self) -> str:
        self.emit("x" * 1024 * 1024)
        self.attach("file", "text/plain", b"x" * 7 * 1024 * 1024)
        return "x" * (8 * 1024 * 1024 - 2)


class Unspeakable(Tool):
    """Calls a tool by a name that UTF-8 cannot hold."""

    async def finish(self) -> str:
        return str(await self.call_tool("\ud800", ""))


class Asker(Tool):
    """Each line is a call: a tool's name and its text; the result is a list of results."""

    timeout_s = 5.0

    async def on_line(self, line: str) -> None:
        name, _, text = line.partition(" ")
        result = await self.call_tool(name, text)
        self.results = [*getattr(self, "results", []), str(result)]

    async def finish(self) -> list[str]:
        return self.results


class Nested(Tool):
    """Calls itself, one level deeper each time, as long as it is let."""

    async def finish(self) -> str:
        return str(await self.call_tool("nested", json.dumps({})))


class Reader(Tool):
    """Says what it knows of the server's tools."""

    async def finish(self) -> dict[str, object]:
        return {
            name: [info.read_only, info.parameters is None] for name, info in self.tools.items()
        }
