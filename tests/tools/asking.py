"""Tools that call other tools."""

import asyncio
import json

from sgl_conveyor.tools import Tool, tool


@tool(read_only=True)
def add(a: int, b: int) -> int:
    """The sum of two integers."""
    return a + b


class Patient(Tool):
    """Waits, and says in its emitted output when it is aborted."""

    async def finish(self) -> str:
        await asyncio.sleep(20)
        return "waited"


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
