"""The figures of a recording: per workload and mode, call by call, and against the bound."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from bench.runs import MODES, WORKLOADS, Machine, Recording, Run
from bench.statistics import Interval, bootstrap, p90, percentile
from sgl_conveyor.core import Timings
from sgl_conveyor.theory import Trace, bound

#: A ratio of tool time to decode time is best at 1; up to this factor from it counts as such.
BEST_WITHIN = 1.25


class ModeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A workload in a mode: latency over its calls, and the medians of what it is made of.

    Args:
        calls: how many runs; failed ones are not in the figures.
        failed: how many failed.
        p50_s, p90_s: of the latency (seconds).
        p50_interval_s, p90_interval_s: the ends of their 95 % intervals.
        decode_s: from the request to the region's last token.
        tool_s: seconds in which the tool worked.
        hidden_s: of these, while the region was decoded; None if the timings do not tell.
        dispatch_ms: the median of `dispatch_ms`; None without any.
        dispatch_p99_ms: its 99th percentile.
        units: how many these are of.
    """

    calls: int
    failed: int
    p50_s: float
    p50_interval_s: tuple[float, float]
    p90_s: float
    p90_interval_s: tuple[float, float]
    decode_s: float
    tool_s: float
    hidden_s: float | None
    dispatch_ms: float | None
    dispatch_p99_ms: float | None
    units: int


class CallFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a workload, compared across the modes.

    Args:
        call: its number.
        latency_s: by mode; no entry where it failed.
        ratio: tool time over decode time (from the request), both of the sequential run.
        reductions: of the latency in partial mode, against each other mode (a fraction).
        bound_s: the least latency, by the sequential run's trace: t = 0 as the client sends, no
            overhead; for an abort, when the unit that aborts was done. None: no such trace.
        gap: the partial latency over the bound, less 1.
        own_gap: the same against the bound by the partial run's own trace, which has its decode
            times: what is left is overhead.
        steps_after_abort: decode steps from that moment to the result, for an abort.
        alike: whether all modes gave the same value.
    """

    call: int
    latency_s: dict[str, float]
    ratio: float | None
    reductions: dict[str, float]
    bound_s: float | None
    gap: float | None
    own_gap: float | None
    steps_after_abort: float | None
    alike: bool


class BestCall(msgspec.Struct, frozen=True, kw_only=True):
    """The call with the greatest reduction against stock among those with the best ratios.

    Args:
        call: its number.
        ratio: its tool time over its decode time.
        reduction: against stock.
        among: how many calls have a ratio as good.
        median: of the reductions of those.
    """

    call: int
    ratio: float
    reduction: float
    among: int
    median: float


class WorkloadFigures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workload: its modes, and partial against the others, paired call by call (medians)."""

    stock: ModeFigures | None = None
    sequential: ModeFigures | None = None
    client: ModeFigures | None = None
    partial: ModeFigures | None = None
    reduction_vs_stock: Interval | None = None
    reduction_vs_sequential: Interval | None = None
    reduction_vs_client: Interval | None = None
    bound_s: Interval | None = None
    gap_to_bound: Interval | None = None
    own_gap_to_bound: Interval | None = None
    steps_after_abort: Interval | None = None
    best: BestCall | None = None
    calls: list[CallFigures] = []

    def mode(self, name: str) -> ModeFigures | None:
        """The figures of a mode, if it was measured."""
        found: ModeFigures | None = getattr(self, name)
        return found

    def reduction(self, baseline: str) -> Interval | None:
        """The paired reduction against another mode."""
        found: Interval | None = getattr(self, f"reduction_vs_{baseline}")
        return found

    def call(self, number: int) -> CallFigures:
        """A call by its number."""
        return next(call for call in self.calls if call.call == number)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of a recording."""

    machine: Machine
    workloads: dict[str, WorkloadFigures]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")


def summarize(recording: Recording) -> Summary:
    """Compute the figures of each workload that has runs, in the paper's order."""
    ran = {run.workload for run in recording.runs}
    names = [name for name in WORKLOADS if name in ran] + sorted(ran - set(WORKLOADS))
    return Summary(
        machine=recording.machine,
        workloads={name: _workload(recording, name) for name in names},
    )


def dispatch_ms(runs: Iterable[Run]) -> list[float]:
    """From the commit of a unit's last token to its hook, in milliseconds.

    Only units that found the tool free count: the others waited for its own earlier work. Where
    text was held until the region's end, it is from then to the hook of the first unit.
    """
    waits = []
    for run in runs:
        timings = run.timings
        pairs = zip(timings.dispatch(), timings.queueing(), strict=True)
        free = [dispatch for dispatch, queueing in pairs if queueing == 0]
        waits += free if timings.partial else timings.dispatch()[:1]
    return [1e3 * wait for wait in waits]


def _workload(recording: Recording, name: str) -> WorkloadFigures:
    by_mode = {mode: recording.of(name, mode) for mode in MODES}
    modes = {mode: _mode(runs) for mode, runs in by_mode.items() if any(map(_counts, runs))}
    calls = [
        _call(number, {mode: run for mode in MODES for run in by_mode[mode] if run.call == number})
        for number in sorted({run.call for runs in by_mode.values() for run in runs})
    ]
    return WorkloadFigures(
        stock=modes.get("stock"),
        sequential=modes.get("sequential"),
        client=modes.get("client"),
        partial=modes.get("partial"),
        reduction_vs_stock=_interval(call.reductions.get("stock") for call in calls),
        reduction_vs_sequential=_interval(call.reductions.get("sequential") for call in calls),
        reduction_vs_client=_interval(call.reductions.get("client") for call in calls),
        bound_s=_interval(call.bound_s for call in calls),
        gap_to_bound=_interval(call.gap for call in calls),
        own_gap_to_bound=_interval(call.own_gap for call in calls),
        steps_after_abort=_interval(call.steps_after_abort for call in calls),
        best=_best(calls),
        calls=calls,
    )


def _counts(run: Run) -> bool:
    return run.ended != "failed"


def _mode(runs: Sequence[Run]) -> ModeFigures:
    ended = [run for run in runs if _counts(run)]
    latencies = [run.latency_s for run in ended]
    p50, high = bootstrap(latencies), bootstrap(latencies, p90)
    dispatch = dispatch_ms(ended)
    hidden = [seconds for run in ended if (seconds := _hidden(run)) is not None]
    return ModeFigures(
        calls=len(runs),
        failed=len(runs) - len(ended),
        p50_s=p50.value,
        p50_interval_s=(p50.low, p50.high),
        p90_s=high.value,
        p90_interval_s=(high.low, high.high),
        decode_s=statistics.median(run.decode_s for run in ended),
        tool_s=statistics.median(run.timings.tool for run in ended),
        hidden_s=statistics.median(hidden) if hidden else None,
        dispatch_ms=statistics.median(dispatch) if dispatch else None,
        dispatch_p99_ms=percentile(dispatch, 99) if dispatch else None,
        units=len(dispatch),
    )


def _hidden(run: Run) -> float | None:
    """Seconds of the tool before the region's end; an aborted one may never have had an end."""
    if run.ended == "aborted" and run.timings.region_end is None:
        return run.timings.tool
    return run.timings.hidden


def _call(number: int, runs: dict[str, Run]) -> CallFigures:
    ended = {mode: run for mode, run in runs.items() if _counts(run)}
    latency = {mode: run.latency_s for mode, run in ended.items()}
    partial, sequential = ended.get("partial"), ended.get("sequential")
    least = None if sequential is None else least_latency(sequential)
    own = None if partial is None else least_latency(partial)
    steps = None
    if partial is not None and partial.ended == "aborted" and own is not None:
        step = _decode_step(partial.timings)
        steps = (partial.latency_s - own) / step if step else None
    return CallFigures(
        call=number,
        latency_s=latency,
        ratio=None if sequential is None else sequential.timings.tool / sequential.decode_s,
        reductions={
            mode: 1 - partial.latency_s / seconds
            for mode, seconds in latency.items()
            if partial is not None and mode != "partial"
        },
        bound_s=least,
        gap=partial.latency_s / least - 1 if partial is not None and least else None,
        own_gap=partial.latency_s / own - 1 if partial is not None and own else None,
        steps_after_abort=steps,
        alike=len({run.value for run in runs.values()}) <= 1,
    )


def least_latency(run: Run) -> float | None:
    """The bound that a run's trace gives: no scheduler's latency is less (seconds).

    Args:
        run: one that has ended; if it was aborted, its last unit is the one that aborted it.

    Returns:
        None if the trace lacks what it takes.
    """
    timings = run.timings
    if run.ended == "aborted":
        if not timings.units:
            return None
        opening_at = timings.open_started or 0.0
        return bound(
            Trace(
                arrivals=tuple(unit.ready for unit in timings.units),
                costs=tuple(unit.ended - unit.started for unit in timings.units),
                opening_at=opening_at,
                opening=(timings.opened or opening_at) - opening_at,
            )
        )
    try:
        return bound(Trace.from_timings(timings))
    except ValueError:
        return None


def _decode_step(timings: Timings) -> float | None:
    if len(timings.tokens) < 2:
        return None
    return (timings.tokens[-1] - timings.tokens[0]) / (len(timings.tokens) - 1)


def _best(calls: Sequence[CallFigures]) -> BestCall | None:
    measured = [(c, c.ratio) for c in calls if c.ratio and "stock" in c.reductions]
    if not measured:
        return None
    from_one = [abs(math.log(ratio)) for _, ratio in measured]
    limit = max(math.log(BEST_WITHIN), min(from_one))
    good = [one for one, distance in zip(measured, from_one, strict=True) if distance <= limit]
    best, ratio = max(good, key=lambda one: one[0].reductions["stock"])
    return BestCall(
        call=best.call,
        ratio=ratio,
        reduction=best.reductions["stock"],
        among=len(good),
        median=statistics.median(call.reductions["stock"] for call, _ in good),
    )


def _interval(values: Iterable[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return bootstrap(known) if known else None
