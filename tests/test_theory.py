"""The model against itself: recurrences, closed forms, bounds; and against hand-made timings."""

import functools
import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sgl_conveyor.core import Span, Timings, UnitTiming
from sgl_conveyor.theory import (
    OPENING,
    REGION_END,
    Region,
    Trace,
    abort_bound,
    bound,
    even,
    even_reduction,
    explain,
    longest_path,
    predict,
    predict_program,
)

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


# --- one region ------------------------------------------------------------------------------


@given(chains())
def test_the_recurrence_is_the_longest_path(trace):
    expected = latency_by_recurrence(trace)
    assert predict(trace).partial == pytest.approx(expected)
    assert longest_path(trace) == pytest.approx(expected)
    assert bound(trace) == pytest.approx(expected)


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
    # Nor does it against a baseline that opens its tool only after the text.
    cold = predict(trace.stock(warm=False)).sequential
    assert prediction.partial > cold / 2


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
    last = trace.costs[-1] if trace.arrivals[-1] == trace.end else 0.0
    work = sum(trace.costs) - last
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


# --- graphs and workers ----------------------------------------------------------------------


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


# --- aborts ----------------------------------------------------------------------------------


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


def test_an_abort_needs_a_unit_and_a_step():
    trace = Trace(arrivals=(1.0,), costs=(1.0,))
    with pytest.raises(ValueError, match="a decode step"):
        abort_bound(trace, 0)
    with pytest.raises(ValueError, match="this unit"):
        abort_bound(trace, 1, 0.1)


# --- programs --------------------------------------------------------------------------------


@given(st.lists(chains(least=1), min_size=1, max_size=4), st.lists(seconds, min_size=4))
def test_awaited_regions_add_up_and_never_save_half(traces, gaps):
    assume(all(trace.arrivals[0] > 0 for trace in traces))
    regions = [Region(t, before=gap) for t, gap in zip(traces, gaps, strict=False)]
    program = predict_program(regions, after=0.3)
    between = sum(region.before for region in regions) + 0.3
    assert program.partial == pytest.approx(between + sum(predict(t).partial for t in traces))
    assert program.reduction < 0.5


def test_results_read_later_hide_behind_the_next_regions():
    call = Trace(arrivals=(0.1, 1.0), costs=(9.0, 0.0))
    later = [Region(call, awaited=False) for _ in range(10)]
    program = predict_program(later)
    assert program.partial == pytest.approx(9 * 1.0 + 9.1)
    assert program.critical == 9
    # Against a program that awaits each, as one of stock SGLang does, more than half is saved.
    awaited = predict_program([Region(call) for _ in range(10)])
    assert 1 - program.partial / awaited.sequential > 0.5
    assert predict_program([Region(call, awaited=False)], after=20).critical == REGION_END


# --- traces ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arrivals": (1.0,), "costs": ()}, "1 arrivals for 0 costs"),
        ({"arrivals": (1.0,), "costs": (-1.0,)}, "not negative"),
        ({"arrivals": (math.nan,), "costs": (1.0,)}, "finite"),
        ({"arrivals": (2.0,), "costs": (1.0,), "end": 1.0}, "after the region's end"),
        ({"arrivals": (1.0,), "costs": (1.0,), "dependencies": ((0,),)}, "earlier steps"),
        ({"arrivals": (1.0,), "costs": (1.0,), "dependencies": ()}, "0 dependencies"),
    ],
)
def test_an_impossible_trace_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Trace(**fields)


def test_a_schedule_needs_a_worker():
    with pytest.raises(ValueError, match="needs a worker"):
        predict(Trace(arrivals=(1.0,), costs=(1.0,)), workers=0)


# --- from timings ----------------------------------------------------------------------------


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


# --- explanations ----------------------------------------------------------------------------


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
