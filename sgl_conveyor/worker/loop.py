"""The worker's loop: receive, hand to the call's runner, again."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import zmq
import zmq.asyncio

from sgl_conveyor import messages as m
from sgl_conveyor.core import ToolInfo, ToolSpec
from sgl_conveyor.describe import is_async
from sgl_conveyor.tools import Tool
from sgl_conveyor.worker.call import CallRunner, cancelling_limit


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
    socket = zmq.asyncio.Socket.from_socket(channel)
    tasks: dict[str, _CallTask] = {}
    one_is_over = asyncio.Event()

    outgoing: asyncio.Queue[bytes] = asyncio.Queue()
    owner = (os.getpid(), threading.get_ident())

    def send(message: m.FromWorker) -> None:
        _check_thread(owner)
        outgoing.put_nowait(m.encode(message))

    async def send_all() -> None:
        while True:
            await socket.send(await outgoing.get())
            outgoing.task_done()

    def over(call: str) -> None:
        tasks.pop(call, None)
        one_is_over.set()

    async def receive() -> None:
        while True:
            message = decoder.decode(await socket.recv())
            if isinstance(message, m.OpenCall):
                limit = cancelling_limit(spec.limits.timeout_s)
                runner = CallRunner(tool, spec, message, send, limit, registry)
                tasks[message.call] = _CallTask(runner, over)
            if message.call in tasks:
                tasks[message.call].put(message)

    receiving = asyncio.ensure_future(receive())
    sending = asyncio.ensure_future(send_all())
    if once:
        first_over = asyncio.ensure_future(one_is_over.wait())
        await asyncio.wait({receiving, first_over}, return_when=asyncio.FIRST_COMPLETED)
        await outgoing.join()
        receiving.cancel()
        sending.cancel()
    else:
        await asyncio.gather(receiving, sending)


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
        self._handling: asyncio.Task[None] | None = None
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
            if self._handling is not None:
                self._handling.cancel()
        self._inbox.put_nowait(message)

    async def _run(self) -> None:
        try:
            while not self._runner.over:
                message = await self._inbox.get()
                self._handling = asyncio.create_task(self._runner.handle(message))
                await asyncio.wait({self._handling})
                self._handling = None
        finally:
            self._over(self._runner.call)
