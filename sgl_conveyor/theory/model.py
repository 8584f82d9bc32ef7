"""One region: its trace, and how long it takes with partial execution and without."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import cast

from sgl_conveyor.theory.measured import measure
from sgl_conveyor.theory.schedule import OPENING, REGION_END, schedule
from sgl_conveyor.timings import Timings


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One call as the model sees it: all times in seconds since the client's POST.

    Args:
        arrivals: when each step's input was certain.
        costs: seconds of each step.
        end: the commit of the region's finishing token; by default the last arrival.
        opening: seconds of the tool's opening.
        opening_at: when it starts; after t = 0 that is overhead (a queue, a wait for a worker).
        finish: seconds after the region's end and all steps.
        dependencies: for each step the indices of earlier ones that it waits for; None is a
            chain, the hooks of one call.
        dispatch: seconds from a token's commit to the hook of a tool that is free.
        decode_step: seconds of one decode step.

    Raises:
        ValueError: lengths differ, a time is negative or not finite, a step arrives after the
            end, or waits for a later one.
    """

    arrivals: tuple[float, ...] = ()
    costs: tuple[float, ...] = ()
    # None until `__post_init__` puts the last arrival there: never for a reader.
    end: float = cast(float, None)
    opening: float = 0.0
    opening_at: float = 0.0
    finish: float = 0.0
    dependencies: tuple[tuple[int, ...], ...] | None = None
    dispatch: float = 0.0
    decode_step: float | None = None

    def __post_init__(self) -> None:
        if self.end is None:
            object.__setattr__(self, "end", max(self.arrivals, default=0.0))
        durations = (self.opening, self.opening_at, self.finish, self.dispatch)
        for seconds in (*self.arrivals, *self.costs, *durations, self.end, self.decode_step or 0):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"a trace's times are finite and not negative: {seconds}")
        if len(self.arrivals) != len(self.costs):
            raise ValueError(f"{len(self.arrivals)} arrivals for {len(self.costs)} costs")
        if max(self.arrivals, default=0.0) > self.end:
            raise ValueError(f"a step arrives after the region's end at {self.end}")
        if self.dependencies is not None:
            if len(self.dependencies) != len(self.costs):
                raise ValueError(f"{len(self.dependencies)} dependencies, {len(self.costs)} costs")
            for index, waits in enumerate(self.dependencies):
                if any(not 0 <= other < index for other in waits):
                    raise ValueError(f"step {index} waits for {waits}: not all are earlier steps")

    @classmethod
    def from_timings(cls, timings: Timings) -> Trace:
        """The trace of a call that ended after its region: its units as steps, then its spans.

        Of a call that its tool aborted, the last step is the unit that did. What a span waited
        for is inferred from its times (see `theory.measured`): one wait too many, or one too few,
        moves `predict` and `bound` of a call that has spans.

        Args:
            timings: the call's, in either mode.

        Raises:
            ValueError: the call has no end of its region, or none of its own, or its times are
                not of one clock.
        """
        call = measure(timings)
        steps = call.steps
        return cls(
            arrivals=tuple(step.arrival for step in steps),
            costs=tuple(step.cost for step in steps),
            dependencies=tuple(step.waits_for for step in steps) if timings.spans else None,
            end=call.end,
            opening=call.opening,
            opening_at=call.opening_at,
            finish=call.finish,
            dispatch=call.dispatch,
            decode_step=call.decode_step,
        )

    @property
    def opened(self) -> float:
        """When the tool is open."""
        return self.opening_at + self.opening

    @property
    def work(self) -> float:
        """Seconds of all steps and of `finish`."""
        return sum(self.costs) + self.finish

    def waits_for(self, index: int) -> tuple[int, ...]:
        """The steps that a step waits for."""
        if self.dependencies is not None:
            return self.dependencies[index]
        return (index - 1,) if index else ()

    def ideal(self) -> Trace:
        """The same call without our overhead: it opens at t = 0, and dispatch takes no time."""
        return replace(self, opening_at=0.0, dispatch=0.0)

    def held(self) -> Trace:
        """The same call with its text held back until the region's end."""
        return replace(self, arrivals=(self.end,) * len(self.arrivals))

    def stock(self, *, warm: bool) -> Trace:
        """The same call as a program of stock SGLang makes it: the tool only after the text.

        Args:
            warm: whether the tool is open already; else it opens at the region's end.
        """
        opening = 0.0 if warm else self.opening
        return replace(self.held(), opening=opening, opening_at=self.end, dispatch=0.0)


@dataclass(frozen=True)
class Prediction:
    """What the model says of one call (seconds since the POST).

    Args:
        partial: latency with partial execution.
        sequential: latency with the text held back; the tool opens at the same moment.
        bound: latency that no scheduler can beat: see the function `bound`.
        critical: where the longest path to `partial` starts: the index of the step from which
            on the program waits for the tool, or `OPENING`, or `REGION_END` if all were done.
    """

    partial: float
    sequential: float
    bound: float
    critical: int

    @property
    def reduction(self) -> float:
        """The fraction of the sequential latency that partial execution saves."""
        return saved(self.partial, self.sequential)

    @property
    def hidden(self) -> float:
        """Seconds of the tool that move from after the region's end to before it."""
        return self.sequential - self.partial

    @property
    def could_be_hidden(self) -> float:
        """Seconds that would, without any overhead."""
        return self.sequential - self.bound


def predict(trace: Trace, *, workers: int | None = None) -> Prediction:
    """Say how long a call takes in either mode.

    Args:
        trace: the call.
        workers: how many steps run at once; None is as many as the dependencies allow (a chain:
            one).

    Raises:
        ValueError: `workers` is less than 1.
    """
    partial, critical = _run(trace, workers)
    sequential, _ = _run(trace.held(), workers)
    return Prediction(partial, sequential, bound(trace, workers=workers), critical)


def bound(trace: Trace, *, workers: int | None = None) -> float:
    """The latency that no scheduler can beat: the longest path, and the work of m workers.

    Nothing that a scheduler could spare counts: the tool opens at t = 0, with the request, and a
    token is at its hook as it is committed. That holds for the trace's costs and dependencies, so
    it is as sure as these are: see `Trace.from_timings` for those that it infers.

    Args:
        trace: the call; its `opening_at` and `dispatch`, our overhead, do not count.
        workers: as for `predict`.

    Raises:
        ValueError: `workers` is less than 1.
    """
    trace = trace.ideal()
    path, _ = _run(trace)
    if workers is None:
        return path
    if workers < 1:
        raise ValueError("a bound needs a worker")
    # The steps that arrive at a time or later cannot be done sooner than their work over m.
    late, work = 0.0, 0.0
    for arrival, cost in sorted(zip(trace.arrivals, trace.costs, strict=True), reverse=True):
        work += cost
        late = max(late, max(arrival, trace.opened) + work / workers)
    return max(path, late + trace.finish)


def saved(latency: float, baseline: float) -> float:
    """The fraction of a baseline that a latency saves."""
    return 1 - latency / baseline if baseline else 0.0


def longest_path(trace: Trace) -> float:
    """The closed form for a chain: c_f + max(E, f₀ + Σc, max over k of aₖ + Σᵢ≥ₖ cᵢ)."""
    left = list(itertools.accumulate(reversed(trace.costs)))[::-1]
    paths = [a + rest for a, rest in zip(trace.arrivals, left, strict=True)]
    return max([trace.end, trace.opened + sum(trace.costs), *paths]) + trace.finish


def even(units: int, *, decode: float, tool: float, wait: float = 0.0) -> Trace:
    """A call of equal units, evenly spread, the last one at the region's end.

    Args:
        units: how many.
        decode: seconds from the end of the wait to the region's end.
        tool: seconds of all units.
        wait: seconds before decoding: queue and prefill.
    """
    arrivals = tuple(wait + decode * i / units for i in range(1, units + 1))
    return Trace(arrivals=arrivals, costs=(tool / units,) * units)


def even_reduction(units: float, *, decode: float, tool: float, wait: float = 0.0) -> float:
    """The reduction of an `even` call: (1 − 1/n)·min(D, C)/(q + D + C); n may be infinite."""
    return (1 - 1 / units) * min(decode, tool) / (wait + decode + tool)


def _run(trace: Trace, workers: int | None = None) -> tuple[float, int]:
    """When a call ends that starts each step as soon as it may, and where its longest path starts.

    Ties go to the region's end, then to the opening, then to the first step.
    """
    plan = schedule(
        [arrival + trace.dispatch for arrival in trace.arrivals],
        trace.costs,
        trace.waits_for,
        opened=trace.opened,
        workers=workers,
    )
    ends = [(trace.end + trace.dispatch, REGION_END), (trace.opened, OPENING)]
    ends += [(done, step) for step, done in enumerate(plan.done)]
    last, step = max(ends, key=lambda end: end[0])
    return last + trace.finish, plan.first_cause(step)
