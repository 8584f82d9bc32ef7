"""What the benches other than the workloads write: each file's figures, and where they ran."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import msgspec

from bench.runs import Machine
from bench.statistics import Interval, bootstrap


def result_file(text: str) -> Path:
    """An argparse `type`: a file that can be written, its folder made if it is not there.

    Args:
        text: the path.

    Raises:
        argparse.ArgumentTypeError: it cannot be, before anything is measured.
    """
    path = Path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"no folder for {text}: {error.strerror}") from None
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written")
    return path


def save(path: Path, result: msgspec.Struct) -> None:
    """Write a result as JSON, a figure a line."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One figure and its limit.

    Args:
        name: of the figure.
        value: the figure; of one with an interval, the interval's worse end.
        limit: what it may be at most, or at least.
        unit: of both.
        passed: whether it is within the limit.
        text: the figure as the verdict has it, with its interval.
    """

    name: str
    value: float
    limit: float
    unit: str
    passed: bool
    text: str

    @classmethod
    def at_most(cls, name: str, value: float, limit: float, unit: str, text: str) -> Check:
        """Passed if the value is not above the limit."""
        passed = value <= limit
        return cls(name=name, value=value, limit=limit, unit=unit, passed=passed, text=text)

    @classmethod
    def at_least(cls, name: str, value: float, limit: float, unit: str, text: str) -> Check:
        """Passed if the value is not below the limit."""
        passed = value >= limit
        return cls(name=name, value=value, limit=limit, unit=unit, passed=passed, text=text)


class ServingFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What SGLang's benchmark says of one run.

    Args:
        itl_ms: the median inter-token latency of all tokens.
        throughput: output tokens a second.
        tokens: output tokens.
    """

    itl_ms: float
    throughput: float
    tokens: int


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One run on each server, with the same requests, right after one another."""

    kind: str
    first: str
    ours: ServingFigures
    stock: ServingFigures

    @property
    def itl(self) -> float:
        """How much longer ours took from token to token, as a part of the stock one's time."""
        return self.ours.itl_ms / self.stock.itl_ms - 1

    @property
    def throughput(self) -> float:
        """How many tokens more a second ours gave, as a part of the stock one's."""
        return self.ours.throughput / self.stock.throughput - 1


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """Ours against stock, for one kind of requests: medians of the pairs' ratios, less one."""

    itl: Interval
    throughput: Interval
    pairs: int

    @classmethod
    def of(cls, pairs: list[Pair]) -> Against:
        """From all pairs of one kind."""
        return cls(
            itl=bootstrap([pair.itl for pair in pairs]),
            throughput=bootstrap([pair.throughput for pair in pairs]),
            pairs=len(pairs),
        )


class TapCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a step costs in which every request of a batch commits one token (microseconds)."""

    tapped: int
    batch: int
    p50_us: float
    p99_us: float
    steps: int

    def __str__(self) -> str:
        cost = f"p50 {self.p50_us:6.1f} µs, p99 {self.p99_us:6.1f} µs a step"
        return f"{self.tapped:3d} of {self.batch:3d} tapped: {cost}"


class TapCosts(msgspec.Struct, frozen=True, kw_only=True):
    """A file of `bench.tap_cost`."""

    machine: Machine
    costs: list[TapCost]


class DispatcherFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a dispatcher under load, all of it between the same two moments.

    Args:
        asked_rate: tokens a second that the tap should send.
        rate: those whose commit the dispatcher saw.
        core: the dispatcher's processor time, as a part of one core.
        workers_core: that of its workers.
        memory_mb: the most memory that the dispatcher had (RSS, 10^6 bytes).
        p50_ms, p99_ms, max_ms: from a token's commit to the start of its hook.
        tap_late_p99_ms: how late the process that plays the tap woke for a step: what the
            machine, busy with other things, did to everybody.
        units: hooks that these are of.
        calls: how many.
    """

    asked_rate: float
    rate: float
    core: float
    workers_core: float
    memory_mb: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    tap_late_p99_ms: float
    units: int
    calls: int


class DispatcherLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A file of `bench.dispatcher_load`."""

    machine: Machine
    figures: DispatcherFigures


class Overhead(msgspec.Struct, kw_only=True):
    """A file of `bench.overhead`; a part that was not measured is empty."""

    machine: Machine | None = None
    pairs: list[Pair] = []
    against_stock: dict[str, Against] = {}
    tap: list[TapCost] = []
    dispatcher: DispatcherFigures | None = None
    checks: list[Check] = []
    verdict: str = ""

    @classmethod
    def load(cls, path: Path) -> Overhead:
        """Read it.

        Args:
            path: of the file.

        Raises:
            msgspec.ValidationError: it is another file.
        """
        return msgspec.json.decode(path.read_bytes(), type=cls)


class AbortedMode(msgspec.Struct, frozen=True, kw_only=True):
    """The bad calls of one mode.

    Args:
        mode: `sequential` or `partial`.
        runs: how many.
        latency_s: the median, with its interval.
        tokens_before: decoded when the result was there, the median, with its interval.
        most_tokens_after: decoded after it.
    """

    mode: str
    runs: int
    latency_s: Interval
    tokens_before: Interval
    most_tokens_after: int


class EarlyAbort(msgspec.Struct, frozen=True, kw_only=True):
    """A file of `bench.early_abort`.

    Args:
        machine: where.
        modes: sequential and partial.
        reduction: of the latency by partial, paired by round: a part of the sequential one.
    """

    machine: Machine
    modes: list[AbortedMode]
    reduction: Interval


class DispatchLatency(msgspec.Struct, frozen=True, kw_only=True):
    """A file of `bench.dispatch_latency`.

    Args:
        machine: where.
        units: how many.
        dispatch_p50_ms, dispatch_p99_ms, dispatch_max_ms: from a unit's certainty to its hook.
        queueing_p50_ms, queueing_p99_ms: that it waited for the tool's own earlier work.
    """

    machine: Machine
    units: int
    dispatch_p50_ms: float
    dispatch_p99_ms: float
    dispatch_max_ms: float
    queueing_p50_ms: float
    queueing_p99_ms: float


class WayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests at once, in one way; a file of `bench.concurrency` has a list of these.

    Args:
        requests: how many at once.
        way: `stock`, `client` or `partial`.
        rounds: how often it was measured; all intervals are of as many values.
        latency_s: of a request, the median over all rounds.
        against_stock: its ratio to the same round's median in `stock`, less 1.
        against_client: the same against `client`, of `partial` only.
        tokens_per_s: of all requests together, from the first's sending to the last's result.
        bench_cpu_s: processor time of the bench's own process a round, the median: it is the
            client. In `client` it parses the streams and feeds the tools; their workers are
            processes of their own.
        dispatch_ms: from a token's commit (for `client`: its arrival at the client) to the hook.
    """

    requests: int
    way: str
    rounds: int
    latency_s: float
    against_stock: Interval
    against_client: Interval | None
    tokens_per_s: Interval
    bench_cpu_s: float
    dispatch_ms: float | None


class Concurrency(msgspec.Struct, frozen=True, kw_only=True):
    """A file of `bench.concurrency`."""

    machine: Machine
    loads: list[WayFigures]
