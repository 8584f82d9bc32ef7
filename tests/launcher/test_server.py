"""Whose death ends a server: processes that stand in for SGLang's, with titles like theirs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil

from sgl_conveyor.launcher.server import SglangServer

LIMIT_S = 20.0
#: A server's HTTP process starts its scheduler, which forks a helper now and then.
HTTP = """
import subprocess, sys, time
subprocess.run(["sglang::scheduler", sys.argv[1]], executable=sys.executable)
time.sleep(60)
"""
SCHEDULER = """
import os, sys, time
from pathlib import Path
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


def test_the_end_of_a_schedulers_fork_is_not_the_schedulers(tmp_path: Path) -> None:
    (tmp_path / "http.py").write_text(HTTP)
    (tmp_path / "scheduler.py").write_text(SCHEDULER)

    async def run() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(tmp_path / "http.py"), str(tmp_path / "scheduler.py")
        )
        death = asyncio.ensure_future(SglangServer(process).death())
        try:
            await until_there(tmp_path / "scheduler.3")
            assert not death.done(), death.result()
            [scheduler] = psutil.Process(process.pid).children()
            scheduler.kill()
            found = await asyncio.wait_for(death, LIMIT_S)
            assert f"(process {scheduler.pid}) died" in found.what
        finally:
            death.cancel()
            for part in [*psutil.Process(process.pid).children(recursive=True), process]:
                part.kill()
            await process.wait()

    asyncio.run(run())
