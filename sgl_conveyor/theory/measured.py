"""What a call's timings say to the model: arrivals, costs, and what waited for what.

Timings say which hook began a span, not for which other spans it waited: that is inferred here. A
span waits for each earlier one that ended at most 10 ms before it started. It may wait for too
much (spans that ended then by chance: the model's latency is too long, and a bound from it can be
beaten) or for too little (it needed one that ended longer ago, while it waited for a place: the
latency is too short, the bound still holds). A call without spans has nothing inferred.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sgl_conveyor.timings import Timings

#: A span that starts this soon after another one's end (seconds) may have waited for it.
_AFTER_S = 0.01
#: Times of one clock, taken in different processes and rounded, may be this much out of order.
_JITTER_S = 0.001


@dataclass(frozen=True)
class Step:
    """A unit, or a span of work beside the hooks.

    Args:
        arrival: when its input was certain, in seconds since the POST.
        cost: its seconds.
        waits_for: the indices of the steps that were done before it could start.
    """

    arrival: float
    cost: float
    waits_for: tuple[int, ...]


@dataclass(frozen=True)
class Measured:
    """A call that ended after its region, in seconds: see `theory.Trace`.

    Args:
        steps: the units, then the spans.
    """

    steps: tuple[Step, ...]
    end: float
    opening: float
    opening_at: float
    finish: float
    dispatch: float
    decode_step: float | None


def measure(timings: Timings) -> Measured:
    """Take a call's timings apart.

    Raises:
        ValueError: the call has no end of its region, or none of its own, or its times are out of
            order by more than a millisecond: they are not of one clock.
    """
    end, finished = timings.region_end, timings.finished
    if end is None or finished is None:
        raise ValueError("the call has not ended: its region's end or its own is missing")
    steps = [
        Step(_certain(unit.ready, end), _seconds(unit.started, unit.ended), _before(i))
        for i, unit in enumerate(timings.units)
    ]
    for number in range(len(timings.spans)):
        steps.append(_beside(timings, steps, number))
    opening_at = _seconds(0.0, timings.open_started or 0.0)
    opened = opening_at if timings.opened is None else timings.opened
    return Measured(
        steps=tuple(steps),
        end=end,
        opening=_seconds(opening_at, opened),
        opening_at=opening_at,
        finish=_finish(timings, finished),
        dispatch=_dispatch(timings),
        decode_step=_decode_step(timings.tokens),
    )


def _certain(ready: float, end: float) -> float:
    """When a unit was certain: between the POST and the region's end.

    Raises:
        ValueError: neither, by more than jitter.
    """
    _seconds(0.0, ready)
    _seconds(ready, end)
    return min(max(ready, 0.0), end)


def _seconds(start: float, end: float) -> float:
    """From a start to an end that cannot be before it.

    Raises:
        ValueError: it is, by more than jitter.
    """
    if end - start < -_JITTER_S:
        raise ValueError(f"the timings are not of one clock: {end:.3f} s after {start:.3f} s")
    return max(0.0, end - start)


def _before(index: int) -> tuple[int, ...]:
    return (index - 1,) if index else ()


def _beside(timings: Timings, steps: Sequence[Step], number: int) -> Step:
    """A span as a step: it waits for the hook that began it, or runs beside that hook.

    It is taken to wait also for the earlier spans that ended just before it started, for their
    results or for a place. Of spans that ended together, one cannot say which it was: it waits
    for all.
    """
    span, units = timings.spans[number], timings.units
    if span.unit >= len(units):
        return Step(0.0, 0.0, ())  # `finish` began it, and its seconds are in those of `finish`.
    waits_for = tuple(
        len(units) + i
        for i, other in enumerate(timings.spans[:number])
        if 0.0 <= span.started - other.ended < _AFTER_S
    )
    cost = _seconds(span.started, span.ended)
    if span.unit < 0:
        return Step(0.0, cost, waits_for)
    hook, begun_by = units[span.unit], steps[span.unit]
    if span.started >= hook.ended:
        return Step(begun_by.arrival, cost, (span.unit, *waits_for))
    if not waits_for:
        cost += _seconds(hook.started, span.started)
    return Step(begun_by.arrival, cost, (*begun_by.waits_for, *waits_for))


def _finish(timings: Timings, finished: float) -> float:
    """Seconds of `finish` itself: it often only waits for the work beside the hooks."""
    if timings.finish_started is None:
        return 0.0
    others = [
        span.ended
        for span in timings.spans
        if span.ended <= finished and span.unit < len(timings.units)
    ]
    return _seconds(max([timings.finish_started, *others]), finished)


def _dispatch(timings: Timings) -> float:
    """Seconds from a commit, or from the end of holding, to the hook of a free tool."""
    waits = timings.dispatch()
    if not waits:
        return 0.0
    return max(0.0, statistics.median(waits) if timings.partial else waits[0])


def _decode_step(tokens: Sequence[float]) -> float | None:
    if len(tokens) < 2:
        return None
    return max(0.0, tokens[-1] - tokens[0]) / (len(tokens) - 1)
