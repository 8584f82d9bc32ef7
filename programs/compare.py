"""What every program does when it is run by itself: sequentially, then partially, both timed."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import urllib.error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sglang as sgl

from sgl_conveyor import ConveyorEndpoint, ToolResult

#: Runs a program in a mode and returns its state: `lambda partial, free: program.run(...)`.
Runner = Callable[[bool, bool], Any]


@dataclass(frozen=True)
class Run:
    """One run of a program.

    Args:
        seconds: from its start to its last result in our hand.
        state: the program's state at its end.
        results: of its regions, in their order.
    """

    seconds: float
    state: Any
    results: list[ToolResult]


def main(
    description: str,
    regions: list[str],
    run: Runner,
    parents: Sequence[argparse.ArgumentParser] = (),
) -> None:
    """Parse the command line, run the program in both modes, print its result and both latencies.

    Args:
        description: of the program, for `--help`.
        regions: the names of its tool regions.
        run: runs it.
        parents: parsers of options that the program reads by itself.
    """
    parser = argparse.ArgumentParser(description=description, parents=list(parents))
    parser.add_argument("--url", default="http://127.0.0.1:30000")
    parser.add_argument("--api-key")
    parser.add_argument(
        "--free", action="store_true", help="let the model write what it wants, in partial mode"
    )
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="runs of each mode, in turn (default 1)"
    )
    args = parser.parse_args()
    try:
        sgl.set_default_backend(ConveyorEndpoint(args.url, api_key=args.api_key))
    except urllib.error.URLError as error:
        sys.exit(f"no server answers at {args.url} ({error.reason}): start one, or give its --url")
    if args.free:
        free = timed(run, regions, partial=True, free=True)
        show(free, regions)
        print(f"--- partial {free.seconds:.2f} s")
        return
    print(f"one run that fills the cache, then {args.repeat} of each mode, in turn", flush=True)
    last = timed(run, regions, partial=True)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(args.repeat):
        for partial in (False, True):
            last = timed(run, regions, partial=partial)
            seconds[partial].append(last.seconds)
    show(last, regions)
    saved = 1 - statistics.median(seconds[True]) / statistics.median(seconds[False])
    both = f"sequential {_times(seconds[False])}, partial {_times(seconds[True])}"
    print(f"--- {both}: {abs(saved):.1%} {'less' if saved >= 0 else 'more'}")


def _times(seconds: list[float]) -> str:
    """The median, and from where to where."""
    if len(seconds) == 1:
        return f"{seconds[0]:.2f} s"
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def timed(run: Runner, regions: list[str], *, partial: bool, free: bool = False) -> Run:
    """Run a program to the last of its results."""
    started = time.monotonic()
    state = run(partial, free)
    results = [state[f"{region}.result"] for region in regions]
    for result in results:
        result.outcome()
    return Run(time.monotonic() - started, state, results)


def show(run: Run, regions: list[str]) -> None:
    """Print the text and the result of each region."""
    for region, result in zip(regions, run.results, strict=True):
        print(f"--- {region}\n{run.state[region]}")
        print(f"--- {region}: result ({result.error or result.aborted or 'no error'})\n{result}")
        timings = result.timings
        if timings.hidden is not None:
            print(
                f"--- {region}: tool {timings.tool:.2f} s, of which hidden {timings.hidden:.2f} s"
            )
