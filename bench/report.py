"""Write the report of the measurements: Markdown with tables and pictures, and a summary as JSON.

    python -m bench.report [--results FOLDER] [--runs FILE] [--overhead FILE] [--theory FILE] …

Files that are not named are taken from the folder of results if they are there. Figures of another
machine than that of the runs are left out. What is slower or falls short comes first; each finding
that a call shows has its trace saved beside the pictures, for https://ui.perfetto.dev.

The exit code is 1 when runs failed or the modes of a call did not end alike; a missed target is a
finding.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from bench import pictures
from bench.findings import Finding, faults
from bench.others import Overhead, grids
from bench.page import Material, lines
from bench.predictions import Predictions
from bench.runs import Recording
from bench.sources import Source
from bench.summary import summarize
from sgl_conveyor.chrome_trace import chrome_trace

#: The files besides the runs, by their names in the folder of results, and their benches.
_FILES = {
    "overhead": "bench.overhead",
    "theory": "bench.theory",
    "concurrency": "bench.concurrency",
    "early_abort": "bench.early_abort",
    "cold": "bench.workloads --cold",
}


def write(material: Material, out: Path, figures: Path) -> None:
    """Write the report, its pictures and the traces that it names.

    Args:
        material: what it is made of.
        out: the Markdown file.
        figures: the folder of pictures and traces.
    """
    pictures.draw_all(material.recording, material.summary, figures)
    out.parent.mkdir(parents=True, exist_ok=True)
    traces = {
        (finding.workload, finding.call): trace
        for finding in material.findings()
        if (trace := _save_trace(material.recording, finding, figures)) is not None
    }
    beside = Path(os.path.relpath(figures, out.parent))
    out.write_text("\n".join(lines(material, traces, figures, beside)) + "\n")


def _save_trace(recording: Recording, finding: Finding, figures: Path) -> str | None:
    runs = recording.of(finding.workload, "partial")
    run = next((run for run in runs if run.call == finding.call), None)
    if run is None:
        return None
    name = f"{run.workload}-{run.call}-partial.trace.json"
    chrome_trace(run.timings, f"{run.workload} {run.call}, partial").save(figures / name)
    return name


def gather(
    recording: Recording, files: dict[str, Path], gpu: Path | None, commands: tuple[str, ...]
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
    sources = {name: Source.of(name, path) for name, path in files.items()}
    why = {name: source.refused(recording.machine) for name, source in sources.items()}
    good = {name: path for name, path in files.items() if not why[name]}
    return Material(
        recording=recording,
        summary=summarize(recording),
        overhead=Overhead.load(good["overhead"]) if "overhead" in good else None,
        predictions=Predictions.load(good["theory"]) if "theory" in good else None,
        concurrency=tuple(grids(good["concurrency"])) if "concurrency" in good else (),
        early_abort=tuple(grids(good["early_abort"])) if "early_abort" in good else (),
        cold=summarize(Recording.load(good["cold"])) if "cold" in good else None,
        gpu=summarize(Recording.load(gpu)) if gpu is not None else None,
        commands=commands,
        sources=tuple(sources.values()),
        left_out={name: reason for name, reason in why.items() if reason},
    )


def _there(path: Path) -> Path | None:
    """A result that has been measured, or None."""
    return path if path.exists() else None


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add = parser.add_argument
    add("--results", type=Path, default=Path("bench/results"), help="the folder of results")
    add("--runs", type=Path, help="of bench.workloads")
    for name, bench in _FILES.items():
        add(f"--{name.replace('_', '-')}", type=Path, help=f"of {bench}")
    add("--gpu", type=Path, help="of bench.workloads on a GPU")
    add("--out", type=Path, default=Path("bench/REPORT.md"))
    add("--figures", type=Path, default=Path("bench/figures"))
    add("--summary", type=Path, default=Path("bench/summary.json"), help="where the figures go")
    add("--command", action="append", default=[], help="a further command to be named")
    args = parser.parse_args()
    given = {name: getattr(args, name) or _there(args.results / f"{name}.json") for name in _FILES}
    material = gather(
        Recording.load(args.runs or args.results / "runs.json"),
        {name: path for name, path in given.items() if path is not None},
        args.gpu or _there(args.results / "gpu" / "runs.json"),
        (*args.command, shlex.join(["python", "-m", "bench.report", *sys.argv[1:]])),
    )
    write(material, args.out, args.figures)
    args.summary.parent.mkdir(parents=True, exist_ok=True)
    material.summary.save(args.summary)
    slower = [finding for finding in material.findings() if finding.slower]
    print(f"{args.out}: {len(slower)} findings say that ours is slower somewhere")
    unsound = faults(material.recording, material.summary)
    for fault in unsound:
        print(f"{args.out}: {fault}", file=sys.stderr)
    return 1 if unsound else 0


if __name__ == "__main__":
    sys.exit(main())
