"""The worker's loop: receive, hand to the call's runner, again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import zmq

from sgl_conveyor import messages as m
from sgl_conveyor.channel import LoopSocket
from sgl_conveyor.describe import is_async
from sgl_conveyor.errors import QueueOverflow
from sgl_conveyor.specs import ToolInfo, ToolSpec
from sgl_conveyor.tools import Tool
from sgl_conveyor.worker.inbox import Inbox
from sgl_conveyor.worker.outgoing import Outgoing
from sgl_conveyor.worker.runner import CallRunner, Send, cancelling_limit, error_of


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
    serving = _PlainCalls(channel, tool, spec)
    while not (once and serving.one_is_over):
        serving.handle_next()


class _PlainCalls:
    """The calls of a worker with plain hooks, one after the other.

    Between two units it looks at what has come: an abort drops what waits before it. Only a hook
    that runs already cannot be interrupted.
    """

    def __init__(self, channel: zmq.Socket[bytes], tool: type[Tool], spec: ToolSpec) -> None:
        self._channel = channel
        self._tool = tool
        self._spec = spec
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
            self._take(self._channel.recv())
        self._take_all()
        if self._runner is not None:
            run_without_loop(self._runner.handle(self._inbox.take()))

    def _interrupted(self) -> bool:
        self._take_all()
        return self._inbox.ending

    def _take_all(self) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                self._take(self._channel.recv(zmq.DONTWAIT))

    def _take(self, frame: bytes) -> None:
        message = self._decoder.decode(frame)
        if isinstance(message, m.OpenCall):
            self._inbox = Inbox()
            self._runner = CallRunner(
                self._tool, self._spec, message, self._send, interrupted=self._interrupted
            )
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
        outgoing.put(message)

    def over(call: str) -> None:
        tasks.pop(call, None)
        one_is_over.set()

    def received(frames: list[bytes]) -> None:
        for frame in frames:
            message = decoder.decode(frame)
            if isinstance(message, m.OpenCall):
                limit = cancelling_limit(spec.limits.timeout_s)
                runner = CallRunner(tool, spec, message, send, limit, registry)
                tasks[message.call] = _CallTask(runner, send, over)
            if message.call in tasks:
                tasks[message.call].put(message, len(frame))

    socket = LoopSocket(channel, received)
    outgoing = Outgoing(socket)
    receiving = asyncio.ensure_future(socket.listen())
    if once:
        first_over = asyncio.ensure_future(one_is_over.wait())
        await asyncio.wait({receiving, first_over}, return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            receiving.result()
        await outgoing.sent()
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
