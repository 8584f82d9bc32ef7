"""Runs checks, in real workers of a real pool."""

from __future__ import annotations

import asyncio
import os
import time

import msgspec

from sgl_conveyor import events
from sgl_conveyor import messages as m
from sgl_conveyor.conformance.checks import SECRET, Check, Result
from sgl_conveyor.conformance.probe import Probe, Raised
from sgl_conveyor.core import ToolError
from sgl_conveyor.describe import describe
from sgl_conveyor.dispatcher.call import Call
from sgl_conveyor.dispatcher.hosts.host import Host
from sgl_conveyor.dispatcher.pool import WorkerPool
from sgl_conveyor.driver import check_at_once
from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.life import CallLife
from sgl_conveyor.specs import RESULT_BYTES, ToolSpec

#: Of the sandboxes (bytes), so that what passes it does no harm here.
_MEMORY_BYTES = 512 * 1024**2
_WORKERS = 2
#: Seconds for the first worker to say hello, and for one call.
_HELLO_LIMIT_S = 60.0
_CALL_LIMIT_S = 90.0
#: Seconds that a program may take; those that are about time, less.
_PROGRAM_LIMIT_S = 50.0
_TIME_LIMIT_S = 3.0
#: The errors of calls that were ended as they should, by what the programs are about.
_ENDED = {"memory": "MemoryLimit", "time": "ToolTimeout"}


def run_checks(checks: list[Check], host: Host) -> list[Result]:
    """Run checks: those that can share a sandbox in one call, each other one in its own.

    Args:
        checks: which.
        host: of the workers that are checked.

    Raises:
        ConfigurationError: no sandbox can be made here; the message says why.
    """
    os.environ["CONVEYOR_CHECK"] = SECRET
    try:
        return asyncio.run(_run_all(checks, host))
    finally:
        del os.environ["CONVEYOR_CHECK"]


async def _run_all(checks: list[Check], host: Host) -> list[Result]:
    about_time = [check for check in checks if check.group == "time"]
    others = [check for check in checks if check.group != "time"]
    outcomes = await asyncio.gather(
        _run_within(_PROGRAM_LIMIT_S, others, host),
        _run_within(_TIME_LIMIT_S, about_time, host),
    )
    results = {result.check: result for outcome in outcomes for result in outcome}
    return [results[check] for check in checks]


async def _run_within(limit_s: float, checks: list[Check], host: Host) -> list[Result]:
    """Run checks in sandboxes whose hooks may take so long."""
    together = [check for check in checks if not check.alone]
    calls = ([together] if together else []) + [[check] for check in checks if check.alone]
    if not calls:
        return []
    runner = _Runner(_spec(limit_s), host)
    try:
        await runner.ready()
        # Not more than there are workers: a program's time begins when its text is there.
        free = asyncio.Semaphore(_WORKERS)

        async def run(call: list[Check]) -> list[Result]:
            async with free:
                return await runner.run(call)

        outcomes = await asyncio.gather(*map(run, calls))
    finally:
        await runner.close()
    return [result for outcome in outcomes for result in outcome]


def _spec(limit_s: float) -> ToolSpec:
    spec = describe(Probe)
    limits = msgspec.structs.replace(
        spec.limits, workers=_WORKERS, memory_bytes=_MEMORY_BYTES, timeout_s=limit_s
    )
    return msgspec.structs.replace(spec, limits=limits)


class _Runner:
    """Makes calls of the probe, and hears what its workers say, as a dispatcher does."""

    def __init__(self, spec: ToolSpec, host: Host) -> None:
        self._spec = spec
        self._calls: dict[str, Call] = {}
        self._pool = WorkerPool(spec, host, self)

    async def ready(self) -> None:
        self._pool.start()
        try:
            async with asyncio.timeout(_HELLO_LIMIT_S):
                await self._pool.first_hello
        except (RuntimeError, TimeoutError) as error:
            why = str(error) or f"no hello within {_HELLO_LIMIT_S:g} s"
            raise ConfigurationError(f"no sandbox can be made here: {why}") from None

    async def close(self) -> None:
        await self._pool.close()

    async def run(self, checks: list[Check]) -> list[Result]:
        """Run checks in one sandbox."""
        ended = asyncio.Event()
        name = f"check-{len(self._calls)}"
        life = CallLife(self._spec, partial=True, start=time.monotonic(), attached=True)
        call = self._calls[name] = Call(
            name,
            self._pool,
            region="check",
            call_life=life,
            result_bytes=RESULT_BYTES,
            check=check_at_once,
            settled=lambda _: ended.set(),
        )
        call.begin()
        text = msgspec.json.encode({check.name: check.program for check in checks}).decode()
        call.handle(events.RegionEnded(time.monotonic(), 1, text))
        await self._until(ended, call)
        outcome = life.record.outcome
        if outcome.error is not None:
            return [_judge(check, outcome.error) for check in checks]
        raised = msgspec.json.decode(outcome.value, type=dict[str, Raised | None])
        return [_judge(check, raised[check.name]) for check in checks]

    async def _until(self, ended: asyncio.Event, call: Call) -> None:
        try:
            async with asyncio.timeout(_CALL_LIMIT_S):
                await ended.wait()
        except TimeoutError:
            call.fail(ToolError("TimeoutError", f"nothing ended it within {_CALL_LIMIT_S:g} s"))

    # --- what happens to a call in its worker ---

    def from_worker(self, call: str, message: m.FromWorker) -> None:
        self._calls[call].heard(message)

    def restarted(self, call: str) -> None:
        self._calls[call].handle(events.ToolRestarted(time.monotonic()))

    def lost(self, call: str, error: ToolError) -> None:
        self._calls[call].lost(error)


def _judge(check: Check, outcome: Raised | ToolError | None) -> Result:
    """Compare what happened with what must."""
    if outcome is None:
        return Result(check, check.must_work, "it did")
    if isinstance(outcome, ToolError):
        ended = outcome.type == _ENDED.get(check.group)
        return Result(check, ended, f"{outcome.type}: {outcome.message}")
    return Result(check, outcome.stopped and not check.must_work, outcome.what)
