"""What the theory says of a partial run, from its sequential one, beside what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.analyse.runs import Machine, Recording
from bench.analyse.statistics import median, percentile
from sgl_conveyor.theory import Trace, abort_bound, predict
from sgl_conveyor.timings import Timings

#: What the theory has to reach: the median and the 95th percentile of the errors.
TARGET_MEDIAN = 0.05
TARGET_P95 = 0.15
#: The modes of a pair: what is predicted from, and what is predicted.
_PAIRED = ("sequential", "partial")


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of runs, sequential and partial.

    Args:
        name: the workload, or `grid`.
        ratio: tool time over decode time, in the sequential run.
        units: how many units the call had; of an aborted one, to its abort.
        shape: how the costs lie: `front`, `even`, `back`; None for a workload.
        aborted: whether the tool ended the call.
        sequential_s, partial_s: the latencies seen (seconds).
        predicted_s: the partial one, from the sequential run's timings alone (seconds).
    """

    name: str
    ratio: float
    units: int
    shape: str | None = None
    aborted: bool = False
    sequential_s: float
    partial_s: float
    predicted_s: float

    @property
    def excess(self) -> float:
        """(predicted − seen) / seen."""
        return (self.predicted_s - self.partial_s) / self.partial_s

    @property
    def error(self) -> float:
        """|predicted − seen| / seen."""
        return abs(self.excess)

    @property
    def reduction_seen(self) -> float:
        return 1 - self.partial_s / self.sequential_s

    @property
    def reduction_predicted(self) -> float:
        return 1 - self.predicted_s / self.sequential_s


class Errors(msgspec.Struct, frozen=True):
    """The relative errors of some predictions; the bias is the median of predicted − seen."""

    points: int
    median: float
    p95: float
    worst: float
    bias: float

    @classmethod
    def of(cls, points: Sequence[Point]) -> Errors:
        """From some points, one at least."""
        errors = [point.error for point in points]
        bias = median([point.excess for point in points])
        return cls(len(points), median(errors), percentile(errors, 95), max(errors), bias)

    @property
    def good(self) -> bool:
        """Whether the target is reached."""
        return self.median <= TARGET_MEDIAN and self.p95 <= TARGET_P95


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """A file of points.

    Args:
        machine: where the predictions were tested.
        errors: of each workload, of all `workloads` together, and of the `grid`.
        skipped: for each workload, why some of its pairs say nothing, a reason a pair.
        points: each pair that says something.
    """

    machine: Machine
    errors: dict[str, Errors]
    skipped: dict[str, list[str]]
    points: list[Point]

    def predicted(self, workload: str) -> tuple[int, int]:
        """How many of a workload's pairs have a point, and how many pairs it has."""
        points = sum(point.name == workload for point in self.points)
        return points, points + len(self.skipped.get(workload, []))

    def save(self, path: Path) -> None:
        """Write it as JSON; of each point, the reductions and the error too."""
        document = msgspec.to_builtins(self)
        for point, fields in zip(self.points, document["points"], strict=True):
            for name in ("reduction_seen", "reduction_predicted", "error"):
                fields[name] = getattr(point, name)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def predicted_end(held: Timings, *, aborted: bool) -> float:
    """When the partial run of a call will end (seconds since the POST).

    Args:
        held: the timings of its sequential run.
        aborted: whether its tool ended it; then decoding has to stop, too.

    Raises:
        ValueError: the timings say too little.
    """
    trace = Trace.from_timings(held)
    if aborted:
        return abort_bound(trace, len(held.units) - 1).latency
    return predict(trace).partial


def point_of(
    name: str, held: Timings, *, seen: tuple[float, float], shape: str | None = None,
    aborted: bool = False,
) -> Point:  # fmt: skip
    """Predict one partial run.

    Args:
        name: the workload, or `grid`.
        held: the timings of the sequential run.
        seen: the latencies of the sequential and the partial run (seconds). What the sequential
            one took longer than its timings, on the way to its client, the other one takes too.
        shape: see `Point`.
        aborted: whether the tool ended both.

    Raises:
        ValueError: the timings say too little.
    """
    predicted = predicted_end(held, aborted=aborted)
    assert held.finished is not None
    return Point(
        name=name,
        ratio=held.tool / (held.region_end or 1.0),
        units=len(held.units),
        shape=shape,
        aborted=aborted,
        sequential_s=seen[0],
        partial_s=seen[1],
        predicted_s=predicted + seen[0] - held.finished,
    )


def points_of(recording: Recording, workload: str) -> tuple[list[Point], list[str]]:
    """The points of a workload's pairs, and why others have none; half a pair is one of these."""
    points: list[Point] = []
    skipped: list[str] = []
    calls = {mode: {run.call for run in recording.of(workload, mode)} for mode in _PAIRED}
    for mode, other in (_PAIRED, _PAIRED[::-1]):
        skipped += [f"call {n}: it has no {mode} run" for n in sorted(calls[other] - calls[mode])]
    for held, partial in recording.pairs(workload, *_PAIRED):
        seen, aborted = (held.latency_s, partial.latency_s), held.ended == "aborted"
        try:
            if held.ended != partial.ended:
                raise ValueError(f"{held.ended} sequentially, {partial.ended} partially")
            if held.ended == "failed":
                raise ValueError("it failed")
            points.append(point_of(workload, held.timings, seen=seen, aborted=aborted))
        except ValueError as error:
            skipped.append(f"call {held.call}: {error}")
    return points, skipped
