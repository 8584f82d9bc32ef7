"""What is slower than a baseline or falls short of its target, with the reason and the call."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import msgspec

from bench.predictions import Predictions
from bench.runs import WORKLOADS, Recording
from bench.summary import CallFigures, Summary, WorkloadFigures
from sgl_conveyor.theory import explain

#: The reduction against stock that these must reach on their best-ratio calls.
HEADLINE = 0.388
HEADLINE_WORKLOADS = ("codegen", "search", "planning")
#: That of Validation, by its median.
ABORT_REDUCTION = 0.60
#: Against the bound, by the median.
MAX_GAP = 0.05
MAX_STEPS_AFTER_ABORT = 2.0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to know before the good news.

    Args:
        slower: whether partial is slower than something; else it falls short of a target.
        text: what, in a sentence.
        workload, call: the partial run that shows it, if there is one.
        why: what its trace says.
    """

    slower: bool
    text: str
    workload: str = ""
    call: int | None = None
    why: str = ""


def findings(
    recording: Recording,
    summary: Summary,
    predictions: Predictions | None = None,
    overhead_verdict: str = "",
) -> list[Finding]:
    """Everything that is slower, then everything that falls short.

    Args:
        recording: the runs.
        summary: their figures.
        predictions: of `bench.theory`, if there are any.
        overhead_verdict: the last line of `bench.overhead`, if there is one.
    """
    found: list[Finding] = []
    for name, figures in summary.workloads.items():
        found += _slower(name, figures)
        found += _short(name, figures)
        found += _unlike(recording, name, figures)
    absent = [name for name in WORKLOADS if name not in summary.workloads]
    if absent:
        found.append(Finding(slower=False, text=f"Not measured: {', '.join(absent)}."))
    found += _theory(predictions)
    for part in overhead_verdict.split(";"):
        if "MISSED" in part:
            missed = part.split("MISSED", 1)[1].strip()
            found.append(Finding(slower=False, text=f"Overhead, limit missed: {missed}."))
    found = [_explained(recording, finding) for finding in found]
    return sorted(found, key=lambda finding: not finding.slower)


def _slower(name: str, figures: WorkloadFigures) -> Iterator[Finding]:
    for baseline in ("stock", "sequential", "client"):
        interval = figures.reduction(baseline)
        calls = [call for call in figures.calls if baseline in call.reductions]
        if interval is None or interval.value >= 0:
            continue
        worst = min(calls, key=lambda call: call.reductions[baseline])
        certain = interval.high < 0
        noise = "" if certain else "; the interval contains 0"
        yield Finding(
            slower=True,
            text=(
                f"{name}: partial is slower than {baseline} by {percent(-interval.value)} "
                f"(median of {len(calls)} calls, 95 % interval "
                f"{percent(-interval.high)} to {percent(-interval.low)}{noise})."
            ),
            workload=name,
            call=worst.call if certain else None,
        )
    slow = [call for call in figures.calls if call.reductions.get("stock", 0.0) < 0]
    if slow:
        worst = min(slow, key=lambda call: call.reductions["stock"])
        lost = -worst.reductions["stock"]
        stock_s = worst.latency_s["stock"]
        yield Finding(
            slower=True,
            text=(
                f"{name}: {len(slow)} of {len(figures.calls)} calls took longer than on stock; "
                f"the worst is call {worst.call}: {percent(lost)} ({1e3 * lost * stock_s:.0f} ms)."
            ),
            workload=name,
            call=worst.call,
        )


def _short(name: str, figures: WorkloadFigures) -> Iterator[Finding]:
    best, gap, steps = figures.best, figures.gap_to_bound, figures.steps_after_abort
    if name in HEADLINE_WORKLOADS and best is not None and best.reduction < HEADLINE:
        call = figures.call(best.call)
        yield Finding(
            slower=False,
            text=(
                f"{name}: the best-ratio call ({best.call}, ratio {best.ratio:.2f}) is "
                f"{percent(best.reduction)} shorter than on stock, not {percent(HEADLINE)}"
                f"{_allowed(call)}."
            ),
            workload=name,
            call=best.call,
        )
    against_stock = figures.reduction_vs_stock
    if name == "validation" and against_stock and against_stock.value < ABORT_REDUCTION:
        calls = [call for call in figures.calls if "stock" in call.reductions]
        allowed = [
            1 - call.bound_s / call.latency_s["stock"] for call in calls if call.bound_s is not None
        ]
        bound = f"; the bound allows {percent(statistics.median(allowed))}" if allowed else ""
        worst = min(calls, key=lambda call: call.reductions["stock"])
        yield Finding(
            slower=False,
            text=(
                f"{name}: the median call is {percent(against_stock.value)} shorter than on stock, "
                f"not {percent(ABORT_REDUCTION)}{bound}."
            ),
            workload=name,
            call=worst.call,
        )
    if steps is not None and steps.value > MAX_STEPS_AFTER_ABORT:
        last = max(figures.calls, key=lambda call: call.steps_after_abort or 0.0)
        yield Finding(
            slower=False,
            text=(
                f"{name}: the result comes {steps.value:.1f} decode steps after the unit that "
                f"aborts (median), not {MAX_STEPS_AFTER_ABORT:g}."
            ),
            workload=name,
            call=last.call,
        )
    if steps is None and gap is not None and gap.value > MAX_GAP:
        far = max(figures.calls, key=lambda call: call.gap or 0.0)
        own = figures.own_gap_to_bound
        by_own = (
            f" (by the partial runs' own traces {percent(own.value)}: the rest is decoding that "
            "differs between the runs)"
            if own is not None and own.value < gap.value
            else ""
        )
        yield Finding(
            slower=False,
            text=(
                f"{name}: {percent(gap.value)} above the bound (median), "
                f"not {percent(MAX_GAP)}{by_own}."
            ),
            workload=name,
            call=far.call,
        )
    without = [call.call for call in figures.calls if call.bound_s is None]
    if without:
        numbers = ", ".join(map(str, without))
        yield Finding(slower=False, text=f"{name}: no bound is known for the calls {numbers}.")


def _unlike(recording: Recording, name: str, figures: WorkloadFigures) -> Iterator[Finding]:
    failed = [run for run in recording.runs if run.workload == name and run.ended == "failed"]
    if failed:
        which = ", ".join(sorted({f"call {run.call} ({run.mode})" for run in failed}))
        yield Finding(slower=False, text=f"{name}: failed, so in no figure: {which}.")
    unlike = [str(call.call) for call in figures.calls if not call.alike]
    if unlike:
        text = f"{name}: the modes' results differ in the calls {', '.join(unlike)}."
        yield Finding(slower=False, text=text)


def _theory(predictions: Predictions | None) -> Iterator[Finding]:
    if predictions is None:
        return
    for name, errors in predictions.errors.items():
        if not errors.good:
            yield Finding(
                slower=False,
                text=(
                    f"Theory, {name}: errors of {percent(errors.median)} (median) and "
                    f"{percent(errors.p95)} (p95), not 5 % and 15 %."
                ),
            )


def _allowed(call: CallFigures) -> str:
    if call.bound_s is None or "stock" not in call.latency_s:
        return ""
    return f"; the bound allows {percent(1 - call.bound_s / call.latency_s['stock'])}"


def _explained(recording: Recording, finding: Finding) -> Finding:
    if finding.call is None:
        return finding
    for run in recording.of(finding.workload, "partial"):
        if run.call == finding.call:
            try:
                return msgspec.structs.replace(finding, why=str(explain(run.timings)))
            except ValueError:
                return finding
    return finding


def percent(fraction: float) -> str:
    """A fraction as the report writes it."""
    return f"{100 * fraction:.1f} %"
