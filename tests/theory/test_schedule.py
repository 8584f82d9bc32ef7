"""Steps that wait for each other, with few workers and with many."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sgl_conveyor.theory import (
    Trace,
    bound,
    predict,
)
from tests.theory.traces import EPS, chains, graphs, longest_path_by_enumeration


@given(chains(), st.sampled_from([None, 1, 2]))
def test_a_graph_that_is_a_chain_is_the_chain(trace, workers):
    chain = tuple((i - 1,) if i else () for i in range(len(trace.costs)))
    graph = predict(replace(trace, dependencies=chain), workers=workers)
    expected = predict(trace)
    assert (graph.partial, graph.sequential) == (expected.partial, expected.sequential)
    assert graph.bound == pytest.approx(expected.bound)
    assert graph.critical == expected.critical


@given(graphs())
def test_unlimited_workers_take_the_longest_path(trace):
    assert predict(trace).partial == pytest.approx(longest_path_by_enumeration(trace))


@given(graphs(), st.integers(1, 4))
def test_a_greedy_schedule_is_between_the_bound_and_path_plus_work(trace, workers):
    trace = trace.ideal()
    partial = predict(trace, workers=workers).partial
    path = bound(trace)
    assert bound(trace, workers=workers) - EPS <= partial
    assert partial <= path + sum(trace.costs) / workers + EPS
    assert partial <= 2 * bound(trace, workers=workers) + EPS


@given(graphs(), st.integers(1, 4))
def test_without_arrivals_grahams_bound_holds(trace, workers):
    at_once = replace(trace, arrivals=(0.0,) * len(trace.costs), end=0.0, opening=0, opening_at=0)
    at_once = replace(at_once, finish=0.0)
    greedy = predict(at_once, workers=workers).partial
    assert greedy <= (2 - 1 / workers) * bound(at_once, workers=workers) + EPS


@given(graphs())
def test_one_worker_loses_nothing_whatever_the_graph(trace):
    trace = trace.ideal()
    assert predict(trace, workers=1).partial == pytest.approx(bound(trace, workers=1))


@given(graphs(dependent=False), st.integers(1, 4))
def test_more_workers_never_hurt_independent_steps_nor_does_partial_execution(trace, workers):
    prediction = predict(trace, workers=workers)
    assert prediction.partial <= prediction.sequential + EPS
    assert predict(trace, workers=workers + 1).partial <= prediction.partial + EPS


@given(graphs())
def test_with_unlimited_workers_one_region_never_saves_half_either(trace):
    assume(trace.arrivals and min(trace.arrivals) > 0)
    assert predict(trace).reduction < 0.5


def test_a_step_that_waited_for_a_worker_is_not_the_critical_one():
    trace = Trace(arrivals=(0.1, 0.2), costs=(5.0, 1.0), dependencies=((), ()))
    assert predict(trace, workers=1).critical == 0
    assert predict(trace, workers=1).partial == pytest.approx(6.1)


def test_with_few_workers_and_dependencies_greedy_partial_execution_can_be_slower():
    """Graham's anomaly: short steps, started early, take the worker that the long one needs."""
    prediction = predict(
        Trace(
            arrivals=(2.0, 2.0, 2.0, 4.0),
            costs=(2.0, 2.0, 2.0, 6.0),
            dependencies=((), (0,), (0,), ()),
        ),
        workers=2,
    )
    assert (prediction.partial, prediction.sequential) == (12.0, 10.0)
