"""Every target of the measurements: its figure, and whether it was met, missed or not measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Literal

import msgspec

from bench.predictions import TARGET_MEDIAN, TARGET_P95, Predictions
from bench.results import Overhead
from bench.statistics import percent, percents
from bench.summary import Summary, WorkloadFigures

#: The reduction against stock that these must reach on their best-ratio calls.
HEADLINE = 0.388
HEADLINE_WORKLOADS = ("codegen", "search", "planning")
#: That of Validation, by its median.
ABORT_REDUCTION = 0.60
#: These have nothing to win; they must not lose.
QUICK_WORKLOADS = ("database", "calculator")
#: Against the bound, by the median.
MAX_GAP = 0.05
MAX_STEPS_TO_RESULT = 2.0
#: The figures of `bench.overhead` that have a limit, by the names of its checks.
OVERHEAD_CHECKS = (
    "ordinary inter-token latency against stock, upper end",
    "ordinary throughput against stock, lower end",
    "tapped inter-token latency against stock, upper end",
    "tapped throughput against stock, lower end",
    "tap a step at 32, p50",
    "dispatcher, of a core",
    "dispatcher memory",
    "token to hook p99",
)

State = Literal["met", "missed", "not measured"]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One target.

    Args:
        name: of what.
        limit: what it has to be, in words.
        figure: what it is, in words; empty if it was not measured.
        state: how the two compare.
        detail: what else there is to say of one that was missed.
        workload, call: the partial run that shows it, if there is one.
        slower: whether to miss it is to be slower than stock.
    """

    name: str
    limit: str
    figure: str
    state: State
    detail: str = ""
    workload: str = ""
    call: int | None = None
    slower: bool = False


def targets(
    summary: Summary, predictions: Predictions | None = None, overhead: Overhead | None = None
) -> list[Target]:
    """All targets, those that were not measured too.

    Args:
        summary: the workloads' figures.
        predictions: of `bench.theory`, if there are any.
        overhead: of `bench.overhead`, if it ran.
    """
    empty = WorkloadFigures()
    named = {name: summary.workloads.get(name, empty) for name in _WITH_TARGETS}
    return [
        *(target for name in HEADLINE_WORKLOADS for target in _headline(name, named[name])),
        _validation(named["validation"]),
        *(_not_slower(name, named[name]) for name in QUICK_WORKLOADS),
        *(_gap(name, named[name]) for name in (*HEADLINE_WORKLOADS, *QUICK_WORKLOADS)),
        _steps(named["validation"]),
        *_theory(predictions),
        *_overhead(overhead),
    ]


_WITH_TARGETS = (*HEADLINE_WORKLOADS, "validation", *QUICK_WORKLOADS)


def _headline(name: str, figures: WorkloadFigures) -> Iterator[Target]:
    best, limit = figures.best, f"≥ {percent(HEADLINE)}"
    title = f"{name}: reduction against stock, best-ratio calls (median)"
    if best is None:
        yield _unmeasured(title, limit)
    else:
        call = figures.call(best.call)
        allowed = _allowed(call.bound_s, call.latency_s.get("stock"))
        yield Target(
            name=title,
            limit=limit,
            figure=(
                f"{percents(best.reduction)}, {len(best.calls)} calls"
                if len(best.calls) > 1
                else f"{percent(best.reduction.value)}, 1 call: no interval"
            ),
            state=_state(best.reduction.value >= HEADLINE),
            detail="" if allowed is None else f"; the bound allows {percent(allowed)} there",
            workload=name,
            call=best.call,
        )
    title, limit = f"{name}: sooner than on stock", "every call"
    against = {
        call.call: call.reductions["stock"] for call in figures.calls if "stock" in call.reductions
    }
    slow = [call for call, reduction in against.items() if reduction <= 0]
    if not against or (len(against) < len(figures.calls) and not slow):
        yield _unmeasured(title, limit)
        return
    worst = min(against, key=lambda call: against[call])
    yield Target(
        name=title,
        limit=limit,
        figure=f"{len(against) - len(slow)} of {len(figures.calls)}",
        state=_state(not slow),
        detail=f"; the worst is call {worst}: {percent(against[worst])}",
        workload=name,
        call=worst,
        slower=True,
    )


def _validation(figures: WorkloadFigures) -> Target:
    title = "validation: reduction against stock (median)"
    limit, found = f"≥ {percent(ABORT_REDUCTION)}", figures.reduction_vs_stock
    if found is None:
        return _unmeasured(title, limit)
    calls = [call for call in figures.calls if "stock" in call.reductions]
    known = [_allowed(call.bound_s, call.latency_s["stock"]) for call in calls]
    allowed = [reduction for reduction in known if reduction is not None]
    return Target(
        name=title,
        limit=limit,
        figure=percents(found),
        state=_state(found.value >= ABORT_REDUCTION),
        detail=f"; the bound allows {percent(statistics.median(allowed))}" if allowed else "",
        workload="validation",
        call=min(calls, key=lambda call: call.reductions["stock"]).call,
    )


def _not_slower(name: str, figures: WorkloadFigures) -> Target:
    title, limit = f"{name}: not slower than stock", "0 % in the interval, or better"
    found = figures.reduction_vs_stock
    if found is None:
        return _unmeasured(title, limit)
    calls = [call for call in figures.calls if "stock" in call.reductions]
    return Target(
        name=title,
        limit=limit,
        figure=percents(found),
        state=_state(found.high >= 0),
        workload=name,
        call=min(calls, key=lambda call: call.reductions["stock"]).call,
        slower=True,
    )


def _gap(name: str, figures: WorkloadFigures) -> Target:
    title, limit = f"{name}: above the bound (median)", f"≤ {percent(MAX_GAP)}"
    gap, own = figures.gap_to_bound, figures.own_gap_to_bound
    if gap is None:
        return _unmeasured(title, limit)
    by_own = (
        f" (by the partial runs' own traces {percent(own.value)}: the rest is decoding that "
        "differs between the runs)"
        if own is not None and own.value < gap.value
        else ""
    )
    return Target(
        name=title,
        limit=limit,
        figure=percents(gap),
        state=_state(gap.value <= MAX_GAP),
        detail=by_own,
        workload=name,
        call=max(figures.calls, key=lambda call: call.gap or 0.0).call,
    )


def _steps(figures: WorkloadFigures) -> Target:
    title = "validation: decode steps from the unit that aborts to the result (median)"
    limit, steps = f"≤ {MAX_STEPS_TO_RESULT:g}", figures.steps_to_result
    if steps is None:
        return _unmeasured(title, limit)
    return Target(
        name=title,
        limit=limit,
        figure=f"{steps.value:.2f} [{steps.low:.2f}, {steps.high:.2f}]",
        state=_state(steps.value <= MAX_STEPS_TO_RESULT),
        workload="validation",
        call=max(figures.calls, key=lambda call: call.steps_to_result or 0.0).call,
    )


def _theory(predictions: Predictions | None) -> Iterator[Target]:
    for group in ("workloads", "grid"):
        errors = None if predictions is None else predictions.errors.get(group)
        for name, limit in (("median", TARGET_MEDIAN), ("p95", TARGET_P95)):
            title, most = f"theory, {group}: error, {name}", f"≤ {percent(limit)}"
            if errors is None:
                yield _unmeasured(title, most)
                continue
            error: float = getattr(errors, name)
            state = _state(error <= limit)
            yield Target(name=title, limit=most, figure=percent(error), state=state)


def _overhead(overhead: Overhead | None) -> Iterator[Target]:
    found = {} if overhead is None else {check.name: check for check in overhead.checks}
    for name in dict.fromkeys((*OVERHEAD_CHECKS, *found)):
        check = found.get(name)
        if check is None:
            yield _unmeasured(f"overhead: {name}", "see `bench.overhead`")
            continue
        # A figure that must not fall below its limit has it at or beneath itself where it passes.
        least = (check.value >= check.limit) == check.passed
        yield Target(
            name=f"overhead: {name}",
            limit=f"{'≥' if least else '≤'} {check.limit:g} {check.unit}".strip(),
            figure=f"{check.value:.4g} {check.unit}".strip(),
            state=_state(check.passed),
        )


def _unmeasured(name: str, limit: str) -> Target:
    return Target(name=name, limit=limit, figure="", state="not measured")


def _state(met: bool) -> State:
    return "met" if met else "missed"


def _allowed(bound_s: float | None, stock_s: float | None) -> float | None:
    """The reduction against stock that a bound allows."""
    return None if bound_s is None or stock_s is None else 1 - bound_s / stock_s
