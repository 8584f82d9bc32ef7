"""What we cost: against stock SGLang, a step of the tap, and the dispatcher under load.

    python -m bench.overhead [--pairs 10] [--parts tap dispatcher serving] [--json FILE]

The last line is the verdict; the exit code is 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console

from bench import dispatcher_load, serving
from bench.dispatcher_load import DispatcherFigures
from bench.servers import Servers, two_servers
from bench.serving import ServingFigures, ServingLoad
from bench.statistics import Interval, bootstrap
from bench.tap_cost import TapCost, tap_costs

PARTS = ("tap", "dispatcher", "serving")
TOOL = "bench.nothing:Nothing"
#: What a tapped request decodes: the same text on both servers.
TEXT = (
    "The tool that reads these words does nothing with them, and so whatever time is lost on the "
    "way is not the tool's: it was taken by the runtime, by the tap, or by the dispatcher."
)
#: The limits. Of the interval's worse end: the first two.
MAX_ITL_EXCESS = 0.03
MAX_THROUGHPUT_LOSS = 0.03
MAX_TAP_US_AT_32 = 50.0
MAX_CORE = 0.5
MAX_MEMORY_MB = 200.0
MAX_TOKEN_TO_HOOK_P99_MS = 10.0

LOADS = {
    "ordinary": ServingLoad(),
    "tapped": ServingLoad(output_tokens=256, literal=TEXT),
}


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


class Overhead(msgspec.Struct, kw_only=True):
    """All figures; a part that was not measured is empty."""

    pairs: list[Pair] = []
    against_stock: dict[str, Against] = {}
    tap: list[TapCost] = []
    dispatcher: DispatcherFigures | None = None
    verdict: str = ""


class Check(msgspec.Struct, frozen=True):
    """One figure and whether it is within its limit."""

    text: str
    passed: bool


def compare(servers: Servers, pairs: int, seed: int, console: Console) -> list[Pair]:
    """Interleaved pairs of each kind, in random order.

    Args:
        servers: both, ready.
        pairs: of each kind.
        seed: of the order and the prompts.
        console: where the progress is shown.
    """
    for kind, load in LOADS.items():  # warm up
        for name, url in servers._asdict().items():
            serving.run(url, load, seed, _tool(kind, name))
    draw = random.Random(seed)
    done = []
    for number in range(pairs):
        for kind in draw.sample(sorted(LOADS), len(LOADS)):
            order = draw.sample(Servers._fields, 2)
            figures = {
                name: serving.run(
                    getattr(servers, name), LOADS[kind], seed + 1 + number, _tool(kind, name)
                )
                for name in order
            }
            done.append(Pair(kind=kind, first=order[0], **figures))
            pair = done[-1]
            console.print(
                f"pair {number + 1:2d} {kind:9s} {order[0]:5s} first: inter-token "
                f"{pair.ours.itl_ms:6.1f} ms, stock {pair.stock.itl_ms:6.1f} ms; "
                f"{pair.ours.throughput:5.1f} tokens/s, stock {pair.stock.throughput:5.1f}"
            )
    return done


def _tool(kind: str, server: str) -> str | None:
    return "nothing" if (kind, server) == ("tapped", "ours") else None


def checks(overhead: Overhead) -> Iterator[Check]:
    """Each figure against its limit."""
    for kind, against in overhead.against_stock.items():
        itl, tokens = against.itl.scaled(100), against.throughput.scaled(100)
        yield Check(f"{kind} inter-token {_percent(itl)}", against.itl.high <= MAX_ITL_EXCESS)
        yield Check(
            f"{kind} throughput {_percent(tokens)}", against.throughput.low >= -MAX_THROUGHPUT_LOSS
        )
    for cost in overhead.tap:
        if cost.tapped == 32:
            text = f"tap at 32 p50 {cost.p50_us:.1f} µs, p99 {cost.p99_us:.1f} µs"
            yield Check(text, cost.p50_us <= MAX_TAP_US_AT_32)
    if (load := overhead.dispatcher) is not None:
        at = f"dispatcher at {load.rate:.0f} tokens/s"
        yield Check(f"{at}: {100 * load.core:.0f} % of a core", load.core <= MAX_CORE)
        yield Check(f"{load.memory_mb:.0f} MB", load.memory_mb <= MAX_MEMORY_MB)
        yield Check(
            f"token to hook p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms",
            load.p99_ms <= MAX_TOKEN_TO_HOOK_P99_MS,
        )


def _percent(interval: Interval) -> str:
    return f"{interval.value:+.1f} % [{interval.low:+.1f}, {interval.high:+.1f}]"


def verdict(found: list[Check]) -> str:
    """One line: whether all is within its limits, and the figures; a missed one is marked."""
    missed = sum(not check.passed for check in found)
    words = "; ".join(check.text if check.passed else f"MISSED {check.text}" for check in found)
    return f"{'passed' if not missed else f'{missed} missed'}: {words}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    if args.pairs < 1:
        parser.error("--pairs must be at least 1")
    console = Console(width=120, highlight=False)
    overhead = Overhead()
    # What needs a quiet machine comes before the servers start.
    if "tap" in args.parts:
        overhead.tap = tap_costs()
        for cost in overhead.tap:
            console.print(str(cost))
    if "dispatcher" in args.parts:
        overhead.dispatcher = dispatcher_load.measure(dispatcher_load.Load())
        console.print(f"dispatcher: {overhead.dispatcher}")
    if "serving" in args.parts:
        with two_servers(tools=[TOOL]) as servers:
            overhead.pairs = compare(servers, args.pairs, args.seed, console)
        for kind in LOADS:
            pairs = [pair for pair in overhead.pairs if pair.kind == kind]
            overhead.against_stock[kind] = Against.of(pairs)
    found = list(checks(overhead))
    overhead.verdict = verdict(found)
    if args.json is not None:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(overhead)) + b"\n")
    print(overhead.verdict)
    return 0 if all(check.passed for check in found) else 1


if __name__ == "__main__":
    sys.exit(main())
