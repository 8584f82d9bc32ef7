"""Tools beside a stock SGLang: warm worker processes of the client's own, as a careful user's.

They are the same workers as the server's, and the same dispatcher tells them what to do, here in
the client's process; only what comes from SGLang comes over HTTP instead of the tap. So what two
modes differ in is where the text comes from and when, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import AsyncIterator

import msgspec

from sgl_conveyor import events
from sgl_conveyor.channel import RunDirectory
from sgl_conveyor.core import Outcome
from sgl_conveyor.dispatcher.call import Call
from sgl_conveyor.dispatcher.config import DispatcherConfig
from sgl_conveyor.dispatcher.dispatcher import Dispatcher
from sgl_conveyor.specs import ToolSpec

_WORKERS_LIMIT_S = 60.0
_RESULT_LIMIT_S = 300.0


class LocalCall:
    """One call of a tool of the client's own.

    Args:
        call: the dispatcher's.
        running: the dispatcher's own task.
    """

    def __init__(self, call: Call, running: asyncio.Future[str]) -> None:
        self._call = call
        self._running = running
        call.handle(events.RegionAttached(time.monotonic()))

    @property
    def ended(self) -> bool:
        """Whether the result is there: a tool may abort before the text is complete."""
        return self._call.ended_at is not None

    def feed(self, text: str) -> None:
        """Give the tool the next piece of its input."""
        self._call.handle(events.TextCommitted(time.monotonic(), 1, text))

    def end(self) -> None:
        """The input is complete."""
        self._call.handle(events.RegionEnded(time.monotonic()))

    async def result(self) -> Outcome:
        """Wait for the tool's result.

        Raises:
            TimeoutError: there is none after five minutes.
            RuntimeError: the dispatcher ended.
        """
        ended = asyncio.Event()
        self._call.wait(_RESULT_LIMIT_S, ended.set)
        waiting = asyncio.ensure_future(ended.wait())
        await asyncio.wait((waiting, self._running), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise RuntimeError(self._running.result())
        if not self.ended:
            raise TimeoutError(f"the tool {self._call.spec.name} has no result")
        outcome = self._call.life.record.outcome
        value = msgspec.json.decode(outcome.value or b"null")
        return msgspec.structs.replace(outcome, value=value)


class LocalTools:
    """The client's own tools.

    Args:
        dispatcher: that of this process.
        running: its task.
    """

    def __init__(self, dispatcher: Dispatcher, running: asyncio.Future[str]) -> None:
        self._dispatcher = dispatcher
        self._running = running

    def open(self, tool: str, *, partial: bool, start: float) -> LocalCall:
        """Begin a call; its tool opens at once.

        Args:
            tool: its tool's name.
            partial: whether the tool is fed as the text comes.
            start: t = 0, in monotonic seconds.
        """
        call = self._dispatcher.open_call(tool, "call", partial=partial, start=start)
        return LocalCall(call, self._running)


@contextlib.asynccontextmanager
async def local_tools(specs: list[ToolSpec]) -> AsyncIterator[LocalTools]:
    """Warm workers of these tools, until the block ends.

    Args:
        specs: the tools.

    Raises:
        TimeoutError: a worker did not start.
    """
    directory = RunDirectory.create()
    config = DispatcherConfig(
        run_directory=str(directory.path), tools=specs, secret=secrets.token_hex(16), drain_s=0.0
    )
    dispatcher = Dispatcher(config)
    running = asyncio.ensure_future(dispatcher.run())
    try:
        async with asyncio.timeout(_WORKERS_LIMIT_S):
            await asyncio.gather(*(pool.first_hello for pool in dispatcher.pools.values()))
        yield LocalTools(dispatcher, running)
    finally:
        await dispatcher.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        shutil.rmtree(directory.path, ignore_errors=True)
