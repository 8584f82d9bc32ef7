"""The report: what it is made of, and its text, which `template.md.j2` has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from bench.analyse.calls import BEST_WITHIN
from bench.analyse.findings import Finding, findings
from bench.analyse.predictions import Predictions
from bench.analyse.results import Concurrency, EarlyAbort, Overhead, load
from bench.analyse.runs import Recording
from bench.analyse.sources import Source
from bench.analyse.summary import Summary, summarize
from bench.analyse.targets import Target, targets
from bench.report import charts, tables, timeline

CAPTIONS = {
    timeline.TIMELINE: "One call of CodeGen, sequential above, partial beneath: statements by "
    "their numbers, decoded (blue) and executed (orange).",
    charts.LATENCIES: "Request latency of the workloads in the four modes; the line is the bound "
    "of partial.",
    charts.REDUCTIONS: "Reduction against sequential over the ratio of tool time to decode time: "
    "lines are theory, points are calls.",
    charts.DISPATCH: "Dispatch latency in partial mode, of units that found the tool free.",
}


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the report is made of; what was not measured is None.

    Args:
        recording: the workloads' runs.
        summary: their figures.
        overhead, predictions, concurrency, early_abort: of those benches.
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
    concurrency: Concurrency | None = None
    early_abort: EarlyAbort | None = None
    gpu: Summary | None = None
    cold: Summary | None = None
    commands: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def gather(
        cls,
        recording: Recording,
        files: Mapping[str, Path],
        gpu: Path | None = None,
        commands: tuple[str, ...] = (),
    ) -> Material:
        """Read the files; those of another machine than the runs' are left out.

        Args:
            recording: the runs.
            files: of the other benches, by the benches' names.
            gpu: the runs on a GPU.
            commands: that are to be named.

        Raises:
            msgspec.DecodeError: a file is no result of its bench.
        """
        sources = tuple(Source.of(name, path) for name, path in files.items())
        why = {source.name: source.refused(recording.machine) for source in sources}
        good = {name: path for name, path in files.items() if not why[name]}
        return cls(
            recording=recording,
            summary=summarize(recording),
            overhead=load(good["overhead"], Overhead) if "overhead" in good else None,
            predictions=load(good["theory"], Predictions) if "theory" in good else None,
            concurrency=load(good["concurrency"], Concurrency) if "concurrency" in good else None,
            early_abort=load(good["early_abort"], EarlyAbort) if "early_abort" in good else None,
            cold=summarize(Recording.load(good["cold"])) if "cold" in good else None,
            gpu=summarize(Recording.load(gpu)) if gpu is not None else None,
            commands=commands,
            sources=sources,
            left_out={name: reason for name, reason in why.items() if reason},
        )

    @property
    def every_source(self) -> tuple[Source, ...]:
        """The runs' file too."""
        return Source("runs", self.summary.machine), *self.sources

    def targets(self) -> list[Target]:
        """All targets, met or not."""
        return targets(self.summary, self.predictions, self.overhead)

    def findings(self) -> list[Finding]:
        """What is slower or falls short."""
        return findings(self.recording, self.summary, self.targets())


def text(
    material: Material, traces: Mapping[tuple[str, int | None], str], figures: Path, beside: Path
) -> str:
    """The whole report.

    Args:
        material: what it is made of.
        traces: the file of a call's trace, by its workload and number.
        figures: the folder of pictures and traces.
        beside: the same, as seen from the report.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template("template.md.j2").render(
        m=material,
        summary=material.summary,
        findings=material.findings(),
        tables=tables,
        traces=traces,
        beside=beside.as_posix(),
        best_within=f"{BEST_WITHIN:g}",
        pictures=[(name, text) for name, text in CAPTIONS.items() if (figures / name).exists()],
    )
