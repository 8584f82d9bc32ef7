"""What falls short is found, and what was not measured is never passed over."""

import re

import msgspec
import pytest

from bench.analyse.findings import faults
from bench.analyse.predictions import Errors, Predictions
from bench.analyse.results import LIMITS, Check, Overhead
from bench.analyse.summary import summarize
from bench.analyse.targets import HEADLINE, targets
from tests.bench.changes import changed, found_in, texts
from tests.bench.synthetic import MACHINE, recording

CHECKS = [Check.of(name, limit.value, name) for name, limit in LIMITS.items()]
GOOD = Errors(9, 0.01, 0.02, 0.03, 0.0)
PREDICTIONS = Predictions(
    machine=MACHINE, errors={"workloads": GOOD, "grid": GOOD}, skipped={}, points=[]
)


@pytest.fixture(scope="module")
def measured():
    return recording(calls=8)


def states(runs, **files):
    """Each target's state, by its name."""
    return {target.name: target.state for target in targets(summarize(runs), **files)}


def shorter_by(runs, workload, reductions):
    """The recording with these reductions against stock of a workload's calls."""
    stock = {run.call: run.latency_s for run in runs.of(workload, "stock")}
    return changed(
        runs,
        lambda run: (run.workload, run.mode) == (workload, "partial"),
        latency_s=lambda run: (1 - reductions(run.call)) * stock[run.call],
    )


def test_one_lucky_call_does_not_meet_the_headline():
    runs = recording(calls=20, workloads=["codegen"])
    best = summarize(runs).workloads["codegen"].best
    lucky = shorter_by(runs, "codegen", lambda call: 0.9 if call == best.calls[0] else HEADLINE / 2)
    title = "codegen: reduction against stock, best-ratio calls (median)"
    assert states(lucky)[title] == "missed"
    assert any(text.startswith(title) for text in texts(lucky))
    assert states(shorter_by(runs, "codegen", lambda call: HEADLINE + 0.001))[title] == "met"


@pytest.mark.parametrize("workload", ["codegen", "search", "planning"])
def test_a_single_call_that_is_not_sooner_than_stock_is_a_finding(measured, workload):
    late = shorter_by(measured, workload, lambda call: 0.0 if call == 3 else 0.5)
    assert states(late)[f"{workload}: sooner than on stock"] == "missed"
    (found,) = [f for f in found_in(late) if f.text.startswith(f"{workload}: sooner than on stock")]
    assert (found.slower, found.call) == (True, 3)
    assert "7 of 8" in found.text


def test_quick_workloads_may_be_slower_within_the_noise_only(measured):
    noisy = shorter_by(measured, "database", lambda call: 0.05 if call % 2 else -0.06)
    assert states(noisy)["database: not slower than stock"] == "met"
    slow = shorter_by(measured, "database", lambda call: -0.02 - 0.001 * call)
    assert states(slow)["database: not slower than stock"] == "missed"


def test_what_was_not_measured_is_a_finding_and_no_target_is_dropped():
    part = recording(calls=4, workloads=["calculator"], modes=["stock", "partial"])
    full = recording(calls=4)
    found = states(part)
    assert found.keys() == states(full, predictions=PREDICTIONS).keys()
    assert found["calculator: not slower than stock"] != "not measured"
    assert found["calculator: above the bound (median)"] == "not measured"
    assert found["theory, grid: error, p95"] == "not measured"
    (text,) = [text for text in texts(part) if text.startswith("Not measured:")]
    for name, state in found.items():
        assert (name in text) == (state == "not measured")


def test_an_abort_without_steps_is_not_measured(measured):
    bare = changed(
        measured,
        lambda run: run.workload == "validation",
        timings=lambda run: msgspec.structs.replace(run.timings, tokens=[]),
    )
    title = "validation: decode steps from the unit that aborts to the result (median)"
    assert states(measured)[title] == "met"
    assert states(bare)[title] == "not measured"


def test_steps_are_judged_by_the_result_not_by_the_end_of_decoding(measured):
    later = changed(
        measured,
        lambda run: (run.workload, run.mode) == ("validation", "partial"),
        latency_s=lambda run: run.result_s + 0.3,
    )
    title = "validation: decode steps from the unit that aborts to the result (median)"
    assert states(later)[title] == "met"
    assert summarize(later).workloads["validation"].steps_to_end.value > 2


def test_the_overhead_is_judged_by_its_checks(measured):
    missed = Check.of("dispatcher memory", 250, "dispatcher 250 MB")
    checks = [missed if check.name == missed.name else check for check in CHECKS]
    overhead = Overhead(checks=checks[1:])
    found = {target.name: target for target in targets(summarize(measured), overhead=overhead)}
    assert found["overhead: dispatcher memory"].state == "missed"
    assert found["overhead: dispatcher memory"].limit == "≤ 200 MB"
    assert found["overhead: ordinary pairs"].limit == "≥ 10 pairs"
    assert found["overhead: ordinary pairs"].state == "met"
    assert found[f"overhead: {CHECKS[0].name}"].state == "not measured"
    assert "overhead: dispatcher memory: 250 MB, not ≤ 200 MB." in texts(
        measured, overhead=overhead
    )


def test_nothing_is_found_where_all_is_well_and_measured(measured):
    # A tenth of what stock takes, and just above the bound.
    bounds = {
        (name, call.call): call.bound_s
        for name, figures in summarize(measured).workloads.items()
        for call in figures.calls
    }
    good = changed(
        measured,
        lambda run: True,
        latency_s=lambda run: bounds[run.workload, run.call] * (1 if run.mode == "partial" else 10),
    )
    files = {"predictions": PREDICTIONS, "overhead": Overhead(checks=CHECKS)}
    assert texts(good, **files) == []
    assert len(texts(good)) == 1


def test_what_is_slower_comes_first_with_its_call_and_why():
    found = found_in(recording(calls=8, slower=1.9))
    slower = [finding.slower for finding in found]
    assert slower == sorted(slower, reverse=True)
    against = [f for f in found if f.text.startswith("database: partial is slower than stock by")]
    assert len(against) == 1
    assert against[0].call is not None
    assert "tool time" in against[0].why
    assert any(re.match(r"database: 8 of 8 calls took longer than on stock", f.text) for f in found)


def test_modes_that_differ_in_their_results_are_named(measured):
    other = changed(
        measured,
        lambda run: (run.workload, run.mode, run.call) == ("planning", "client", 2),
        value="another",
    )
    assert "planning: the modes' results differ in the calls 2." in texts(other)
    assert faults(other, summarize(other)) == []


def test_failed_runs_and_ends_that_differ_make_the_figures_unsound(measured):
    def only(mode, ended):
        return changed(
            measured,
            lambda run: (run.workload, run.mode, run.call) == ("planning", mode, 2),
            ended=ended,
        )

    assert faults(measured, summarize(measured)) == []
    failed = only("client", "failed")
    assert faults(failed, summarize(failed))[0] == "planning 2, client: failed"
    (differ,) = faults(only("stock", "aborted"), summarize(only("stock", "aborted")))
    assert differ.startswith("planning 2: stock aborted, sequential done")
