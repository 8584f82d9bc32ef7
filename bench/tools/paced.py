"""A tool whose work costs what its text says, and no processor time."""

from __future__ import annotations

import time

from sgl_conveyor.tools import Tool


class Paced(Tool):
    """Each line begins with a weight; the region's name is the seconds of a weight of one."""

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
