"""A worker process on this machine: started, told, weighed, ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec

from sgl_conveyor import messages as m
from sgl_conveyor.cgroup import SandboxGroup
from sgl_conveyor.dispatcher.hosts.host import Listener, Worker
from sgl_conveyor.dispatcher.hosts.priority import lower_sessions_below
from sgl_conveyor.dispatcher.hosts.weight import socket_bytes, weight_of
from sgl_conveyor.errors import ProtocolError
from sgl_conveyor.processes import file_of
from sgl_conveyor.specs import ToolInfo, ToolSpec
from sgl_conveyor.stream import FrameSocket
from sgl_conveyor.syscall_filter import compiled_filter

logger = logging.getLogger(__name__)

#: Bytes of text that may wait for a worker that is behind.
_WAITING_TEXT_BYTES = 16 * 1024 * 1024
#: Seconds of a core that a sandbox may take for its call before it gives way: what a program does
#: usually ends before, and would be slow beside others from its start on.
_FAIR_PROCESSOR_S = 1.0
#: Seconds for a process to end after its end of the channel has.
_END_LIMIT_S = 0.5
#: Bytes of a worker's stderr that are kept for the message about its end.
_STDERR_TAIL = 4096
#: Bytes that are read of it at once, and seconds between two reads of a sandbox's.
_STDERR_READ = 64 * 1024
_STDERR_PAUSE_S = 0.05


class LocalWorker(Worker):
    """A worker process on this machine, and its end of a pair of sockets.

    Args:
        spec: its tool.
        sandboxed: whether it runs in a sandbox.
        registry: the tools that it may call.
        result_bytes: that a call may return.
        cgroup: a child of which is to hold it; None for none.
        listener: hears what it says.
    """

    def __init__(
        self,
        spec: ToolSpec,
        *,
        sandboxed: bool,
        registry: list[ToolInfo],
        result_bytes: int,
        cgroup: Path | None,
        listener: Listener,
    ) -> None:
        super().__init__(spec, sandboxed=sandboxed)
        self._cgroup = cgroup
        self._group: SandboxGroup | None = None
        self._gives_way = not sandboxed
        # What it had taken of the cores when it was first weighed: its start is no program's doing.
        self._start_processor_s: float | None = None
        self._result_bytes = result_bytes
        self._registry = registry
        self._listener = listener
        self._decoder = m.from_worker()
        self._process: asyncio.subprocess.Process | None = None
        self._channel: FrameSocket | None = None
        self._stderr = b""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def live(self) -> str:
        """Start the process, which says hello on its own; return how it ended, when it has.

        Raises:
            OSError: it could not be started.
        """
        if self._cgroup is None:
            return await self._live()
        # What the kernel does for this may take milliseconds.
        group = await asyncio.to_thread(SandboxGroup, self._cgroup, self.spec.limits)
        self._group = group
        try:
            how = await self._live()
            if group.ran_out_of_memory:
                limit = self.spec.limits.memory_bytes
                self.over_memory = f"the tool's processes hold more than {limit} bytes together"
            return how
        finally:
            await asyncio.to_thread(group.remove)

    async def _live(self) -> str:
        ours, its = socket.socketpair()
        with contextlib.closing(its), contextlib.ExitStack() as if_it_fails:
            if_it_fails.callback(ours.close)
            process = self._process = await self._start(its.fileno())
            if_it_fails.pop_all()
        # One in a sandbox makes no calls, whose answers are as large as results.
        answers = 0 if self.sandboxed else 2 * self._result_bytes
        channel = self._channel = FrameSocket(
            ours,
            self._received,
            largest=m.MAX_SANDBOX_FRAME_BYTES if self.sandboxed else m.MAX_FRAME_BYTES,
            most_waiting=_WAITING_TEXT_BYTES + answers,
        )
        listening = asyncio.ensure_future(self._listen(channel))
        try:
            if self.retired:
                self.kill()
            reading = asyncio.ensure_future(self._read_stderr(process))
            code = await process.wait()
            channel.take_what_is_there()
            reading.cancel()
        finally:
            self.kill()
            listening.cancel()
            await asyncio.wait({listening})
            channel.close()
        how = _signal_name(-code) if code < 0 else f"exit code {code}"
        lines = self._stderr.decode(errors="replace").strip().splitlines()
        return how if self.used or not lines else f"{how}: {lines[-1]}"

    async def _start(self, channel: int) -> asyncio.subprocess.Process:
        allowed = file_of("syscall-filter", compiled_filter()) if self.sandboxed else None
        config = m.WorkerConfig(
            spec=self.spec,
            channel=channel,
            parent=os.getpid(),
            sandboxed=self.sandboxed,
            syscall_filter=allowed,
            cgroup=None if self._group is None else str(self._group.folder),
            once=self.spec.sandbox,
            result_bytes=self._result_bytes,
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
                pass_fds=[channel] if allowed is None else [channel, allowed],
                start_new_session=True,
            )
        finally:
            os.close(stdin)
            if allowed is not None:
                os.close(allowed)

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        """Keep the end of what a worker writes; log it all if the worker is trusted."""
        assert process.stderr is not None
        while data := await process.stderr.read(_STDERR_READ):
            self._stderr = (self._stderr + data)[-_STDERR_TAIL:]
            if self.sandboxed and self.ready:
                # A program may write without end.
                await asyncio.sleep(_STDERR_PAUSE_S)
            elif not self.sandboxed:
                for line in data.decode(errors="replace").splitlines():
                    logger.warning("%s worker %s: %s", self.spec.name, self.pid, line)

    async def _listen(self, channel: FrameSocket) -> None:
        """A worker that cannot be heard is of no use; its end is noticed as any other's."""
        try:
            await channel.listen()
        except (ProtocolError, OSError) as error:
            self._end_for("cannot be heard", error)
        else:
            # Its end comes with the process's: then how that ended is known.
            self.retired = True
            await asyncio.sleep(_END_LIMIT_S)
            self.kill()

    def _received(self, frame: bytes) -> None:
        if not self._listener.may_say(self, len(frame)):
            return
        try:
            self._listener.heard(self, self._decoder.decode(frame))
        except ProtocolError as error:
            if self.sandboxed:
                # Only hostile code sends such a thing; it could fill the log with them.
                self._end_for("said what it may not", error)
            else:
                logger.warning("dropped a message of %s worker %s: %s", *self._names, error)
        except Exception:
            logger.exception("a message of %s worker %s failed", *self._names)
            self.kill()

    @property
    def _names(self) -> tuple[str, int | None]:
        return self.spec.name, self.pid

    def send(self, message: m.ToWorker) -> None:
        if self._channel is None:
            return
        if isinstance(message, (m.AbortCall, m.CancelCall)):
            # One with plain hooks reads between two of them: it should not read all that before.
            self._channel.drop(message.call)
        # Without its opening nobody would answer the abort.
        about = "" if isinstance(message, m.OpenCall) else message.call
        # What ends a call must reach it, however much waits for others.
        limited = isinstance(message, (m.FeedText, m.ToolAnswer))
        self._channel.put(m.encode(message), about, limited=limited)

    def _end_for(self, what: str, error: Exception) -> None:
        logger.warning("%s worker %s %s: %s", *self._names, what, error)
        self.kill()

    def kill(self) -> None:
        self.retired = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def memory_bytes(self, enough: int) -> int:
        if self.pid is None:
            return 0
        if self._group is not None:
            # The kernel keeps the limit. For a moment it may count more, of what it can give back.
            return min(self._group.memory_bytes, enough)
        # It reads /proc, which takes milliseconds on a machine with many processes.
        return await asyncio.to_thread(self._weigh, self.pid, enough)

    def _weigh(self, pid: int, enough: int) -> int:
        weight = weight_of(pid, enough)
        if self._start_processor_s is None:
            self._start_processor_s = weight.processor_s
        took = weight.processor_s - self._start_processor_s
        if not self._gives_way and took > _FAIR_PROCESSOR_S:
            self._gives_way = lower_sessions_below(pid, weight.processes)
        if not self.sandboxed or len(weight.processes) < 2:
            return weight.memory_bytes
        # The second process is the sandbox's first, which no program in it can end or change.
        return weight.memory_bytes + socket_bytes(weight.processes[1])


def _signal_name(number: int) -> str:
    try:
        return f"signal {signal.Signals(number).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
