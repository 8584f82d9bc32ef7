"""The watch of memory: what it cannot read counts as too much, in a second and not at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from sgl_conveyor.dispatcher.hosts.host import Worker
from sgl_conveyor.dispatcher.limits import MemoryWatch
from sgl_conveyor.specs import ToolSpec

Weigh = Callable[[], Awaitable[int]]


class Weighed(Worker):
    """A worker whose memory is what a test says."""

    pid = 1

    def __init__(self, weigh: Weigh) -> None:
        super().__init__(ToolSpec(name="weighed", source="x:Y"), sandboxed=True)
        self._weigh = weigh

    def send(self, message: object) -> None:
        raise AssertionError("nobody tells it anything")

    def kill(self) -> None:
        raise AssertionError("the watch only says who must end")

    async def memory_bytes(self, enough: int) -> int:
        return await self._weigh()


async def heavy() -> int:
    return 1001


async def stuck() -> int:
    await asyncio.sleep(30)
    return 0


async def unreadable() -> int:
    raise OSError("it hides")


def found_by(*weighers: Weigh, looks: int) -> list[tuple[int, str]]:
    """Which of these must end, by their places, at the last of several looks."""

    async def go() -> list[tuple[int, str]]:
        watch, workers = MemoryWatch(1000), [Weighed(weigh) for weigh in weighers]
        for _ in range(looks):
            found = await watch.over(workers)
            await asyncio.sleep(0.01)
        return [(workers.index(worker), why) for worker, why in found]  # type: ignore[arg-type]

    return asyncio.run(go())


def test_one_that_is_heavy_is_found_beside_one_that_cannot_be_weighed() -> None:
    [(place, why)] = found_by(stuck, heavy, looks=1)
    assert (place, "more than 1000 bytes" in why) == (1, True)


def test_one_that_is_unread_for_a_second_is_found_and_not_before() -> None:
    assert found_by(unreadable, looks=3) == []
    began = time.monotonic()
    [(place, why)] = found_by(stuck, looks=3)
    assert (place, "cannot be read" in why) == (0, True)
    # Looks have a limit: without it this would be a minute and a half.
    assert time.monotonic() - began < 60


def test_two_looks_after_a_stall_of_our_own_say_nothing() -> None:
    assert found_by(stuck, looks=2) == []
