"""The model of a program: several regions, whose results it waits for, or reads later.

A program that awaits every result takes the sum of its calls: its reduction is an average of theirs
and stays below 1/2. One that reads results later lets calls overlap each other too: with a worker
a call, nothing bounds the reduction but 1; with one worker for all, the program is one long call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sgl_conveyor.theory.model import Prediction, Trace, predict
from sgl_conveyor.theory.schedule import REGION_END


@dataclass(frozen=True)
class Region:
    """A region of a program.

    Args:
        trace: its call; t = 0 is its own POST.
        before: seconds of the program before that POST: generation, or anything else.
        awaited: whether the program reads the result before it goes on; else at its end.
    """

    trace: Trace
    before: float = 0.0
    awaited: bool = True


def predict_program(regions: Iterable[Region], *, after: float = 0.0) -> Prediction:
    """Say how long a program takes: regions one after the other, each call in its own worker.

    Args:
        regions: in their order.
        after: seconds of the program after the last region, before it reads what is left.

    Returns:
        `critical` is the index of the last region whose result the program had to wait for, or
        `REGION_END` if it waited for none.
    """
    regions = list(regions)
    calls = [predict(region.trace) for region in regions]
    totals, critical = [], REGION_END
    for latencies in (
        [call.bound for call in calls],
        [call.sequential for call in calls],
        [call.partial for call in calls],
    ):
        now, unread, critical = 0.0, [(0.0, REGION_END)], REGION_END
        for index, (region, latency) in enumerate(zip(regions, latencies, strict=True)):
            now += region.before
            if region.awaited:
                critical = index if latency > region.trace.end else critical
                now += latency
            else:
                unread.append((now + latency, index))
                now += region.trace.end
        last, index = max(unread)
        critical = index if last > now + after else critical
        totals.append(max(now + after, last))
    return Prediction(totals[2], totals[1], totals[0], critical)
