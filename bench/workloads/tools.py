"""Tools of known cost: one costs nothing, the other what its text says."""

from __future__ import annotations

import time

from sgl_conveyor.tools import Tool

NOTHING = "bench.workloads.tools:Nothing"
PACED = "bench.workloads.tools:Paced"


class Nothing(Tool):
    """Takes each piece of text and does nothing with it: what is measured with it is ours."""

    async def on_text(self, delta: str) -> None:
        pass

    async def finish(self) -> None:
        return None


class Paced(Tool):
    """Sleeps at each line, which begins with a weight; the region's name is a weight's seconds."""

    timeout_s = 120.0
    read_only = True

    def open(self) -> None:
        self._weight_s = float(self.call.region)
        self._lines = 0

    def on_line(self, line: str) -> None:
        self._lines += 1
        time.sleep(int(line.split()[0]) * self._weight_s)

    def finish(self) -> int:
        return self._lines
