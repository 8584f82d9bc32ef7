"""Traces to draw, the model a second time in plain words, and timings as it would make them."""

from dataclasses import replace

from hypothesis import strategies as st

from sgl_conveyor.theory import (
    Trace,
)
from sgl_conveyor.timings import Timings, UnitTiming

EPS = 1e-9
#: Milliseconds, as seconds: sums stay exact enough to compare.
seconds = st.integers(0, 3000).map(lambda ms: ms / 1000)


@st.composite
def chains(draw, least=0, opening=True):
    """A call of one tool; its last unit at the region's end or before."""
    count = draw(st.integers(least, 8))
    arrivals = sorted(draw(st.lists(seconds, min_size=count, max_size=count)))
    return Trace(
        arrivals=tuple(arrivals),
        costs=tuple(draw(st.lists(seconds, min_size=count, max_size=count))),
        end=max(arrivals, default=0.0) + draw(st.sampled_from([0.0, 0.04, 1.0])),
        opening=draw(seconds) if opening else 0.0,
        opening_at=draw(seconds) if opening else 0.0,
        finish=draw(seconds),
    )


@st.composite
def graphs(draw, dependent=True):
    """A call whose steps wait for some earlier ones, or for none."""
    trace = draw(chains())
    waits = [
        tuple(sorted(draw(st.sets(st.integers(0, i - 1), max_size=2)))) if dependent and i else ()
        for i in range(len(trace.costs))
    ]
    return replace(trace, dependencies=tuple(waits))


def latency_by_recurrence(trace):
    """fᵢ = max(fᵢ₋₁, aᵢ) + cᵢ, as it is written."""
    done = trace.opening_at + trace.opening
    for arrival, cost in zip(trace.arrivals, trace.costs, strict=True):
        done = max(done, arrival) + cost
    return max(done, trace.end) + trace.finish


def longest_path_by_enumeration(trace):
    """Every path through the graph, one by one."""

    def paths(step):
        start = max(trace.arrivals[step], trace.opened)
        yield start + trace.costs[step]
        for before in trace.waits_for(step):
            for path in paths(before):
                yield path + trace.costs[step]

    ends = [path for step in range(len(trace.costs)) for path in paths(step)]
    return max([trace.end, trace.opened, *ends]) + trace.finish


def run(trace, *, held):
    """The timings of a call that ran exactly as the model says."""
    free, units = trace.opened, []
    for arrival, cost in zip(trace.arrivals, trace.costs, strict=True):
        started = max(free, (trace.end if held else arrival) + trace.dispatch)
        free = started + cost
        units.append(UnitTiming(arrival, started, free))
    finish = max(free, trace.end + trace.dispatch)
    return Timings(
        partial=not held,
        tokens=[trace.end / 2, trace.end],
        units=units,
        open_started=trace.opening_at,
        opened=trace.opened,
        region_end=trace.end,
        finish_started=finish,
        finished=finish + trace.finish,
    )


def fetching(*spans, finish_started=2.01):
    """A sequential run of two instant hooks at 2 s, with work beside them, awaited by finish."""
    return Timings(
        partial=False,
        tokens=[1.0, 2.0],
        units=[UnitTiming(0.5, 2.0, 2.0), UnitTiming(1.5, 2.01, 2.01)],
        spans=list(spans),
        region_end=2.0,
        finish_started=finish_started,
        finished=max(span.ended for span in spans) + 0.1,
    )
