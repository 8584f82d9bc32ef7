"""What the benches other than the workloads write: each file's figures, and where they ran."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from bench.analyse.runs import Machine
from bench.analyse.statistics import Interval, bootstrap

_Result = TypeVar("_Result", bound=msgspec.Struct)


def save(path: Path | None, result: msgspec.Struct) -> None:
    """Write a result as JSON, a figure a line; without a path, do nothing."""
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")


def load(path: Path, kind: type[_Result]) -> _Result:
    """Read a result.

    Raises:
        msgspec.ValidationError: it is another file.
    """
    return msgspec.json.decode(path.read_bytes(), type=kind)


class Limit(msgspec.Struct, frozen=True):
    """What a figure may be at most; or, if `least`, at least."""

    value: float
    unit: str
    least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {self.value:g} {self.unit}"


#: The limits of `bench.measure.overhead`, by the names of the figures. Of what has an interval, its
#: worse end counts; of stock against stock, how far 0 lies outside it.
LIMITS = {
    "ordinary inter-token latency against stock, upper end": Limit(3.0, "%"),
    "ordinary throughput against stock, lower end": Limit(-3.0, "%", least=True),
    "tapped inter-token latency against stock, upper end": Limit(3.0, "%"),
    "tapped throughput against stock, lower end": Limit(-3.0, "%", least=True),
    "tap a step at 32, p50": Limit(50.0, "µs"),
    "dispatcher, of a core": Limit(50.0, "%"),
    "dispatcher memory": Limit(200.0, "MB"),
    "token to hook p99": Limit(10.0, "ms"),
    # With fewer the interval says nothing.
    "ordinary pairs": Limit(10, "pairs", least=True),
    "tapped pairs": Limit(10, "pairs", least=True),
    # Less is another load.
    "dispatcher rate reached": Limit(98.0, "%", least=True),
    # The stamp of a commit is taken as its step is sent, so a late step hides no wait, but it
    # leaves the dispatcher idle and then crowds it: a tenth of the 51 ms from step to step at the
    # default load still is an even pace. Above it the machine had no time for the player, and so
    # perhaps none for the dispatcher: run it again on a quiet one.
    "dispatcher steps late p99": Limit(5.0, "ms"),
    "stock against stock, pairs": Limit(10, "pairs", least=True),
    "stock against stock, inter-token latency off 0": Limit(0.5, "%"),
    "stock against stock, throughput off 0": Limit(0.5, "%"),
}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One figure and its limit.

    Args:
        name: of the figure.
        value: the figure.
        limit: its limit.
        text: the figure as the verdict has it, with its interval.
    """

    name: str
    value: float
    limit: Limit
    text: str

    @classmethod
    def of(cls, name: str, value: float, text: str) -> Check:
        """The check of a figure that has a limit in `LIMITS`."""
        return cls(name=name, value=value, limit=LIMITS[name], text=text)

    @property
    def passed(self) -> bool:
        """Whether the figure is within its limit."""
        least = self.limit.least
        return self.value >= self.limit.value if least else self.value <= self.limit.value


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
    """One run on each of two servers, with the same requests, right after one another.

    Args:
        kind: of the requests.
        first: which server ran first.
        other: the run on the server that is compared with stock: ours, or a second stock one.
        stock: the run on stock.
    """

    kind: str
    first: str
    other: ServingFigures
    stock: ServingFigures

    @property
    def itl(self) -> float:
        """How much longer the other took from token to token, as a part of stock's time."""
        return self.other.itl_ms / self.stock.itl_ms - 1

    @property
    def throughput(self) -> float:
        """How many tokens more a second the other gave, as a part of stock's."""
        return self.other.throughput / self.stock.throughput - 1


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """A server against stock, for one kind of requests: medians of the pairs' ratios, less one."""

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


class Overhead(msgspec.Struct, kw_only=True):
    """A file of `bench.measure.overhead`, `tap_cost` or `dispatcher_load`.

    Args:
        machine: where.
        pairs: of runs, as they were measured.
        against_stock: what they come to, by the kind of the requests; under `stock`, a second
            stock server's: what the comparison itself is off by.
        tap, dispatcher: those parts; a part that was not measured is empty.
        checks: the figures that have a limit.
        verdict: all of them in a line.
    """

    machine: Machine | None = None
    pairs: list[Pair] = []
    against_stock: dict[str, Against] = {}
    tap: list[TapCost] = []
    dispatcher: DispatcherFigures | None = None
    checks: list[Check] = []
    verdict: str = ""


class AbortedMode(msgspec.Struct, frozen=True, kw_only=True):
    """The bad calls of one mode, `sequential` or `partial`.

    Args:
        mode: which.
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
    """A file of `bench.measure.early_abort`; the reduction of latency is paired by round."""

    machine: Machine
    modes: list[AbortedMode]
    reduction: Interval


class WayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests at once, in one way.

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
    """A file of `bench.measure.concurrency`."""

    machine: Machine
    loads: list[WayFigures]
