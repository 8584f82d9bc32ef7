"""The tables of the targets, the paper's figures and the other benches, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from bench.others import Cell, Grid, Overhead
from bench.predictions import Predictions
from bench.statistics import percent, percents
from bench.summary import Summary
from bench.tables import NONE, table
from bench.targets import HEADLINE_WORKLOADS, Target


def targets(found: Sequence[Target]) -> str:
    """Each target, its figure, and whether it is met."""
    rows = (
        (target.name, target.limit, target.figure or NONE, _STATES[target.state])
        for target in found
    )
    return table(("", "target", "figure", "met"), rows)


_STATES = {"met": "met", "missed": "**missed**", "not measured": "not measured"}


def paper(summary: Summary) -> str:
    """The paper's figures beside ours; each column was measured on its own hardware."""
    best = [
        (figures.best.reduction.value, name)
        for name in HEADLINE_WORKLOADS
        if (figures := summary.workloads.get(name)) is not None and figures.best is not None
    ]
    ours = "not measured"
    if best:
        reduction, name = max(best)
        ours = f"{percent(reduction)} ({name}, median of the best-ratio calls, vs stock)"
    validation = summary.workloads.get("validation")
    aborts = None if validation is None else validation.reduction_vs_stock
    sooner = NONE if aborts is None else f"{percents(aborts)} (validation)"
    machine = summary.machine
    here = machine.gpu if machine.gpu != "none" else f"{machine.cores} CPU cores, no GPU"
    rows = [
        ("reduction of request latency", ours, "up to 38.8 %"),
        ("with early abort", sooner, "“much larger”, no figure known"),
        ("model", machine.model or "see the command",
         "Mistral-7B-Instruct-v0.2, functionary-small-v2.2"),
        ("hardware", here, "not known to us"),
    ]  # fmt: skip
    return table(("", "ours", "the paper (arXiv 2406.00059), on its hardware"), rows)


def errors(predictions: Predictions) -> str:
    """How far the theory is off."""
    header = ("", "pairs", "median", "p95", "worst", "bias", "within 5 % and 15 %")
    return table(
        header,
        (
            (
                name,
                str(found.points),
                percent(found.median),
                percent(found.p95),
                percent(found.worst),
                f"{100 * found.bias:+.1f} %",
                "yes" if found.good else "no",
            )
            for name, found in predictions.errors.items()
        ),
    )


def overheads(overhead: Overhead) -> str:
    """Ours against stock, a step of the tap, the dispatcher under load."""
    rows = []
    for kind, against in overhead.against_stock.items():
        of = f"{against.pairs} pairs"
        rows.append((f"{kind} requests: inter-token latency vs stock", percents(against.itl), of))
        rows.append((f"{kind} requests: throughput vs stock", percents(against.throughput), of))
    for tap in overhead.tap:
        costs = f"p50 {tap.p50_us:.1f} µs, p99 {tap.p99_us:.1f} µs"
        rows.append((f"tap a step, {tap.tapped} of {tap.batch} tapped", costs, f"{tap.steps}"))
    if (load := overhead.dispatcher) is not None:
        at = f"dispatcher, {load.rate:.0f} tokens/s, {load.calls} calls"
        rows.append((f"{at}: of one core", percent(load.core), ""))
        rows.append((f"{at}: memory", f"{load.memory_mb:.0f} MB", ""))
        waits = f"p50 {load.p50_ms:.2f} ms, p99 {load.p99_ms:.2f} ms"
        rows.append((f"{at}: token to hook", waits, ""))
    return table(("", "figure", "of"), rows)


def grid(found: Grid) -> str:
    """A file's rows as they are."""
    return table(found.header, ([_cell(cell) for cell in row] for row in found.rows))


def _cell(cell: Cell) -> str:
    if cell is None:
        return NONE
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
