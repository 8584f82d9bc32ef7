"""Draw the figure of docs/theory.md: reduction against the ratio of tool time to decode time.

python -m bench.report.theory_figure [--points FILE] [--out docs/theory.png]

FILE is what `python -m bench.measure.theory --json FILE` wrote: what was seen becomes points.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from bench.analyse.predictions import Point, Predictions
from bench.analyse.results import load
from sgl_conveyor.theory import even, even_reduction, predict

UNITS = (1, 2, 5, 20)
#: The paper's headline (arXiv 2406.00059), measured on its own hardware.
PAPER = 0.388


#: A tool that takes less than this part of its decode time is drawn here.
LEAST_RATIO = 0.01
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SHAPES = {"front": "most work first", "even": "even work", "back": "most work last"}


def draw(path: Path, points: Iterable[Point] = ()) -> None:
    """Write the figure.

    Args:
        path: where to; the ending says the format.
        points: what was seen, drawn beside the curves, a colour and a legend entry a workload
            (or shape of the grid). A call that its tool aborted is left out: it saves decoding,
            of which the curves know nothing.
    """
    by_name: dict[str, list[Point]] = {}
    for point in points:
        if not point.aborted:
            name = point.name if point.shape is None else f"{point.name}, {_SHAPES[point.shape]}"
            by_name.setdefault(name, []).append(point)
    least = min([0.1, *(max(LEAST_RATIO, p.ratio) for some in by_name.values() for p in some)])
    span = math.log10(10 / least)
    ratios = [least * 10 ** (span * i / 100) for i in range(101)]
    figure, axes = pyplot.subplots(figsize=(8, 4.8), layout="constrained")
    limit = [even_reduction(float("inf"), decode=1, tool=ratio) for ratio in ratios]
    axes.plot(ratios, limit, color="black", linewidth=2, label="bound for any units")
    for shade, units in enumerate(reversed(UNITS)):
        curve = [predict(even(units, decode=1, tool=ratio)).reduction for ratio in ratios]
        colour = pyplot.get_cmap("viridis")(shade / len(UNITS))
        name = "1 unit" if units == 1 else f"{units} equal units, evenly spread"
        axes.plot(ratios, curve, color=colour, label=name)
    axes.axhline(PAPER, color="grey", linestyle=":", linewidth=1)
    axes.annotate(
        "38.8 %: the paper's headline", (least, PAPER), (3, 4),
        textcoords="offset points", fontsize=8, color="dimgrey",
    )  # fmt: skip
    for name, some in by_name.items():
        axes.scatter(
            [max(LEAST_RATIO, p.ratio) for p in some],
            [p.reduction_seen for p in some],
            s=18, zorder=3, label=name,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(least / 1.05, 10.5)
    axes.set_ylim(bottom=min(0.0, *axes.get_ylim()), top=0.52)
    ticks = [tick for tick in _TICKS if tick >= least]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_xlabel("tool time / decode time")
    axes.set_ylabel("reduction of request latency")
    axes.set_title("What partial execution of one region can save, by theory")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="upper right")
    figure.savefig(path, dpi=150, metadata={"Software": None} if path.suffix == ".png" else None)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/theory.png"))
    parser.add_argument("--points", type=Path)
    args = parser.parse_args()
    draw(args.out, load(args.points, Predictions).points if args.points else ())


if __name__ == "__main__":
    main()
