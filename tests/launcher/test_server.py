"""Whose death ends a server: processes that stand in for SGLang's, with titles like theirs."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import psutil

from sgl_conveyor.launcher.server import SglangServer

LIMIT_S = 20.0
#: Seconds in which a death must be seen.
SEEN_LIMIT_S = 2.0
#: A server's HTTP process starts its scheduler.
HTTP = """
import subprocess, sys, time
subprocess.run([sys.executable, sys.argv[1]])
time.sleep(60)
"""
#: A scheduler forks a helper now and then.
SCHEDULER = """
import os, sys, time
from pathlib import Path
from setproctitle import setproctitle
setproctitle("sglang::scheduler")
for number in range(4):
    if os.fork() == 0:
        time.sleep(1.5)
        os._exit(0)
    os.wait()
    Path(sys.argv[0]).with_suffix(f".{number}").touch()
time.sleep(60)
"""


async def until_there(path: Path) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not path.exists():
            await asyncio.sleep(0.05)


def end(process: psutil.Process) -> None:
    """Kill a process, with what runs below it and has not ended meanwhile."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for part in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                part.kill()


def test_the_end_of_a_schedulers_fork_is_not_the_schedulers(tmp_path: Path) -> None:
    (tmp_path / "http.py").write_text(HTTP)
    (tmp_path / "scheduler.py").write_text(SCHEDULER)

    async def run() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(tmp_path / "http.py"), str(tmp_path / "scheduler.py")
        )
        http = psutil.Process(process.pid)
        death = asyncio.ensure_future(SglangServer(process).death())
        forked = asyncio.ensure_future(until_there(tmp_path / "scheduler.3"))
        try:
            await asyncio.wait({death, forked}, return_when=asyncio.FIRST_COMPLETED)
            assert not death.done(), death.result()
            await forked
            [scheduler] = http.children()
            scheduler.kill()
            found = await asyncio.wait_for(death, SEEN_LIMIT_S)
            assert f"(process {scheduler.pid}) died" in found.what
        finally:
            for task in (death, forked):
                task.cancel()
            end(http)
            await process.wait()

    asyncio.run(run())
