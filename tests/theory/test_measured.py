"""Traces from the timings of calls."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given

from sgl_conveyor.theory import (
    Trace,
    abort_bound,
    predict,
)
from sgl_conveyor.timings import Span, Timings, UnitTiming
from tests.theory.traces import chains, fetching, run


@given(chains(least=1))
def test_a_sequential_run_predicts_its_partial_one(trace):
    for held, dispatch in itertools.product([True, False], [0.0, 0.004]):
        trace = replace(trace, dispatch=dispatch)
        found = predict(Trace.from_timings(run(trace, held=held)))
        assert found.partial == pytest.approx(predict(trace).partial, abs=0.01)
        assert found.sequential == pytest.approx(predict(trace).sequential, abs=0.01)


@pytest.mark.parametrize("held", [True, False])
def test_the_dispatch_of_a_run_is_found_in_either_mode(held):
    trace = Trace(arrivals=(0.2, 0.6, 0.9), costs=(0.1, 0.1, 0.1), end=1.0, dispatch=0.03)
    assert Trace.from_timings(run(trace, held=held)).dispatch == pytest.approx(0.03)


def test_a_call_without_an_end_has_no_trace():
    with pytest.raises(ValueError, match="not ended"):
        Trace.from_timings(Timings(region_end=1.0))
    with pytest.raises(ValueError, match="not ended"):
        Trace.from_timings(Timings(finished=1.0))


@pytest.mark.parametrize(
    "fields",
    [
        {"units": [UnitTiming(1.1, 1.2, 1.3)]},
        {"units": [UnitTiming(-0.1, 0.2, 0.3)]},
        {"units": [UnitTiming(0.5, 0.6, 0.5)]},
        {"open_started": -0.1, "opened": 0.1},
        {"open_started": 0.2, "opened": 0.1},
        {"units": [UnitTiming(0.5, 0.6, 0.7)], "spans": [Span("a", 0.8, 0.7, 0)]},
        {"finish_started": 2.1},
    ],
)
def test_times_of_two_clocks_are_refused(fields):
    with pytest.raises(ValueError, match="not of one clock"):
        Trace.from_timings(Timings(region_end=1.0, finished=2.0, **fields))


def test_a_jitter_of_less_than_a_millisecond_is_none():
    units = [UnitTiming(-0.0005, 0.1, 0.2), UnitTiming(1.0005, 1.001, 1.0005)]
    trace = Trace.from_timings(Timings(units=units, region_end=1.0, finished=2.0))
    assert trace.arrivals == (0.0, 1.0)
    assert trace.costs == pytest.approx((0.1, 0.0))


def test_a_sequential_run_that_was_aborted_predicts_when_the_partial_one_is():
    held = Timings(
        partial=False,
        tokens=[1.0, 1.5, 2.0, 2.5, 3.0],
        units=[UnitTiming(1.0, 3.0, 3.2), UnitTiming(1.5, 3.2, 3.3)],
        region_end=3.0,
        finished=3.3,
    )
    figures = abort_bound(Trace.from_timings(held), 1)
    assert figures.sequential == pytest.approx(3.3)
    # Certain at 1.5, 0.1 s of checks, two decode steps of 0.5 s.
    assert figures.latency == pytest.approx(1.6 + 1.0)


def test_work_beside_the_hooks_waits_for_its_unit_and_for_what_ended_just_before_it():
    timings = fetching(Span("first", 2.02, 3.0, 0), Span("needs it", 3.001, 3.5, 0))
    trace = Trace.from_timings(timings)
    assert trace.dependencies == ((), (0,), (0,), (0, 2))
    assert trace.finish == pytest.approx(0.1)
    # Certain at 0.5, then 0.98 s and 0.499 s of work: done before the region is.
    assert predict(trace).partial == pytest.approx(2.1)


def test_work_beside_the_hooks_belongs_to_its_unit_though_it_started_after_others():
    trace = Trace.from_timings(fetching(Span("slow", 2.02, 5.0, 0)))
    assert trace.dependencies == ((), (0,), (0,))
    assert trace.arrivals[2] == 0.5


def test_of_spans_that_ended_together_the_next_one_waits_for_all():
    timings = fetching(
        Span("a", 2.02, 3.0, 0), Span("b", 2.02, 3.001, 1), Span("needs b", 3.002, 3.01, 1)
    )
    trace = Trace.from_timings(timings)
    assert trace.dependencies[4] == (1, 2, 3)
    # b is certain at 1.5 and takes 0.981 s, what needs it 8 ms.
    assert predict(trace).partial == pytest.approx(1.5 + 0.981 + 0.008 + 0.1)


def test_work_that_finish_began_is_a_part_of_finish():
    trace = Trace.from_timings(fetching(Span("slow", 2.02, 5.0, 0), Span("own", 5.0, 5.05, 2)))
    assert trace.finish == pytest.approx(0.15)
    assert trace.costs[3] == 0.0


def test_work_that_open_began_waits_for_no_unit():
    trace = Trace.from_timings(fetching(Span("warm", 0.1, 2.5, -1)))
    assert trace.dependencies[2] == ()
    assert trace.arrivals[2] == 0.0


def test_work_that_runs_while_a_hook_does_is_beside_it():
    timings = Timings(
        units=[UnitTiming(0.5, 0.5, 1.5)],
        spans=[Span("thread", 0.7, 2.5, 0)],
        region_end=2.0,
        finish_started=2.0,
        finished=2.5,
    )
    trace = Trace.from_timings(timings)
    assert trace.dependencies == ((), ())
    assert trace.costs == pytest.approx((1.0, 2.0))
    assert predict(trace).partial == pytest.approx(2.5)
