"""When a call that a unit ends can end."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.theory import (
    Trace,
    abort_bound,
)
from tests.theory.traces import EPS, chains, latency_by_recurrence


@given(chains(least=1), st.data())
def test_an_abort_ends_where_its_unit_does_and_two_steps_later_at_most(trace, data):
    k = data.draw(st.integers(0, len(trace.costs) - 1))
    cut = replace(trace, arrivals=trace.arrivals[: k + 1], costs=trace.costs[: k + 1])
    raised = latency_by_recurrence(replace(cut, end=0.0 + cut.arrivals[-1], finish=0.0))
    figures = abort_bound(trace, k, 0.05)
    assert figures.latency <= raised + 0.1 + EPS
    assert figures.latency >= raised - EPS
    assert figures.sequential <= figures.whole + EPS
    assert figures.latency <= figures.sequential + EPS


def test_free_checks_give_the_plain_formula():
    trace = Trace(arrivals=(0.1, 0.5, 2.0), costs=(0.0, 0.0, 1.0), decode_step=0.05)
    figures = abort_bound(trace, 1)
    assert figures.latency == pytest.approx(0.5 + 2 * 0.05)
    assert figures.reduction_vs_whole == pytest.approx(1 - 0.6 / 3.0)
    assert figures.reduction == pytest.approx(1 - 0.6 / 2.0)


def test_an_abort_waits_for_the_tools_earlier_work():
    trace = Trace(arrivals=(0.1, 0.2, 9.0), costs=(1.0, 0.5, 0.0), decode_step=0.05)
    assert abort_bound(trace, 1).latency == pytest.approx(1.6 + 0.1)


def test_the_bound_of_an_abort_has_no_overhead():
    trace = Trace(arrivals=(0.1, 9.0), costs=(0.5, 0.0), opening=1.0, opening_at=2.0)
    figures = abort_bound(replace(trace, dispatch=0.2), 0, 0.05)
    assert figures.latency == pytest.approx(3.6)
    assert figures.bound == pytest.approx(1.6)


def test_an_abort_needs_a_unit_and_a_step():
    trace = Trace(arrivals=(1.0,), costs=(1.0,))
    with pytest.raises(ValueError, match="a decode step"):
        abort_bound(trace, 0)
    with pytest.raises(ValueError, match="this unit"):
        abort_bound(trace, 1, 0.1)
