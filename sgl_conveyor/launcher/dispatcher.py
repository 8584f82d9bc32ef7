"""The dispatcher's process: started, listened to, and started again when it ends."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

import msgspec

from sgl_conveyor.dispatcher.config import DispatcherConfig, NotReady, ServerReady, WorkersReady
from sgl_conveyor.processes import die_with_parent
from sgl_conveyor.tools_config import worker_environment

logger = logging.getLogger(__name__)

#: Seconds before it is started again, at first and at most.
_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 10.0
#: One that ran for so many seconds is started again after the first pause.
_STEADY_S = 60.0
#: Bytes of a line of its output, and those that the log shows of one that is no report.
_MAX_LINE = 64 * 1024
_SHOWN = 200

AnyReport = WorkersReady | ServerReady | NotReady


class DispatcherProcess:
    """The dispatcher, for as long as the server runs.

    Args:
        config: what it is told.
        heard: called with each of its reports.
    """

    def __init__(self, config: DispatcherConfig, heard: Callable[[AnyReport], None]) -> None:
        self._config = config
        self._heard = heard
        self.process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process's id, if it was started."""
        return None if self.process is None else self.process.pid

    async def keep(self, may_end: Callable[[], bool]) -> None:
        """Run it, and run it again when it ends.

        Args:
            may_end: whether its end is one that a new start mends; if not, this returns.
        """
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_S
        while True:
            began = loop.time()
            code = await self._run()
            if not may_end():
                logger.error("the dispatcher ended with code %s during the start", code)
                return
            if loop.time() - began > _STEADY_S:
                pause = _FIRST_PAUSE_S
            logger.error(
                "the dispatcher ended with code %s; starting it again in %.1f s", code, pause
            )
            await asyncio.sleep(pause)
            pause = min(_MAX_PAUSE_S, 2 * pause)

    async def _run(self) -> int:
        process = self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "sgl_conveyor.dispatcher"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MAX_LINE,
            env=worker_environment(),
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(self._config) + b"\n")
        process.stdin.close()
        while line := await _line_of(process.stdout):
            if (report := _report_of(line)) is not None:
                self._heard(report)
        return await process.wait()


def _report_of(line: bytes) -> AnyReport | None:
    """A report; None if a library printed the line, which must not end the server."""
    try:
        report: AnyReport = msgspec.json.decode(line, type=AnyReport)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        shown = line[:_SHOWN].decode(errors="replace").rstrip()
        logger.warning("the dispatcher printed what is no report: %r", shown)
        return None
    return report


async def _line_of(stream: asyncio.StreamReader) -> bytes:
    """The next line; what is longer than a line may be comes in pieces."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(max(1, error.consumed))
