"""SGLang's server and the dispatcher, from their start to their end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
from pathlib import Path

import msgspec

from sgl_conveyor.channel import RunDirectory
from sgl_conveyor.dispatcher.config import DispatcherConfig, NotReady, Retention, ServerReady
from sgl_conveyor.launcher.descendants import kill_all, kill_all_but, reap_orphans
from sgl_conveyor.launcher.dispatcher import AnyReport, DispatcherProcess
from sgl_conveyor.launcher.flags import Options
from sgl_conveyor.launcher.server import SglangServer
from sgl_conveyor.specs import ToolSpec
from sgl_conveyor.supervision import Supervisor

logger = logging.getLogger(__name__)

#: Seconds on top of the drain before what has not ended is killed.
_KILL_AFTER_DRAIN_S = 2.0
#: Seconds before SGLang is started again, at first and at most.
_FIRST_PAUSE_S = 1.0
_MAX_PAUSE_S = 60.0
#: The line that says that the server is ready; tests and scripts wait for it.
READY = "SGL Conveyor is ready"


class Launcher:
    """The processes of one server; made in the event loop.

    Args:
        options: our flags.
        sglang_flags: SGLang's.
        tools: what the server offers.
        directory: the run directory.
        cgroup: whose children hold sandboxes; None if none is delegated to us.
    """

    def __init__(
        self,
        options: Options,
        sglang_flags: list[str],
        tools: list[ToolSpec],
        directory: RunDirectory,
        cgroup: Path | None,
    ) -> None:
        self._options = options
        self._sglang_flags = sglang_flags
        self._directory = directory
        self._tools = ", ".join(tool.name for tool in tools)
        self._stopping = asyncio.Event()
        #: Why the server cannot be made ready; set once.
        self._cannot_start = asyncio.Event()
        self._was_ready = False
        self._server: SglangServer | None = None
        config = DispatcherConfig(
            run_directory=str(directory.path),
            tools=tools,
            secret=secrets.token_hex(32),
            retention=Retention(
                seconds=options.keep_s,
                calls=options.keep_calls,
                bytes=options.keep_mib * 1024**2,
            ),
            drain_s=options.drain_s,
            result_bytes=options.result_mib * 1024**2,
            unsafe=options.unsafe,
            cgroup=None if cgroup is None else str(cgroup),
            log_level=options.log_level,
        )
        self._dispatcher = DispatcherProcess(config, self._heard)
        directory.tools.write_bytes(msgspec.json.encode(tools))

    async def run(self) -> int:
        """Serve until a signal, or until what serves is gone; returns the exit code."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._stopping.set)
        supervisor = Supervisor()
        supervisor.keep("reaping orphans", lambda: reap_orphans(self._children))
        serving = asyncio.ensure_future(self._serve())
        dispatching = asyncio.ensure_future(self._dispatcher.keep(lambda: self._was_ready))
        stopping = asyncio.ensure_future(self._stopping.wait())
        failing = asyncio.ensure_future(self._cannot_start.wait())
        tasks = {serving, dispatching, stopping, failing}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        try:
            if serving.done():
                return serving.result()
            if dispatching.done():
                dispatching.result()
                return 2
            return 2 if failing.done() else 0
        finally:
            for task in tasks:
                task.cancel()
            await self._end()
            await supervisor.close(0)

    async def _serve(self) -> int:
        """Run SGLang, and run it again as often as our flags say; returns the exit code."""
        pause = _FIRST_PAUSE_S
        restarts = self._options.restarts
        number = 0
        while True:
            number += 1
            self._server = await SglangServer.start(self._sglang_flags, self._directory)
            death = await self._server.death()
            # What never was ready will not be at the next start.
            again = self._was_ready and number <= restarts
            then = (
                f"SGLang starts again in {pause:g} s (restart {number} of {restarts})"
                if again
                else "the server ends"
            )
            logger.error("%s; %s", death.what, then)
            # At once: until its HTTP process is gone, clients wait for answers that never come.
            await kill_all_but(lambda: self._dispatcher.pid)
            if not again:
                return death.code
            await asyncio.sleep(pause)
            pause = min(_MAX_PAUSE_S, 2 * pause)

    def _heard(self, report: AnyReport) -> None:
        if isinstance(report, NotReady):
            logger.error("%s", report.reason)
            if not self._was_ready:
                self._cannot_start.set()
        if isinstance(report, ServerReady) and self._server is not None:
            self._was_ready = self._server.ready = True
            logger.info("%s: tools %s", READY, self._tools)

    def _running(self) -> list[asyncio.subprocess.Process]:
        server = None if self._server is None else self._server.process
        started = [process for process in (server, self._dispatcher.process) if process is not None]
        return [process for process in started if process.returncode is None]

    def _children(self) -> set[int]:
        return {process.pid for process in self._running()}

    async def _end(self) -> None:
        """Let what runs drain, then end everything that we started."""
        drain = self._options.drain_s if self._stopping.is_set() else 0.0
        running = self._running()
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        waits = [asyncio.ensure_future(process.wait()) for process in running]
        if waits:
            await asyncio.wait(waits, timeout=drain + _KILL_AFTER_DRAIN_S)
        kill_all()
