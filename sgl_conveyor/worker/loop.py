"""The worker's loop: receive, hand to the call's runner, again."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import zmq

from sgl_conveyor import messages as m
from sgl_conveyor.channel import LoopSocket, Outbox
from sgl_conveyor.describe import is_async
from sgl_conveyor.specs import ToolInfo, ToolSpec
from sgl_conveyor.tools import Tool
from sgl_conveyor.worker.runner import CallRunner, cancelling_limit

#: Seconds until a frame is sent again that the dispatcher did not take.
_AGAIN_S = 0.01


def serve(
    channel: zmq.Socket[bytes],
    tool: type[Tool],
    spec: ToolSpec,
    *,
    once: bool,
    registry: Mapping[str, ToolInfo],
) -> None:
    """Serve calls until the dispatcher ends this process.

    Args:
        channel: a connected socket, on which hello has been said.
        tool: the tool's class.
        spec: its description.
        once: whether to return after one call.
        registry: the tools that it may call.
    """
    if is_async(tool):
        asyncio.run(_serve_async(channel, tool, spec, once=once, registry=registry))
    else:
        _serve_sync(channel, tool, spec, once=once)


def _serve_sync(
    channel: zmq.Socket[bytes], tool: type[Tool], spec: ToolSpec, *, once: bool
) -> None:
    """One call at a time and no event loop: a hook may start one of its own."""
    decoder = m.to_worker()
    owner = (os.getpid(), threading.get_ident())
    runner: CallRunner | None = None

    def send(message: m.FromWorker) -> None:
        _check_thread(owner)
        channel.send(m.encode(message))

    while not (once and runner is not None and runner.over):
        message = decoder.decode(channel.recv())
        if isinstance(message, m.OpenCall):
            runner = CallRunner(tool, spec, message, send)
        if runner is not None and runner.call == message.call:
            run_without_loop(runner.handle(message))


def run_without_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never suspends, since all hooks that it calls are plain functions."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("a plain hook returned something to await: declare the hook `async def`")


async def _serve_async(
    channel: zmq.Socket[bytes],
    tool: type[Tool],
    spec: ToolSpec,
    *,
    once: bool,
    registry: Mapping[str, ToolInfo],
) -> None:
    """Many calls in one event loop, a task each; ends after the first if `once`."""
    decoder = m.to_worker()
    tasks: dict[str, _CallTask] = {}
    one_is_over = asyncio.Event()
    owner = (os.getpid(), threading.get_ident())

    def send(message: m.FromWorker) -> None:
        _check_thread(owner)
        outgoing.put(m.encode(message))

    def over(call: str) -> None:
        tasks.pop(call, None)
        one_is_over.set()

    def received(frames: list[bytes]) -> None:
        for frame in frames:
            message = decoder.decode(frame)
            if isinstance(message, m.OpenCall):
                limit = cancelling_limit(spec.limits.timeout_s)
                runner = CallRunner(tool, spec, message, send, limit, registry)
                tasks[message.call] = _CallTask(runner, over)
            if message.call in tasks:
                tasks[message.call].put(message)

    socket = LoopSocket(channel, received)
    outgoing = _Outgoing(socket)
    receiving = asyncio.ensure_future(socket.listen())
    if once:
        first_over = asyncio.ensure_future(one_is_over.wait())
        await asyncio.wait({receiving, first_over}, return_when=asyncio.FIRST_COMPLETED)
        await outgoing.sent()
        receiving.cancel()
    else:
        await receiving


def _lost(error: zmq.ZMQError) -> None:
    raise error


class _Outgoing:
    """Frames in their order; those that the dispatcher does not read yet are kept."""

    def __init__(self, socket: LoopSocket) -> None:
        self._outbox = Outbox(self._send, _lost)
        self._socket = socket
        self._kept: deque[tuple[bytes, ...]] = deque()
        self._again: asyncio.Task[None] | None = None

    def put(self, frame: bytes) -> None:
        """Send it soon."""
        self._outbox.put(frame)

    async def sent(self) -> None:
        """Wait until all is sent."""
        self._outbox.flush()
        if self._again is not None:
            await self._again

    def _send(self, *frames: bytes) -> None:
        if not self._kept:
            try:
                self._socket.send(*frames)
                return
            except zmq.Again:
                self._again = asyncio.ensure_future(self._send_kept())
        self._kept.append(frames)

    async def _send_kept(self) -> None:
        while self._kept:
            try:
                self._socket.send(*self._kept[0])
            except zmq.Again:
                await asyncio.sleep(_AGAIN_S)
            else:
                self._kept.popleft()


def _check_thread(owner: tuple[int, int]) -> None:
    """Refuse to use the channel from elsewhere: two users of one socket end its process."""
    if owner != (os.getpid(), threading.get_ident()):
        raise RuntimeError("emit() belongs to the process and the thread that runs the hooks")


class _CallTask:
    """One call in the event loop: its messages in order, an abort ahead of the hook that runs.

    Args:
        runner: the call's runner.
        over: called with the call's id when it is over.
    """

    def __init__(self, runner: CallRunner, over: Callable[[str], None]) -> None:
        self._runner = runner
        self._over = over
        self._inbox: asyncio.Queue[m.ToWorker] = asyncio.Queue()
        self._handling = False
        self._ended = False
        self._task = asyncio.create_task(self._run())

    def put(self, message: m.ToWorker) -> None:
        """Take a message; an abort or a cancel also ends the hook that runs."""
        if isinstance(message, m.ToolAnswer):
            # The hook that runs waits for it.
            self._runner.answer(message)
            return
        ends = isinstance(message, (m.AbortCall, m.CancelCall))
        if ends and not self._runner.aborting:
            while not self._inbox.empty():
                self._inbox.get_nowait()
            if self._handling:
                self._ended = True
                self._task.cancel()
        self._inbox.put_nowait(message)

    async def _run(self) -> None:
        try:
            while not self._runner.over:
                message = await self._inbox.get()
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
