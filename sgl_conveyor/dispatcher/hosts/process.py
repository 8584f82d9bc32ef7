"""A worker process on this machine: started, told, weighed, ended."""

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
from sgl_conveyor.channel import Outbox
from sgl_conveyor.dispatcher.hosts.host import Worker
from sgl_conveyor.errors import HostError
from sgl_conveyor.processes import file_of
from sgl_conveyor.specs import ToolInfo, ToolSpec

logger = logging.getLogger(__name__)

#: Bytes of a worker's stderr that are kept for the message about its end.
_STDERR_TAIL = 4096
#: Seconds in which the last messages of a process that ended may still arrive.
_LAST_WORDS_S = 0.05


class LocalWorker(Worker):
    """A worker process on this machine, and its channel.

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
        super().__init__(spec, sandboxed=sandboxed, token=token)
        self._registry = registry
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
        process = self._process = await self._start(channel)
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

    async def _start(self, channel: str) -> asyncio.subprocess.Process:
        config = m.WorkerConfig(
            spec=self.spec,
            channel=channel,
            token=self.token,
            parent=os.getpid(),
            sandboxed=self.sandboxed,
            once=self.spec.sandbox,
            registry=self._registry,
        )
        # A command line has a limit, and every user sees it: it only says which tool this is.
        stdin = file_of("worker-config", msgspec.json.encode(config))
        try:
            # Nothing runs between fork and exec: only then does the C library not copy this
            # process's page tables first, which takes milliseconds of the event loop.
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "sgl_conveyor.worker", "--serve", self.spec.source),
                stdin=stdin,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **self.spec.environment},
                start_new_session=True,
            )
        finally:
            os.close(stdin)

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        """Keep the end of what a worker writes; log it all if the worker is trusted."""
        assert process.stderr is not None
        while data := await process.stderr.read(_STDERR_TAIL):
            self._stderr = (self._stderr + data)[-_STDERR_TAIL:]
            if not self.sandboxed:
                for line in data.decode(errors="replace").splitlines():
                    logger.warning("%s worker %s: %s", self.spec.name, self.pid, line)

    def send(self, message: m.ToWorker) -> None:
        self._outbox.put(m.encode(message))

    def _unreachable(self, error: zmq.ZMQError) -> None:
        logger.warning("%s worker %s cannot be told: %s", self.spec.name, self.pid, error)
        self.kill()

    def kill(self) -> None:
        self.retired = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def memory_bytes(self, enough: int) -> int:
        if self.pid is None:
            return 0
        # It reads /proc, which takes milliseconds on a machine with many processes.
        return await asyncio.to_thread(memory_of, self.pid, enough)


def memory_of(pid: int, enough: int) -> int:
    """Memory of a process and all that it started (bytes); 0 if it is gone.

    Pages that several processes share count once, if that makes a difference and can be read.

    Args:
        pid: the process.
        enough: below this, the quicker sum that counts shared pages more than once will do.

    Raises:
        HostError: a process is there and its memory cannot be read.
    """
    try:
        root = psutil.Process(pid)
        resident = {p: _resident(p) for p in [root, *root.children(recursive=True)]}
    except (psutil.NoSuchProcess, ProcessLookupError):
        return 0
    except (psutil.Error, OSError) as error:
        raise HostError(f"the memory of process {pid} cannot be read: {error}") from error
    if sum(resident.values()) <= enough:
        return sum(resident.values())
    return sum(_proportional(process, size) for process, size in resident.items())


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def _proportional(process: psutil.Process, resident: int) -> int:
    """With a part of each shared page; all of it for a process that hides how it shares them."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
    except (psutil.Error, OSError):
        return resident


def _signal_name(number: int) -> str:
    try:
        return f"signal {signal.Signals(number).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
