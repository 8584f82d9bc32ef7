"""The figures of recordings that were never measured."""

import dataclasses

import pytest

from bench.analyse.calls import decode_step_s, least_latency
from bench.analyse.runs import MODES
from bench.analyse.statistics import bootstrap
from bench.analyse.summary import dispatch_ms, summarize
from bench.workloads.recorded import WORKLOADS
from sgl_conveyor.theory import Trace, bound
from sgl_conveyor.timings import Timings, UnitTiming
from tests.bench.changes import changed, replace, texts, with_gap
from tests.bench.synthetic import recording


@pytest.fixture(scope="module")
def measured():
    return recording(calls=8)


def test_every_workload_and_mode_has_its_figures(measured):
    workloads = summarize(measured).workloads
    assert tuple(workloads) == WORKLOADS
    for name, figures in workloads.items():
        for mode in MODES:
            of = figures.mode(mode)
            assert of.calls == 8
            low, high = of.p50_interval_s
            assert low <= of.p50_s <= high
            assert of.p50_s <= of.p90_s
            latencies = [run.latency_s for run in measured.of(name, mode)]
            assert of.p50_s == bootstrap(latencies).value


def test_a_reduction_is_paired_call_by_call():
    # Unpaired, the medians are 14 and 7; each call by itself is halved but one.
    figures = summarize(with_gap([(2, 1), (10, 5), (18, 9), (30, 45)])).workloads["database"]
    assert [round(call.reductions["stock"], 3) for call in figures.calls] == [0.5, 0.5, 0.5, -0.5]
    assert figures.reduction_vs_stock == bootstrap([0.5, 0.5, 0.5, -0.5])
    assert figures.reduction_vs_client is None


def test_the_bound_is_that_of_the_paired_sequential_run_without_overhead(measured):
    for name in ("codegen", "planning"):
        figures = summarize(measured).workloads[name]
        for sequential, partial in measured.pairs(name, "sequential", "partial"):
            trace = Trace.from_timings(sequential.timings)
            expected = bound(dataclasses.replace(trace, dispatch=0.0))
            call = figures.call(sequential.call)
            assert call.bound_s == pytest.approx(expected)
            assert call.gap == pytest.approx(partial.latency_s / expected - 1)


def test_the_bound_of_an_aborted_call_is_the_end_of_its_last_unit(measured):
    (run, *_) = measured.of("validation", "sequential")
    arrivals = [unit.ready for unit in run.timings.units]
    least = least_latency(run)
    assert max(arrivals) < least < run.timings.region_end


def test_an_abort_is_counted_to_the_result_and_to_the_end_of_decoding(measured):
    later = changed(
        measured,
        lambda run: (run.workload, run.mode) == ("validation", "partial"),
        latency_s=lambda run: run.result_s + 2 * decode_step_s(run.timings),
    )
    figures = summarize(later).workloads["validation"]
    assert 0 < figures.steps_to_result.value < 1
    for call in figures.calls:
        assert call.steps_to_end - call.steps_to_result == pytest.approx(2)


def test_a_call_without_a_trace_has_no_bound(measured):
    empty = changed(
        measured,
        lambda run: run.mode == "sequential",
        timings=lambda run: replace(run.timings, region_end=None, units=[]),
    )
    figures = summarize(empty).workloads["codegen"]
    assert figures.gap_to_bound is None
    assert "no bound is known" in " ".join(texts(empty))


def test_the_best_ratio_calls_are_judged_by_their_median_not_by_a_lucky_one():
    figures = summarize(recording(calls=20)).workloads["codegen"]
    good = [call for call in figures.calls if 0.8 <= call.ratio <= 1.25]
    reductions = [call.reductions["stock"] for call in good]
    assert figures.best.calls == [call.call for call in good]
    assert len(good) > 1
    assert figures.best.reduction == bootstrap(reductions)
    assert figures.best.up_to == max(reductions) > figures.best.reduction.value


def test_modes_in_which_the_client_feeds_the_tool_have_no_dispatch_latency(measured):
    for figures in summarize(measured).workloads.values():
        for mode in ("stock", "client"):
            assert (figures.mode(mode).dispatch_ms, figures.mode(mode).units) == (None, 0)
        assert figures.partial.dispatch_ms > 0
        assert figures.partial.units > 0


def test_a_call_that_ended_otherwise_elsewhere_is_not_compared(measured):
    other = changed(
        measured,
        lambda run: (run.workload, run.mode, run.call) == ("validation", "stock", 1),
        ended="done",
    )
    call = summarize(other).workloads["validation"].call(1)
    assert "stock" not in call.reductions
    assert "client" in call.reductions
    assert not call.alike


def test_without_a_good_ratio_the_nearest_call_is_the_best():
    figures = summarize(recording(calls=20)).workloads["search"]
    assert len(figures.best.calls) == 1
    assert figures.best.ratios[1] == max(call.ratio for call in figures.calls)


def test_a_failed_run_is_in_no_figure(measured):
    broken = changed(
        measured,
        lambda run: (run.workload, run.mode, run.call) == ("search", "stock", 3),
        ended="failed",
        latency_s=1e6,
    )
    figures = summarize(broken).workloads["search"]
    assert figures.stock.failed == 1
    assert figures.stock.p90_s < 1e5
    assert "stock" not in figures.call(3).reductions
    assert "search: failed, so in no figure: call 3 (stock)." in texts(broken)


def test_dispatch_is_of_units_that_found_the_tool_free():
    (run,) = with_gap([(2, 1)]).of("database", "partial")
    # The second waits for the first; the first and the third find the tool free.
    units = [UnitTiming(1.0, 1.002, 2.0), UnitTiming(1.5, 2.0001, 2.5), UnitTiming(3.0, 3.004, 4.0)]
    timings = Timings(opened=0.1, units=units, region_end=5.0)
    assert dispatch_ms([replace(run, timings=timings)]) == pytest.approx([2.0, 4.0])
    held = replace(timings, partial=False, region_end=0.999)
    assert dispatch_ms([replace(run, timings=held)]) == pytest.approx([2.0])


def test_an_aborted_call_whose_region_never_ended_hid_all_its_tool_time(measured):
    endless = changed(
        measured,
        lambda run: (run.workload, run.mode) == ("validation", "partial"),
        timings=lambda run: replace(run.timings, region_end=None),
    )
    figures = summarize(endless).workloads["validation"]
    assert figures.partial.hidden_s == figures.partial.tool_s > 0
    assert figures.steps_to_result is not None
