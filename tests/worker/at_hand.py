"""One real worker process, and the test at the other end of its channel, as the dispatcher."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from sgl_conveyor import messages as m
from sgl_conveyor.channel import RunDirectory
from sgl_conveyor.core import TextPiece
from sgl_conveyor.describe import describe
from sgl_conveyor.dispatcher.hosts.host import Worker
from sgl_conveyor.dispatcher.hosts.local import LocalHost
from sgl_conveyor.worker.loading import load_tool

#: Nothing here waits longer than this (seconds).
LIMIT_S = 60.0

_M = TypeVar("_M", bound=m.FromWorker)


class WorkerAtHand:
    """A worker that has said hello and waits for calls.

    Args:
        host: that runs it.
        worker: the worker.
        said: what it says.
    """

    def __init__(self, host: LocalHost, worker: Worker, said: asyncio.Queue[m.FromWorker]) -> None:
        self._host = host
        self._worker = worker
        self._said = said
        self._listening = asyncio.ensure_future(host.listen())
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
        self._listening.cancel()

    def read_again(self) -> None:
        """Hear again what it says."""
        self._listening = asyncio.ensure_future(self._host.listen())

    async def close(self) -> None:
        """Hear nothing more."""
        self._listening.cancel()
        await asyncio.wait({self._listening})


@contextlib.asynccontextmanager
async def worker_of(source: str) -> AsyncIterator[WorkerAtHand]:
    """A worker of this tool with an open call, named `call`."""
    spec = describe(load_tool(source), source)
    directory = RunDirectory.create()
    host = LocalHost(directory, unsafe=True)
    said: asyncio.Queue[m.FromWorker] = asyncio.Queue()
    started: list[Worker] = []
    running = asyncio.ensure_future(
        host.run(spec, started.append, lambda _, message: said.put_nowait(message))
    )
    await asyncio.sleep(0)
    hand = WorkerAtHand(host, started[0], said)
    try:
        await hand.hear(m.WorkerHello)
        hand.tell(m.OpenCall("call", "region"))
        await hand.hear(m.Opened)
        yield hand
    finally:
        started[0].kill()
        await running
        await hand.close()
        host.close()
        shutil.rmtree(directory.path)
