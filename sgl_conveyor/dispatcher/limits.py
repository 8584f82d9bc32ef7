"""What a call, and a worker, may take: time for an answer, and memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from sgl_conveyor.dispatcher.hosts.host import Worker
from sgl_conveyor.dispatcher.placement import Placement
from sgl_conveyor.specs import ToolSpec

logger = logging.getLogger(__name__)

#: Seconds on top of the tool's own limit before a worker that does not answer is killed.
GRACE_S = 1.0
#: Seconds that a sandboxed call may take to abort: killing its process undoes all that it did.
_SANDBOX_ABORT_S = 1.0
#: Seconds for which a worker's memory may be unread, and looks in a row: after a stall of our own
#: process, one look alone says nothing.
UNREAD_LIMIT_S = 1.0
_UNREAD_LOOKS = 3
#: Seconds that one look may take.
_LOOK_LIMIT_S = 1.0


def release_by(spec: ToolSpec) -> float:
    """When a call that aborts or has its result must have left its worker (monotonic seconds)."""
    limit = _SANDBOX_ABORT_S if spec.sandbox else spec.limits.timeout_s + GRACE_S
    return time.monotonic() + limit


def overdue(placement: Placement, spec: ToolSpec, now: float) -> str | None:
    """Why a call has taken too long in its worker; None if it has not.

    Args:
        placement: the call's, with a worker.
        spec: its tool.
        now: in monotonic seconds.
    """
    if placement.release_by is not None and now > placement.release_by:
        return "it did not end in time after its abort or its result"
    if placement.owed and now - placement.answered_at > spec.limits.timeout_s + GRACE_S:
        return f"a hook took longer than {spec.limits.timeout_s:g} s"
    return None


class MemoryWatch:
    """Looks at workers' memory; one that cannot be read for a while counts as too much.

    Args:
        limit: of each worker, with all that it started (bytes).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: Since when (monotonic seconds), and in how many looks, each was not read.
        self._unread: dict[Worker, tuple[float, int]] = {}

    async def over(self, workers: Iterable[Worker]) -> list[tuple[Worker, str]]:
        """The workers that must end, and why.

        Args:
            workers: to look at, all at once.
        """
        before, self._unread = self._unread, {}
        looks = [self._why(worker, before.get(worker)) for worker in workers]
        return [found for found in await asyncio.gather(*looks) if found is not None]

    async def _why(
        self, worker: Worker, unread: tuple[float, int] | None
    ) -> tuple[Worker, str] | None:
        """Why a worker must end, or None."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(_LOOK_LIMIT_S):
                held = await worker.memory_bytes(self._limit)
        except Exception as error:
            since, looks = unread or (began, 0)
            self._unread[worker] = since, looks + 1
            logger.warning("%s worker %s: %s", worker.spec.name, worker.pid, error)
            if time.monotonic() - since > UNREAD_LIMIT_S and looks + 1 >= _UNREAD_LOOKS:
                return worker, f"the memory of the tool's processes cannot be read ({error})"
            return None
        if held > self._limit:
            return worker, f"the tool's processes hold more than {self._limit} bytes together"
        return None
