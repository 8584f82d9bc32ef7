"""The worker's loop: receive, hand to the call's runner, again."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from sgl_conveyor import messages as m
from sgl_conveyor.describe import is_async
from sgl_conveyor.errors import QueueOverflow
from sgl_conveyor.frames import BlockingFrames
from sgl_conveyor.specs import ToolInfo, ToolSpec
from sgl_conveyor.stream import FrameSocket
from sgl_conveyor.tools import Tool
from sgl_conveyor.worker.inbox import Inbox
from sgl_conveyor.worker.outgoing import put
from sgl_conveyor.worker.runner import CallRunner, Send, cancelling_limit, error_of


@dataclass(frozen=True)
class Served:
    """What a worker serves.

    Args:
        tool: the tool's class.
        spec: its description.
        once: whether to serve one call only.
        registry: the tools that it may call.
        result_bytes: that a call may return.
    """

    tool: type[Tool]
    spec: ToolSpec
    once: bool
    registry: Mapping[str, ToolInfo]
    result_bytes: int

    def plain_runner(
        self, opening: m.OpenCall, send: Send, interrupted: Callable[[], bool]
    ) -> CallRunner:
        """A new call of a tool with plain hooks."""
        return CallRunner(
            self.tool,
            self.spec,
            opening,
            send,
            interrupted=interrupted,
            result_bytes=self.result_bytes,
        )

    def runner(self, opening: m.OpenCall, send: Send) -> CallRunner:
        """A new call of a tool with coroutine hooks."""
        return CallRunner(
            self.tool,
            self.spec,
            opening,
            send,
            cancelling_limit(self.spec.limits.timeout_s),
            self.registry,
            result_bytes=self.result_bytes,
        )


def serve(channel: socket.socket, served: Served) -> None:
    """Say hello, and serve calls until the dispatcher ends this process.

    Args:
        channel: this worker's end of its channel.
        served: the tool.

    Raises:
        ChannelClosed: the dispatcher is gone.
        ProtocolError: what came is no message of this version.
    """
    if is_async(served.tool):
        asyncio.run(_serve_async(channel, served))
    else:
        _serve_sync(channel, served)


def _hello() -> bytes:
    return m.encode(m.WorkerHello(os.getpid()))


def _serve_sync(channel: socket.socket, served: Served) -> None:
    """One call at a time and no event loop: a hook may start one of its own."""
    frames = BlockingFrames(channel)
    frames.send(_hello())
    serving = _PlainCalls(frames, served)
    while not (served.once and serving.one_is_over):
        serving.handle_next()


class _PlainCalls:
    """The calls of a worker with plain hooks, one after the other.

    Between two units it looks at what has come: an abort drops what waits before it. Only a hook
    that runs already cannot be interrupted.
    """

    def __init__(self, channel: BlockingFrames, served: Served) -> None:
        self._channel = channel
        self._served = served
        self._decoder = m.to_worker()
        self._owner = (os.getpid(), threading.get_ident())
        self._runner: CallRunner | None = None
        self._inbox = Inbox()

    @property
    def one_is_over(self) -> bool:
        return self._runner is not None and self._runner.over

    def handle_next(self) -> None:
        """Wait for a message of a call, and do what it asks for."""
        while not self._inbox:
            self._take(self._channel.receive())
        self._take_all()
        if self._runner is not None:
            run_without_loop(self._runner.handle(self._inbox.take()))

    def _interrupted(self) -> bool:
        self._take_all()
        return self._inbox.ending

    def _take_all(self) -> None:
        while (frame := self._channel.receive_now()) is not None:
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        message = self._decoder.decode(frame)
        if isinstance(message, m.OpenCall):
            self._inbox = Inbox()
            self._runner = self._served.plain_runner(message, self._send, self._interrupted)
        runner = self._runner
        if runner is None or runner.call != message.call or runner.over or runner.aborting:
            return
        try:
            self._inbox.put(message, len(frame))
        except QueueOverflow as error:
            self._send(m.HookRaised(runner.call, error_of(error)))
            self._inbox.put(m.AbortCall(runner.call, str(error)), 0)

    def _send(self, message: m.FromWorker) -> None:
        _check_thread(self._owner)
        self._channel.send(m.encode(message))


def run_without_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never suspends, since all hooks that it calls are plain functions."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("a plain hook returned something to await: declare the hook `async def`")


async def _serve_async(channel: socket.socket, served: Served) -> None:
    """Many calls in one event loop, a task each; ends after the first if `once`."""
    decoder = m.to_worker()
    tasks: dict[str, _CallTask] = {}
    one_is_over = asyncio.Event()
    owner = (os.getpid(), threading.get_ident())

    def send(message: m.FromWorker) -> None:
        _check_thread(owner)
        put(frames, message)

    def over(call: str) -> None:
        tasks.pop(call, None)
        one_is_over.set()

    def received(frame: bytes) -> None:
        message = decoder.decode(frame)
        if isinstance(message, m.OpenCall):
            tasks[message.call] = _CallTask(served.runner(message, send), send, over)
        if message.call in tasks:
            tasks[message.call].put(message, len(frame))

    # What may wait is a tool's output, up to a limit, and what there is a few times a call.
    frames = FrameSocket(channel, received, most_waiting=sys.maxsize)
    frames.put(_hello())
    receiving = asyncio.ensure_future(frames.listen())
    if served.once:
        first_over = asyncio.ensure_future(one_is_over.wait())
        await asyncio.wait({receiving, first_over}, return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            receiving.result()
        await frames.sent()
        receiving.cancel()
    else:
        await receiving


def _check_thread(owner: tuple[int, int]) -> None:
    """Refuse to use the channel from elsewhere: two users of one socket end its process."""
    if owner != (os.getpid(), threading.get_ident()):
        raise RuntimeError("emit() belongs to the process and the thread that runs the hooks")


class _CallTask:
    """One call in the event loop: its messages in order, an abort ahead of the hook that runs.

    Args:
        runner: the call's runner.
        send: sends a message to the dispatcher.
        over: called with the call's id when it is over.
    """

    def __init__(self, runner: CallRunner, send: Send, over: Callable[[str], None]) -> None:
        self._runner = runner
        self._send = send
        self._over = over
        self._inbox = Inbox()
        self._something = asyncio.Event()
        self._handling = False
        self._ended = False
        self._task = asyncio.create_task(self._run())

    def put(self, message: m.ToWorker, size: int) -> None:
        """Take a message of so many bytes; an abort or a cancel also ends the hook that runs."""
        if isinstance(message, m.ToolAnswer):
            # The hook that runs waits for it.
            self._runner.answer(message)
            return
        if self._runner.aborting:
            # Nothing may interrupt it, and nothing comes after it.
            return
        try:
            self._inbox.put(message, size)
        except QueueOverflow as error:
            self._send(m.HookRaised(self._runner.call, error_of(error)))
            self.put(m.AbortCall(self._runner.call, str(error)), 0)
            return
        if isinstance(message, (m.AbortCall, m.CancelCall)) and self._handling:
            self._ended = True
            self._task.cancel()
        self._something.set()

    async def _run(self) -> None:
        try:
            while not self._runner.over:
                await self._something.wait()
                message = self._inbox.take()
                if not self._inbox:
                    self._something.clear()
                self._handling = True
                try:
                    await self._runner.handle(message)
                except asyncio.CancelledError:
                    if not self._ended:
                        raise
                finally:
                    while self._ended and self._task.uncancel():
                        pass
                    self._handling = self._ended = False
        finally:
            self._over(self._runner.call)
