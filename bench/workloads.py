"""python -m bench.workloads [--workload NAME] [--repeat N] [--json FILE]: the six, measured.

Each call's text is a recorded one, decoded token by token under a grammar that admits only it. The
four modes of `bench.modes` run in random order for each call, on two servers in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.local_tools import local_tools
from bench.machine import this_machine
from bench.modes import Modes, Work
from bench.runs import MODES, WORKLOADS, Recording, Run
from bench.search_service import running_service
from bench.servers import two_servers
from bench.statistics import percentile
from bench.summary import WorkloadFigures, workload_figures
from sgl_conveyor.frontend.expressions import literal_grammar
from sgl_conveyor.specs import ToolSpec
from sgl_conveyor.tools_config import apply_overrides, describe_tools, load_overrides

RECORDED = Path(__file__).parent / "recorded"
#: The tool of each workload that is not called as it.
_TOOLS = {"codegen": "python"}
SOURCES = ["python", "search", "planning", "validation", "database", "calculator",
           "programs.plan_tools:*"]  # fmt: skip
_PROMPT = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


class Measured(Recording, frozen=True, kw_only=True):
    """What `--json` writes: the runs, and what each workload's come to."""

    workloads: dict[str, WorkloadFigures]


def works(workload: str) -> list[Work]:
    """A workload's recorded calls."""
    texts: list[str] = json.loads((RECORDED / f"{workload}.json").read_text())
    prompt = _PROMPT.format(question=f"Use the tool {_TOOLS.get(workload, workload)}.")
    return [
        Work(workload, number, _TOOLS.get(workload, workload), prompt, text, literal_grammar(text))
        for number, text in enumerate(texts)
    ]


def chosen(workload: str, count: int) -> list[Work]:
    """So many of a workload's calls, spread over all of them."""
    every = works(workload)
    count = min(count, len(every))
    return [every[i * len(every) // count] for i in range(count)]


async def measure(
    ours: str,
    stock: str,
    specs: list[ToolSpec],
    workloads: list[str],
    repeat: int,
    seed: int,
    save: Callable[[list[Run]], None],
) -> None:
    """Run the calls, all modes of a call next to each other in random order.

    Args:
        ours, stock: the servers' URLs.
        specs: the client's own tools.
        workloads: which.
        repeat: calls of each.
        seed: of the order of the modes.
        save: takes all runs so far, after each workload.
    """
    chance = random.Random(seed)
    runs: list[Run] = []
    async with local_tools(specs) as tools:
        modes = Modes(ours, stock, tools)
        try:
            for workload in workloads:
                calls = chosen(workload, repeat)
                for mode in ("client", "partial"):  # both prefix caches, and all workers
                    await modes.run(calls[0], mode)
                for work in calls:
                    await modes.prepare(work)
                    together: list[Run] = []
                    for mode in chance.sample(MODES, len(MODES)):
                        together.append(await modes.run(work, mode))
                    _check_alike(together)
                    runs += together
                    print(_line(together), flush=True)
                save(runs)
        finally:
            await modes.close()


def _check_alike(runs: list[Run]) -> None:
    """All modes must have come to the same."""
    ends = {(run.ended, run.value) for run in runs}
    if len(ends) != 1:
        print(f"the modes differ: {[(run.mode, run.ended, run.value[:200]) for run in runs]}")


def _line(runs: list[Run]) -> str:
    by_mode = {run.mode: run for run in runs}
    seconds = "  ".join(f"{mode} {by_mode[mode].latency_s:6.2f} s" for mode in MODES)
    saved = 1 - by_mode["partial"].latency_s / by_mode["stock"].latency_s
    tokens = max(len(run.timings.tokens) for run in runs)
    return (
        f"{runs[0].workload:11}{runs[0].call:3}  {tokens:3} tokens  {seconds}  "
        f"partial against stock {saved:+.1%}"
    )


def table_of(recording: Recording) -> Table:
    """Medians of each workload and mode."""
    table = Table(title="request latency, s: p50 (p90)")
    for title in ("workload", *MODES):
        table.add_column(title)
    for workload in WORKLOADS:
        cells = []
        for mode in MODES:
            seconds = sorted(run.latency_s for run in recording.of(workload, mode))
            if seconds:
                cells.append(f"{percentile(seconds, 50):.2f} ({percentile(seconds, 90):.2f})")
        if cells:
            table.add_row(workload, *cells)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.workloads", description=__doc__)
    parser.add_argument("--workload", choices=WORKLOADS, action="append")
    parser.add_argument("--repeat", type=int, default=5, help="calls of each workload and mode")
    parser.add_argument("--json", type=Path, default=Path("bench/results/runs.json"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--rtt-ms", type=float, default=80.0, help="of the search service's network"
    )
    parser.add_argument("--work-ms", type=float, default=2500.0, help="of a search, on average")
    parser.add_argument("--server-flags", default="", help="further flags of both servers")
    parser.add_argument(
        "--cold", action="store_true", help="search alone, without kept connections in any mode"
    )
    args = parser.parse_args()

    flags = args.server_flags.split()
    machine = this_machine(flags)

    def save(runs: list[Run]) -> None:
        figures = workload_figures(Recording(machine=machine, runs=runs))
        Measured(machine=machine, runs=runs, workloads=figures).save(args.json)

    workloads = ["search"] if args.cold else args.workload or list(WORKLOADS)
    with running_service(rtt_ms=args.rtt_ms, work_ms=args.work_ms, uneven=True) as service:
        config = args.json.parent / "tools.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(
            f'[search.environment]\nSEARCH_URL = "{service.url}"\nSEARCH_CA = "{service.ca}"\n'
            f'SEARCH_ALLOW_PRIVATE = "1"\nSEARCH_KEEP_ALIVE = "{0 if args.cold else 1}"\n'
        )
        specs = apply_overrides(describe_tools(SOURCES), load_overrides(config), config)
        with two_servers(*flags, tools=SOURCES, tools_config=config) as (ours, stock):
            asyncio.run(measure(ours, stock, specs, workloads, args.repeat, args.seed, save))
    Console().print(table_of(Recording.load(args.json)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
