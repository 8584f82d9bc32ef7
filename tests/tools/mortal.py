"""Tools that wait, once, at a stage of a call, so that a test can kill them there."""

import asyncio
import os
import time
from pathlib import Path

from sgl_conveyor.tools import Tool


def record(what: str) -> None:
    """Add a line to the file that MORTAL_RECORD names; it is on the disk when this returns."""
    with Path(os.environ["MORTAL_RECORD"]).open("a") as file:
        file.write(what + "\n")
        file.flush()
        os.fsync(file.fileno())


class Mortal(Tool):
    """Waits where its region says: `open`, `line` or `finish`; the second time it goes on."""

    timeout_s = 10.0

    def __init__(self) -> None:
        self.lines: list[str] = []

    def open(self) -> None:
        self.reach("open")

    def on_line(self, line: str) -> None:
        self.reach("line")
        self.lines.append(line)

    def finish(self) -> list[str]:
        self.reach("finish")
        return self.lines

    def reach(self, stage: str) -> None:
        where, _, test = self.call.region.partition(" ")
        marker = Path(f"{os.environ['MORTAL_RECORD']}-{test}")
        waits = stage == where and not marker.exists()
        if waits:
            marker.touch()
        # The test kills as soon as it reads this.
        record(f"{test} {stage} {os.getpid()}")
        if waits:
            time.sleep(30)


class ReplayableMortal(Mortal):
    """The same; nothing before `finish` has an outside effect."""

    replayable = True


class ReadOnlyMortal(Mortal):
    """The same; nothing at all has one."""

    read_only = True


class Payment(Tool):
    """Writes one line in `finish`, which must never be there twice; takes its time before."""

    workers = 2
    concurrency = 8

    async def on_line(self, line: str) -> None:
        await asyncio.sleep(float(line))

    async def finish(self) -> str:
        record(f"paid {self.call.region}")
        await asyncio.sleep(0.02)
        return self.call.region


class ReplayablePayment(Payment):
    """The same, and may begin again before that."""

    replayable = True
