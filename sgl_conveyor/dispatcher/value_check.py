"""Values that a model may have made, checked before they are passed on as JSON.

Reading 16 MiB of brackets takes a core for 30 ms, in which the event loop would stand still: large
values are read in a process of their own, one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from sgl_conveyor.heard import why_no_json
from sgl_conveyor.processes import die_with
from sgl_conveyor.supervision import Supervisor

logger = logging.getLogger(__name__)

#: Bytes of a value that is checked at once.
_SMALL_BYTES = 256 * 1024
_WRITTEN_AT_ONCE = 512 * 1024
_NICE = 5
#: Seconds that a check may take once it is its turn, the start of the process included.
_LIMIT_S = 20.0
#: Processes that may end during one value's check.
_TRIES = 2
_UNCHECKED = "it could not be checked"


class ValueChecker:
    """Checks values; made in the event loop that uses it.

    Args:
        supervisor: of the tasks that wait for the other process.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._process: _Process | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    def check(self, value: bytes | bytearray, then: Callable[[str | None], None]) -> None:
        """Check a value.

        Args:
            value: which should be JSON.
            then: called once with what is wrong with it, or None: at once for a small one, and not
                if the event loop ends before.
        """
        if len(value) <= _SMALL_BYTES:
            then(why_no_json(value))
        else:
            self._supervisor.run("the check of a large value", self._check(value, then))

    async def _check(self, value: bytes | bytearray, then: Callable[[str | None], None]) -> None:
        why: str | None = _UNCHECKED
        try:
            # One at a time: who waits for its turn neither uses up its limit nor loses its process
            # to another one's.
            async with self._turn:
                why = await self._checked(value)
        except Exception as error:
            # Whatever it was, a call waits for its answer.
            logger.error("a value of %d bytes could not be checked: %r", len(value), error)
        then(why)

    async def _checked(self, value: bytes | bytearray) -> str | None:
        # Not through the pipe, which would copy it twice, all at once.
        with _file() as file:
            for start in range(0, len(value), _WRITTEN_AT_ONCE):
                os.write(file, memoryview(value)[start : start + _WRITTEN_AT_ONCE])
                await asyncio.sleep(0)
            async with asyncio.timeout(_LIMIT_S):
                return await self._answer(f"/proc/{os.getpid()}/fd/{file}")

    async def _answer(self, path: str) -> str | None:
        """What the process says, or a fresh one if it ends: that need not be this value's doing."""
        for _ in range(_TRIES):
            if self._closed:
                return _UNCHECKED
            if self._process is None:
                self._process = _Process()
            answered = False
            try:
                why = await self._process.why_no_json_in(path)
                answered = True
                return why
            except (EOFError, OSError) as error:
                logger.error("the process that checks large values ended: %r", error)
            finally:
                # Its answer, if it still comes, would be taken for the next value's.
                if not answered:
                    self._kill()
        return _UNCHECKED

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process; a check that is due or running finds that it could not be made."""
        self._closed = True
        self._kill()


class _Process:
    """The process that reads values, from its start to its end; asked one question at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, its = context.Pipe()
        self._process = context.Process(target=_serve, args=(its, os.getpid()), daemon=True)
        self._process.start()
        its.close()

    async def why_no_json_in(self, path: str) -> str | None:
        """What is wrong with the value in a file, or None.

        Args:
            path: of the file.

        Raises:
            EOFError, OSError: the process has ended.
        """
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        self._ours.send(path)
        loop.add_reader(self._ours, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._ours)
        why: str | None = self._ours.recv()
        return why

    def kill(self) -> None:
        """End the process, whatever it does; a question that it was asked ends with `EOFError`."""
        # The next one's start, or our own end, reaps it.
        self._process.kill()


def _serve(its: Connection, parent: int) -> None:
    """The process's whole life: it stands back behind the dispatcher, and yet gets its share."""
    die_with(parent)
    os.nice(_NICE)
    with contextlib.suppress(EOFError):
        while True:
            its.send(why_no_json(Path(its.recv()).read_bytes()))


@contextlib.contextmanager
def _file() -> Iterator[int]:
    file = os.memfd_create("value")
    try:
        yield file
    finally:
        os.close(file)
