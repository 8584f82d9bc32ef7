"""The report's tables in Markdown; where a figure was not measured stands a dash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import pandas as pd

from bench.analyse.calls import CallFigures
from bench.analyse.kinds import codegen_kinds
from bench.analyse.predictions import Predictions
from bench.analyse.results import Overhead
from bench.analyse.runs import MODES, Machine
from bench.analyse.sources import Source
from bench.analyse.statistics import Interval, bootstrap, median, percent, percents
from bench.analyse.summary import Summary, WorkloadFigures
from bench.analyse.targets import HEADLINE_WORKLOADS, Target

#: A row by its columns' titles; a None is a dash.
Row = Mapping[str, str | int | None]
NONE = "–"


def table(rows: Iterable[Row]) -> str:
    """A table; the first column is words, the others are figures."""
    frame = pd.DataFrame(list(rows), dtype=object).map(_cell)
    if frame.empty:
        return ""
    align = ("left", *("right" for _ in frame.columns[1:]))
    text: str = frame.to_markdown(index=False, disable_numparse=True, colalign=align)
    return text


def _cell(value: object) -> str:
    return NONE if value is None else str(value).replace("|", "\\|")


def sources(every: Sequence[Source], runs: Machine) -> str:
    """A row a file: its command, its date and commit, and how it differs from the runs."""
    return table(
        {
            "file": source.name,
            "command": f"`{source.machine.command}`" if source.machine else None,
            "date": source.machine.date if source.machine else None,
            "commit": (source.machine.commit or "no git") if source.machine else None,
            "beside the runs": ", ".join(source.notes(runs)) or None,
        }
        for source in every
    )


def reductions(summary: Summary) -> str:
    """Partial against each other mode, and against the bound: medians of the paired calls."""
    return table(
        {
            "workload": name,
            "calls": len(workload.calls),
            "tool / decode": _number(workload.ratio, 3),
            "vs stock": _percents(workload.reduction_vs_stock),
            "vs sequential": _percents(workload.reduction_vs_sequential),
            "vs client": _percents(workload.reduction_vs_client),
            "above the bound": _percents(workload.gap_to_bound),
        }
        for name, workload in summary.workloads.items()
    )


def kinds(summary: Summary) -> str:
    """CodeGen's sleeping and its computing calls in a row each; empty without CodeGen."""
    figures = summary.workloads.get("codegen", WorkloadFigures())
    return table(
        {
            "codegen, a call that": kind,
            "calls": len(calls),
            "tool / decode": _median([c.ratio for c in calls]),
            **{f"vs {mode}": _reduction(calls, mode) for mode in ("stock", "sequential", "client")},
            "above the bound": _sure([c.gap for c in calls]),
        }
        for kind, calls in codegen_kinds(figures.calls).items()
        if figures.calls
    )


def best_calls(summary: Summary) -> str:
    """The best-ratio calls of each workload, beside what their bounds allow."""
    return table(
        {
            "workload": name,
            "calls": ", ".join(map(str, best.calls)),
            "tool / decode": " to ".join(dict.fromkeys(f"{ratio:.2f}" for ratio in best.ratios)),
            "reduction vs stock (median)": percents(best.reduction)
            if len(best.calls) > 1
            else percent(best.up_to),
            "up to": percent(best.up_to),
            "the bound allows (median call)": _percent(workload.call(best.call).allowed),
        }
        for name, workload in summary.workloads.items()
        if (best := workload.best) is not None
    )


def latencies(summary: Summary) -> str:
    """Each workload and mode."""
    return table(
        {
            "workload, mode": f"{name}, {mode}",
            "latency p50, s": _seconds(Interval(found.p50_s, *found.p50_interval_s)),
            "latency p90, s": _seconds(Interval(found.p90_s, *found.p90_interval_s)),
            "decode, s": _number(found.decode_s, 2),
            "tool, s": _number(found.tool_s, 3),
            "hidden, s": _number(found.hidden_s, 3),
            "dispatch p50, ms": _number(found.dispatch_ms, 2),
            "p99, ms": _number(found.dispatch_p99_ms, 2),
            "of units": found.units or None,
        }
        for name, workload in summary.workloads.items()
        for mode in MODES
        if (found := workload.mode(mode)) is not None
    )


def bounds(summary: Summary) -> str:
    """Partial against the bound, in both ways."""
    return table(
        {
            "workload": name,
            "bound, s": _seconds(workload.bound_s),
            "above it": _percents(workload.gap_to_bound),
            "above that of its own trace": _percents(workload.own_gap_to_bound),
            "abort to result, decode steps": _seconds(workload.steps_to_result),
            "abort to end of decoding": _seconds(workload.steps_to_end),
        }
        for name, workload in summary.workloads.items()
    )


def calls(name: str, workload: WorkloadFigures) -> str:
    """A workload call by call."""
    return table(
        {
            f"{name}, call": call.call,
            **{f"{mode}, s": _number(call.latency_s.get(mode), 2) for mode in MODES},
            "bound, s": _number(call.bound_s, 2),
            "tool / decode": _number(call.ratio, 3),
            "vs stock": _percent(call.reductions.get("stock")),
            "vs client": _percent(call.reductions.get("client")),
            "above the bound": _percent(call.gap),
        }
        for call in workload.calls
    )


def targets(found: Sequence[Target]) -> str:
    """Each target, its figure, and whether it is met."""
    return table(
        {
            "": target.name,
            "target": target.limit,
            "figure": target.figure or None,
            "met": "**missed**" if target.state == "missed" else target.state,
        }
        for target in found
    )


def paper(summary: Summary) -> str:
    """The paper's figures beside ours; each column was measured on its own hardware."""
    best = max(
        (
            (figures.best.reduction.value, name)
            for name in HEADLINE_WORKLOADS
            if (figures := summary.workloads.get(name)) is not None and figures.best is not None
        ),
        default=None,
    )
    ours = "not measured"
    if best is not None:
        ours = f"{percent(best[0])} ({best[1]}, median of the best-ratio calls, vs stock)"
    validation = summary.workloads.get("validation", WorkloadFigures())
    aborts = _percents(validation.reduction_vs_stock)
    machine = summary.machine
    here = machine.gpu if machine.gpu != "none" else f"{machine.cores} CPU cores, no GPU"
    return table(
        {"": name, "ours": ours, "the paper (arXiv 2406.00059), on its hardware": theirs}
        for name, ours, theirs in (
            ("reduction of request latency", ours, "up to 38.8 %"),
            (
                "with early abort",
                aborts and f"{aborts} (validation)",
                "“much larger”, no figure known",
            ),
            (
                "model",
                machine.model or "see the command",
                "Mistral-7B-Instruct-v0.2, functionary-small-v2.2",
            ),
            ("hardware", here, "not known to us"),
        )
    )


def errors(predictions: Predictions) -> str:
    """How far the theory is off."""
    return table(
        {
            "": name,
            "pairs": found.points,
            "median": percent(found.median),
            "p95": percent(found.p95),
            "worst": percent(found.worst),
            "bias": f"{100 * found.bias:+.1f} %",
            "within 5 % and 15 %": "yes" if found.good else "no",
        }
        for name, found in predictions.errors.items()
    )


def overheads(overhead: Overhead) -> str:
    """Ours against stock, stock against stock, a step of the tap, the dispatcher under load."""
    rows: list[tuple[str, str, str]] = []
    for kind, against in overhead.against_stock.items():
        what = (
            "ordinary requests on a second stock server" if kind == "stock" else f"{kind} requests"
        )
        of = f"{against.pairs} pairs"
        rows.append((f"{what}: inter-token latency vs stock", percents(against.itl), of))
        rows.append((f"{what}: throughput vs stock", percents(against.throughput), of))
    for tap in overhead.tap:
        costs = f"p50 {tap.p50_us:.1f} µs, p99 {tap.p99_us:.1f} µs"
        rows.append((f"tap a step, {tap.tapped} of {tap.batch} tapped", costs, f"{tap.steps}"))
    if (load := overhead.dispatcher) is not None:
        at = f"dispatcher, {load.rate:.0f} tokens/s, {load.calls} calls"
        waits = f"p50 {load.p50_ms:.2f} ms, p99 {load.p99_ms:.2f} ms"
        rows.append((f"{at}: of one core", percent(load.core), ""))
        rows.append((f"{at}: memory", f"{load.memory_mb:.0f} MB", ""))
        rows.append((f"{at}: token to hook", waits, ""))
    return table({"": name, "figure": figure, "of": of} for name, figure, of in rows)


def fields(rows: Sequence[msgspec.Struct]) -> str:
    """A row a result, a column a field of it."""
    return table({f: _field(getattr(row, f)) for f in row.__struct_fields__} for row in rows)


def _field(value: object) -> str | None:
    if value is None:
        return None
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str | None:
    return None if value is None else percent(value)


def _percents(interval: Interval | None) -> str | None:
    return None if interval is None else percents(interval)


def _seconds(found: Interval | None) -> str | None:
    return None if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _median(values: Iterable[float | None]) -> str | None:
    known = [value for value in values if value is not None]
    return f"{median(known):.3f}" if known else None


def _sure(values: Iterable[float | None]) -> str | None:
    known = [value for value in values if value is not None]
    return percents(bootstrap(known)) if known else None


def _reduction(calls: Sequence[CallFigures], mode: str) -> str | None:
    return _sure([call.reductions.get(mode) for call in calls])
