"""What we cost: against stock SGLang, a step of the tap, and the dispatcher under load.

    python -m bench.overhead [--pairs 10] [--parts tap dispatcher serving] [--json FILE]

The last line is the verdict; the exit code is 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator

from rich.console import Console

from bench import dispatcher_load
from bench.machine import this_machine
from bench.results import Against, Check, Overhead, Pair, result_file, save
from bench.servers import Servers, two_servers
from bench.serving import Client
from bench.sglang_client import ServingLoad
from bench.statistics import Interval
from bench.tap_cost import tap_costs
from bench.tap_player import Load

PARTS = ("tap", "dispatcher", "serving")
TOOL = "bench.nothing:Nothing"
#: What a tapped request decodes: the same text on both servers.
TEXT = (
    "The tool that reads these words does nothing with them, and so whatever time is lost on the "
    "way is not the tool's: it was taken by the runtime, by the tap, or by the dispatcher."
)
#: With fewer the interval says nothing.
MIN_PAIRS = 10
#: The limits. Of the interval's worse end, in percent: the first two.
MAX_ITL_EXCESS = 3.0
MAX_THROUGHPUT_LOSS = 3.0
MAX_TAP_US_AT_32 = 50.0
MAX_CORE = 0.5
MAX_MEMORY_MB = 200.0
MAX_TOKEN_TO_HOOK_P99_MS = 10.0

LOADS = {
    "ordinary": ServingLoad(),
    "tapped": ServingLoad(output_tokens=256, literal=TEXT),
}


def compare(servers: Servers, pairs: int, seed: int, console: Console) -> list[Pair]:
    """Interleaved pairs of each kind, in random order.

    Args:
        servers: both, ready.
        pairs: of each kind.
        seed: of the order and the prompts.
        console: where the progress is shown.

    Raises:
        ConveyorError: a request failed, or a run did not come to its end.
    """
    with Client() as client:
        for kind, load in LOADS.items():  # warm up
            for name, url in servers._asdict().items():
                client.run(url, load, seed, _tool(kind, name))
        draw = random.Random(seed)
        done = []
        for number in range(pairs):
            for kind in draw.sample(sorted(LOADS), len(LOADS)):
                order = draw.sample(Servers._fields, 2)
                figures = {
                    name: client.run(
                        getattr(servers, name), LOADS[kind], seed + 1 + number, _tool(kind, name)
                    )
                    for name in order
                }
                done.append(Pair(kind=kind, first=order[0], **figures))
                console.print(f"pair {number + 1:2d} {_line(done[-1])}")
    return done


def _tool(kind: str, server: str) -> str | None:
    return "nothing" if (kind, server) == ("tapped", "ours") else None


def _line(pair: Pair) -> str:
    return (
        f"{pair.kind:9s} {pair.first:5s} first: inter-token "
        f"{pair.ours.itl_ms:6.1f} ms, stock {pair.stock.itl_ms:6.1f} ms; "
        f"{pair.ours.throughput:5.1f} tokens/s, stock {pair.stock.throughput:5.1f}"
    )


def checks(overhead: Overhead) -> Iterator[Check]:
    """Each figure against its limit.

    Args:
        overhead: what was measured; what was not has no check.
    """
    for kind, against in overhead.against_stock.items():
        yield from _against_checks(kind, against)
    for cost in overhead.tap:
        if cost.tapped == 32:
            text = f"tap at 32 p50 {cost.p50_us:.1f} µs, p99 {cost.p99_us:.1f} µs"
            yield Check.at_most("tap a step at 32, p50", cost.p50_us, MAX_TAP_US_AT_32, "µs", text)
    if (load := overhead.dispatcher) is not None:
        yield from dispatcher_load.load_checks(load)
        core = 100 * load.core
        text = f"dispatcher {core:.0f} % of a core"
        yield Check.at_most("dispatcher, of a core", core, 100 * MAX_CORE, "%", text)
        text = f"dispatcher {load.memory_mb:.0f} MB"
        yield Check.at_most("dispatcher memory", load.memory_mb, MAX_MEMORY_MB, "MB", text)
        yield Check.at_most(
            "token to hook p99",
            load.p99_ms,
            MAX_TOKEN_TO_HOOK_P99_MS,
            "ms",
            f"token to hook p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms",
        )


def _against_checks(kind: str, against: Against) -> Iterator[Check]:
    itl, tokens = against.itl.scaled(100), against.throughput.scaled(100)
    pairs = against.pairs
    yield Check.at_least(f"{kind} pairs", pairs, MIN_PAIRS, "pairs", f"{kind} {pairs} pairs")
    yield Check.at_most(
        f"{kind} inter-token latency against stock, upper end",
        itl.high,
        MAX_ITL_EXCESS,
        "%",
        f"{kind} inter-token {_percent(itl)}",
    )
    yield Check.at_least(
        f"{kind} throughput against stock, lower end",
        tokens.low,
        -MAX_THROUGHPUT_LOSS,
        "%",
        f"{kind} throughput {_percent(tokens)}",
    )


def _percent(interval: Interval) -> str:
    return f"{interval.value:+.1f} % [{interval.low:+.1f}, {interval.high:+.1f}]"


def verdict(found: list[Check]) -> str:
    """One line: whether all is within its limits, and the figures; a missed one is marked.

    Args:
        found: all checks.
    """
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
    parser.add_argument("--json", type=result_file, metavar="FILE")
    parser.add_argument("--server-flags", default="", help="further flags of both servers")
    args = parser.parse_args(argv)
    if args.pairs < 1:
        parser.error("--pairs must be at least 1")
    console = Console(width=120, highlight=False)
    overhead = Overhead(machine=this_machine(args.server_flags.split()))
    # What needs a quiet machine comes before the servers start.
    if "tap" in args.parts:
        overhead.tap = tap_costs()
        for cost in overhead.tap:
            console.print(str(cost))
    if "dispatcher" in args.parts:
        overhead.dispatcher = dispatcher_load.measure(Load())
        console.print(f"dispatcher: {overhead.dispatcher}")
    if "serving" in args.parts:
        with two_servers(*args.server_flags.split(), tools=[TOOL]) as servers:
            overhead.pairs = compare(servers, args.pairs, args.seed, console)
        for kind in LOADS:
            pairs = [pair for pair in overhead.pairs if pair.kind == kind]
            overhead.against_stock[kind] = Against.of(pairs)
    overhead.checks = list(checks(overhead))
    overhead.verdict = verdict(overhead.checks)
    if args.json is not None:
        save(args.json, overhead)
    print(overhead.verdict)
    return 0 if all(check.passed for check in overhead.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
