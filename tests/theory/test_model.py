"""One region: the recurrence, its closed forms, and what it can save at most."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sgl_conveyor.theory import (
    OPENING,
    REGION_END,
    Trace,
    bound,
    even,
    even_reduction,
    longest_path,
    predict,
)
from tests.theory.traces import EPS, chains, latency_by_recurrence, seconds


@given(chains())
def test_the_recurrence_is_the_longest_path(trace):
    expected = latency_by_recurrence(trace)
    assert predict(trace).partial == pytest.approx(expected)
    assert longest_path(trace) == pytest.approx(expected)


@given(chains(), seconds)
def test_the_bound_opens_the_tool_at_the_request_and_dispatches_at_once(trace, dispatch):
    ideal = latency_by_recurrence(replace(trace, opening_at=0.0))
    assert bound(replace(trace, dispatch=dispatch)) == pytest.approx(ideal)


@pytest.mark.parametrize("workers", [None, 1])
def test_a_wait_for_a_worker_is_no_part_of_the_bound(workers):
    trace = Trace(arrivals=(1.0,), costs=(1.0,), opening=1.5, opening_at=2.0, dispatch=0.1)
    assert bound(trace, workers=workers) == pytest.approx(2.5)
    prediction = predict(trace, workers=workers)
    assert prediction.partial == pytest.approx(4.5)
    assert prediction.could_be_hidden == pytest.approx(2.0)


@given(chains())
def test_sequential_is_the_end_or_the_opening_and_then_all_work(trace):
    expected = max(trace.end, trace.opened) + sum(trace.costs) + trace.finish
    assert predict(trace).sequential == pytest.approx(expected)


@given(chains(), seconds)
def test_partial_is_never_slower_than_sequential(trace, dispatch):
    prediction = predict(replace(trace, dispatch=dispatch))
    assert prediction.bound - EPS <= prediction.partial <= prediction.sequential + EPS


@given(chains())
def test_the_critical_unit_is_the_one_from_which_the_tool_never_waits_for_text(trace):
    prediction = predict(trace)
    k = prediction.critical
    start = {OPENING: trace.opened, REGION_END: trace.end}.get(k)
    rest = 0.0 if k == REGION_END else sum(trace.costs[max(k, 0) :])
    start = trace.arrivals[k] if start is None else start
    assert prediction.partial == pytest.approx(start + rest + trace.finish)


@given(chains(least=1))
def test_one_region_never_saves_half(trace):
    assume(trace.arrivals[0] > 0)  # no token is committed at t = 0
    prediction = predict(trace)
    assert prediction.reduction < 0.5


@given(chains(least=1))
def test_against_a_cold_stock_program_it_saves_half_at_most(trace):
    prediction = predict(trace)
    cold = predict(trace.stock(warm=False)).sequential
    assert prediction.partial >= cold / 2 - EPS
    if prediction.partial > trace.end + EPS:  # not all is hidden
        assert prediction.partial > cold / 2


def test_against_a_cold_stock_program_exactly_half_takes_a_tool_that_never_waits():
    trace = Trace(arrivals=(0.5, 1.0), costs=(0.5, 0.0), opening=0.5)
    assert predict(trace).partial == pytest.approx(1.0)
    assert predict(trace.stock(warm=False)).sequential == pytest.approx(2.0)


def test_exactly_half_takes_a_unit_at_t_zero_that_is_all_the_work():
    assert predict(Trace(arrivals=(0.0, 1.0), costs=(1.0, 0.0))).reduction == pytest.approx(0.5)


@given(chains(least=1))
def test_the_reduction_is_bounded_by_when_the_tool_can_begin(trace):
    assume(trace.end > 0 and trace.opened <= trace.end)
    begin = max(trace.arrivals[0], trace.opened) / trace.end
    assert predict(trace).reduction <= (1 - begin) / (2 - begin) + EPS


@given(chains(least=1))
def test_what_is_hidden_is_bounded_by_the_time_and_by_the_work_that_can_be(trace):
    assume(trace.opened <= trace.end)
    pairs = zip(trace.arrivals, trace.costs, strict=True)
    work = sum(cost for arrival, cost in pairs if arrival < trace.end)
    assert predict(trace).hidden <= work + EPS
    assert predict(trace).hidden <= trace.end - max(trace.arrivals[0], trace.opened) + EPS


@pytest.mark.parametrize("begin", [0.01, 0.1, 0.366, 0.9])
def test_the_bound_by_the_tools_beginning_is_reached(begin):
    trace = Trace(arrivals=(begin, 1.0), costs=(1 - begin, 0.0))
    assert predict(trace).reduction == pytest.approx((1 - begin) / (2 - begin))


def test_a_tool_that_opens_after_the_region_gains_nothing():
    trace = Trace(arrivals=(0.2, 0.9), costs=(0.1, 0.1), end=1.0, opening=2.0)
    prediction = predict(trace)
    assert prediction.reduction == pytest.approx(0.0)
    assert prediction.critical == OPENING


@given(st.integers(1, 64), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0, 5))
def test_even_units_save_what_the_formula_says(units, decode, tool, wait):
    reduction = predict(even(units, decode=decode, tool=tool, wait=wait)).reduction
    formula = even_reduction(units, decode=decode, tool=tool, wait=wait)
    assert reduction == pytest.approx(formula, abs=1e-9)


@given(st.integers(1, 64), st.floats(0.1, 10), st.floats(0.1, 10))
def test_even_units_save_most_when_tool_and_decode_are_equal(units, decode, tool):
    best = (1 - 1 / units) / 2
    assert predict(even(units, decode=decode, tool=decode)).reduction == pytest.approx(best)
    assert predict(even(units, decode=decode, tool=tool)).reduction <= best + EPS


@pytest.mark.parametrize("units", [2, 5, 20])
def test_even_arrivals_save_more_with_less_work_at_the_end(units):
    """½(1 − 1/n) is the best of equal units, not of n units."""
    arrivals = tuple(i / units for i in range(1, units + 1))
    trace = Trace(arrivals=arrivals, costs=(1 / units,) * (units - 1) + (0.0,))
    assert predict(trace).reduction == pytest.approx((units - 1) / (2 * units - 1))
    assert predict(trace).reduction > even_reduction(units, decode=1, tool=1)


def test_units_without_limit_reach_half():
    assert even_reduction(math.inf, decode=1, tool=1) == 0.5


@given(chains(least=1), st.data())
def test_splitting_a_unit_never_hurts(trace, data):
    i = data.draw(st.integers(0, len(trace.costs) - 1))
    earliest = trace.arrivals[i - 1] if i else 0.0
    share = data.draw(st.floats(0, 1))
    sooner = earliest + data.draw(st.floats(0, 1)) * (trace.arrivals[i] - earliest)
    arrivals = (*trace.arrivals[:i], sooner, *trace.arrivals[i:])
    first = trace.costs[i] * share
    costs = (*trace.costs[:i], first, trace.costs[i] - first, *trace.costs[i + 1 :])
    split = predict(replace(trace, arrivals=arrivals, costs=costs))
    assert split.partial <= predict(trace).partial + EPS
    assert split.sequential == pytest.approx(predict(trace).sequential)


@given(chains(least=1), seconds)
def test_dispatch_costs_at_most_itself_once(trace, dispatch):
    slow = predict(replace(trace, dispatch=dispatch)).partial
    assert slow <= predict(trace).partial + dispatch + EPS


@given(chains())
def test_dispatch_delays_each_unit_and_the_end_as_if_they_came_later(trace):
    later = tuple(arrival + 0.25 for arrival in trace.arrivals)
    shifted = replace(trace, arrivals=later, end=trace.end + 0.25)
    slow = predict(replace(trace, dispatch=0.25)).partial
    assert slow == pytest.approx(latency_by_recurrence(shifted))


@given(chains())
def test_a_stock_program_with_a_warm_tool_is_ours_without_opening(trace):
    warm = predict(trace.stock(warm=True)).sequential
    cold = predict(trace.stock(warm=False)).sequential
    assert warm == pytest.approx(trace.end + trace.work)
    assert cold == pytest.approx(warm + trace.opening)
    assert warm <= predict(trace).sequential + EPS


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arrivals": (1.0,), "costs": ()}, "1 arrivals for 0 costs"),
        ({"arrivals": (1.0,), "costs": (-1.0,)}, "not negative"),
        ({"arrivals": (math.nan,), "costs": (1.0,)}, "finite"),
        ({"arrivals": (0.0,), "costs": (1.0,), "end": -0.5}, "not negative"),
        ({"arrivals": (2.0,), "costs": (1.0,), "end": 1.0}, "after the region's end"),
        ({"arrivals": (1.0,), "costs": (1.0,), "dependencies": ((0,),)}, "earlier steps"),
        ({"arrivals": (1.0,), "costs": (1.0,), "dependencies": ()}, "0 dependencies"),
    ],
)
def test_an_impossible_trace_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Trace(**fields)


def test_the_end_is_the_last_arrival_unless_it_is_given():
    assert Trace(arrivals=(0.5, 1.0), costs=(0.0, 0.0)).end == 1.0
    assert Trace().end == 0.0
    assert Trace(arrivals=(0.0,), costs=(1.0,), end=0.0).end == 0.0


def test_a_schedule_and_a_bound_need_a_worker():
    trace = Trace(arrivals=(1.0,), costs=(1.0,))
    for of in (predict, bound):
        with pytest.raises(ValueError, match="needs a worker"):
            of(trace, workers=0)
