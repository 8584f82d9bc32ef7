"""python -m bench.concurrency [--at 1 16 64] [--rounds 3] [--json FILE]: many requests at once.

A client that streams can feed its tools itself. What that costs is measured with a tool that does
nothing: `stock` (no tool, no stream), `client` (stock SGLang streams each token to a client that
feeds its own tool) and `partial` (our tap feeds the tool in the server; the client gets the text at
the end). All ways run in turn, in random order, on two servers in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.local_tools import local_tools
from bench.machine import this_machine
from bench.modes import Modes, Work
from bench.runs import Machine, Run
from bench.servers import two_servers
from bench.statistics import Interval, bootstrap
from sgl_conveyor.frontend.expressions import literal_grammar
from sgl_conveyor.tools_config import describe_tools

TOOL = "bench.nothing:Nothing"
WAYS = ("stock", "client", "partial")
_TEXT = "The quick brown fox jumps over the lazy dog, and then it walks home through the rain."
_PROMPT = "<|im_start|>user\nA sentence, please.<|im_end|>\n<|im_start|>assistant\n"


class Load(msgspec.Struct, frozen=True):
    """So many requests at once, in one way.

    Args:
        requests: how many at once.
        way: one of `WAYS`.
        latency_s: of a request, the median over all rounds.
        against_stock: its ratio to the same round's median in `stock`, less 1, with its interval.
        dispatch_ms: from a token's commit (for `client`: its arrival at the client) to the hook.
        rounds: how often it was measured.
    """

    requests: int
    way: str
    latency_s: float
    against_stock: Interval
    dispatch_ms: float | None
    rounds: int


class Result(msgspec.Struct, frozen=True):
    """The file."""

    machine: Machine
    loads: list[Load]


async def measure(ours: str, stock: str, sizes: list[int], rounds: int) -> list[Load]:
    """Run each number of requests in each way, several rounds."""
    specs = describe_tools([TOOL])
    work = Work("concurrency", 0, specs[0].name, _PROMPT, _TEXT, literal_grammar(_TEXT))
    chance = random.Random(0)
    loads: list[Load] = []
    async with local_tools(specs) as tools:
        modes = Modes(ours, stock, tools)
        try:
            await modes.prepare(work)
            for size in sizes:
                seen: dict[str, list[list[Run]]] = {way: [] for way in WAYS}
                for number in range(rounds + 1):
                    for way in chance.sample(WAYS, len(WAYS)):
                        runs = await asyncio.gather(*(modes.run(work, way) for _ in range(size)))
                        if number:  # the first round fills caches
                            seen[way].append(runs)
                loads += [_load(size, way, seen) for way in WAYS]
                print("  ".join(f"{x.way} {x.latency_s:.2f} s" for x in loads[-3:]), flush=True)
        finally:
            await modes.close()
    return loads


def _load(size: int, way: str, seen: dict[str, list[list[Run]]]) -> Load:
    medians = {w: [statistics.median(r.latency_s for r in runs) for runs in seen[w]] for w in seen}
    ratios = [a / b - 1 for a, b in zip(medians[way], medians["stock"], strict=True)]
    every = [run for runs in seen[way] for run in runs]
    dispatch = [1e3 * wait for run in every for wait in run.timings.dispatch()]
    return Load(
        requests=size,
        way=way,
        latency_s=statistics.median(run.latency_s for run in every),
        against_stock=bootstrap(ratios),
        dispatch_ms=statistics.median(dispatch) if dispatch and way != "stock" else None,
        rounds=len(ratios),
    )


def table_of(loads: list[Load]) -> Table:
    """A row for each load."""
    table = Table(title="requests at once, a tool that does nothing")
    for title in ("requests", "way", "latency p50, s", "against stock", "dispatch p50, ms"):
        table.add_column(title, justify="right")
    for load in loads:
        ratio = load.against_stock
        table.add_row(
            str(load.requests),
            load.way,
            f"{load.latency_s:.2f}",
            f"{ratio.value:+.1%} ({ratio.low:+.1%} to {ratio.high:+.1%})",
            "" if load.dispatch_ms is None else f"{load.dispatch_ms:.2f}",
        )
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.concurrency", description=__doc__)
    parser.add_argument("--at", type=int, nargs="+", default=[1, 16, 64], metavar="REQUESTS")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("bench/results/concurrency.json"))
    parser.add_argument("--server-flags", default="", help="further flags of both servers")
    args = parser.parse_args()
    started = time.monotonic()
    with two_servers(*args.server_flags.split(), tools=[TOOL]) as (ours, stock):
        loads = asyncio.run(measure(ours, stock, args.at, args.rounds))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    result = Result(this_machine(), loads)
    args.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    Console().print(table_of(loads))
    print(f"{time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
