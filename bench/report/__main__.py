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

import msgspec

from bench.analyse.findings import faults
from bench.analyse.runs import Recording
from bench.report import charts, timeline
from bench.report.page import Material, text
from sgl_conveyor.chrome_trace import chrome_trace

#: The files besides the runs, by their names in the folder of results, and their benches.
_FILES = {
    "overhead": "overhead",
    "theory": "theory",
    "concurrency": "concurrency",
    "early_abort": "early_abort",
    "cold": "workloads --cold",
}


def draw(material: Material, figures: Path) -> None:
    """Write every picture that the recording has the runs for, into a folder."""
    figures.mkdir(parents=True, exist_ok=True)
    recording, summary = material.recording, material.summary
    if (pair := timeline.timeline_pair(recording, summary)) is not None:
        timeline.draw_timeline(*pair, figures / timeline.TIMELINE)
    charts.draw_latencies(summary, figures / charts.LATENCIES)
    charts.draw_reductions(summary, figures / charts.REDUCTIONS)
    charts.draw_dispatch(recording, summary, figures / charts.DISPATCH)


def write(material: Material, out: Path, figures: Path) -> None:
    """Write the report, its pictures and the traces that it names.

    Args:
        material: what it is made of.
        out: the Markdown file.
        figures: the folder of pictures and traces.
    """
    draw(material, figures)
    traces = {}
    for finding in material.findings():
        if (run := material.recording.partial(finding.workload, finding.call)) is not None:
            name = f"{run.workload}-{run.call}-partial.trace.json"
            title = f"{run.workload} {run.call}, partial"
            chrome_trace(run.timings, title).save(figures / name)
            traces[finding.workload, finding.call] = name
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(os.path.relpath(figures, out.parent))
    out.write_text(text(material, traces, figures, beside))


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
    add("--runs", type=Path, help="of bench.measure.workloads")
    for name, bench in _FILES.items():
        add(f"--{name.replace('_', '-')}", type=Path, help=f"of bench.measure.{bench}")
    add("--gpu", type=Path, help="of bench.measure.workloads on a GPU")
    add("--out", type=Path, default=Path("bench/REPORT.md"))
    add("--figures", type=Path, default=Path("bench/figures"))
    add("--summary", type=Path, default=Path("bench/summary.json"), help="where the figures go")
    add("--command", action="append", default=[], help="a further command to be named")
    args = parser.parse_args()
    given = {name: getattr(args, name) or _there(args.results / f"{name}.json") for name in _FILES}
    material = Material.gather(
        Recording.load(args.runs or args.results / "runs.json"),
        {name: path for name, path in given.items() if path is not None},
        args.gpu or _there(args.results / "gpu" / "runs.json"),
        (*args.command, shlex.join(["python", "-m", "bench.report", *sys.argv[1:]])),
    )
    write(material, args.out, args.figures)
    args.summary.parent.mkdir(parents=True, exist_ok=True)
    figures = msgspec.json.format(msgspec.json.encode(material.summary), indent=1)
    args.summary.write_bytes(figures + b"\n")
    slower = [finding for finding in material.findings() if finding.slower]
    print(f"{args.out}: {len(slower)} findings say that ours is slower somewhere")
    unsound = faults(material.recording, material.summary)
    for fault in unsound:
        print(f"{args.out}: {fault}", file=sys.stderr)
    return 1 if unsound else 0


if __name__ == "__main__":
    sys.exit(main())
