"""A worker that is behind: what an abort drops, and how much may wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from sgl_conveyor import messages as m
from sgl_conveyor.errors import QueueOverflow
from tests.worker.at_hand import LIMIT_S, WorkerAtHand, worker_of

SLOW = "tests.tools.slow:Slow"
SLOW_COROUTINE = "tests.tools.slow:SlowCoroutine"
LOUD = "tests.tools.slow:Loud"
MIB = 1024 * 1024


def with_worker(source: str, go: Callable[[WorkerAtHand], Coroutine[Any, Any, None]]) -> None:
    """Run this with a worker of the tool."""

    async def run() -> None:
        async with worker_of(source) as worker:
            await go(worker)

    asyncio.run(run())


async def words_after_the_abort(worker: WorkerAtHand) -> str:
    """Abort the call while its first line runs; what `abort` then said."""
    await worker.hear(m.Emitted, lambda said: said.text == "began\n")
    worker.tell(m.AbortCall("call", "no longer wanted"))
    said = await worker.hear(m.Emitted, lambda said: said.text.startswith("aborted"))
    await worker.hear(m.Released)
    return said.text


@pytest.mark.parametrize("tool", [SLOW, SLOW_COROUTINE])
def test_an_abort_drops_the_messages_that_wait_before_it(tool: str) -> None:
    async def go(worker: WorkerAtHand) -> None:
        for _ in range(50):
            worker.feed("0.3\n")
        assert await words_after_the_abort(worker) == "aborted after 1: no longer wanted"

    with_worker(tool, go)


@pytest.mark.parametrize("tool", [SLOW, SLOW_COROUTINE])
def test_an_abort_drops_the_units_of_the_message_that_is_handled(tool: str) -> None:
    async def go(worker: WorkerAtHand) -> None:
        worker.feed("0.3\n" * 25, "0.3\n" * 25)
        assert await words_after_the_abort(worker) == "aborted after 1: no longer wanted"

    with_worker(tool, go)


def test_a_cancel_drops_them_too_and_runs_no_abort() -> None:
    async def go(worker: WorkerAtHand) -> None:
        worker.feed("0.3\n" * 50)
        await worker.hear(m.Emitted)
        worker.tell(m.CancelCall("call"))
        await worker.hear(m.Released)
        assert [said.text for said in worker.heard if isinstance(said, m.Emitted)] == ["began\n"]

    with_worker(SLOW, go)


@pytest.mark.parametrize("tool", [SLOW, SLOW_COROUTINE])
def test_the_next_call_of_the_worker_is_whole(tool: str) -> None:
    async def go(worker: WorkerAtHand) -> None:
        worker.feed("0.1\n" * 50)
        await words_after_the_abort(worker)
        worker.feed("late text of the call that is over\n")
        worker.tell(m.OpenCall("next", "region"))
        worker.feed("0\n0\n", call="next")
        worker.tell(m.EndRegion("next", 0.0))
        await worker.hear(m.Drained)
        worker.tell(m.FinishCall("next"))
        await worker.hear(m.Finished)
        units = [said.units for said in worker.heard if isinstance(said, m.Progress)]
        assert sum(map(len, units)) >= 2

    with_worker(tool, go)


def test_a_worker_that_does_not_read_is_aborted_ahead_of_what_waits_for_it() -> None:
    async def go(worker: WorkerAtHand) -> None:
        worker.feed("1\n")
        await worker.hear(m.Emitted)
        # Such a worker's answers may wait as well.
        for _ in range(47):
            worker.feed("x" * MIB)
        with pytest.raises(QueueOverflow, match="does not read"):
            worker.feed("x" * 2 * MIB)
        worker.tell(m.AbortCall("call", "too far behind"))
        said = await worker.hear(m.Emitted, lambda said: said.text.startswith("aborted"))
        assert said.text == "aborted after 1: too far behind"
        await worker.hear(m.Released)

    with_worker(SLOW, go)


def test_an_abort_is_never_refused_whatever_waits_for_other_calls() -> None:
    async def go(worker: WorkerAtHand) -> None:
        worker.feed("1\n")
        await worker.hear(m.Emitted)
        # To the last byte that may wait.
        for size in (MIB, 32 * 1024, 1024, 32, 0):
            with contextlib.suppress(QueueOverflow):
                while True:
                    worker.feed("x" * size, call="another")
        worker.tell(m.AbortCall("call", "no longer wanted"))
        said = await worker.hear(m.Emitted, lambda said: said.text.startswith("aborted"))
        assert said.text == "aborted after 1: no longer wanted"

    with_worker(SLOW, go)


def test_more_text_than_may_wait_ends_the_call_with_an_error_that_says_so() -> None:
    async def go(worker: WorkerAtHand) -> None:
        worker.feed("1\n")
        await worker.hear(m.Emitted)
        for _ in range(20):
            worker.feed("x" * MIB)
            await asyncio.sleep(0.01)
        raised = await worker.hear(m.HookRaised)
        assert raised.error.type == "QueueOverflow"
        assert f"{16 * MIB} bytes wait for its hooks" in raised.error.message
        said = await worker.hear(m.Emitted, lambda said: said.text.startswith("aborted"))
        assert "aborted after 1" in said.text
        await worker.hear(m.Released)

    with_worker(SLOW_COROUTINE, go)


async def emitted_while_nobody_reads(worker: WorkerAtHand, times: int, path: Path) -> None:
    """Let the tool emit so often; the test reads only then."""
    worker.read_no_more()
    worker.feed(f"{times} {path}\n")
    worker.tell(m.EndRegion("call", 0.0))
    async with asyncio.timeout(LIMIT_S):
        while not path.exists():
            await asyncio.sleep(0.05)
    worker.read_again()


def test_output_that_the_dispatcher_does_not_read_ends_the_call_with_an_error(
    tmp_path: Path,
) -> None:
    async def go(worker: WorkerAtHand) -> None:
        # More than a socket holds, and the worker keeps.
        await emitted_while_nobody_reads(worker, 150_000, tmp_path / "done")
        raised = await worker.hear(m.HookRaised)
        assert raised.error.type == "QueueOverflow"
        assert "the dispatcher does not read" in raised.error.message
        await worker.hear(m.Released)

    with_worker(LOUD, go)


def test_output_that_waits_for_a_while_arrives_complete(tmp_path: Path) -> None:
    async def go(worker: WorkerAtHand) -> None:
        # More than a socket holds: the worker keeps some.
        await emitted_while_nobody_reads(worker, 80_000, tmp_path / "done")
        await worker.hear(m.Drained)
        assert sum(isinstance(said, m.Emitted) for said in worker.heard) == 80_000

    with_worker(LOUD, go)
