"""The report's tables, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from bench.findings import HEADLINE_WORKLOADS, percent
from bench.others import Cell, Grid, Overhead
from bench.predictions import Predictions
from bench.runs import MODES
from bench.statistics import Interval
from bench.summary import ModeFigures, Summary, WorkloadFigures

_NONE = "–"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column is words, the others are figures."""
    lines = [_line(header), _line(["---", *["---:"] * (len(header) - 1)])]
    return "\n".join([*lines, *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def percents(interval: Interval | None) -> str:
    """A fraction with its interval, in percent."""
    if interval is None:
        return _NONE
    # Adding 0 makes 0 of -0.
    ends = (interval.value, interval.low, interval.high)
    value, low, high = (round(100 * end, 1) + 0.0 for end in ends)
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def reductions(summary: Summary) -> str:
    """Partial against each other mode, and against the bound: medians of the paired calls."""
    header = (
        "workload", "calls", "tool / decode", "vs stock", "vs sequential", "vs client",
        "above the bound",
    )  # fmt: skip
    rows = [
        (
            name,
            str(len(workload.calls)),
            _number(_median_ratio(workload), 3),
            percents(workload.reduction_vs_stock),
            percents(workload.reduction_vs_sequential),
            percents(workload.reduction_vs_client),
            percents(workload.gap_to_bound),
        )
        for name, workload in summary.workloads.items()
    ]
    return table(header, rows)


def latencies(summary: Summary) -> str:
    """Each workload and mode."""
    header = (
        "workload, mode", "latency p50, s", "latency p90, s", "decode, s", "tool, s", "hidden, s",
        "dispatch p50, ms", "p99, ms",
    )  # fmt: skip
    return table(
        header,
        (
            (f"{name}, {mode}", *_mode(figures))
            for name, workload in summary.workloads.items()
            for mode in MODES
            if (figures := workload.mode(mode)) is not None
        ),
    )


def _mode(figures: ModeFigures) -> tuple[str, ...]:
    return (
        _seconds(figures.p50_s, figures.p50_interval_s),
        _seconds(figures.p90_s, figures.p90_interval_s),
        f"{figures.decode_s:.2f}",
        _number(figures.tool_s, 3),
        _number(figures.hidden_s, 3),
        _number(figures.dispatch_ms, 2),
        _number(figures.dispatch_p99_ms, 2),
    )


def best_calls(summary: Summary) -> str:
    """The best-ratio call of each workload, beside what its bound allows."""
    header = (
        "workload", "call", "tool / decode", "reduction vs stock", "the bound allows",
        "calls with as good a ratio", "their median",
    )  # fmt: skip
    rows = []
    for name, workload in summary.workloads.items():
        if (best := workload.best) is None:
            continue
        call = workload.call(best.call)
        allowed = None if call.bound_s is None else 1 - call.bound_s / call.latency_s["stock"]
        rows.append(
            (
                name,
                str(best.call),
                f"{best.ratio:.3f}",
                percent(best.reduction),
                _NONE if allowed is None else percent(allowed),
                str(best.among),
                percent(best.median),
            )
        )
    return table(header, rows)


def bounds(summary: Summary) -> str:
    """Partial against the bound, in both ways."""
    header = (
        "workload", "bound, s", "above it", "above that of its own trace",
        "decode steps after the unit that aborts",
    )  # fmt: skip
    rows = []
    for name, workload in summary.workloads.items():
        bound, steps = workload.bound_s, workload.steps_after_abort
        rows.append(
            (
                name,
                _NONE if bound is None else _seconds(bound.value, (bound.low, bound.high)),
                percents(workload.gap_to_bound),
                percents(workload.own_gap_to_bound),
                _NONE if steps is None else _seconds(steps.value, (steps.low, steps.high)),
            )
        )
    return table(header, rows)


def calls(name: str, workload: WorkloadFigures) -> str:
    """A workload call by call."""
    header = (
        f"{name}, call", *(f"{mode}, s" for mode in MODES), "bound, s", "tool / decode",
        "vs stock", "vs client", "above the bound",
    )  # fmt: skip
    return table(
        header,
        (
            (
                str(call.call),
                *(_number(call.latency_s.get(mode), 2) for mode in MODES),
                _number(call.bound_s, 2),
                _number(call.ratio, 3),
                *(_percent(call.reductions.get(mode)) for mode in ("stock", "client")),
                _percent(call.gap),
            )
            for call in workload.calls
        ),
    )


def paper(summary: Summary) -> str:
    """The paper's figures beside ours; each column was measured on its own hardware."""
    best = [
        (figures.best.reduction, name)
        for name in HEADLINE_WORKLOADS
        if (figures := summary.workloads.get(name)) is not None and figures.best is not None
    ]
    ours = "not measured"
    if best:
        reduction, name = max(best)
        ours = f"{percent(reduction)} ({name}, best-ratio call, vs stock)"
    validation = summary.workloads.get("validation")
    aborts = None if validation is None else validation.reduction_vs_stock
    machine = summary.machine
    here = machine.gpu if machine.gpu != "none" else f"{machine.cores} CPU cores, no GPU"
    rows = [
        ("reduction of request latency", ours, "up to 38.8 %"),
        ("with early abort", f"{percents(aborts)} (validation)", "“much larger”, no figure known"),
        ("model", machine.versions.get("model", "see the command"),
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
        return _NONE
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _median_ratio(workload: WorkloadFigures) -> float | None:
    """Of tool time to decode time, over the calls."""
    ratios = [call.ratio for call in workload.calls if call.ratio is not None]
    return statistics.median(ratios) if ratios else None


def _seconds(value: float, ends: tuple[float, float]) -> str:
    return f"{value:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"


def _number(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return _NONE if value is None else percent(value)
