"""Draw the pictures of the report from a recording.

python -m bench.pictures --runs bench/results/runs.json [--figures bench/figures] [--call N]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.runs import MODES, Recording, Run
from bench.summary import Summary, dispatch_ms, summarize
from sgl_conveyor.theory import even_reduction

#: Okabe and Ito's colours, which the colour-blind tell apart too.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"
_MODE_COLOURS = {"stock": GREY, "sequential": SKY, "client": ORANGE, "partial": BLUE}
_WORKLOAD_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, BLACK)
_MARKERS = ("o", "s", "^", "D", "v", "P")
#: The least and the greatest ratio of tool time to decode time that has a place of its own.
_RATIOS = (0.02, 10.0)
#: Neighbouring statements differ in shade.
_DECODE, _EXECUTE, _OTHER = (BLUE, SKY), (VERMILLION, ORANGE), "#CCCCCC"
_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
#: Of a lane's bars; lanes are 1 apart.
_HEIGHT = 0.5
#: Inches, and dots an inch: 1800 dots wide.
_WIDTH, _DPI = 9.0, 200

TIMELINE, LATENCIES, REDUCTIONS, DISPATCH = (
    "timeline.png", "latencies.png", "reductions.png", "dispatch.png",
)  # fmt: skip


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


def timeline_pair(
    recording: Recording, summary: Summary, call: int | None = None
) -> tuple[Run, Run] | None:
    """The sequential and the partial run of a call of CodeGen that both ended well."""
    pairs = [
        (sequential, partial)
        for sequential, partial in recording.pairs("codegen", "sequential", "partial")
        if sequential.ended == partial.ended == "done"
    ]
    if not pairs:
        return None
    best = summary.workloads["codegen"].best
    wanted = best.call if call is None and best is not None else call
    return next((pair for pair in pairs if pair[0].call == wanted), pairs[0])


def draw_timeline(sequential: Run, partial: Run, path: Path) -> None:
    """The paper's Figure 4: one call in both modes, decoding above execution, on one time axis.

    Args:
        sequential, partial: the runs of the call; their results are there.
        path: of the PNG.
    """
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(
            2, 1, figsize=(_WIDTH, 4.6), sharex=True, layout="constrained"
        )
        reach = 1.015 * max(sequential.latency_s, partial.latency_s)
        saved = 1 - partial.latency_s / sequential.latency_s
        sooner = f"{saved:.1%} sooner" if saved >= 0 else f"{-saved:.1%} later"
        for panel, run, title in (
            (axes[0], sequential, f"sequential: result after {sequential.latency_s:.2f} s"),
            (axes[1], partial, f"partial: result after {partial.latency_s:.2f} s, {sooner}"),
        ):
            panel.set_title(title)
            _lanes(panel, run, reach)
        axes[1].set_xlabel(f"time since the request, s (CodeGen, call {partial.call})")
        handles = [Patch(color=colour) for colour in (_DECODE[0], _EXECUTE[0], _OTHER)]
        names = [
            "a statement is decoded",
            "it is executed",
            "prefill; the tool opens; the region ends",
        ]
        figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=10)
        _save(figure, path)


def _lanes(axes: Axes, run: Run, reach: float) -> None:
    timings = run.timings
    above, beneath = 1.0, 0.0
    began = timings.first_token or 0.0
    _bars(axes, above, [(timings.queued or 0.0, began)], reach)
    arrivals = [unit.ready for unit in timings.units]
    decoded = list(zip([began, *arrivals], arrivals, strict=False))
    _bars(axes, above, decoded, reach, _DECODE)
    if timings.region_end is not None:
        _bars(axes, above, [(max([began, *arrivals]), timings.region_end)], reach)
    hooks = [(timings.open_started, timings.opened), (timings.finish_started, timings.finished)]
    _bars(axes, beneath, [(a, b) for a, b in hooks if a is not None and b is not None], reach)
    executed = [(unit.started, unit.ended) for unit in timings.units]
    _bars(axes, beneath, executed, reach, _EXECUTE)
    axes.axvline(run.latency_s, color=BLACK, linewidth=1.5)
    axes.annotate(
        "result", (run.latency_s, 1.5), (-4, 0), textcoords="offset points", ha="right", va="top"
    )
    axes.set_yticks([above, beneath], ["decode", "execute"])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.5, 1.5)
    axes.set_xlim(0, reach)
    axes.spines["left"].set_visible(False)


def _bars(
    axes: Axes,
    lane: float,
    spans: Sequence[tuple[float, float]],
    reach: float,
    colours: tuple[str, str] | None = None,
) -> None:
    """Bars in a lane; those with colours have numbers, above them where they are narrow."""
    above = -reach
    for number, (start, end) in enumerate(spans, 1):
        colour = _OTHER if colours is None else colours[(number - 1) % 2]
        # The least bar is still seen.
        width = max(end - start, reach / 900)
        axes.barh(lane, width, left=start, height=_HEIGHT, color=colour, linewidth=0)
        middle, label = start + width / 2, str(number)
        if colours is None:
            continue
        if width > (1 + len(label)) * reach / 140:
            tint = "white" if colour in (BLUE, VERMILLION) else BLACK
            axes.text(middle, lane - 0.02, label, ha="center", va="center", color=tint, fontsize=10)
        elif middle - above > reach / 45:
            above, edge = middle, lane + _HEIGHT / 2 + 0.03
            axes.text(middle, edge, label, ha="center", va="bottom", fontsize=9)


def draw_latencies(summary: Summary, path: Path) -> None:
    """The median latency of each workload in each mode, with its interval and the bound.

    Args:
        summary: the figures.
        path: of the PNG.
    """
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=(_WIDTH, 4.4), layout="constrained")
        width = 0.8 / len(MODES)
        for place, mode in enumerate(MODES):
            shift = (place - (len(MODES) - 1) / 2) * width
            named = [(i, w.mode(mode)) for i, w in enumerate(summary.workloads.values())]
            found = [(i, figures) for i, figures in named if figures is not None]
            middle = [figures.p50_s for _, figures in found]
            ends = [figures.p50_interval_s for _, figures in found]
            axes.bar(
                [i + shift for i, _ in found],
                middle,
                0.92 * width,
                yerr=[
                    [m - low for m, (low, _) in zip(middle, ends, strict=True)],
                    [high - m for m, (_, high) in zip(middle, ends, strict=True)],
                ],
                color=_MODE_COLOURS[mode],
                error_kw={"elinewidth": 1.2, "capsize": 2.5, "ecolor": "#333333"},
                label=mode,
            )
        bounds = [(i, w.bound_s) for i, w in enumerate(summary.workloads.values())]
        axes.hlines(
            [b.value for _, b in bounds if b is not None],
            [i - 0.44 for i, b in bounds if b is not None],
            [i + 0.44 for i, b in bounds if b is not None],
            color=BLACK,
            linewidth=1.8,
            label="bound",
        )
        axes.set_xticks(range(len(summary.workloads)), list(summary.workloads))
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("request latency, s (median, 95 % interval)")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.25)
        handles, labels = axes.get_legend_handles_labels()
        order = sorted(range(len(labels)), key=lambda place: labels[place] == "bound")
        figure.legend(
            [handles[place] for place in order],
            [labels[place] for place in order],
            loc="outside upper center",
            ncols=len(labels),
        )
        _save(figure, path)


def draw_reductions(summary: Summary, path: Path) -> None:
    """The reduction of each call over its ratio of tool time to decode time, beside the theory.

    The baseline is sequential: the theory's, which differs from partial in nothing else. Calls
    with less tool time than the axis has are drawn at its left end.

    Args:
        summary: the figures.
        path: of the PNG.
    """
    least, most = _RATIOS
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=(_WIDTH, 4.8), layout="constrained")
        ratios = [least * (most / least) ** (i / 200) for i in range(201)]
        for units, name, style in (
            (math.inf, "bound, any units", "-"),
            (5, "5 equal units", "--"),
            (2, "2 equal units", ":"),
        ):
            curve = [even_reduction(units, decode=1, tool=ratio) for ratio in ratios]
            axes.plot(ratios, curve, color=BLACK, linewidth=1.5, linestyle=style, label=name)
        for place, (name, workload) in enumerate(summary.workloads.items()):
            points = [
                (min(max(call.ratio, least), most), call.reductions["sequential"])
                for call in workload.calls
                if call.ratio is not None and "sequential" in call.reductions
            ]
            axes.scatter(
                [ratio for ratio, _ in points],
                [reduction for _, reduction in points],
                s=34,
                marker=_MARKERS[place % len(_MARKERS)],
                color=_WORKLOAD_COLOURS[place % len(_WORKLOAD_COLOURS)],
                edgecolor="white",
                linewidth=0.5,
                zorder=3,
                clip_on=False,
                label=f"{name}, aborted" if workload.steps_after_abort is not None else name,
            )
        axes.set_xscale("log")
        axes.set_xlim(least, most)
        low, high = axes.get_ylim()
        axes.set_ylim(min(-0.02, low), max(0.55, high))
        ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
        axes.set_xticks(ticks, ["≤ 0.02", *(f"{tick:g}" for tick in ticks[1:])])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.set_xlabel("tool time / decode time, of the sequential call")
        axes.set_ylabel("reduction against sequential")
        axes.grid(alpha=0.25)
        figure.legend(loc="outside right upper")
        _save(figure, path)


def draw_dispatch(recording: Recording, summary: Summary, path: Path) -> None:
    """The cumulative distribution of the time from a token's commit to the hook, by workload.

    Args:
        recording: the runs; those in partial mode count.
        summary: its figures.
        path: of the PNG.
    """
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=(_WIDTH, 4.4), layout="constrained")
        for colour, name in zip(_WORKLOAD_COLOURS, summary.workloads, strict=False):
            waits = sorted(dispatch_ms(recording.of(name, "partial")))
            if waits:
                # A logarithmic axis has no 0.
                waits = [max(wait, 0.001) for wait in waits]
                shares = [place / len(waits) for place in range(1, len(waits) + 1)]
                axes.step(
                    [waits[0], *waits], [0.0, *shares], where="post", color=colour, linewidth=1.8,
                    label=f"{name} ({len(waits)} units)",
                )  # fmt: skip
        axes.set_xscale("log")
        least, most = axes.get_xlim()
        ticks = [
            step * 10.0**power
            for power in range(-3, 5)
            for step in (1, 2, 5)
            if least <= step * 10.0**power <= most
        ]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.set_yticks([0, 0.25, 0.5, 0.75, 0.9, 1])
        axes.set_ylim(0, 1.01)
        axes.set_xlabel("dispatch latency: from a token's commit to the hook, ms")
        axes.set_ylabel("share of the units")
        axes.grid(alpha=0.25)
        axes.legend(loc="lower right")
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    # Without the drawing program's name the same figures give the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    pyplot.close(figure)


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
