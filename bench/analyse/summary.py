"""The figures of a recording: per workload and mode, and against the bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from bench.analyse.calls import BestCalls, CallFigures, best_calls, call_figures, decode_step_s
from bench.analyse.runs import MODES, Machine, Recording, Run
from bench.analyse.statistics import Interval, bootstrap, median, percentile
from bench.workloads.recorded import WORKLOADS

#: The modes in which the server feeds the tool, so that a token's commit is known.
_SERVED = ("sequential", "partial")


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
        dispatch_ms: the median of `dispatch_ms`; None without any, and where the client feeds the
            tool: it does not know when a token was committed.
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
    steps_to_result: Interval | None = None
    steps_to_end: Interval | None = None
    best: BestCalls | None = None
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

    @property
    def ratio(self) -> float | None:
        """Of tool time to decode time, the median over the calls that have one."""
        ratios = [call.ratio for call in self.calls if call.ratio is not None]
        return median(ratios) if ratios else None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of a recording.

    Args:
        machine: where it was made.
        decode_step_s: from a token to the next, the median over the runs of our server (seconds).
        workloads: each one's, in the paper's order.
    """

    machine: Machine
    decode_step_s: float | None
    workloads: dict[str, WorkloadFigures]


def summarize(recording: Recording) -> Summary:
    """Compute all figures of a recording."""
    served = [run for run in recording.runs if run.mode in _SERVED]
    steps = [step for run in served if (step := decode_step_s(run.timings)) is not None]
    ran = {run.workload for run in recording.runs}
    names = [name for name in WORKLOADS if name in ran] + sorted(ran - set(WORKLOADS))
    return Summary(
        machine=recording.machine,
        decode_step_s=median(steps) if steps else None,
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
    by_mode = {mode: {run.call: run for run in recording.of(name, mode)} for mode in MODES}
    numbers = sorted({number for runs in by_mode.values() for number in runs})
    calls = [
        call_figures(n, {mode: runs[n] for mode, runs in by_mode.items() if n in runs})
        for n in numbers
    ]
    modes = {mode: _mode(mode, list(runs.values())) for mode, runs in by_mode.items()}
    return WorkloadFigures(
        stock=modes["stock"],
        sequential=modes["sequential"],
        client=modes["client"],
        partial=modes["partial"],
        reduction_vs_stock=_interval(call.reductions.get("stock") for call in calls),
        reduction_vs_sequential=_interval(call.reductions.get("sequential") for call in calls),
        reduction_vs_client=_interval(call.reductions.get("client") for call in calls),
        bound_s=_interval(call.bound_s for call in calls),
        gap_to_bound=_interval(call.gap for call in calls),
        own_gap_to_bound=_interval(call.own_gap for call in calls),
        steps_to_result=_interval(call.steps_to_result for call in calls),
        steps_to_end=_interval(call.steps_to_end for call in calls),
        best=best_calls(calls),
        calls=calls,
    )


def _mode(mode: str, runs: Sequence[Run]) -> ModeFigures | None:
    """The figures of the runs that did not fail; None if there are none."""
    ended = [run for run in runs if run.ended != "failed"]
    if not ended:
        return None
    latencies = [run.latency_s for run in ended]
    p50, p90 = bootstrap(latencies), bootstrap(latencies, 90)
    dispatch = dispatch_ms(ended) if mode in _SERVED else []
    hidden = [seconds for run in ended if (seconds := _hidden(run)) is not None]
    return ModeFigures(
        calls=len(runs),
        failed=len(runs) - len(ended),
        p50_s=p50.value,
        p50_interval_s=(p50.low, p50.high),
        p90_s=p90.value,
        p90_interval_s=(p90.low, p90.high),
        decode_s=median([run.decode_s for run in ended]),
        tool_s=median([run.timings.tool for run in ended]),
        hidden_s=median(hidden) if hidden else None,
        dispatch_ms=median(dispatch) if dispatch else None,
        dispatch_p99_ms=percentile(dispatch, 99) if dispatch else None,
        units=len(dispatch),
    )


def _hidden(run: Run) -> float | None:
    """Seconds of the tool before the region's end; an aborted one may never have had an end."""
    if run.ended == "aborted" and run.timings.region_end is None:
        return run.timings.tool
    return run.timings.hidden


def _interval(values: Iterable[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return bootstrap(known) if known else None
