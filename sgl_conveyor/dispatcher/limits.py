"""What a call, and a worker, may take: time for an answer, and memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable

from sgl_conveyor.dispatcher.placement import Placement
from sgl_conveyor.dispatcher.process import Worker
from sgl_conveyor.specs import ToolSpec

#: Seconds on top of the tool's own limit before a worker that does not answer is killed.
GRACE_S = 1.0
#: Seconds that a sandboxed call may take to abort: killing its process undoes all that it did.
_SANDBOX_ABORT_S = 1.0


def release_by(spec: ToolSpec) -> float:
    """When a call that aborts or has its result must have left its worker (monotonic seconds)."""
    limit = _SANDBOX_ABORT_S if spec.sandbox else spec.limits.timeout_s + GRACE_S
    return time.monotonic() + limit


def overdue(seat: Placement, spec: ToolSpec, now: float) -> str | None:
    """Why a call has taken too long in its worker; None if it has not.

    Args:
        seat: the call's, with a worker.
        spec: its tool.
        now: in monotonic seconds.
    """
    if seat.release_by is not None and now > seat.release_by:
        return "it did not end in time after its abort or its result"
    if seat.owed and now - seat.answered_at > spec.limits.timeout_s + GRACE_S:
        return f"a hook took longer than {spec.limits.timeout_s:g} s"
    return None


async def over_memory(workers: Iterable[Worker], limit: int) -> AsyncIterator[Worker]:
    """The workers that hold more memory than they may, with all that they started.

    Args:
        workers: to look at.
        limit: of each (bytes).
    """
    for worker in workers:
        # It reads /proc, which takes milliseconds on a machine with many processes.
        if await asyncio.to_thread(worker.memory_bytes, limit) > limit:
            yield worker
