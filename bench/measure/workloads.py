"""python -m bench.measure.workloads [--workload NAME] [--repeat N] [--json FILE]: the six.

Each call's text is a recorded one, decoded token by token under a grammar that admits only it. The
four modes of `bench.measure.modes` run in random order for each call, on two servers in the same
run.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from bench.analyse.runs import MODES, Recording, Run
from bench.analyse.statistics import percentile
from bench.measure.command import add_server_flags, command, count
from bench.measure.machine import this_machine
from bench.measure.modes import Modes
from bench.measure.servers import Servers, two_servers
from bench.workloads.local_tools import local_tools
from bench.workloads.recorded import WORKLOADS, chosen
from bench.workloads.search_service import running_service
from sgl_conveyor.specs import ToolSpec
from sgl_conveyor.tools_config import apply_overrides, describe_tools, load_overrides

SOURCES = ["python", "search", "planning", "validation", "database", "calculator",
           "programs.plan_tools:*"]  # fmt: skip


async def measure(
    servers: Servers,
    specs: list[ToolSpec],
    workloads: list[str],
    repeat: int,
    seed: int,
    save: Callable[[list[Run]], None],
) -> list[Run]:
    """Run the calls, all modes of a call next to each other in random order.

    Args:
        servers: both, ready.
        specs: the client's own tools.
        workloads: which.
        repeat: calls of each.
        seed: of the order of the modes.
        save: takes all runs so far, after each workload.
    """
    chance = random.Random(seed)
    runs: list[Run] = []
    async with local_tools(specs) as tools:
        modes = Modes(servers, tools)
        try:
            for workload in workloads:
                calls = chosen(workload, repeat)
                for mode in ("client", "partial"):  # both prefix caches, and all workers
                    await modes.run(calls[0], mode)
                for work in calls:
                    await modes.prepare(work)
                    order = chance.sample(MODES, len(MODES))
                    together = [await modes.run(work, mode) for mode in order]
                    runs += together
                    print(_line(together), flush=True)
                save(runs)
        finally:
            await modes.close()
    return runs


def _line(runs: list[Run]) -> str:
    by_mode = {run.mode: run for run in runs}
    seconds = "  ".join(f"{mode} {by_mode[mode].latency_s:6.2f} s" for mode in MODES)
    saved = 1 - by_mode["partial"].latency_s / by_mode["stock"].latency_s
    tokens = max(len(run.timings.tokens) for run in runs)
    line = (
        f"{runs[0].workload:11}{runs[0].call:3}  {tokens:3} tokens  {seconds}  "
        f"partial against stock {saved:+.1%}"
    )
    if len({(run.ended, run.value) for run in runs}) > 1:
        line += f"\nthe modes differ: {[(run.mode, run.ended, run.value[:200]) for run in runs]}"
    return line


def _medians(recording: Recording, workload: str) -> str:
    latencies = {mode: [r.latency_s for r in recording.of(workload, mode)] for mode in MODES}
    found = [
        f"{m} {percentile(s, 50):6.2f} ({percentile(s, 90):6.2f})" for m, s in latencies.items()
    ]
    return f"{workload:11} latency p50 (p90), s:  {'  '.join(found)}"


def main() -> None:
    parser = command(__doc__, "bench/results/runs.json")
    add = parser.add_argument
    add("--workload", choices=WORKLOADS, action="append")
    add("--repeat", type=count, default=5, help="calls of each workload and mode")
    add("--seed", type=int, default=0)
    add("--rtt-ms", type=float, default=80.0, help="of the search service's network")
    add("--work-ms", type=float, default=2500.0, help="of a search, on average")
    add("--cold", action="store_true", help="search alone, without kept connections in any mode")
    add_server_flags(parser)
    args = parser.parse_args()
    machine = this_machine(args.server_flags)

    def save(runs: list[Run]) -> None:
        Recording(machine=machine, runs=runs).save(args.json)

    workloads = ["search"] if args.cold else args.workload or list(WORKLOADS)
    with running_service(rtt_ms=args.rtt_ms, work_ms=args.work_ms, uneven=True) as service:
        config = args.json.parent / "tools.toml"
        config.write_text(
            f'[search.environment]\nSEARCH_URL = "{service.url}"\nSEARCH_CA = "{service.ca}"\n'
            f'SEARCH_ALLOW_PRIVATE = "1"\nSEARCH_KEEP_ALIVE = "{0 if args.cold else 1}"\n'
        )
        specs = apply_overrides(describe_tools(SOURCES), load_overrides(config), config)
        with two_servers(*args.server_flags, tools=SOURCES, tools_config=config) as servers:
            measuring = measure(servers, specs, workloads, args.repeat, args.seed, save)
            recording = Recording(machine=machine, runs=asyncio.run(measuring))
    print("\n".join(_medians(recording, workload) for workload in workloads))


if __name__ == "__main__":
    main()
