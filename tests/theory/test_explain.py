"""What a call's timings say in one sentence."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.theory import (
    Trace,
    explain,
)
from sgl_conveyor.timings import Span, Timings, UnitTiming
from tests.theory.traces import (
    EPS,
    chains,
    run,
)


@given(chains(least=1), st.booleans())
def test_an_explanation_hides_no_more_than_could_be_nor_than_there_is(trace, held):
    found = explain(run(trace, held=held))
    assert -EPS <= found.hidden <= found.could_be_hidden + EPS
    assert found.could_be_hidden <= found.tool + EPS


def test_what_could_have_been_hidden_does_not_depend_on_what_was():
    trace = Trace(arrivals=(0.2, 0.9), costs=(0.4, 0.3), end=1.0)
    for held, hidden in ((False, 0.5), (True, 0.0)):
        found = explain(run(trace, held=held))
        assert found.hidden == pytest.approx(hidden)
        assert found.could_be_hidden == pytest.approx(0.5)


call = functools.partial(Trace, end=1.0)


@pytest.mark.parametrize(
    ("trace", "held", "obstacle", "index", "words"),
    [
        (call(arrivals=(0.2,), costs=(0.5,)), False, "nothing", None, "0.500 s of 0.500 s"),
        (call(arrivals=(0.2,), costs=(0.5,), opening=2.0), False, "opening", None, "2.000 s"),
        (call(arrivals=(0.2, 0.9), costs=(0.1, 0.8)), False, "unit", 1, "unit 2 of 2"),
        (call(arrivals=(0.2, 0.9), costs=(2.0, 0.1)), False, "unit", 0, "unit 1 of 2"),
        (call(arrivals=(0.2,), costs=(0.1,), finish=0.5), False, "finish", None, "finish itself"),
        (call(arrivals=(0.2,), costs=(0.5,)), True, "held", None, "held back"),
        (call(arrivals=(0.2,), costs=(0.5,), dispatch=2.0), False, "overhead", None, "later"),
    ],
)
def test_an_explanation_names_what_stood_in_the_way(trace, held, obstacle, index, words):
    timings = run(trace, held=held)
    if obstacle == "overhead":
        timings.units = [UnitTiming(0.2, 0.9, 1.4)]
        timings.finish_started = timings.finished = 1.4
    found = explain(timings)
    assert (found.obstacle, found.index) == (obstacle, index)
    assert words in str(found)


def test_an_explanation_names_work_beside_the_hooks():
    timings = Timings(
        units=[UnitTiming(0.5, 0.5, 0.5)],
        spans=[Span("fetch", 0.5, 3.0, 0)],
        region_end=1.0,
        finish_started=1.0,
        finished=3.0,
    )
    found = explain(timings)
    assert (found.obstacle, found.index) == ("beside", 0)
    assert "'fetch'" in found.text
    assert found.hidden == pytest.approx(0.5)


def test_an_aborted_call_waited_for_nothing():
    timings = Timings(units=[UnitTiming(0.5, 0.5, 0.6)], finished=0.6)
    assert explain(timings).exposed == 0.0
    assert "before its region was complete" in explain(timings).text
    with pytest.raises(ValueError, match="no end"):
        explain(Timings())
