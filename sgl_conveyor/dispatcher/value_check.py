"""Values that a model may have made, checked before they are passed on as JSON.

Reading 16 MiB of brackets takes a core for 30 ms, in which the event loop would stand still: large
values are read in a process of their own.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from sgl_conveyor.heard import why_no_json
from sgl_conveyor.processes import die_with
from sgl_conveyor.supervision import Supervisor

logger = logging.getLogger(__name__)

#: Bytes of a value that is checked at once.
_SMALL_BYTES = 256 * 1024
_WRITTEN_AT_ONCE = 512 * 1024
_NICE = 5
#: Seconds that a check may take, the start of the process included.
_LIMIT_S = 20.0


class ValueChecker:
    """Checks values; made in the event loop that uses it.

    Args:
        supervisor: of the tasks that wait for the other process.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._process: ProcessPoolExecutor | None = None

    def check(self, value: bytes | bytearray, then: Callable[[str | None], None]) -> None:
        """Check a value.

        Args:
            value: which should be JSON.
            then: called with what is wrong with it, or None: at once for a small one.
        """
        if len(value) <= _SMALL_BYTES:
            then(why_no_json(value))
        else:
            self._supervisor.run("the check of a large value", self._check(value, then))

    async def _check(self, value: bytes | bytearray, then: Callable[[str | None], None]) -> None:
        why: str | None = "it could not be checked"
        # Not as an argument, which would be copied twice, all at once.
        file = os.memfd_create("value")
        try:
            for start in range(0, len(value), _WRITTEN_AT_ONCE):
                os.write(file, memoryview(value)[start : start + _WRITTEN_AT_ONCE])
                await asyncio.sleep(0)
            path = f"/proc/{os.getpid()}/fd/{file}"
            async with asyncio.timeout(_LIMIT_S):
                loop = asyncio.get_running_loop()
                why = await loop.run_in_executor(self._checking(), _why_no_json_in, path)
        except (BrokenProcessPool, TimeoutError, OSError) as error:
            logger.error("a value of %d bytes could not be checked: %r", len(value), error)
            self.close()
        finally:
            os.close(file)
        then(why)

    def _checking(self) -> ProcessPoolExecutor:
        if self._process is None:
            self._process = ProcessPoolExecutor(
                1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin,
                initargs=(os.getpid(),),
            )
        return self._process

    def close(self) -> None:
        """End the process; it begins again with the next large value."""
        process, self._process = self._process, None
        if process is not None:
            process.shutdown(wait=False, cancel_futures=True)


def _begin(parent: int) -> None:
    """What the process does first: it stands back behind the dispatcher, and yet gets its share."""
    die_with(parent)
    os.nice(_NICE)


def _why_no_json_in(path: str) -> str | None:
    return why_no_json(Path(path).read_bytes())
