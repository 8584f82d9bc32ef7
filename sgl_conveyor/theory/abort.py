"""The model of an early abort: the call ends with the unit that decided it, not with the text."""

from __future__ import annotations

from dataclasses import dataclass

from sgl_conveyor.theory.model import Trace, predict, saved

#: Decode steps from the tool's abort to the end of decoding: the one that runs, and the one that
#: an overlapping scheduler has prepared.
ABORT_STEPS = 2


@dataclass(frozen=True)
class AbortBound:
    """What an abort by unit k saves (seconds since the POST, fractions of 1).

    Args:
        latency: decoding has stopped, at the latest; with the trace's overhead.
        bound: the same without any: the tool opens at t = 0, dispatch takes no time.
        sequential: the same tool, fed after the end, aborts at the same unit.
        whole: a baseline that has no early abort and runs all units.
        reduction: against `sequential`.
        reduction_vs_whole: against `whole`.
    """

    latency: float
    bound: float
    sequential: float
    whole: float
    reduction: float
    reduction_vs_whole: float


def abort_bound(
    trace: Trace, k: int, decode_step_s: float | None = None, *, steps: int = ABORT_STEPS
) -> AbortBound:
    """The figures of an abort: (fₖ + two decode steps) against (E + Σᵢ≤ₖ cᵢ) and (E + Σc + c_f).

    Args:
        trace: the call as it would be without the abort; a chain.
        k: the index of the unit whose hook aborts.
        decode_step_s: seconds of a decode step; by default the trace's.
        steps: decode steps until the abort has taken effect.

    Raises:
        ValueError: no such unit, no decode step, or the steps are no chain.
    """
    step = trace.decode_step if decode_step_s is None else decode_step_s
    if step is None or trace.dependencies is not None or not 0 <= k < len(trace.costs):
        raise ValueError("an abort needs a chain that has this unit, and a decode step")
    latency, bound = (_stopped(call, k, steps * step) for call in (trace, trace.ideal()))
    whole = predict(trace).sequential
    sequential = max(trace.opened, trace.end + trace.dispatch) + sum(trace.costs[: k + 1])
    return AbortBound(
        latency, bound, sequential, whole, saved(latency, sequential), saved(latency, whole)
    )


def _stopped(trace: Trace, k: int, delay: float) -> float:
    """When unit k has decided and decoding has stopped."""
    decided = trace.opened
    for arrival, cost in zip(trace.arrivals[: k + 1], trace.costs, strict=False):
        decided = max(decided, arrival + trace.dispatch) + cost
    # Decoding may have ended by itself meanwhile.
    return max(decided, min(decided + delay, trace.end))
