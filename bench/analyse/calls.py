"""The figures of one call, compared across the modes, and of those with the best ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from bench.analyse.runs import Run
from bench.analyse.statistics import Interval, bootstrap
from sgl_conveyor.theory import Trace, bound
from sgl_conveyor.timings import Timings

#: A ratio of tool time to decode time is best at 1; up to this factor from it counts as such.
BEST_WITHIN = 1.25


class CallFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a workload, compared across the modes.

    Args:
        call: its number.
        latency_s: by mode; no entry where it failed.
        tool_s: seconds in which the tool worked, in the sequential run.
        ratio: those over its decode time (from the request).
        reductions: of the latency in partial mode, against each other mode that ended as it did
            (a fraction).
        bound_s: the least latency, by the sequential run's trace: t = 0 as the client sends, no
            overhead; for an abort, when the unit that aborts was done. None: no such trace.
        gap: the partial latency over the bound, less 1.
        own_gap: the same against the bound by the partial run's own trace, which has its decode
            times: what is left is overhead.
        steps_to_result: decode steps from that bound to the result in hand, for an abort.
        steps_to_end: the same until the decoding has ended, too.
        alike: whether all modes ended alike, with the same value.
        ended: how the modes ended, by mode.
    """

    call: int
    latency_s: dict[str, float]
    tool_s: float | None
    ratio: float | None
    reductions: dict[str, float]
    bound_s: float | None
    gap: float | None
    own_gap: float | None
    steps_to_result: float | None
    steps_to_end: float | None
    alike: bool
    ended: dict[str, str]

    @property
    def allowed(self) -> float | None:
        """The reduction against stock that the bound allows."""
        stock_s = self.latency_s.get("stock")
        return None if self.bound_s is None or stock_s is None else 1 - self.bound_s / stock_s


class BestCalls(msgspec.Struct, frozen=True, kw_only=True):
    """The calls with the best ratios: within a factor of 1, or the nearest one.

    Args:
        calls: their numbers.
        ratios: the least and the greatest of them.
        reduction: the median of their reductions against stock, with its interval.
        up_to: the greatest of these.
        call: the one whose reduction is the nearest to the median.
    """

    calls: list[int]
    ratios: tuple[float, float]
    reduction: Interval
    up_to: float
    call: int


def call_figures(number: int, runs: dict[str, Run]) -> CallFigures:
    """Compare a call's runs, which are given by mode."""
    ended = {mode: run for mode, run in runs.items() if run.ended != "failed"}
    partial, sequential = ended.get("partial"), ended.get("sequential")
    least = None if sequential is None else least_latency(sequential)
    own = None if partial is None else least_latency(partial)
    to_result, to_end = (None, None) if partial is None else _steps_after_abort(partial, own)
    return CallFigures(
        call=number,
        latency_s={mode: run.latency_s for mode, run in ended.items()},
        tool_s=None if sequential is None else sequential.timings.tool,
        ratio=None if sequential is None else sequential.timings.tool / sequential.decode_s,
        reductions={
            mode: 1 - partial.latency_s / run.latency_s
            for mode, run in ended.items()
            if partial is not None and mode != "partial" and run.ended == partial.ended
        },
        bound_s=least,
        gap=partial.latency_s / least - 1 if partial and least else None,
        own_gap=partial.latency_s / own - 1 if partial and own else None,
        steps_to_result=to_result,
        steps_to_end=to_end,
        alike=len({(run.ended, run.value) for run in runs.values()}) <= 1,
        ended={mode: run.ended for mode, run in runs.items()},
    )


def best_calls(calls: Sequence[CallFigures]) -> BestCalls | None:
    """A workload's with the best ratios; None if none was measured sequentially and on stock."""
    measured = [(c, c.ratio) for c in calls if c.ratio and "stock" in c.reductions]
    if not measured:
        return None
    limit = min(abs(math.log(ratio)) for _, ratio in measured)
    limit = max(math.log(BEST_WITHIN), limit)
    good = [(call, ratio) for call, ratio in measured if abs(math.log(ratio)) <= limit]
    ratios = [ratio for _, ratio in good]
    reductions = {call.call: call.reductions["stock"] for call, _ in good}
    reduction = bootstrap(list(reductions.values()))
    return BestCalls(
        calls=list(reductions),
        ratios=(min(ratios), max(ratios)),
        reduction=reduction,
        up_to=max(reductions.values()),
        call=min(reductions, key=lambda call: abs(reductions[call] - reduction.value)),
    )


def least_latency(run: Run) -> float | None:
    """The bound that a run's trace gives: no scheduler's latency is less (seconds).

    Args:
        run: one that has ended; if it was aborted, its last unit is the one that aborted it.

    Returns:
        None if the trace lacks what it takes.
    """
    timings = run.timings
    if run.ended != "aborted":
        try:
            return bound(Trace.from_timings(timings))
        except ValueError:
            return None
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


def _steps_after_abort(run: Run, least: float | None) -> tuple[float | None, float | None]:
    """Decode steps from the unit that aborted a run to its result, and to the end of decoding."""
    step = decode_step_s(run.timings)
    if run.ended != "aborted" or least is None or not step:
        return None, None
    return (run.result_s - least) / step, (run.latency_s - least) / step


def decode_step_s(timings: Timings) -> float | None:
    """Seconds from a token to the next, on average; None with fewer than two tokens."""
    tokens = timings.tokens
    return (tokens[-1] - tokens[0]) / (len(tokens) - 1) if len(tokens) > 1 else None
