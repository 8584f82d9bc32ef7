"""The tables of the workloads' figures, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.calls import median_ratio
from bench.runs import MODES
from bench.statistics import Interval, percent, percents
from bench.summary import ModeFigures, Summary, WorkloadFigures

#: Stands where a figure was not measured, or has no meaning.
NONE = "–"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column is words, the others are figures."""
    lines = [_line(header), _line(["---", *["---:"] * (len(header) - 1)])]
    return "\n".join([*lines, *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


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
            _number(median_ratio(workload.calls), 3),
            _percents(workload.reduction_vs_stock),
            _percents(workload.reduction_vs_sequential),
            _percents(workload.reduction_vs_client),
            _percents(workload.gap_to_bound),
        )
        for name, workload in summary.workloads.items()
    ]
    return table(header, rows)


def latencies(summary: Summary) -> str:
    """Each workload and mode."""
    header = (
        "workload, mode", "latency p50, s", "latency p90, s", "decode, s", "tool, s", "hidden, s",
        "dispatch p50, ms", "p99, ms", "of units",
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
        str(figures.units) if figures.units else NONE,
    )


def best_calls(summary: Summary) -> str:
    """The best-ratio calls of each workload, beside what their bounds allow."""
    header = (
        "workload", "calls", "tool / decode", "reduction vs stock (median)", "up to",
        "the bound allows (median call)",
    )  # fmt: skip
    rows = []
    for name, workload in summary.workloads.items():
        if (best := workload.best) is None:
            continue
        call = workload.call(best.call)
        allowed = None if call.bound_s is None else 1 - call.bound_s / call.latency_s["stock"]
        low, high = best.ratios
        rows.append(
            (
                name,
                ", ".join(map(str, best.calls)),
                f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}",
                percents(best.reduction) if len(best.calls) > 1 else percent(best.up_to),
                percent(best.up_to),
                _percent(allowed),
            )
        )
    return table(header, rows)


def bounds(summary: Summary) -> str:
    """Partial against the bound, in both ways."""
    header = (
        "workload", "bound, s", "above it", "above that of its own trace",
        "abort to result, decode steps", "abort to end of decoding",
    )  # fmt: skip
    rows = []
    for name, workload in summary.workloads.items():
        bound = workload.bound_s
        rows.append(
            (
                name,
                _interval(bound),
                _percents(workload.gap_to_bound),
                _percents(workload.own_gap_to_bound),
                _interval(workload.steps_to_result),
                _interval(workload.steps_to_end),
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


def _seconds(value: float, ends: tuple[float, float]) -> str:
    return f"{value:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return NONE if value is None else percent(value)


def _percents(interval: Interval | None) -> str:
    return NONE if interval is None else percents(interval)


def _interval(interval: Interval | None) -> str:
    return NONE if interval is None else _seconds(interval.value, (interval.low, interval.high))
