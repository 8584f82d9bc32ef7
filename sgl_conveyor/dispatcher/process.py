"""One worker process, as the dispatcher sees it: started, told, listened to, ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable

import msgspec
import psutil
import zmq

from sgl_conveyor import messages as m
from sgl_conveyor.channel import LoopSocket, Outbox, RunDirectory, configure, new_token, path_of
from sgl_conveyor.errors import ProtocolError
from sgl_conveyor.processes import die_with_parent
from sgl_conveyor.specs import ToolInfo, ToolSpec

logger = logging.getLogger(__name__)

#: Bytes of a worker's stderr that are kept for the message about its end.
_STDERR_TAIL = 4096
#: Seconds in which the last messages of a process that ended may still arrive.
_LAST_WORDS_S = 0.05


class Worker:
    """A worker process and its channel.

    Args:
        spec: its tool.
        sandboxed: whether it has a channel of its own and serves one call.
        token: its name on the socket.
        sender: sends frames to it, without waiting.
        registry: the tools that it may call.
    """

    def __init__(
        self,
        spec: ToolSpec,
        *,
        sandboxed: bool,
        token: str,
        sender: Callable[..., None],
        registry: list[ToolInfo],
    ) -> None:
        self._registry = registry
        self.spec = spec
        self.sandboxed = sandboxed
        self.token = token
        self.ready = False
        #: Whether it must get no further call: it is being ended.
        self.retired = False
        self.used = False
        self._outbox = Outbox(sender, self._unreachable)
        self._process: asyncio.subprocess.Process | None = None
        self._stderr = b""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def live(self, channel: str) -> str:
        """Start the process, which says hello on its own; return how it ended, when it has.

        Args:
            channel: the address that it connects to.
        """
        secret = self.spec.environment
        public = msgspec.structs.replace(self.spec, environment={})
        config = m.WorkerConfig(
            public,
            sorted(secret),
            channel,
            self.token,
            self.sandboxed,
            self.spec.sandbox,
            self._registry,
        )
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "sgl_conveyor.worker", "--serve", msgspec.json.encode(config).decode()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.spec.environment},
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        try:
            if self.retired:
                self.kill()
            reading = asyncio.ensure_future(self._read_stderr(process))
            code = await process.wait()
            # What it said last may still be on its way.
            await asyncio.sleep(_LAST_WORDS_S)
            reading.cancel()
        finally:
            self.kill()
        how = _signal_name(-code) if code < 0 else f"exit code {code}"
        lines = self._stderr.decode(errors="replace").strip().splitlines()
        return how if self.used or not lines else f"{how}: {lines[-1]}"

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        """Keep the end of what a worker writes; log it all if the worker is trusted."""
        assert process.stderr is not None
        while data := await process.stderr.read(_STDERR_TAIL):
            self._stderr = (self._stderr + data)[-_STDERR_TAIL:]
            if not self.sandboxed:
                for line in data.decode(errors="replace").splitlines():
                    logger.warning("%s worker %s: %s", self.spec.name, self.pid, line)

    def send(self, message: m.ToWorker) -> None:
        """Send without waiting; a worker that is gone, or does not read, is killed."""
        self._outbox.put(m.encode(message))

    def _unreachable(self, error: zmq.ZMQError) -> None:
        logger.warning("%s worker %s cannot be told: %s", self.spec.name, self.pid, error)
        self.kill()

    def kill(self) -> None:
        """End the process, and with it all that runs in its sandbox."""
        self.retired = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def memory_bytes(self, enough: int) -> int:
        """Memory of the process and all that it started (bytes).

        Pages that several processes share count once, if that makes a difference.

        Args:
            enough: below this, the quicker sum that counts shared pages more than once will do.
        """
        try:
            root = psutil.Process(self.pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.Error:
            return 0
        resident = sum(_bytes(process, "memory_info", "rss") for process in processes)
        if resident <= enough:
            return resident
        return sum(_bytes(process, "memory_full_info", "pss") for process in processes)


def _signal_name(number: int) -> str:
    try:
        return f"signal {signal.Signals(number).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _bytes(process: psutil.Process, method: str, field: str) -> int:
    try:
        return int(getattr(getattr(process, method)(), field))
    except psutil.Error:
        return 0


Received = Callable[[Worker, m.FromWorker], None]


class WorkerFactory:
    """Starts workers and brings their messages.

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
        self._trusted: dict[bytes, tuple[Worker, Received]] = {}

    def close(self) -> None:
        """Close the socket that trusted workers share."""
        self._router.close()

    async def listen(self) -> None:
        """Bring the messages of the workers that share one socket, for ever."""
        await self._router.listen()

    def _from_trusted(self, frames: list[bytes]) -> None:
        entry = self._trusted.get(frames[0])
        if entry is None:
            logger.warning("dropped a message on the workers' socket: nobody we started")
            return
        for frame in frames[1:]:
            self._bring(entry[0], frame, entry[1])

    async def run(
        self, spec: ToolSpec, started: Callable[[Worker], None], received: Received
    ) -> str:
        """Start a worker, bring its messages, and return when its process is gone.

        Args:
            spec: the worker's tool.
            started: called with the worker before its process starts.
            received: called with each message from it.

        Returns:
            How its process ended.
        """
        if spec.sandbox and not self._unsafe:
            return await self._run_sandboxed(spec, started, received)
        return await self._run_trusted(spec, started, received)

    async def _run_trusted(
        self, spec: ToolSpec, started: Callable[[Worker], None], received: Received
    ) -> str:
        token = new_token()
        identity = token.encode()
        worker = Worker(
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
        worker = Worker(
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
        try:
            started(worker)
            return await worker.live(address)
        finally:
            listening.cancel()
            await asyncio.wait({listening})
            socket.close()
            path_of(address).unlink(missing_ok=True)

    def _bring(self, worker: Worker, frame: bytes, received: Received) -> None:
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
