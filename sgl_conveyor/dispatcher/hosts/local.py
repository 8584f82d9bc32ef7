"""This machine as a host: workers as its processes, in a sandbox or trusted, over `ipc://`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import zmq

from sgl_conveyor import messages as m
from sgl_conveyor.addresses import path_of
from sgl_conveyor.channel import LoopSocket, RunDirectory, configure, new_token
from sgl_conveyor.dispatcher.hosts.host import Host, Received, Worker
from sgl_conveyor.dispatcher.hosts.process import LocalWorker
from sgl_conveyor.errors import ProtocolError
from sgl_conveyor.specs import ToolInfo, ToolSpec

logger = logging.getLogger(__name__)


class LocalHost(Host):
    """Runs workers on this machine.

    Args:
        run_directory: where the sockets are.
        unsafe: whether tools that run what a model wrote go without a sandbox.
        registry: the tools that a worker without a sandbox may call.
    """

    def __init__(
        self, run_directory: RunDirectory, *, unsafe: bool, registry: list[ToolInfo] | None = None
    ) -> None:
        self._registry = registry or []
        self._run_directory = run_directory
        self._unsafe = unsafe
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        router = configure(self._context.socket(zmq.ROUTER))
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.bind(run_directory.workers)
        self._router = LoopSocket(router, self._from_trusted)
        self._decoder = m.from_worker()
        self._trusted: dict[bytes, tuple[LocalWorker, Received]] = {}

    def close(self) -> None:
        self._router.close()

    async def listen(self) -> None:
        await self._router.listen()

    async def run(
        self, spec: ToolSpec, started: Callable[[Worker], None], received: Received
    ) -> str:
        if spec.sandbox and not self._unsafe:
            return await self._run_sandboxed(spec, started, received)
        return await self._run_trusted(spec, started, received)

    async def _run_trusted(
        self, spec: ToolSpec, started: Callable[[Worker], None], received: Received
    ) -> str:
        token = new_token()
        identity = token.encode()
        worker = LocalWorker(
            spec,
            sandboxed=False,
            token=token,
            sender=lambda *frames: self._router.send(identity, *frames),
            registry=[] if spec.sandbox else self._registry,
        )
        self._trusted[identity] = (worker, received)
        try:
            started(worker)
            return await worker.live(self._run_directory.workers)
        finally:
            del self._trusted[identity]

    async def _run_sandboxed(
        self, spec: ToolSpec, started: Callable[[Worker], None], received: Received
    ) -> str:
        token = new_token()
        address = self._run_directory.own_channel(token)
        dealer = configure(self._context.socket(zmq.DEALER))
        dealer.bind(address)
        # The directory above is closed to others; the sandbox's user sees only this file.
        path_of(address).chmod(0o666)
        worker = LocalWorker(
            spec,
            sandboxed=True,
            token=token,
            sender=lambda *frames: socket.send(*frames),
            registry=[],
        )

        def bring(frames: list[bytes]) -> None:
            for frame in frames:
                self._bring(worker, frame, received)

        socket = LoopSocket(dealer, bring)
        listening = asyncio.ensure_future(socket.listen())

        def not_heard(task: asyncio.Task[None]) -> None:
            """A worker that cannot be heard is of no use; its end is noticed as any other's."""
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("%s worker %s cannot be heard: %s", spec.name, worker.pid, error)
            worker.kill()

        listening.add_done_callback(not_heard)
        try:
            started(worker)
            return await worker.live(address)
        finally:
            listening.cancel()
            await asyncio.wait({listening})
            socket.close()
            path_of(address).unlink(missing_ok=True)

    def _from_trusted(self, frames: list[bytes]) -> None:
        entry = self._trusted.get(frames[0])
        if entry is None:
            logger.warning("dropped a message on the workers' socket: nobody we started")
            return
        for frame in frames[1:]:
            self._bring(entry[0], frame, entry[1])

    def _bring(self, worker: LocalWorker, frame: bytes, received: Received) -> None:
        name, pid = worker.spec.name, worker.pid
        if worker.sandboxed and worker.retired:
            return
        try:
            received(worker, self._decoder.decode(frame))
        except ProtocolError as error:
            logger.warning("dropped a message of %s worker %s: %s", name, pid, error)
            if worker.sandboxed:
                # Only hostile code sends such a thing; it could fill the log with them.
                worker.kill()
        except Exception:
            logger.exception("a message of %s worker %s failed", name, pid)
            worker.kill()
