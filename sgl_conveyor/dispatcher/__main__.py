"""python -m sgl_conveyor.dispatcher: started by the launcher, configured on standard input."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import msgspec

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

#: Seconds that the first worker of each tool may take to say hello.
_WORKERS_LIMIT_S = 60.0
#: Seconds that the tap's hello may come later than that of the HTTP hooks.
_TAP_LIMIT_S = 10.0


def main() -> int:
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=DispatcherConfig)
    configure_logging("conveyor", config.log_level)
    return asyncio.run(_run(config))


async def _run(config: DispatcherConfig) -> int:
    dispatcher = Dispatcher(config)
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    serving = asyncio.ensure_future(dispatcher.run())
    reporting = asyncio.ensure_future(_report_ready(dispatcher))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    broken = serving.result() if serving.done() else None
    if broken is not None:
        logger.error("%s: this dispatcher ends", broken)
    await dispatcher.close()
    for task in (serving, reporting, stopping):
        task.cancel()
    return 0 if broken is None else 1


async def _report_ready(dispatcher: Dispatcher) -> None:
    """Tell the launcher what has said hello."""
    hellos = [pool.first_hello for pool in dispatcher.pools.values()]
    try:
        async with asyncio.timeout(_WORKERS_LIMIT_S):
            await asyncio.gather(*hellos)
    except RuntimeError as error:
        _report(NotReady(str(error)))
        return
    except TimeoutError:
        late = [n for n, p in dispatcher.pools.items() if not p.first_hello.done()]
        _report(
            NotReady(f"no hello from a worker of {', '.join(late)} within {_WORKERS_LIMIT_S:g} s")
        )
        return
    _report(WorkersReady())
    # The launcher ends a server whose HTTP side never gets as far. A dispatcher that was started
    # again waits here in vain: the launcher asks for no second report.
    await dispatcher.http_hello.wait()
    try:
        async with asyncio.timeout(_TAP_LIMIT_S):
            await dispatcher.tap_hello.wait()
    except TimeoutError:
        _report(
            NotReady("no hello from the tap: the hook on SchedulerOutputStreamer is not in place")
        )
        return
    _report(ServerReady())


def _report(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
