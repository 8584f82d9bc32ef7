"""A pool over a host that has no processes: the queue, the gate before finish, limits, starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sgl_conveyor import messages as m
from sgl_conveyor.core import TextPiece, ToolError
from sgl_conveyor.dispatcher import limits
from sgl_conveyor.dispatcher import pool as pool_module
from sgl_conveyor.dispatcher import workers as workers_module
from sgl_conveyor.dispatcher.hosts.host import Host, Listener, Worker
from sgl_conveyor.dispatcher.pool import WorkerPool
from sgl_conveyor.errors import HostError, ProtocolError, QueueOverflow
from sgl_conveyor.specs import RESULT_BYTES, Limits, ToolSpec

LIMIT_S = 30.0


class PaperWorker(Worker):
    """A worker without a process: the test says what it says."""

    def __init__(self, spec: ToolSpec, listener: Listener) -> None:
        super().__init__(spec, sandboxed=False)
        self.told: list[m.ToWorker] = []
        self.over = asyncio.Event()
        self.memory: int | Exception = 0
        self.is_behind = False
        self._listener = listener

    @property
    def pid(self) -> int:
        return 1

    def send(self, message: m.ToWorker) -> None:
        if self.is_behind and isinstance(message, m.FeedText):
            raise QueueOverflow("too much waits")
        self.told.append(message)

    def kill(self) -> None:
        self.retired = True
        self.over.set()

    async def memory_bytes(self, enough: int) -> int:
        if isinstance(self.memory, Exception):
            raise self.memory
        return self.memory

    def say(self, *messages: m.FromWorker) -> None:
        for message in messages:
            if self._listener.may_say(self, len(m.encode(message))):
                self._listener.heard(self, message)

    def kinds(self) -> list[str]:
        return [type(message).__name__ for message in self.told]


class PaperHost(Host):
    """Gives workers that are ready at once, unless it is broken."""

    def __init__(self) -> None:
        self.workers: list[PaperWorker] = []
        self.broken = False
        self.silent = False
        self.tries = 0

    async def run(
        self, spec: ToolSpec, started: Callable[[Worker], None], listener: Listener
    ) -> str:
        self.tries += 1
        if self.broken:
            raise HostError("no machine is there")
        worker = PaperWorker(spec, listener)
        self.workers.append(worker)
        started(worker)
        if not self.silent:
            worker.say(m.WorkerHello(1))
        await worker.over.wait()
        return "it was ended"


class Events:
    """What the pool told of its calls."""

    def __init__(self) -> None:
        self.heard: list[m.FromWorker] = []
        self.again: list[str] = []
        self.errors: list[ToolError] = []

    def from_worker(self, call: str, message: m.FromWorker) -> None:
        self.heard.append(message)

    def restarted(self, call: str) -> None:
        self.again.append(call)

    def lost(self, call: str, error: ToolError) -> None:
        self.errors.append(error)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)


Test = Callable[[WorkerPool, PaperHost, Events], Coroutine[Any, Any, None]]


def with_pool(test: Test, *, broken: bool = False, replayable: bool = False, **limits: Any) -> None:
    """Run this with a started pool."""

    async def run() -> None:
        host, events = PaperHost(), Events()
        host.broken = broken
        spec = ToolSpec(name="paper", source="x:X", replayable=replayable, limits=Limits(**limits))
        pool = WorkerPool(spec, host, events)
        pool.start()
        try:
            if not broken:
                await until(lambda: pool.free)
            await test(pool, host, events)
        finally:
            await pool.close()

    asyncio.run(run())


# --- the gate before finish ------------------------------------------------------------------


def test_a_drained_call_finishes_when_it_is_let_and_only_once() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        pool.open("call", "region")
        pool.finish("call")
        host.workers[0].say(m.Opened("call", 0, 0), m.Drained("call"))
        assert isinstance(events.heard[-1], m.Drained)
        await asyncio.sleep(0.5)
        assert "FinishCall" not in host.workers[0].kinds()
        pool.finish("call")
        pool.finish("call")
        assert host.workers[0].kinds() == ["OpenCall", "FinishCall"]

    with_pool(test)


def test_a_call_that_aborts_at_the_gate_does_not_finish() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        pool.open("call", "region")
        host.workers[0].say(m.Drained("call"))
        pool.abort("call", "no longer wanted")
        host.workers[0].say(m.Drained("call"))
        pool.finish("call")
        assert host.workers[0].kinds() == ["OpenCall", "AbortCall"]
        assert len(events.heard) == 1

    with_pool(test)


def test_a_call_whose_worker_is_lost_at_the_gate_begins_again_and_asks_again() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        pool.open("call", "region")
        pool.feed("call", [TextPiece("text", 0.0)])
        pool.end("call", 0.0)
        host.workers[0].say(m.Drained("call"))
        host.workers[0].kill()
        await until(lambda: len(host.workers) == 2)
        pool.finish("call")
        assert host.workers[1].kinds() == ["OpenCall", "FeedText", "EndRegion"]
        host.workers[1].say(m.Drained("call"))
        pool.finish("call")
        assert host.workers[1].kinds()[-1] == "FinishCall"
        assert events.again == ["call"]

    with_pool(test, replayable=True)


# --- what a worker says ---


def test_a_worker_says_hello_first_and_once() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        with pytest.raises(ProtocolError, match="hello"):
            host.workers[0].say(m.WorkerHello(1))
        host.workers[0].ready = False
        with pytest.raises(ProtocolError, match="hello"):
            host.workers[0].say(m.Released("call"))

    with_pool(test)


def test_a_hello_that_is_none_ends_a_sandboxed_worker_unread() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        host.workers[0].sandboxed, host.workers[0].ready = True, False
        host.workers[0].say(m.Emitted("call", "x" * 1000))
        assert host.workers[0].retired

    with_pool(test)


def test_a_sandboxed_worker_that_speaks_without_a_call_ends() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        host.workers[0].sandboxed = True
        host.workers[0].say(m.Released("call"))
        assert host.workers[0].retired

    with_pool(test)


def test_a_call_whose_worker_is_too_far_behind_is_aborted_with_an_error() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        pool.open("call", "r")
        host.workers[0].is_behind = True
        pool.feed("call", [TextPiece("x", 0.0)])
        assert events.errors == [ToolError("QueueOverflow", "too much waits")]
        assert host.workers[0].kinds() == ["OpenCall", "AbortCall"]
        assert not host.workers[0].retired

    with_pool(test)


def test_a_sandboxed_call_may_say_so_many_bytes_and_no_more() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        host.workers[0].sandboxed = True
        pool.open("call", "r")
        piece = m.DataPiece("call", 0, bytes(m.PIECE_BYTES))
        host.workers[0].say(*[piece] * (RESULT_BYTES // m.PIECE_BYTES))
        assert events.errors == []
        host.workers[0].say(*[piece] * 3)
        assert [error.type for error in events.errors] == ["TooManyBytes"]
        assert host.workers[0].retired

    with_pool(test)


# --- watches ---------------------------------------------------------------------------------


def test_a_watch_that_fails_is_logged_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []
    real = pool_module.overdue

    def fails_once(*arguments: Any) -> str | None:
        looks.append(1)
        if len(looks) == 1:
            raise OSError("as ordered")
        return real(*arguments)

    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        pool.open("call", "region")
        await until(lambda: events.errors)
        assert events.errors[0].type == "ToolTimeout"

    monkeypatch.setattr(pool_module, "overdue", fails_once)
    with_pool(test, timeout_s=0.1)
    assert "OSError: as ordered" in caplog.text
    assert "the time limits of the tool paper" in caplog.text


def test_a_stall_of_our_own_is_not_the_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRACE_S", 0.1)

    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        pool.open("call", "region")
        await asyncio.sleep(0.05)
        time.sleep(0.4)
        # The worker has answered in time, but the sockets' threads stood still with the loop.
        asyncio.get_running_loop().call_later(0.05, host.workers[0].say, m.Opened("call", 0, 0))
        await asyncio.sleep(0.5)
        assert events.errors == []

    with_pool(test, timeout_s=0.1)


def test_memory_that_cannot_be_read_for_a_while_ends_the_call() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        host.workers[0].memory = HostError("permission denied")
        pool.open("call", "region")
        await until(lambda: events.errors)
        assert events.errors[0].type == "MemoryLimit"
        assert "cannot be read (permission denied)" in events.errors[0].message
        assert host.workers[0].retired

    with_pool(test, memory_bytes=1000)


def test_any_failure_to_read_it_counts_and_one_alone_harms_nobody() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        pool.open("call", "region")
        for _ in range(8):
            host.workers[0].memory = ValueError("a host's own error")
            await asyncio.sleep(0.25)
            host.workers[0].memory = 10
            await asyncio.sleep(0.25)
        assert events.errors == []
        host.workers[0].memory = 1001
        await until(lambda: events.errors)
        assert "more than 1000 bytes" in events.errors[0].message

    with_pool(test, memory_bytes=1000)


def test_a_call_that_the_system_ended_for_its_memory_says_so_and_is_not_begun_again() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        pool.open("call", "region")
        host.workers[0].over_memory = "it holds more than 1000 bytes"
        host.workers[0].kill()
        await until(lambda: events.errors)
        assert events.errors == [ToolError("MemoryLimit", "it holds more than 1000 bytes")]

    with_pool(test, replayable=True, memory_bytes=1000)


# --- starts ----------------------------------------------------------------------------------


def test_a_host_that_cannot_start_workers_is_asked_again_with_growing_pauses() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        with pytest.raises(RuntimeError, match="no machine is there"):
            await asyncio.wait_for(pool.first_hello, LIMIT_S)
        await asyncio.sleep(1.5)
        assert 2 <= host.tries <= 5
        host.broken = False
        pool.open("call", "region")
        await until(lambda: host.workers and host.workers[0].told)

    with_pool(test, broken=True)


def test_a_call_that_waits_is_told_nothing_until_there_is_room() -> None:
    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        pool.open("first", "region")
        pool.open("second", "region")
        pool.feed("second", [TextPiece("text", 0.0)])
        assert [message.call for message in host.workers[0].told] == ["first"]
        host.workers[0].say(m.Released("first"))
        assert [message.call for message in host.workers[0].told] == ["first", "second", "second"]

    with_pool(test)


def test_a_worker_that_never_says_hello_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "HELLO_LIMIT_S", 0.2)

    async def test(pool: WorkerPool, host: PaperHost, events: Events) -> None:
        await until(lambda: pool.free == 1)
        host.silent = True
        host.workers[0].kill()
        await until(lambda: len(host.workers) == 3)
        assert host.workers[1].retired
        host.silent = False
        await until(lambda: pool.free == 1)

    with_pool(test)
