"""Background tasks: what happens when one of them ends."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sgl_conveyor.supervision import Supervisor


async def _raise() -> None:
    raise ValueError("as ordered")


def test_a_task_that_fails_is_logged_and_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    began: list[int] = []

    async def work() -> None:
        began.append(1)
        if len(began) < 3:
            await _raise()
        await asyncio.sleep(60)

    async def go() -> None:
        supervisor = Supervisor()
        supervisor.keep("the watch", work)
        async with asyncio.timeout(10):
            while len(began) < 3:
                await asyncio.sleep(0.01)
        await supervisor.close(0)

    asyncio.run(go())
    assert "the task 'the watch' failed" in caplog.text
    assert "ValueError: as ordered" in caplog.text


def test_a_task_that_waited_for_what_was_cancelled_begins_again_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    began: list[int] = []

    async def work() -> None:
        began.append(1)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(began) == 1:
            gone.cancel()
        await gone

    async def go() -> None:
        supervisor = Supervisor()
        supervisor.keep("the watch", work)
        async with asyncio.timeout(10):
            while len(began) < 2:
                await asyncio.sleep(0.01)
        # And its own cancellation ends it.
        await asyncio.wait_for(supervisor.close(0), 10)

    asyncio.run(go())
    assert "the task 'the watch' waited for what was cancelled" in caplog.text


def test_a_needed_task_that_ends_is_the_process_s_failure() -> None:
    async def go() -> str:
        supervisor = Supervisor()
        supervisor.need("the tap", _raise())
        async with asyncio.timeout(10):
            return await supervisor.failure()

    assert asyncio.run(go()) == "the task 'the tap' is gone: ValueError: as ordered"


def test_a_task_that_runs_once_is_logged_when_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> None:
        await Supervisor().run("a start", _raise())

    with caplog.at_level(logging.ERROR):
        asyncio.run(go())
    assert "the task 'a start' failed" in caplog.text


def test_closing_waits_then_cancels_and_starts_nothing_again() -> None:
    async def go() -> int:
        supervisor = Supervisor()
        began = 0

        async def work() -> None:
            nonlocal began
            began += 1
            await asyncio.sleep(0.01)

        supervisor.keep("short", work)
        supervisor.need("long", asyncio.sleep(60))
        await asyncio.sleep(0)
        await supervisor.close(0.3)
        return began

    assert asyncio.run(go()) == 1
