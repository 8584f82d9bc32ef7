"""The report and its summary, from files that were never measured."""

import json
import re
import sys

import msgspec
import pytest

from bench.analyse.kinds import slept_s
from bench.analyse.results import AbortedMode, Concurrency, EarlyAbort, WayFigures, save
from bench.analyse.runs import MODES
from bench.analyse.statistics import Interval
from bench.analyse.summary import summarize
from bench.report import __main__ as report
from bench.report.__main__ import write
from bench.report.page import CAPTIONS, Material
from bench.report.tables import kinds
from bench.workloads.recorded import WORKLOADS
from sgl_conveyor.chrome_trace import ChromeTrace
from tests.bench.changes import changed, replace
from tests.bench.synthetic import MACHINE, recording


@pytest.fixture(scope="module")
def measured():
    return recording(calls=8)


OVERHEAD = {
    "machine": msgspec.to_builtins(MACHINE),
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
    "checks": [],
    "verdict": "passed: ordinary inter-token +0.4 % [-0.2, +1.1]",
}
ERRORS = {"points": 8, "median": 0.01, "p95": 0.21, "worst": 0.3, "bias": 0.001}
THEORY = {
    "machine": msgspec.to_builtins(MACHINE),
    "errors": {"workloads": ERRORS},
    "skipped": {"search": ["call 3: it failed"]},
    "points": [],
}
LATER = replace(MACHINE, commit="abc1234", date="2026-11-21")
CONCURRENCY = Concurrency(
    machine=LATER,
    loads=[
        WayFigures(
            requests=16,
            way="stock",
            rounds=6,
            latency_s=4.123456,
            against_stock=Interval(0, 0, 0),
            against_client=None,
            tokens_per_s=Interval(198.7, 187.6, 207.9),
            bench_cpu_s=0.018,
            dispatch_ms=None,
        )
    ],
)
ABORTED = AbortedMode(
    mode="partial",
    runs=10,
    latency_s=Interval(0.5, 0.4, 0.6),
    tokens_before=Interval(12, 12, 12),
    most_tokens_after=2,
)
ABORT = EarlyAbort(machine=MACHINE, modes=[ABORTED], reduction=Interval(0.61, 0.6, 0.625))


@pytest.fixture(scope="module")
def written(measured, tmp_path_factory):
    """The folder of a report that was made by the command with every file."""
    folder = tmp_path_factory.mktemp("report")
    named = replace(measured.machine, package="0.1.0", commit="abc+changes", model="a model")
    replace(measured, machine=named).save(folder / "runs.json")
    files = (
        ("overhead", OVERHEAD),
        ("theory", THEORY),
        ("concurrency", CONCURRENCY),
        ("early-abort", ABORT),
    )
    arguments = ["--runs", folder / "runs.json", "--gpu", folder / "runs.json"]
    for name, document in files:
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(document))
        arguments += [f"--{name}", folder / f"{name}.json"]
    arguments += ["--out", folder / "REPORT.md", "--figures", folder / "figures"]
    arguments += ["--summary", folder / "summary.json", "--command", "make bench"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report", *map(str, arguments)])
        assert report.main() == 0
    return folder


def sections(folder):
    """The report's text by heading; what only aligns a table's columns is left out."""
    text = re.sub(" +", " ", (folder / "REPORT.md").read_text())
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def test_the_report_says_where_when_and_how(written):
    head = sections(written)[""]
    for word in (
        "2 CPU cores", "15.6 GiB", "no GPU", "sglang 0.5.23", "2026-11-22", MACHINE.command,
        "make bench", "python -m bench.report --runs", "commit abc+changes", "Model: a model",
    ):  # fmt: skip
        assert word in head


def test_targets_and_what_falls_short_stand_right_after_the_summary(written):
    assert list(sections(written))[1:4] == [
        "Summary",
        "Targets",
        "Where ours is slower or falls short",
    ]


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
    assert "- search: call 3: it failed" in found["Theory"]
    assert "theory, workloads: error, p95: 21.0 %" in found["Where ours is slower or falls short"]
    assert "| 16 | stock | 6 | 4.123 | 0 [0, 0] | – |" in found["Many requests at once"]
    assert "| reduction | 0.61 [0.6, 0.625] |" in found["Early abort"]
    assert "| partial | 10 | 0.5 [0.4, 0.6] | 12 [12, 12] | 2 |" in found["Early abort"]
    assert "codegen, partial" in found["GPU"]


def test_what_the_report_links_to_is_there(written):
    links = re.findall(r"\]\((.*?)\)", (written / "REPORT.md").read_text())
    assert {f"figures/{name}" for name in CAPTIONS} <= set(links)
    anchors = {f"#{title.lower().replace(' ', '-')}" for title in sections(written)}
    for link in links:
        assert link in anchors or (written / link).exists(), link
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
                known = name != "dispatch_ms" or mode in ("sequential", "partial")
                assert isinstance(figures[mode][name], float if known else type(None))
        for name in ("reduction_vs_stock", "reduction_vs_client", "gap_to_bound"):
            assert set(figures[name]) == {"value", "low", "high"}
            assert figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"]


def test_what_was_not_measured_is_said(tmp_path):
    part = recording(calls=2, workloads=["calculator"], modes=["stock", "partial"])
    write(Material.gather(part, {}), tmp_path / "R.md", tmp_path / "figures")
    text = (tmp_path / "R.md").read_text()
    assert "GPU: not run." in text
    assert "Not measured: `python -m bench.measure.theory`." in text
    assert re.search("Not measured: codegen: reduction .*; validation: .*; overhead: ", text)
    assert "all targets are met" not in text


def test_each_file_is_labelled_and_another_machines_figures_are_left_out(measured, tmp_path):
    elsewhere = replace(MACHINE, gpu="a GPU", command="python -m bench.measure.early_abort 'a b'")
    save(tmp_path / "concurrency.json", CONCURRENCY)
    save(tmp_path / "early_abort.json", replace(ABORT, machine=elsewhere))
    (tmp_path / "theory.json").write_text("{}")
    names = ["concurrency", "early_abort", "theory"]
    material = Material.gather(measured, {name: tmp_path / f"{name}.json" for name in names})
    write(material, tmp_path / "REPORT.md", tmp_path / "figures")
    found = sections(tmp_path)
    (concurrency,) = [line for line in found[""].splitlines() if line.startswith("| concurrency")]
    assert concurrency.endswith("another date, another commit |")
    assert "left out: another machine (2 CPU cores, 15.6 GiB, a GPU)" in found[""]
    assert "`python -m bench.measure.early_abort 'a b'`" in found[""]
    assert "| 16 | stock |" in found["Many requests at once"]
    assert "0.61 [0.6" not in "".join(found.values())
    assert found["Early abort"].strip().startswith("Left out: another machine")
    assert found["Theory"].strip().startswith("Left out: the file does not say on which machine")


def test_runs_that_failed_make_the_command_fail(measured, tmp_path, monkeypatch, capsys):
    broken = changed(
        measured,
        lambda run: (run.workload, run.mode, run.call) == ("search", "stock", 3),
        ended="failed",
    )
    broken.save(tmp_path / "runs.json")
    arguments = ["--results", tmp_path, "--out", tmp_path / "R.md", "--figures", tmp_path / "f"]
    arguments += ["--summary", tmp_path / "summary.json"]
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    assert report.main() == 1
    assert "search 3, stock: failed" in capsys.readouterr().err


def test_a_program_sleeps_as_often_as_its_loop_says():
    loop = "import time\nfor page in range(4):\n    time.sleep(0.5)\ntime.sleep(1)\n"
    assert slept_s(loop) == 3
    assert slept_s("print(sum(range(9)))") == 0


def test_codegens_sleeping_and_computing_calls_stand_apart(measured):
    def with_tool_time(seconds):
        alone = recording(calls=2, workloads=["codegen"])
        summary = summarize(alone)
        calls = [replace(call, tool_s=seconds) for call in summary.workloads["codegen"].calls]
        figures = replace(summary.workloads["codegen"], calls=calls)
        table = kinds(replace(summary, workloads={"codegen": figures}))
        return re.sub(" +", " ", table)

    # The first recorded text sleeps 3.1 s, the second 0.7 s.
    assert "| sleeps | 2 |" in with_tool_time(0.5)
    assert "| computes | 2 |" in with_tool_time(100.0)
    assert re.search(r"\| sleeps \| 1 \|.*\n\| computes \| 1 \|", with_tool_time(3.2))
