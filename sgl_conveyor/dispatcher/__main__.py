"""python -m sgl_conveyor.dispatcher: started by the launcher, configured on standard input."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from sgl_conveyor.cgroup import remove_left
from sgl_conveyor.dispatcher.config import (
    DispatcherConfig,
    NotReady,
    Report,
    ServerReady,
    WorkersReady,
)
from sgl_conveyor.dispatcher.dispatcher import Dispatcher
from sgl_conveyor.processes import configure_logging

logger = logging.getLogger(__name__)

Tell = Callable[[Report], None]


def main() -> int:
    """Serve until a signal; returns the exit code."""
    reports = _reports_only()
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=DispatcherConfig)
    configure_logging("conveyor", config.log_level)

    def tell(report: Report) -> None:
        reports.write(msgspec.json.encode(report) + b"\n")
        reports.flush()

    if config.cgroup is not None:
        _clear(Path(config.cgroup))
    return asyncio.run(_run(config, tell))


def _clear(cgroup: Path) -> None:
    """Remove what a dispatcher before this one has left."""
    try:
        remove_left(cgroup)
    except OSError as error:
        logger.warning("cgroups of an earlier dispatcher are left in %s: %s", cgroup, error)


def _reports_only() -> BinaryIO:
    """The standard output, for reports alone: what a library prints goes to stderr from now on."""
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return reports


async def _run(config: DispatcherConfig, tell: Tell) -> int:
    dispatcher = Dispatcher(config)
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    serving = asyncio.ensure_future(dispatcher.run())
    reporting = asyncio.ensure_future(_report(dispatcher, config, tell))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({serving, reporting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    broken = serving.result() if serving.done() else None
    if broken is not None:
        logger.error("%s: this dispatcher ends", broken)
    if reporting.done():
        reporting.result()
    await dispatcher.close()
    for task in (serving, reporting, stopping):
        task.cancel()
    return 0 if broken is None else 1


async def _report(dispatcher: Dispatcher, config: DispatcherConfig, tell: Tell) -> None:
    """Tell the launcher what has said hello, for ever."""
    tell(await _workers(dispatcher, config.hello_limit_s))
    while True:
        # How long SGLang loads is its own affair; the launcher sees when it dies over it.
        await dispatcher.http_hello.wait()
        dispatcher.http_hello.clear()
        try:
            async with asyncio.timeout(config.tap_limit_s):
                await dispatcher.tap_hello.wait()
            # A server that is started again has another tap.
            dispatcher.tap_hello.clear()
        except TimeoutError:
            tell(
                NotReady(
                    "no hello from the tap: the hook on SchedulerOutputStreamer is not in place"
                )
            )
        else:
            tell(ServerReady())


async def _workers(dispatcher: Dispatcher, limit_s: float) -> Report:
    """Wait for the first worker of each tool; returns whether all are there, or who is not."""
    hellos = {pool.first_hello: name for name, pool in dispatcher.pools.items()}
    done, late = await asyncio.wait(hellos, timeout=limit_s, return_when=asyncio.FIRST_EXCEPTION)
    for hello in done:
        if (error := hello.exception()) is not None:
            return NotReady(str(error))
    if late:
        names = ", ".join(hellos[hello] for hello in hellos if hello in late)
        return NotReady(f"no hello from a worker of {names} within {limit_s:g} s")
    return WorkersReady()


if __name__ == "__main__":
    sys.exit(main())
