"""Steps that start as soon as they may: when each is done, and what it waited for last."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: What a longest path starts with when it is no step.
OPENING = -1
REGION_END = -2


@dataclass(frozen=True)
class Schedule:
    """Steps in time.

    Args:
        done: when each step is done, in seconds.
        cause: what each step waited for last: another step, or its own index if that was its
            input, or `OPENING`.
    """

    done: tuple[float, ...]
    cause: tuple[int, ...]

    def first_cause(self, step: int) -> int:
        """Where the longest path to a step's end starts."""
        while step >= 0 and self.cause[step] != step:
            step = self.cause[step]
        return step


def schedule(
    arrivals: Sequence[float],
    costs: Sequence[float],
    waits_for: Callable[[int], Sequence[int]],
    *,
    opened: float = 0.0,
    workers: int | None = None,
) -> Schedule:
    """Start each step as soon as it may; a free worker takes the first one, by index, that may.

    Args:
        arrivals: when each step's input is there, in seconds.
        costs: seconds of each step.
        waits_for: for a step's index, the earlier steps that must be done before it.
        opened: when the first step may start.
        workers: how many steps run at once; None is no limit.

    Raises:
        ValueError: `workers` is less than 1.
    """
    if workers is not None and workers < 1:
        raise ValueError("a schedule needs a worker")
    count = len(costs)
    done = [0.0] * count
    cause = list(range(count))
    missing = [len(waits_for(i)) for i in range(count)]
    followers: list[list[int]] = [[] for _ in range(count)]
    for i in range(count):
        for other in waits_for(i):
            followers[other].append(i)

    def ready(i: int) -> tuple[float, int, int]:
        """When a step may start, the step, and what it waited for."""
        reasons = [(arrivals[i], i), (opened, OPENING)]
        reasons += [(done[other], other) for other in waits_for(i)]
        at, why = max(reasons, key=lambda reason: reason[0])
        return at, i, why

    waiting = [ready(i) for i in range(count) if not missing[i]]
    heapq.heapify(waiting)
    startable: list[tuple[int, float, int]] = []
    # Each worker: since when it is free, and after which step.
    free = [(-math.inf, OPENING)] * (count if workers is None else min(workers, count))
    for _ in range(count):
        since, previous = heapq.heappop(free)
        now = since if startable else max(since, waiting[0][0])
        while waiting and waiting[0][0] <= now:
            at, i, why = heapq.heappop(waiting)
            heapq.heappush(startable, (i, at, why))
        i, at, why = heapq.heappop(startable)
        cause[i] = why if at >= since else previous
        done[i] = max(at, since) + costs[i]
        heapq.heappush(free, (done[i], i))
        for other in followers[i]:
            missing[other] -= 1
            if not missing[other]:
                heapq.heappush(waiting, ready(other))
    return Schedule(tuple(done), tuple(cause))
