"""The pictures of all workloads: latencies, reductions over the ratio, dispatch latencies."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib import pyplot

from bench.analyse.runs import MODES, Recording, Run
from bench.analyse.summary import Summary, dispatch_ms
from bench.report.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    WIDTH,
    save,
)
from sgl_conveyor.theory import even_reduction

LATENCIES, REDUCTIONS, DISPATCH = "latencies.png", "reductions.png", "dispatch.png"
_MODE_COLOURS = {"stock": GREY, "sequential": SKY, "client": ORANGE, "partial": BLUE}
_WORKLOAD_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, BLACK)
_MARKERS = ("o", "s", "^", "D", "v", "P")
#: The least and the greatest ratio of tool time to decode time that has a place of its own.
_RATIOS = (0.02, 10.0)
#: Clocks of two processes may differ by this much (milliseconds); more below 0 is an error.
_JITTER_MS = 0.05
#: The least wait that a logarithmic axis shows (milliseconds).
_LEAST_WAIT_MS = 0.001


def draw_latencies(summary: Summary, path: Path) -> None:
    """The median latency of each workload in each mode, with its interval and the bound.

    Args:
        summary: the figures.
        path: of the PNG.
    """
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(WIDTH, 4.4), layout="constrained")
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
        save(figure, path)


def draw_reductions(summary: Summary, path: Path) -> None:
    """The reduction of each call over its ratio of tool time to decode time, beside the theory.

    The baseline is sequential: the theory's, which differs from partial in nothing else. Calls
    with less or more tool time than the axis has are drawn at its ends.

    Args:
        summary: the figures.
        path: of the PNG.
    """
    least, most = _RATIOS
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(WIDTH, 4.8), layout="constrained")
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
                label=f"{name}, aborted" if workload.steps_to_result is not None else name,
            )
        axes.set_xscale("log")
        axes.set_xlim(least, most)
        low, high = axes.get_ylim()
        axes.set_ylim(min(-0.02, low), max(0.55, high))
        ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
        axes.set_xticks(ticks, ["≤ 0.02", *(f"{tick:g}" for tick in ticks[1:-1]), "≥ 10"])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.set_xlabel("tool time / decode time, of the sequential call")
        axes.set_ylabel("reduction against sequential")
        axes.grid(alpha=0.25)
        figure.legend(loc="outside right upper")
        save(figure, path)


def draw_dispatch(recording: Recording, summary: Summary, path: Path) -> None:
    """The cumulative distribution of the time from a token's commit to the hook, by workload.

    Args:
        recording: the runs; those in partial mode count.
        summary: its figures.
        path: of the PNG.

    Raises:
        ValueError: a run has a hook that began before its token was committed.
    """
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(WIDTH, 4.4), layout="constrained")
        for colour, name in zip(_WORKLOAD_COLOURS, summary.workloads, strict=False):
            waits = sorted(
                wait for run in recording.of(name, "partial") for wait in _plottable(run)
            )
            if waits:
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
        save(figure, path)


def _plottable(run: Run) -> list[float]:
    """A run's waits, those of nearly nothing at the axis's end.

    Raises:
        ValueError: one is below 0 by more than clocks differ.
    """
    waits = dispatch_ms([run])
    if waits and min(waits) < -_JITTER_MS:
        raise ValueError(
            f"{run.workload} {run.call}, {run.mode}: a hook began {-min(waits):.3f} ms before its "
            "token was committed"
        )
    return [max(wait, _LEAST_WAIT_MS) for wait in waits]
