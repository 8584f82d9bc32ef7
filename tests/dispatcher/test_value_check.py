"""Large values are checked in another process, which may hang or end: each gets one answer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine

import psutil
import pytest

from sgl_conveyor.dispatcher import value_check
from sgl_conveyor.dispatcher.value_check import ValueChecker
from sgl_conveyor.supervision import Supervisor

LIMIT_S = 30.0
LARGE = b"[" + b"1," * 200_000 + b"1]"
UNCHECKED = "it could not be checked"


class Checks:
    """A checker, its answers in their order, and its process.

    Args:
        supervisor: of the checker's tasks.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._before = psutil.Process().children()
        self.checker = ValueChecker(supervisor)
        self.answers: list[tuple[str, str | None]] = []

    def begin(self, name: str, value: bytes = LARGE) -> None:
        self.checker.check(value, lambda why: self.answers.append((name, why)))

    async def answered(self, count: int) -> list[tuple[str, str | None]]:
        """The answers, once so many are there, and a moment later: none comes twice."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.answers) < count:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        return self.answers

    async def process(self) -> psutil.Process:
        """The process, once it has answered a first check."""
        self.begin("first")
        assert await self.answered(1) == [("first", None)]
        self.answers.clear()
        [process] = [
            child
            for child in psutil.Process().children()
            if child not in self._before and "spawn_main" in " ".join(child.cmdline())
        ]
        return process


def with_checks(go: Callable[[Checks], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        supervisor = Supervisor()
        checks = Checks(supervisor)
        try:
            await go(checks)
        finally:
            checks.checker.close()
            await supervisor.close(0)

    asyncio.run(run())


def is_over(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


async def ended(process: psutil.Process) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not is_over(process):
            await asyncio.sleep(0.01)


def test_a_large_value_is_checked() -> None:
    async def go(checks: Checks) -> None:
        checks.begin("good")
        checks.begin("bad", LARGE[:-2] + b"]")
        (_, good), (_, bad) = await checks.answered(2)
        assert good is None
        assert bad is not None
        assert "trailing comma" in bad

    with_checks(go)


def test_a_check_that_hangs_harms_no_other_and_its_process_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def go(checks: Checks) -> None:
        process = await checks.process()
        process.suspend()
        monkeypatch.setattr(value_check, "_LIMIT_S", 1.0)
        # They wait for the first one, for longer together than one may take.
        for name in ("hangs", "second", "third", "fourth"):
            checks.begin(name)
            await asyncio.sleep(0.2)
        await checks.answered(1)
        monkeypatch.undo()
        assert await checks.answered(4) == [
            ("hangs", UNCHECKED),
            ("second", None),
            ("third", None),
            ("fourth", None),
        ]
        await ended(process)

    with_checks(go)


@pytest.mark.parametrize("at_work", [True, False])
def test_a_process_that_ends_fails_no_check(at_work: bool) -> None:
    async def go(checks: Checks) -> None:
        process = await checks.process()
        if at_work:
            process.suspend()
            checks.begin("one")
            checks.begin("two")
            await asyncio.sleep(0.1)
        process.kill()
        if not at_work:
            await ended(process)
            checks.begin("one")
            checks.begin("two")
        assert await checks.answered(2) == [("one", None), ("two", None)]

    with_checks(go)


def test_a_value_whose_check_ends_every_process_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def go(checks: Checks) -> None:
        # Each process finds that its parent is gone, and ends.
        monkeypatch.setattr(value_check.os, "getpid", lambda: 2**30)
        checks.begin("one")
        assert await checks.answered(1) == [("one", UNCHECKED)]

    with_checks(go)


def test_a_check_for_which_there_is_no_file_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> int:
        raise OSError("as ordered")

    async def go(checks: Checks) -> None:
        monkeypatch.setattr(os, "memfd_create", fails)
        checks.begin("one")
        assert await checks.answered(1) == [("one", UNCHECKED)]

    with_checks(go)


def test_closing_answers_the_check_that_runs_and_those_that_wait() -> None:
    async def go(checks: Checks) -> None:
        process = await checks.process()
        os.kill(process.pid, signal.SIGSTOP)
        checks.begin("runs")
        checks.begin("waits")
        await asyncio.sleep(0.1)
        checks.checker.close()
        checks.begin("late")
        assert await checks.answered(3) == [(n, UNCHECKED) for n in ("runs", "waits", "late")]
        await ended(process)

    with_checks(go)
