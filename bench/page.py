"""The report's text, section by section, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import charts, other_tables, sources, tables, timeline, workload_kinds
from bench.calls import BEST_WITHIN
from bench.findings import Finding, findings
from bench.others import Grid, Overhead
from bench.predictions import Predictions
from bench.runs import Machine, Recording
from bench.sources import Source
from bench.summary import Summary
from bench.targets import Target, targets

CAPTIONS = (
    (timeline.TIMELINE, "One call of CodeGen, sequential above, partial beneath: statements by "
     "their numbers, decoded (blue) and executed (orange)."),
    (charts.LATENCIES, "Request latency of the workloads in the four modes; the line is the "
     "bound of partial."),
    (charts.REDUCTIONS, "Reduction against sequential over the ratio of tool time to decode "
     "time: lines are theory, points are calls."),
    (charts.DISPATCH, "Dispatch latency in partial mode, of units that found the tool free."),
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
        commands: that made it, besides those of the files.
        sources: the files besides that of the runs and the GPU's.
        left_out: why the figures of a file are not here, by the file's name.
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
    sources: tuple[Source, ...] = ()
    left_out: Mapping[str, str] | None = None

    def targets(self) -> list[Target]:
        """All targets, met or not."""
        return targets(self.summary, self.predictions, self.overhead)

    def findings(self) -> list[Finding]:
        """What is slower or falls short."""
        return findings(self.recording, self.summary, self.targets())


def lines(
    material: Material, traces: Mapping[tuple[str, int | None], str], figures: Path, beside: Path
) -> list[str]:
    """The whole report.

    Args:
        material: what it is made of.
        traces: the file of a call's trace, by its workload and number.
        figures: the folder of pictures and traces.
        beside: the same, as seen from the report.
    """
    summary = material.summary
    text = [
        "# Measurements",
        "",
        "Partial execution against stock SGLang, against the same tools fed sequentially, and "
        "against a client that feeds its tools from a stream. Figures are medians over calls with "
        "95 % bootstrap intervals; reductions are paired, call by call, of request latency "
        "(1 − partial / other).",
        "",
        *_machine(summary.machine),
        *_made_by(material),
        *_section("Summary", tables.reductions(summary), "", _against_client(summary)),
        *_section("Targets", other_tables.targets(material.targets())),
        *_section(
            "Where ours is slower or falls short", *_findings(material.findings(), traces, beside)
        ),
        *_section("Workloads", *workload_kinds.TEXT, "", workload_kinds.codegen_kinds(summary)),
        *_section(
            "Best-ratio calls",
            f"Calls whose tool time is within a factor of {BEST_WITHIN:g} of their decode time "
            "(from the request, both of the sequential run), or the nearest one if there is none.",
            "",
            tables.best_calls(summary),
        ),
        *_section("Latency", tables.latencies(summary), "", *_LATENCY_NOTE),
        *_section("Against the bound", *_BOUND_NOTE, "", tables.bounds(summary)),
        *_section("Search's first connection, cold in every mode", *_cold(material)),
        *_section("Theory", *_theory(material)),
        *_section("Overhead", *_overhead(material)),
        *_section("Many requests at once", *_grids(material, "concurrency", material.concurrency)),
        *_section("Early abort", *_grids(material, "early_abort", material.early_abort)),
        *_section("The paper's figures", other_tables.paper(summary)),
        *_section("GPU", *_gpu(material.gpu)),
        *_section("Pictures", *_pictures(figures, beside)),
        "## Call by call",
        "",
    ]
    for name, workload in summary.workloads.items():
        text += [tables.calls(name, workload), ""]
    return text[:-1]


_LATENCY_NOTE = (
    "Latency: until the result is there and the decoding has ended, as a program needs both. "
    "Decode: from the request to the region's last token. Hidden: tool time while the region was "
    "decoded. Dispatch: from the commit of a unit's last token to its hook, where the tool was "
    "free; where text is held, from the region's end to the first hook. Stock and client have "
    "none: there the client feeds the tool, and does not know when a token was committed.",
)
_BOUND_NOTE = (
    "The bound is the longest path through the paired sequential run's trace: t = 0 as the client "
    "sends, no overhead. That of the partial run's own trace has its own decode times: what is "
    "above it is overhead. For a call that aborts, the bound is the end of the unit that does; "
    "from there, by the run's own trace, decode steps are counted to the result in the client's "
    "hand, and to the end of decoding. The second is later: the scheduler ends a request only "
    "after the step in which it learns of the abort.",
)


def _section(title: str, *text: str) -> list[str]:
    return [f"## {title}", "", *text, ""]


def _machine(machine: Machine) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    commit = machine.commit or "unknown: no git"
    return [
        f"- Machine: {sources.described(machine)}",
        f"- Model: {machine.model or 'see the command'}",
        f"- SGL Conveyor {machine.package or '(version unknown)'}, commit {commit}",
        f"- Versions: {versions}",
        f"- Date: {machine.date}",
    ]


def _made_by(material: Material) -> list[str]:
    runs = Source("runs", material.summary.machine)
    every = (runs, *material.sources)
    text = ["", sources.table_of(every, material.summary.machine), ""]
    if material.commands:
        text += ["```sh", *material.commands, "```", ""]
    return text


def _against_client(summary: Summary) -> str:
    step = summary.decode_step_s
    at = "tens of ms" if step is None else f"{1e3 * step:.0f} ms"
    return (
        f"Against **client** little can be won by one request at {at} a token (the median decode "
        "step here): it feeds the tool while decoding, too, and a token reaches it a few ms later "
        "at most. What streaming costs shows with "
        "[many requests at once](#many-requests-at-once)."
    )


def _findings(
    found: Sequence[Finding], traces: Mapping[tuple[str, int | None], str], beside: Path
) -> list[str]:
    if not found:
        return ["Nowhere: nothing is slower, and all targets are met."]
    text = []
    for finding in found:
        trace = traces.get((finding.workload, finding.call))
        link = "" if trace is None else f" ([trace]({(beside / trace).as_posix()}))"
        why = f" Call {finding.call}: {finding.why}" if finding.why else ""
        text.append(f"- {finding.text}{why}{link}")
    return text


def _absent(material: Material, name: str, command: str) -> list[str]:
    """Why a section is empty."""
    why = (material.left_out or {}).get(name)
    return [f"Not measured: `python -m {command}`." if why is None else f"Left out: {why}."]


def _theory(material: Material) -> list[str]:
    if (predictions := material.predictions) is None:
        return _absent(material, "theory", "bench.theory")
    text = [
        "Each partial run, predicted from the timings of the paired sequential run alone; the "
        "error is |predicted − seen| / seen.",
        "",
        other_tables.errors(predictions),
    ]
    if predictions.skipped:
        text += ["", "Pairs of which the theory says nothing, in no figure above:", ""]
        text += [f"- {name}: {'; '.join(why)}" for name, why in predictions.skipped.items()]
    return text


def _overhead(material: Material) -> list[str]:
    if (overhead := material.overhead) is None:
        return _absent(material, "overhead", "bench.overhead")
    return [overhead.verdict, "", other_tables.overheads(overhead)]


def _grids(material: Material, name: str, found: Sequence[Grid]) -> list[str]:
    if not found:
        return _absent(material, name, f"bench.{name}")
    text: list[str] = []
    for grid in found:
        text += [other_tables.grid(grid), ""]
    return text[:-1]


def _cold(material: Material) -> list[str]:
    if (cold := material.cold) is None:
        return _absent(material, "cold", "bench.workloads --cold")
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
        *_machine(gpu.machine),
        f"- Command: `{gpu.machine.command}`",
        "",
        tables.reductions(gpu),
        "",
        tables.latencies(gpu),
        "",
        tables.bounds(gpu),
    ]


def _pictures(figures: Path, beside: Path) -> list[str]:
    text: list[str] = []
    for name, caption in CAPTIONS:
        if (figures / name).exists():
            text += [f"![{caption}]({(beside / name).as_posix()})", "", caption, ""]
    return text[:-1]
