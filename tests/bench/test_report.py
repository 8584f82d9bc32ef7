"""The report, its figures and its pictures, from recordings that were never measured."""

import dataclasses
import json
import re
import sys

import msgspec
import pytest

from bench import pictures, report
from bench.findings import findings
from bench.others import grids
from bench.report import Material, write
from bench.runs import MODES, WORKLOADS, Recording
from bench.statistics import Interval, bootstrap
from bench.summary import dispatch_ms, least_latency, summarize
from sgl_conveyor.chrome_trace import ChromeTrace
from sgl_conveyor.core import Timings, UnitTiming
from sgl_conveyor.theory import Trace, bound
from tests.bench.synthetic import MACHINE, recording

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def measured():
    return recording(calls=8)


def changed(runs, wanted, **changes):
    """The recording with some runs changed; values that are functions get the run."""

    def change(run):
        values = {k: v(run) if callable(v) else v for k, v in changes.items()}
        return replace(run, **values) if wanted(run) else run

    return Recording(machine=runs.machine, runs=[change(run) for run in runs.runs])


def with_gap(latencies):
    """One workload, whose calls have these latencies, stock and partial."""
    template = recording(calls=1, workloads=["database"]).runs
    by_mode = {run.mode: run for run in template}
    runs = []
    for call, seconds in enumerate(latencies):
        for mode, latency in zip(("stock", "partial"), seconds, strict=True):
            runs.append(replace(by_mode[mode], call=call, latency_s=latency))
    return Recording(machine=MACHINE, runs=runs)


def texts(found):
    return [finding.text for finding in found]


# --- figures ---------------------------------------------------------------------------------


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
    steps = summarize(measured).workloads["validation"].steps_after_abort
    assert 0 < steps.value < 1


def test_a_call_without_a_trace_has_no_bound(measured):
    empty = changed(
        measured,
        lambda run: run.mode == "sequential",
        timings=lambda run: replace(run.timings, region_end=None, units=[]),
    )
    figures = summarize(empty).workloads["codegen"]
    assert figures.gap_to_bound is None
    assert "no bound is known" in " ".join(texts(findings(empty, summarize(empty))))


def test_the_best_call_has_the_greatest_reduction_among_the_best_ratios():
    figures = summarize(recording(calls=20)).workloads["codegen"]
    good = [call for call in figures.calls if 0.8 <= call.ratio <= 1.25]
    assert figures.best.among == len(good) > 1
    assert figures.best.reduction == max(call.reductions["stock"] for call in good)


def test_without_a_good_ratio_the_nearest_call_is_the_best():
    figures = summarize(recording(calls=20)).workloads["search"]
    assert figures.best.among == 1
    assert figures.best.ratio == max(call.ratio for call in figures.calls)


def test_a_failed_run_is_in_no_figure(measured):
    broken = changed(
        measured,
        lambda run: (run.workload, run.mode, run.call) == ("search", "stock", 3),
        ended="failed",
        latency_s=1e6,
    )
    summary = summarize(broken)
    figures = summary.workloads["search"]
    assert figures.stock.failed == 1
    assert figures.stock.p90_s < 1e5
    assert "stock" not in figures.call(3).reductions
    assert "search: failed, so in no figure: call 3 (stock)." in texts(findings(broken, summary))


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
    assert figures.steps_after_abort is not None


# --- findings --------------------------------------------------------------------------------


def test_nothing_is_found_where_all_is_well():
    good = recording(calls=20, workloads=["codegen"])
    found = texts(findings(good, summarize(good)))
    assert [text for text in found if "Not measured" not in text and "client" not in text] == []


def test_what_is_slower_comes_first_with_its_call_and_why():
    slow = recording(calls=8, slower=1.9)
    found = findings(slow, summarize(slow))
    slower = [finding.slower for finding in found]
    assert slower == sorted(slower, reverse=True)
    against = [f for f in found if f.text.startswith("database: partial is slower than stock by")]
    assert len(against) == 1
    assert against[0].call is not None
    assert "tool time" in against[0].why
    assert any(re.match(r"database: 8 of 8 calls took longer than on stock", f.text) for f in found)


def test_targets_that_are_missed_are_named():
    slow = recording(calls=20, slower=1.2)
    text = "\n".join(texts(findings(slow, summarize(slow))))
    assert re.search(r"codegen: the best-ratio call \(\d+, ratio [\d.]+\) is [\d.]+ %", text)
    assert "not 38.8 %; the bound allows" in text
    assert re.search(r"validation: the median call is [\d.]+ % shorter than on stock, not 60", text)
    assert re.search(r"validation: the result comes [\d.]+ decode steps after", text)
    assert re.search(r"calculator: [\d.]+ % above the bound \(median\), not 5.0 %", text)


def test_modes_that_differ_in_their_results_are_named(measured):
    other = changed(
        measured,
        lambda run: (run.workload, run.mode, run.call) == ("planning", "client", 2),
        value="another",
    )
    assert "planning: the modes' results differ in the calls 2." in texts(
        findings(other, summarize(other))
    )


def test_a_missed_limit_of_the_overhead_is_a_finding(measured):
    verdict = "1 missed: ordinary inter-token +0.4 %; MISSED 250 MB; token to hook p99 3 ms"
    found = texts(findings(measured, summarize(measured), overhead_verdict=verdict))
    assert [text for text in found if "Overhead" in text] == ["Overhead, limit missed: 250 MB."]


# --- the report ------------------------------------------------------------------------------

OVERHEAD = {
    "pairs": [],
    "against_stock": {
        "ordinary": {
            "itl": {"value": 0.004, "low": -0.002, "high": 0.011},
            "throughput": {"value": -0.003, "low": -0.01, "high": 0.004},
            "pairs": 10,
        }
    },
    "tap": [{"tapped": 32, "batch": 32, "p50_us": 31.2, "p99_us": 60.1, "steps": 2000}],
    "dispatcher": None,
    "verdict": "passed: ordinary inter-token +0.4 % [-0.2, +1.1]",
}
ERRORS = {"points": 8, "median": 0.01, "p95": 0.21, "worst": 0.3, "bias": 0.001}
THEORY = {
    "machine": msgspec.to_builtins(MACHINE),
    "errors": {"workloads": ERRORS},
    "skipped": {},
    "points": [],
}
CONCURRENCY = {"rows": [{"at once": 1, "p50_s": 4.1}, {"at once": 16, "gain": 0.123456}]}
ABORT = {"reduction": {"value": 0.61, "low": 0.6, "high": 0.625}, "tokens": {"after": 2}}


@pytest.fixture(scope="module")
def written(measured, tmp_path_factory):
    """The folder of a report that was made by the command with every file."""
    folder = tmp_path_factory.mktemp("report")
    measured.save(folder / "runs.json")
    files = (
        ("overhead", OVERHEAD),
        ("theory", THEORY),
        ("concurrency", CONCURRENCY),
        ("early-abort", ABORT),
    )
    arguments = ["--runs", folder / "runs.json", "--gpu", folder / "runs.json"]
    for name, document in files:
        (folder / f"{name}.json").write_text(json.dumps(document))
        arguments += [f"--{name}", folder / f"{name}.json"]
    arguments += ["--out", folder / "REPORT.md", "--figures", folder / "figures"]
    arguments += ["--summary", folder / "summary.json", "--command", "make bench"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report", *map(str, arguments)])
        assert report.main() == 0
    return folder


def sections(folder):
    """The report's text by heading."""
    parts = re.split(r"^## (.*)\n", (folder / "REPORT.md").read_text(), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def test_the_report_says_where_when_and_how(written):
    head = sections(written)[""]
    for word in (
        "2 CPU cores", "15.6 GiB", "no GPU", "sglang 0.5.23", "2026-11-22", MACHINE.command,
        "make bench", "python -m bench.report --runs",
    ):  # fmt: skip
        assert word in head


def test_what_falls_short_stands_right_after_the_summary(written):
    assert list(sections(written))[1:3] == ["Summary", "Where ours is slower or falls short"]


def test_every_table_is_one(written):
    for title, text in sections(written).items():
        for block in text.split("\n\n"):
            lines = block.strip().splitlines()
            if lines and lines[0].startswith("|"):
                assert len({line.count("|") for line in lines}) == 1, title


def test_the_other_benches_are_in_the_report(written):
    found = sections(written)
    assert "inter-token latency vs stock | 0.4 % [-0.2, 1.1] |" in found["Overhead"]
    assert "p50 31.2 µs" in found["Overhead"]
    assert "| workloads | 8 | 1.0 % | 21.0 % |" in found["Theory"]
    assert "Theory, workloads: errors" in found["Where ours is slower or falls short"]
    assert "| 16 | – | 0.1235 |" in found["Many requests at once"]
    assert "| reduction | 0.61 [0.6, 0.625] |" in found["Early abort"]
    assert "codegen, partial" in found["GPU"]


def test_what_the_report_links_to_is_there(written):
    links = re.findall(r"\]\((.*?)\)", (written / "REPORT.md").read_text())
    assert {f"figures/{name}" for name, _ in report._CAPTIONS} <= set(links)
    for link in links:
        assert (written / link).exists(), link
    traces = [link for link in links if link.endswith(".trace.json")]
    assert traces
    for trace in traces:
        msgspec.json.decode((written / trace).read_bytes(), type=ChromeTrace)


def test_the_papers_figures_stand_in_a_column_of_their_own(written):
    rows = [line for line in sections(written)["The paper's figures"].splitlines() if "|" in line]
    ours = [row.split("|")[2] for row in rows]
    theirs = [row.split("|")[3] for row in rows]
    assert "38.8 %" not in " ".join(ours)
    assert "up to 38.8 %" in " ".join(theirs)
    assert "Mistral-7B-Instruct-v0.2, functionary-small-v2.2" in " ".join(theirs)


def test_the_summary_has_the_names_that_were_agreed(written, measured):
    workloads = json.loads((written / "summary.json").read_text())["workloads"]
    assert set(workloads) == set(WORKLOADS)
    for figures in workloads.values():
        for mode in MODES:
            for name in ("p50_s", "p90_s", "decode_s", "tool_s", "hidden_s", "dispatch_ms"):
                assert isinstance(figures[mode][name], float)
        for name in ("reduction_vs_stock", "reduction_vs_client", "gap_to_bound"):
            assert set(figures[name]) == {"value", "low", "high"}
            assert figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"]


def test_what_was_not_measured_is_said(tmp_path):
    part = recording(calls=2, workloads=["calculator"], modes=["stock", "partial"])
    write(
        Material(recording=part, summary=summarize(part)), tmp_path / "R.md", tmp_path / "figures"
    )
    text = (tmp_path / "R.md").read_text()
    assert "GPU: not run." in text
    assert "Not measured: `python -m bench.theory`." in text
    assert "Not measured: codegen, search, planning, validation, database." in text


def test_a_file_of_any_shape_becomes_tables(tmp_path):
    path = tmp_path / "any.json"
    path.write_text(json.dumps([{"a": 1, "b": {"c": 2}}, {"a": 3}]))
    (grid,) = grids(path)
    assert (grid.header, grid.rows) == (["a", "b.c"], [[1, 2], [3, None]])
    interval = msgspec.to_builtins(Interval(0.5, 0.4, 0.6))
    path.write_text(json.dumps({"machine": {}, "verdict": "passed", "x": {"y": interval}}))
    (grid,) = grids(path)
    assert grid.rows == [["verdict", "passed"], ["x.y", "0.5 [0.4, 0.6]"]]


# --- pictures --------------------------------------------------------------------------------


def test_every_picture_is_drawn_and_the_same_each_time(measured, tmp_path):
    summary = summarize(measured)
    for folder in ("one", "two"):
        pictures.draw_all(measured, summary, tmp_path / folder)
    names = {name for name, _ in report._CAPTIONS}
    assert {path.name for path in (tmp_path / "one").iterdir()} == names
    for name in names:
        image = (tmp_path / "one" / name).read_bytes()
        assert image.startswith(b"\x89PNG")
        assert image == (tmp_path / "two" / name).read_bytes()


def test_the_timeline_is_of_the_best_call_or_of_the_one_asked_for(measured):
    summary = summarize(measured)
    sequential, partial = pictures.timeline_pair(measured, summary)
    assert sequential.call == partial.call == summary.workloads["codegen"].best.call
    assert (sequential.mode, partial.mode) == ("sequential", "partial")
    assert pictures.timeline_pair(measured, summary, 2)[0].call == 2


def test_without_codegen_there_is_no_timeline(tmp_path):
    part = recording(calls=2, workloads=["calculator", "validation"])
    pictures.draw_all(part, summarize(part), tmp_path)
    assert not (tmp_path / pictures.TIMELINE).exists()
    assert (tmp_path / pictures.DISPATCH).exists()
