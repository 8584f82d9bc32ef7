"""python -m bench.measure.concurrency [--at 1 16 64] [--rounds 6] [--json FILE]: many at once.

A client that streams can feed its tools itself. What that costs is measured with a tool that does
nothing: `stock` (no tool, no stream), `client` (stock SGLang streams each token to a client that
feeds its own tool) and `partial` (our tap feeds the tool in the server; the client gets the text at
the end). All ways run in turn, in random order, on two servers in the same run, and are compared
round by round.

The client of every way is this process. In `client` it also parses the streams and tells the tools
what came, on the cores of the servers: its processor time a round is a figure of its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence

import msgspec

from bench.analyse.results import Concurrency, WayFigures, save
from bench.analyse.runs import Run
from bench.analyse.statistics import Interval, bootstrap, median
from bench.measure.command import add_server_flags, command, count
from bench.measure.machine import this_machine
from bench.measure.modes import Modes
from bench.measure.servers import Servers, two_servers
from bench.workloads.local_tools import local_tools
from bench.workloads.recorded import Work
from bench.workloads.tools import NOTHING
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.tools_config import describe_tools

WAYS = ("stock", "client", "partial")
#: The fewest of which a bootstrap's interval can be one of 95 %: five values' ends cover 94 %.
ROUNDS = 6
_TEXT = "The quick brown fox jumps over the lazy dog, and then it walks home through the rain."


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """All requests at once, in one way.

    Args:
        runs: each request.
        lasted_s: from the first's sending to the last's result (seconds).
        bench_cpu_s: processor time of this process meanwhile (seconds).
    """

    runs: list[Run]
    lasted_s: float
    bench_cpu_s: float

    @property
    def latency_s(self) -> float:
        """Of a request, the median."""
        return median([run.latency_s for run in self.runs])


async def measure(servers: Servers, sizes: list[int], rounds: int) -> list[WayFigures]:
    """Run each number of requests in each way, several rounds.

    Args:
        servers: both, ready.
        sizes: how many requests at once.
        rounds: of each; one more, which fills caches, is not counted.

    Raises:
        ConveyorError: a call failed.
    """
    specs = describe_tools([NOTHING])
    work = Work("concurrency", 0, specs[0].name, _TEXT, "A sentence, please.")
    chance = random.Random(0)
    loads: list[WayFigures] = []
    async with local_tools(specs) as tools:
        # Each has connections of its own: what a pool of 128 costs grows with its square.
        clients = [Modes(servers, tools) for _ in range(max(sizes))]
        try:
            await clients[0].prepare(work)
            for size in sizes:
                seen: dict[str, list[Round]] = {way: [] for way in WAYS}
                for number in range(rounds + 1):
                    for way in chance.sample(WAYS, len(WAYS)):
                        done = await _round(clients[:size], work, way)
                        if number:
                            seen[way].append(done)
                loads += figures_of(seen)
                print(*map(_line, loads[-3:]), sep="\n", flush=True)
        finally:
            await asyncio.gather(*(client.close() for client in clients))
    return loads


async def _round(clients: Sequence[Modes], work: Work, way: str) -> Round:
    began, used = time.monotonic(), time.process_time()
    runs = await asyncio.gather(*(client.run(work, way) for client in clients))
    lasted, used = time.monotonic() - began, time.process_time() - used
    failed = [run.value for run in runs if run.ended != "done"]
    if failed:
        raise ConveyorError(f"{len(failed)} of {len(clients)} calls failed in {way}: {failed[0]}")
    return Round(runs=runs, lasted_s=lasted, bench_cpu_s=used)


def figures_of(seen: Mapping[str, Sequence[Round]]) -> list[WayFigures]:
    """The figures of each way, for one number of requests.

    Args:
        seen: the rounds of each way, in the same order; all decode the same text.
    """
    # Only the tap sees tokens; a client sees pieces of text.
    tokens = max(len(run.timings.tokens) for done in seen["partial"] for run in done.runs)

    found = []
    for way, rounds in seen.items():
        every = [run for done in rounds for run in done.runs]
        dispatch = [1e3 * wait for run in every for wait in run.timings.dispatch()]
        found.append(
            WayFigures(
                requests=len(rounds[0].runs),
                way=way,
                rounds=len(rounds),
                latency_s=median([run.latency_s for run in every]),
                against_stock=_against(rounds, seen["stock"]),
                against_client=_against(rounds, seen["client"]) if way == "partial" else None,
                tokens_per_s=bootstrap([tokens * len(d.runs) / d.lasted_s for d in rounds]),
                bench_cpu_s=median([done.bench_cpu_s for done in rounds]),
                dispatch_ms=median(dispatch) if dispatch and way != "stock" else None,
            )
        )
    return found


def _against(rounds: Sequence[Round], baseline: Sequence[Round]) -> Interval:
    pairs = zip(rounds, baseline, strict=True)
    return bootstrap([one.latency_s / other.latency_s - 1 for one, other in pairs])


def _line(load: WayFigures) -> str:
    against = load.against_stock.scaled(100)
    return (
        f"{load.requests:3} at once, {load.way:7}  latency p50 {load.latency_s:6.2f} s, against "
        f"stock {against} %; {load.tokens_per_s.value:.1f} tokens/s; the bench's own processor "
        f"time {load.bench_cpu_s:.3f} s a round"
    )


def main() -> None:
    parser = command(__doc__, "bench/results/concurrency.json")
    parser.add_argument("--at", type=count, nargs="+", default=[1, 16, 64], metavar="REQUESTS")
    parser.add_argument("--rounds", type=count, default=ROUNDS)
    add_server_flags(parser)
    args = parser.parse_args()
    with two_servers(*args.server_flags, tools=[NOTHING]) as servers:
        loads = asyncio.run(measure(servers, args.at, args.rounds))
    save(args.json, Concurrency(machine=this_machine(args.server_flags), loads=loads))


if __name__ == "__main__":
    main()
