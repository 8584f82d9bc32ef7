"""Draw the pictures of the report from a recording.

python -m bench.pictures --runs bench/results/runs.json [--figures bench/figures] [--call N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.charts import (
    DISPATCH,
    LATENCIES,
    REDUCTIONS,
    draw_dispatch,
    draw_latencies,
    draw_reductions,
)
from bench.runs import Recording
from bench.summary import Summary, summarize
from bench.timeline import TIMELINE, draw_timeline, timeline_pair


def draw_all(recording: Recording, summary: Summary, folder: Path, call: int | None = None) -> None:
    """Write every picture that the recording has the runs for.

    Args:
        recording: the runs.
        summary: its figures.
        folder: where to; made if need be.
        call: that of CodeGen whose timeline is drawn; by default the one with the best ratio.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pair = timeline_pair(recording, summary, call)
    if pair is not None:
        draw_timeline(*pair, folder / TIMELINE)
    draw_latencies(summary, folder / LATENCIES)
    draw_reductions(summary, folder / REDUCTIONS)
    draw_dispatch(recording, summary, folder / DISPATCH)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("bench/results/runs.json"))
    parser.add_argument("--figures", type=Path, default=Path("bench/figures"))
    parser.add_argument("--call", type=int, help="that of CodeGen whose timeline is drawn")
    args = parser.parse_args()
    recording = Recording.load(args.runs)
    draw_all(recording, summarize(recording), args.figures, args.call)


if __name__ == "__main__":
    main()
