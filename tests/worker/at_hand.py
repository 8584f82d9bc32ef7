"""One real worker process, and the test at the other end of its channel, as the dispatcher."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from sgl_conveyor import messages as m
from sgl_conveyor.core import TextPiece
from sgl_conveyor.describe import describe
from sgl_conveyor.dispatcher.hosts.host import Worker
from sgl_conveyor.dispatcher.hosts.local import LocalHost
from sgl_conveyor.dispatcher.hosts.process import LocalWorker
from sgl_conveyor.worker.loading import load_tool

#: Nothing here waits longer than this (seconds).
LIMIT_S = 60.0

_M = TypeVar("_M", bound=m.FromWorker)


@dataclass(frozen=True)
class Ears:
    """Hears all that a worker says."""

    said: asyncio.Queue[m.FromWorker]

    def may_say(self, worker: Worker, size: int) -> bool:
        return True

    def heard(self, worker: Worker, message: m.FromWorker) -> None:
        self.said.put_nowait(message)


class WorkerAtHand:
    """A worker that has said hello and waits for calls.

    Args:
        worker: the worker.
        said: what it says.
    """

    def __init__(self, worker: LocalWorker, said: asyncio.Queue[m.FromWorker]) -> None:
        self._worker = worker
        self._said = said
        #: All that was heard so far.
        self.heard: list[m.FromWorker] = []

    def tell(self, message: m.ToWorker) -> None:
        """Send it a message."""
        self._worker.send(message)

    def feed(self, *texts: str, call: str = "call") -> None:
        """Send it one message with these pieces of text."""
        self.tell(m.FeedText(call, [TextPiece(text, 0.0) for text in texts]))

    async def hear(self, kind: type[_M], fits: Callable[[_M], bool] = lambda _: True) -> _M:
        """Wait until it says this."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                message = await self._said.get()
                self.heard.append(message)
                if isinstance(message, kind) and fits(message):
                    return message

    def read_no_more(self) -> None:
        """Let all that it says wait in its socket."""
        channel = self._worker._channel
        assert channel is not None
        asyncio.get_running_loop().remove_reader(channel._stream)

    def read_again(self) -> None:
        """Hear again what it says."""
        channel = self._worker._channel
        assert channel is not None
        asyncio.get_running_loop().add_reader(channel._stream, channel._readable)


@contextlib.asynccontextmanager
async def worker_of(source: str) -> AsyncIterator[WorkerAtHand]:
    """A worker of this tool with an open call, named `call`."""
    spec = describe(load_tool(source), source)
    said: asyncio.Queue[m.FromWorker] = asyncio.Queue()
    started: list[Worker] = []
    running = asyncio.ensure_future(LocalHost(unsafe=True).run(spec, started.append, Ears(said)))
    await asyncio.sleep(0)
    [worker] = started
    assert isinstance(worker, LocalWorker)
    hand = WorkerAtHand(worker, said)
    try:
        await hand.hear(m.WorkerHello)
        hand.tell(m.OpenCall("call", "region"))
        await hand.hear(m.Opened)
        yield hand
    finally:
        worker.kill()
        await running
