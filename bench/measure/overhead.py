"""What we cost: against stock SGLang, a step of the tap, and the dispatcher under load.

    python -m bench.measure.overhead [--pairs 10] [--starts 2] [--json FILE]
                                     [--parts tap dispatcher serving stock]

`serving` compares our server with a stock one, `stock` a stock one with another in the same way:
what that is not 0 by, the comparison itself is off by. The servers are started again for each half
of the pairs, the other one first. The last line is the verdict; the exit code is 1 when a limit is
missed.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator

from bench.analyse.results import Against, Check, Overhead, Pair, save
from bench.analyse.statistics import Interval
from bench.measure import dispatcher_load
from bench.measure.command import add_server_flags, command, count
from bench.measure.machine import this_machine
from bench.measure.servers import two_servers, two_stock_servers
from bench.measure.serving import Client
from bench.measure.sglang_client import ServingLoad
from bench.measure.tap_cost import tap_costs
from bench.measure.tap_player import Load
from bench.workloads.tools import NOTHING

PARTS = ("tap", "dispatcher", "serving", "stock")
#: What a tapped request decodes: the same text on both servers.
TEXT = (
    "The tool that reads these words does nothing with them, and so whatever time is lost on the "
    "way is not the tool's: it was taken by the runtime, by the tap, or by the dispatcher."
)
#: The requests of each kind; a second stock server gets ordinary ones.
LOADS = {
    "ordinary": ServingLoad(),
    "tapped": ServingLoad(output_tokens=256, literal=TEXT),
    "stock": ServingLoad(),
}
#: The kinds that each part of the comparison measures.
KINDS = {"serving": ("ordinary", "tapped"), "stock": ("stock",)}


def compare(
    other: str, stock: str, kinds: tuple[str, ...], pairs: int, draw: random.Random
) -> list[Pair]:
    """Pairs of each kind, interleaved; which server is first alternates.

    Args:
        other: the server that is compared with stock.
        stock: the stock one.
        kinds: of requests.
        pairs: of each kind.
        draw: the prompts.

    Raises:
        ConveyorError: a request failed, or a run did not come to its end.
    """
    urls = {"other": other, "stock": stock}
    done: list[Pair] = []
    with Client() as client:
        for number in range(-1, pairs):
            for kind in kinds:
                order = sorted(urls, reverse=number % 2 == 0)
                seed = draw.randrange(10**6)
                figures = {
                    name: client.run(
                        urls[name],
                        LOADS[kind],
                        seed,
                        "nothing" if (kind, name) == ("tapped", "other") else None,
                    )
                    for name in order
                }
                if number >= 0:  # the first is a warm-up
                    done.append(Pair(kind=kind, first=order[0], **figures))
                    print(f"pair {number + 1:2d} {_line(done[-1])}", flush=True)
    return done


def _line(pair: Pair) -> str:
    return (
        f"{pair.kind:9s} {pair.first:5s} first: inter-token "
        f"{pair.other.itl_ms:6.1f} ms, stock {pair.stock.itl_ms:6.1f} ms; "
        f"{pair.other.throughput:5.1f} tokens/s, stock {pair.stock.throughput:5.1f}"
    )


def measured(part: str, pairs: int, starts: int, seed: int, flags: list[str]) -> list[Pair]:
    """The pairs of a part, over several starts of the servers.

    Args:
        part: `serving` or `stock`.
        pairs: of each kind, in all.
        starts: of the servers; every other time the stock one starts first.
        seed: of the prompts.
        flags: further ones of both servers.

    Raises:
        ConveyorError: a server did not start, or a request failed.
    """
    draw = random.Random(seed)
    found: list[Pair] = []
    shares = [pairs * (n + 1) // starts - pairs * n // starts for n in range(starts)]
    for start, share in enumerate(shares):
        if not share:
            continue
        servers: contextlib.AbstractContextManager[tuple[str, str]] = (
            two_stock_servers(*flags)
            if part == "stock"
            else two_servers(*flags, tools=[NOTHING], stock_first=start % 2 == 1)
        )
        with servers as (other, stock):
            found += compare(other, stock, KINDS[part], share, draw)
    return found


def checks(overhead: Overhead) -> Iterator[Check]:
    """Each figure against its limit; what was not measured has no check."""
    for kind, against in overhead.against_stock.items():
        yield from _against_checks(kind, against)
    for cost in overhead.tap:
        if cost.tapped == 32:
            text = f"tap at 32 p50 {cost.p50_us:.1f} µs, p99 {cost.p99_us:.1f} µs"
            yield Check.of("tap a step at 32, p50", cost.p50_us, text)
    if (load := overhead.dispatcher) is not None:
        yield from dispatcher_load.load_checks(load)
        core, memory = 100 * load.core, load.memory_mb
        yield Check.of("dispatcher, of a core", core, f"dispatcher {core:.0f} % of a core")
        yield Check.of("dispatcher memory", memory, f"dispatcher {memory:.0f} MB")
        text = f"token to hook p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms"
        yield Check.of("token to hook p99", load.p99_ms, text)


def _against_checks(kind: str, against: Against) -> Iterator[Check]:
    itl, tokens, pairs = against.itl.scaled(100), against.throughput.scaled(100), against.pairs
    said = (f"{kind} inter-token {_percent(itl)}", f"{kind} throughput {_percent(tokens)}")
    if kind == "stock":
        name = "stock against stock,"
        yield Check.of(f"{name} pairs", pairs, f"stock {pairs} pairs")
        yield Check.of(f"{name} inter-token latency off 0", _off(itl), said[0])
        yield Check.of(f"{name} throughput off 0", _off(tokens), said[1])
    else:
        yield Check.of(f"{kind} pairs", pairs, f"{kind} {pairs} pairs")
        yield Check.of(f"{kind} inter-token latency against stock, upper end", itl.high, said[0])
        yield Check.of(f"{kind} throughput against stock, lower end", tokens.low, said[1])


def _off(interval: Interval) -> float:
    """How far 0 lies outside an interval."""
    return max(interval.low, -interval.high, 0.0)


def _percent(interval: Interval) -> str:
    return f"{interval.value:+.1f} % [{interval.low:+.1f}, {interval.high:+.1f}]"


def verdict(found: list[Check]) -> str:
    """One line: whether all is within its limits, and the figures; a missed one is marked."""
    missed = sum(not check.passed for check in found)
    words = "; ".join(check.text if check.passed else f"MISSED {check.text}" for check in found)
    return f"{'passed' if not missed else f'{missed} missed'}: {words}"


def main(argv: list[str] | None = None) -> int:
    parser = command(__doc__)
    parser.add_argument("--pairs", type=count, default=10)
    parser.add_argument("--starts", type=count, default=2, help="of the servers")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    add_server_flags(parser)
    args = parser.parse_args(argv)
    overhead = Overhead(machine=this_machine(args.server_flags))
    # What needs a quiet machine comes before the servers start.
    if "tap" in args.parts:
        overhead.tap = tap_costs()
        print(*overhead.tap, sep="\n")
    if "dispatcher" in args.parts:
        overhead.dispatcher = dispatcher_load.measure(Load())
        print(f"dispatcher: {overhead.dispatcher}")
    for part in KINDS:
        if part in args.parts:
            overhead.pairs += measured(part, args.pairs, args.starts, args.seed, args.server_flags)
    for kind in dict.fromkeys(pair.kind for pair in overhead.pairs):
        pairs = [pair for pair in overhead.pairs if pair.kind == kind]
        overhead.against_stock[kind] = Against.of(pairs)
    overhead.checks = list(checks(overhead))
    overhead.verdict = verdict(overhead.checks)
    save(args.json, overhead)
    print(overhead.verdict)
    return 0 if all(check.passed for check in overhead.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
