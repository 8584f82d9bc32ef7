"""What runs below this process: reaped as an init would, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import time
from collections.abc import Callable

import psutil

logger = logging.getLogger(__name__)

_PR_SET_CHILD_SUBREAPER = 36
_REAP_INTERVAL_S = 1.0
_KILL_INTERVAL_S = 0.05
#: Seconds that killed processes may take to be gone: those with memory on a GPU take a few.
_KILL_LIMIT_S = 30.0


def become_subreaper() -> None:
    """Have orphans below this process become its children, rather than those of init."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def reap_orphans(ours: Callable[[], set[int]]) -> None:
    """Take the exit codes of processes whose parents died before them, for ever.

    Args:
        ours: gives the children that somebody here waits for already.
    """
    before: set[int] = set()
    while True:
        await asyncio.sleep(_REAP_INTERVAL_S)
        # A child of ours is waited for as it ends: who is still there later is an orphan.
        dead = {child.pid for child in psutil.Process().children() if not runs(child)}
        for pid in (dead & before) - ours():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        before = dead


async def kill_all_but(spared: Callable[[], int | None]) -> None:
    """Kill all that runs below this process, and wait until it is gone.

    Args:
        spared: gives the child that is left alone, with all below it; another one may take its
            place meanwhile.
    """
    deadline = time.monotonic() + _KILL_LIMIT_S
    while left := [process for process in _below(spared()) if runs(process)]:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if time.monotonic() > deadline:
            logger.error("killed, and still there: %s", ", ".join(str(p.pid) for p in left))
            return
        await asyncio.sleep(_KILL_INTERVAL_S)


def kill_all() -> None:
    """Kill and reap all that is left below this process."""
    left = _below(None)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def runs(process: psutil.Process) -> bool:
    """Whether a process has not ended."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _below(spared: int | None) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        if child.pid != spared:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [child, *child.children(recursive=True)]
    return found
