"""Write the report of the measurements: Markdown with tables and pictures, and a summary as JSON.

    python -m bench.report [--runs FILE] [--overhead FILE] [--theory FILE] [--concurrency FILE] …

Files that are not named are taken from `bench/results` if they are there. What is slower or falls
short comes first. Each finding that a call shows has its trace saved beside the pictures, for
https://ui.perfetto.dev.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import pictures, tables
from bench.findings import Finding, findings
from bench.others import Grid, Overhead, grids
from bench.predictions import Predictions
from bench.runs import Machine, Recording
from bench.summary import BEST_WITHIN, Summary, summarize

#: Where the measurements leave their files.
RESULTS = Path("bench/results")

_CAPTIONS = (
    (pictures.TIMELINE, "One call of CodeGen, sequential above, partial beneath: statements by "
     "their numbers, decoded (blue) and executed (orange)."),
    (pictures.LATENCIES, "Request latency of the workloads in the four modes; the line is the "
     "bound of partial."),
    (pictures.REDUCTIONS, "Reduction against sequential over the ratio of tool time to decode "
     "time: lines are theory, points are calls."),
    (pictures.DISPATCH, "Dispatch latency in partial mode, of units that found the tool free."),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the report is made of.

    Args:
        recording: the workloads' runs.
        summary: their figures.
        overhead, predictions: of `bench.overhead` and `bench.theory`; None was not measured.
        concurrency, early_abort: of those benches, as tables; empty was not measured.
        gpu: the summary of runs on a GPU.
        cold: that of searches without kept connections.
        commands: that made it, besides the recording's own.
    """

    recording: Recording
    summary: Summary
    overhead: Overhead | None = None
    predictions: Predictions | None = None
    concurrency: tuple[Grid, ...] = ()
    early_abort: tuple[Grid, ...] = ()
    gpu: Summary | None = None
    cold: Summary | None = None
    commands: tuple[str, ...] = ()

    def findings(self) -> list[Finding]:
        """What is slower or falls short."""
        verdict = self.overhead.verdict if self.overhead is not None else ""
        return findings(self.recording, self.summary, self.predictions, verdict)


def write(material: Material, out: Path, figures: Path) -> None:
    """Write the report, its pictures and the traces that it names.

    Args:
        material: what it is made of.
        out: the Markdown file.
        figures: the folder of pictures and traces.
    """
    pictures.draw_all(material.recording, material.summary, figures)
    out.parent.mkdir(parents=True, exist_ok=True)
    found = material.findings()
    traces = {
        (finding.workload, finding.call): trace
        for finding in found
        if (trace := _save_trace(material.recording, finding, figures)) is not None
    }
    beside = Path(os.path.relpath(figures, out.parent))
    out.write_text("\n".join(_lines(material, found, traces, figures, beside)) + "\n")


def _lines(
    material: Material,
    found: list[Finding],
    traces: dict[tuple[str, int | None], str],
    figures: Path,
    beside: Path,
) -> list[str]:
    summary = material.summary
    lines = [
        "# Measurements",
        "",
        "Partial execution against stock SGLang, against the same tools fed sequentially, and "
        "against a client that feeds its tools from a stream. Figures are medians over calls with "
        "95 % bootstrap intervals; reductions are paired, call by call, of request latency "
        "(1 − partial / other).",
        "",
        *_machine(summary.machine, material.commands),
        *_section("Summary", tables.reductions(summary)),
        *_section("Where ours is slower or falls short", *_findings(found, traces, beside)),
        *_section(
            "Best-ratio calls",
            f"Calls whose tool time is within a factor of {BEST_WITHIN:g} of their decode time "
            "(from the request, both of the sequential run), or the nearest one if there is none; "
            "of these, the call with the greatest reduction.",
            "",
            tables.best_calls(summary),
        ),
        *_section("Latency", tables.latencies(summary), "", *_LATENCY_NOTE),
        *_section("Against the bound", *_BOUND_NOTE, "", tables.bounds(summary)),
        *_section("Search's first connection, cold in every mode", *_cold(material.cold)),
        *_section("Theory", *_theory(material.predictions)),
        *_section("Overhead", *_overhead(material.overhead)),
        *_section("Many requests at once", *_as_is(material.concurrency)),
        *_section("Early abort", *_as_is(material.early_abort)),
        *_section("The paper's figures", tables.paper(summary)),
        *_section("GPU", *_gpu(material.gpu)),
        *_section("Pictures", *_pictures(figures, beside)),
        "## Call by call",
        "",
    ]
    for name, workload in summary.workloads.items():
        lines += [tables.calls(name, workload), ""]
    return lines[:-1]


_LATENCY_NOTE = (
    "Decode: from the request to the region's last token. Hidden: tool time while the region was "
    "decoded. Dispatch: from the commit of a unit's last token to its hook, where the tool was "
    "free; where text is held, from the region's end to the first hook.",
)
_BOUND_NOTE = (
    "The bound is the longest path through the paired sequential run's trace: t = 0 as the client "
    "sends, no overhead. That of the partial run's own trace has its own decode times: what is "
    "above it is overhead. For a call that aborts, the bound is the end of the unit that does.",
)


def _section(title: str, *lines: str) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _machine(machine: Machine, commands: tuple[str, ...]) -> list[str]:
    gpu = "no GPU" if machine.gpu == "none" else machine.gpu
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return [
        f"- Machine: {machine.cores} CPU cores, {machine.memory_gib:g} GiB, {gpu}",
        f"- Versions: {versions}",
        f"- Date: {machine.date}",
        "- Commands:",
        "",
        "```sh",
        machine.command,
        *commands,
        "```",
        "",
    ]


def _findings(
    found: list[Finding], traces: dict[tuple[str, int | None], str], beside: Path
) -> list[str]:
    if not found:
        return ["Nowhere: nothing is slower, and all targets of this report are met."]
    lines = []
    for finding in found:
        trace = traces.get((finding.workload, finding.call))
        link = "" if trace is None else f" ([trace]({(beside / trace).as_posix()}))"
        why = f" Call {finding.call}: {finding.why}" if finding.why else ""
        lines.append(f"- {finding.text}{why}{link}")
    return lines


def _save_trace(recording: Recording, finding: Finding, figures: Path) -> str | None:
    runs = recording.of(finding.workload, "partial")
    run = next((run for run in runs if run.call == finding.call), None)
    if run is None:
        return None
    name = f"{run.workload}-{run.call}-partial.trace.json"
    run.timings.to_chrome_trace(f"{run.workload} {run.call}, partial").save(figures / name)
    return name


def _theory(predictions: Predictions | None) -> list[str]:
    if predictions is None:
        return ["Not measured: `python -m bench.theory`."]
    return [
        "Each partial run, predicted from the timings of the paired sequential run alone; the "
        "error is |predicted − seen| / seen.",
        "",
        tables.errors(predictions),
    ]


def _overhead(overhead: Overhead | None) -> list[str]:
    if overhead is None:
        return ["Not measured: `python -m bench.overhead`."]
    return [overhead.verdict, "", tables.overheads(overhead)]


def _as_is(found: tuple[Grid, ...]) -> list[str]:
    if not found:
        return ["Not measured."]
    lines: list[str] = []
    for grid in found:
        lines += [tables.grid(grid), ""]
    return lines[:-1]


def _cold(cold: Summary | None) -> list[str]:
    if cold is None:
        return ["Not measured: `python -m bench.workloads --cold`."]
    return [
        "No connection is kept between calls: partial execution makes it before the query exists.",
        "",
        tables.reductions(cold),
        "",
        tables.latencies(cold),
    ]


def _gpu(gpu: Summary | None) -> list[str]:
    if gpu is None:
        return ["GPU: not run. [gpu.md](gpu.md) says how."]
    return [
        *_machine(gpu.machine, ()),
        tables.reductions(gpu),
        "",
        tables.latencies(gpu),
        "",
        tables.bounds(gpu),
    ]


def _pictures(figures: Path, beside: Path) -> list[str]:
    lines: list[str] = []
    for name, caption in _CAPTIONS:
        if (figures / name).exists():
            lines += [f"![{caption}]({(beside / name).as_posix()})", "", caption, ""]
    return lines[:-1]


def _there(name: str) -> Path | None:
    """A result that has been measured, or None."""
    path = RESULTS / f"{name}.json"
    return path if path.exists() else None


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add = parser.add_argument
    add("--runs", type=Path, default=RESULTS / "runs.json", help="of bench.workloads")
    add("--overhead", type=Path, default=_there("overhead"), help="of bench.overhead")
    add("--theory", type=Path, default=_there("theory"), help="of bench.theory")
    add("--concurrency", type=Path, default=_there("concurrency"), help="of bench.concurrency")
    add("--early-abort", type=Path, default=_there("early_abort"), help="of bench.early_abort")
    add("--cold", type=Path, default=_there("cold"), help="of bench.workloads --cold")
    add("--gpu", type=Path, default=_there("gpu"), help="of bench.workloads on a GPU")
    parser.add_argument("--out", type=Path, default=Path("bench/REPORT.md"))
    parser.add_argument("--figures", type=Path, default=Path("bench/figures"))
    parser.add_argument(
        "--summary", type=Path, default=Path("bench/summary.json"), help="where the figures go"
    )
    parser.add_argument(
        "--command", action="append", default=[], help="a further command to be named"
    )
    args = parser.parse_args()
    recording = Recording.load(args.runs)
    here = "python -m bench.report " + shlex.join(sys.argv[1:])
    material = Material(
        recording=recording,
        summary=summarize(recording),
        overhead=Overhead.load(args.overhead) if args.overhead else None,
        predictions=Predictions.load(args.theory) if args.theory else None,
        concurrency=tuple(grids(args.concurrency)) if args.concurrency else (),
        early_abort=tuple(grids(args.early_abort)) if args.early_abort else (),
        gpu=summarize(Recording.load(args.gpu)) if args.gpu else None,
        cold=summarize(Recording.load(args.cold)) if args.cold else None,
        commands=(*args.command, here),
    )
    write(material, args.out, args.figures)
    if args.summary is not None:
        args.summary.parent.mkdir(parents=True, exist_ok=True)
        material.summary.save(args.summary)
    slower = [finding.text for finding in material.findings() if finding.slower]
    print(f"{args.out}: {len(slower)} findings say that ours is slower somewhere")
    return 0


if __name__ == "__main__":
    sys.exit(main())
