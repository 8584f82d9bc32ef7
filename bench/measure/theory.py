"""python -m bench.measure.theory [--runs FILE] [--json FILE] [--quick]: does the theory predict?

It predicts each partial run from the timings of the paired sequential one: for the workloads, from
a file that `bench.measure.workloads` wrote, and for a synthetic grid, played here through the real
dispatcher and real workers. Exit code 1: the errors are larger than they should be, or too many
pairs of a workload say nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from bench.analyse.predictions import (
    TARGET_MEDIAN,
    TARGET_P95,
    Errors,
    Point,
    Predictions,
    points_of,
)
from bench.analyse.runs import Recording
from bench.measure import theory_grid
from bench.measure.command import command
from bench.measure.machine import this_machine
from bench.workloads.recorded import WORKLOADS

#: The part of a workload's pairs that must have been predicted.
LEAST_PREDICTED = 0.9
#: The lines that count: all workloads together, and the grid.
_COUNTED = ("workloads", "grid")


def predictions(recording: Recording | None, grid: list[Point]) -> Predictions:
    """The points of both, and their errors.

    Args:
        recording: the workloads' runs, if there are any.
        grid: the points of the grid.
    """
    groups: dict[str, list[Point]] = {}
    skipped: dict[str, list[str]] = {}
    if recording is not None:
        for workload in WORKLOADS:
            groups[workload], skipped[workload] = points_of(recording, workload)
        groups["workloads"] = [point for points in groups.values() for point in points]
    groups["grid"] = grid
    return Predictions(
        machine=this_machine(),
        errors={name: Errors.of(points) for name, points in groups.items() if points},
        skipped={name: reasons for name, reasons in skipped.items() if reasons},
        points=[*groups.get("workloads", []), *grid],
    )


def table_of(errors: Mapping[str, Errors]) -> str:
    """The errors as a table, a line a group."""
    titles = ("points", "median", "p95", "worst", "bias")
    lines = [f"{'|predicted - seen| / seen':26}" + "".join(f"{title:>9}" for title in titles)]
    for name, found in errors.items():
        mark = "" if found.good else "  missed" if name in _COUNTED else "  over the target"
        lines.append(
            f"{name:26}{found.points:9}{found.median:9.1%}{found.p95:9.1%}{found.worst:9.1%}"
            f"{found.bias:+9.1%}{mark}"
        )
    return "\n".join(lines)


def verdict(found: Predictions) -> tuple[str, bool]:
    """One line, and whether the targets are reached.

    The errors of all workloads together and those of the grid decide, and that no workload has
    too few points; a workload that is over the target by itself is named.
    """
    counted = {name: found.errors[name] for name in _COUNTED if name in found.errors}
    figures = [f"{name}: median {e.median:.1%}, p95 {e.p95:.1%}" for name, e in counted.items()]
    over = [name for name, e in found.errors.items() if name not in _COUNTED and not e.good]
    few = []
    for name in found.skipped:
        points, pairs = found.predicted(name)
        if points < LEAST_PREDICTED * pairs:
            few.append(f"{name} ({points} of {pairs} pairs)")
    good = bool(counted) and all(errors.good for errors in counted.values()) and not few
    line = (
        f"{'reached' if good else 'MISSED'}: {', '.join(figures) or 'nothing'} "
        f"(target: median <= {TARGET_MEDIAN:.0%}, p95 <= {TARGET_P95:.0%})"
    )
    line += f"; over it by themselves: {', '.join(over)}" if over else ""
    line += f"; too few points: {', '.join(few)}" if few else ""
    return line, good


def main() -> int:
    parser = command(__doc__)
    parser.add_argument("--runs", type=Path, help="what bench.measure.workloads wrote")
    parser.add_argument("--quick", action="store_true", help="a part of the grid, about a minute")
    args = parser.parse_args()
    recording = Recording.load(args.runs) if args.runs else None
    found = predictions(recording, theory_grid.measure(quick=args.quick))
    print(table_of(found.errors))
    for workload, reasons in found.skipped.items():
        print(f"{workload}: {len(reasons)} pairs say nothing: {'; '.join(reasons)}")
    if args.json is not None:
        found.save(args.json)
    line, good = verdict(found)
    print(line)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
