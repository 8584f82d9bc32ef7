"""The paper's Figure 4: the timeline of one call, with and without partial execution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from bench.analyse.runs import Recording, Run
from bench.analyse.summary import Summary
from bench.report.style import BLACK, BLUE, ORANGE, SKY, STYLE, VERMILLION, WIDTH, save

TIMELINE = "timeline.png"
#: Neighbouring statements differ in shade.
_DECODE, _EXECUTE, _OTHER = (BLUE, SKY), (VERMILLION, ORANGE), "#CCCCCC"
#: Of a lane's bars; lanes are 1 apart.
_HEIGHT = 0.5


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
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            2, 1, figsize=(WIDTH, 4.6), sharex=True, layout="constrained"
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
        save(figure, path)


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
    _bars(axes, beneath, executed, reach, _EXECUTE, run.latency_s)
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
    result: float = math.inf,
) -> None:
    """Bars in a lane; those with colours have numbers, above them where they are narrow."""
    above, wide = -reach, 0
    for number, (start, end) in enumerate(spans, 1):
        # The least bar is still seen.
        width = max(end - start, reach / 900)
        # Neighbours differ in shade; what is too narrow to be told apart does not count.
        colour = _OTHER if colours is None else colours[wide % 2]
        wide += width > reach / 200
        axes.barh(lane, width, left=start, height=_HEIGHT, color=colour, linewidth=0)
        middle, label = start + width / 2, str(number)
        if colours is None:
            continue
        if width > (1 + len(label)) * reach / 140:
            tint = "white" if colour in (BLUE, VERMILLION) else BLACK
            axes.text(middle, lane - 0.02, label, ha="center", va="center", color=tint, fontsize=10)
        elif middle - above > reach / 45 and abs(result - middle) > reach / 90:
            above, edge = middle, lane + _HEIGHT / 2 + 0.03
            axes.text(middle, edge, label, ha="center", va="bottom", fontsize=9)
