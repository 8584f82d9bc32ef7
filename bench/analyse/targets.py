"""Every target of the measurements: its figure, and whether it was met, missed or not measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from bench.analyse.predictions import TARGET_MEDIAN, TARGET_P95, Predictions
from bench.analyse.results import LIMITS, Overhead
from bench.analyse.statistics import Interval, median, percent, percents
from bench.analyse.summary import Summary, WorkloadFigures

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
    figure: str = ""
    state: Literal["met", "missed", "not measured"] = "not measured"
    detail: str = ""
    workload: str = ""
    call: int | None = None
    slower: bool = False

    def judged(self, figure: str, met: bool) -> Target:
        """The same, measured."""
        return msgspec.structs.replace(self, figure=figure, state="met" if met else "missed")

    def judged_by(
        self,
        found: Interval | None,
        met: Callable[[Interval], bool],
        words: Callable[[Interval], str] = percents,
    ) -> Target:
        """The same, if there is a figure."""
        return self if found is None else self.judged(words(found), met(found))


def targets(
    summary: Summary, predictions: Predictions | None = None, overhead: Overhead | None = None
) -> list[Target]:
    """All targets, those that were not measured too."""

    def of(name: str) -> WorkloadFigures:
        return summary.workloads.get(name, WorkloadFigures())

    return [
        *(target for name in HEADLINE_WORKLOADS for target in _headline(name, of(name))),
        _validation(of("validation")),
        *(_not_slower(name, of(name)) for name in QUICK_WORKLOADS),
        *(_gap(name, of(name)) for name in (*HEADLINE_WORKLOADS, *QUICK_WORKLOADS)),
        _steps(of("validation")),
        *_theory(predictions),
        *_overhead(overhead),
    ]


def _headline(name: str, figures: WorkloadFigures) -> Iterator[Target]:
    target = Target(
        name=f"{name}: reduction against stock, best-ratio calls (median)",
        limit=f"≥ {percent(HEADLINE)}",
        workload=name,
    )
    if (best := figures.best) is not None:
        allowed, count = figures.call(best.call).allowed, len(best.calls)
        target = msgspec.structs.replace(
            target,
            call=best.call,
            detail="" if allowed is None else f"; the bound allows {percent(allowed)} there",
        ).judged(
            f"{percents(best.reduction)}, {count} calls"
            if count > 1
            else f"{percent(best.reduction.value)}, 1 call: no interval",
            best.reduction.value >= HEADLINE,
        )
    yield target
    target = Target(name=f"{name}: sooner than on stock", limit="every call")
    against = _against_stock(figures)
    slow = [call for call, reduction in against.items() if reduction <= 0]
    if slow or (against and len(against) == len(figures.calls)):
        worst = min(against, key=lambda call: against[call])
        target = msgspec.structs.replace(
            target,
            detail=f"; the worst is call {worst}: {percent(against[worst])}",
            workload=name,
            call=worst,
            slower=True,
        ).judged(f"{len(against) - len(slow)} of {len(figures.calls)}", not slow)
    yield target


def _validation(figures: WorkloadFigures) -> Target:
    against = _against_stock(figures)
    allowed = [c.allowed for c in figures.calls if c.call in against and c.allowed is not None]
    return Target(
        name="validation: reduction against stock (median)",
        limit=f"≥ {percent(ABORT_REDUCTION)}",
        detail=f"; the bound allows {percent(median(allowed))}" if allowed else "",
        workload="validation",
        call=min(against, key=lambda call: against[call], default=None),
    ).judged_by(figures.reduction_vs_stock, lambda found: found.value >= ABORT_REDUCTION)


def _not_slower(name: str, figures: WorkloadFigures) -> Target:
    against = _against_stock(figures)
    return Target(
        name=f"{name}: not slower than stock",
        limit="0 % in the interval, or better",
        workload=name,
        call=min(against, key=lambda call: against[call], default=None),
        slower=True,
    ).judged_by(figures.reduction_vs_stock, lambda found: found.high >= 0)


def _gap(name: str, figures: WorkloadFigures) -> Target:
    gap, own = figures.gap_to_bound, figures.own_gap_to_bound
    gaps = {call.call: call.gap or 0.0 for call in figures.calls}
    return Target(
        name=f"{name}: above the bound (median)",
        limit=f"≤ {percent(MAX_GAP)}",
        detail=f" (by the partial runs' own traces {percent(own.value)}: the rest is decoding that "
        "differs between the runs)"
        if own is not None and gap is not None and own.value < gap.value
        else "",
        workload=name,
        call=max(gaps, key=lambda call: gaps[call], default=None),
    ).judged_by(gap, lambda found: found.value <= MAX_GAP)


def _steps(figures: WorkloadFigures) -> Target:
    steps = {call.call: call.steps_to_result or 0.0 for call in figures.calls}
    return Target(
        name="validation: decode steps from the unit that aborts to the result (median)",
        limit=f"≤ {MAX_STEPS_TO_RESULT:g}",
        workload="validation",
        call=max(steps, key=lambda call: steps[call], default=None),
    ).judged_by(
        figures.steps_to_result,
        lambda found: found.value <= MAX_STEPS_TO_RESULT,
        lambda found: f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]",
    )


def _theory(predictions: Predictions | None) -> Iterator[Target]:
    for group in ("workloads", "grid"):
        errors = None if predictions is None else predictions.errors.get(group)
        for name, limit in (("median", TARGET_MEDIAN), ("p95", TARGET_P95)):
            target = Target(name=f"theory, {group}: error, {name}", limit=f"≤ {percent(limit)}")
            error = None if errors is None else getattr(errors, name)
            yield target if error is None else target.judged(percent(error), error <= limit)


def _overhead(overhead: Overhead | None) -> Iterator[Target]:
    found = {} if overhead is None else {check.name: check for check in overhead.checks}
    for name, limit in LIMITS.items():
        target = Target(name=f"overhead: {name}", limit=str(limit))
        if (check := found.get(name)) is None:
            yield target
        else:
            yield target.judged(f"{check.value:.4g} {limit.unit}", check.passed)


def _against_stock(figures: WorkloadFigures) -> dict[int, float]:
    """The calls that were measured on stock, too, and their reductions."""
    return {c.call: c.reductions["stock"] for c in figures.calls if "stock" in c.reductions}
