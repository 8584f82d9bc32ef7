"""The dispatcher: requests and their sinks, calls and their pools, and the sockets between them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import zmq

from sgl_conveyor import events
from sgl_conveyor import messages as m
from sgl_conveyor.channel import LoopSocket, RunDirectory, configure
from sgl_conveyor.core import ToolError, shown_call
from sgl_conveyor.describe import info_of
from sgl_conveyor.dispatcher.call import Call
from sgl_conveyor.dispatcher.calls import CallIds, CallTable
from sgl_conveyor.dispatcher.config import DispatcherConfig
from sgl_conveyor.dispatcher.hosts.local import LocalHost
from sgl_conveyor.dispatcher.http_side import HttpSide
from sgl_conveyor.dispatcher.pool import WorkerPool
from sgl_conveyor.dispatcher.requests import internal_error
from sgl_conveyor.dispatcher.sub_calls import SubCalls
from sgl_conveyor.dispatcher.value_check import ValueChecker
from sgl_conveyor.errors import CallRefused, ProtocolError
from sgl_conveyor.life import CallLife
from sgl_conveyor.supervision import Supervisor

logger = logging.getLogger(__name__)

_SWEEP_INTERVAL_S = 1.0


class Dispatcher:
    """One server's calls; made in the event loop that it serves in.

    Args:
        config: see `DispatcherConfig`.
    """

    def __init__(self, config: DispatcherConfig) -> None:
        self._drain_s = config.drain_s
        directory = RunDirectory(Path(config.run_directory))
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        tap = configure(context.socket(zmq.PULL))
        control = configure(context.socket(zmq.ROUTER))
        self.tap_hello = asyncio.Event()
        self.http_hello = asyncio.Event()
        self._supervisor = Supervisor()
        self._tap = LoopSocket(tap, self._tapped)
        self._from_tap = m.from_tap()
        self._http = HttpSide(control, self, self.http_hello.set)
        if directory.tokenizer.exists():
            self._http.use_tokenizer(str(directory.tokenizer))
        registry = [info_of(spec) for spec in config.tools]
        limit = self._result_bytes = config.result_bytes
        host = LocalHost(
            unsafe=config.unsafe,
            result_bytes=limit,
            registry=registry,
            cgroup=None if config.cgroup is None else Path(config.cgroup),
        )
        self.pools = {s.name: WorkerPool(s, host, self, limit) for s in config.tools}
        self._checker = ValueChecker(self._supervisor)
        self._ids = CallIds(config.secret)
        self._calls: CallTable[Call] = CallTable(self._ids, config.retention)
        self._sub_calls = SubCalls(self)
        tap.bind(directory.tap)
        control.bind(directory.control)

    async def run(self) -> str:
        """Serve until something breaks without which nothing works; returns what that was."""
        for pool in self.pools.values():
            pool.start()
        supervisor = self._supervisor
        supervisor.need("tap's socket", self._tap.listen())
        supervisor.need("control socket", self._http.listen())
        supervisor.keep("sweep", self._sweep)
        return await supervisor.failure()

    async def close(self) -> None:
        """Let running calls end for a while, abort the rest, and end all workers."""
        deadline = time.monotonic() + self._drain_s
        while self._running() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for call in self._running():
            call.abort("the server is shutting down")
        undone = time.monotonic() + 1.0
        while any(pool.busy for pool in self.pools.values()) and time.monotonic() < undone:
            await asyncio.sleep(0.02)
        await asyncio.gather(*(pool.close() for pool in self.pools.values()))
        self._checker.close()
        await self._supervisor.close(0)

    def _running(self) -> list[Call]:
        return [call for call in self._calls if call.ended_at is None]

    # --- from the tap ---

    def _tapped(self, frames: list[bytes]) -> None:
        try:
            message = self._from_tap.decode(frames[-1])
        except ProtocolError as error:
            logger.warning("dropped a message on the tap's socket: %s", error)
            return
        if isinstance(message, m.TapHello):
            self.tap_hello.set()
            logger.info("the tap is in place in process %d", message.pid)
        else:
            self._http.requests.tapped(message)

    # --- from the workers: what pools say of their calls ---

    def from_worker(self, call: str, message: m.FromWorker) -> None:
        """A call's worker said something."""
        found = self._calls.get(call)
        if found is None:
            return
        with _guard(found):
            if isinstance(message, m.CallTool):
                self._sub_calls.make(found, message)
            elif isinstance(message, m.DropCall):
                self._sub_calls.drop(found, message.ref)
            else:
                found.heard(message)

    def restarted(self, call: str) -> None:
        """A call's worker was lost, and another one begins it again."""
        found = self._calls.get(call)
        if found is not None:
            with _guard(found):
                self._sub_calls.end(found)
                found.handle(events.ToolRestarted(time.monotonic()))

    def lost(self, call: str, error: ToolError) -> None:
        """Nothing more will come from a call's worker."""
        found = self._calls.get(call)
        if found is not None:
            with _guard(found):
                found.lost(error)

    # --- the calls ---

    def open_call(
        self, tool: str, region: str, *, partial: bool, start: float, attached: bool = False
    ) -> Call:
        """Create a call; its tool opens at once.

        Args:
            tool: its tool's name.
            region: its region's name.
            partial: whether the tool is fed while the region is decoded.
            start: t = 0, in monotonic seconds.
            attached: whether its text comes from elsewhere than a request of its own.

        Raises:
            CallRefused: there is no such tool (400), or no place for the call (503).
        """
        pool = self.pools.get(tool)
        if pool is None:
            known = ", ".join(sorted(self.pools))
            raise CallRefused(400, f"unknown tool {tool!r}: this server has {known}")
        life = CallLife(pool.spec, partial=partial, start=start, attached=attached)
        call = Call(
            self._ids.new(),
            pool,
            region=region,
            call_life=life,
            result_bytes=self._result_bytes,
            check=self._checker.check,
            settled=self._settled,
        )
        self._calls.add(call)
        try:
            call.begin()
        except CallRefused:
            self._calls.remove(call.id)
            raise
        return call

    def _settled(self, call: Call) -> None:
        self._sub_calls.end(call)
        self._calls.ended(call)

    def find_call(self, call: str) -> Call:
        """The call of this id.

        Raises:
            CallRefused: it was never created (404), or is no longer kept (410).
        """
        return self._calls.find(call)

    def forget(self, call: Call) -> None:
        """Keep an ended call no longer."""
        self._calls.remove(call.id)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            self._calls.sweep()
            self._http.requests.end_if_silent()


@contextlib.contextmanager
def _guard(call: Call) -> Iterator[None]:
    """An error of ours ends the one call that it happened in, not the dispatcher."""
    try:
        yield
    except Exception as error:
        logger.exception("call %s failed in the dispatcher", shown_call(call.id))
        call.fail(internal_error(error))
