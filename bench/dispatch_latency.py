"""From the commit of a token to the start of the tool's hook, while decoding runs.

    python -m bench.dispatch_latency [--url URL] [--units 1000] [--json FILE]

The tool does nothing with each piece of text. Without --url a server is started. Queueing behind
the tool's own earlier work is a figure of its own.
"""

from __future__ import annotations

import argparse
from typing import Any

import sglang as sgl
from rich.console import Console

from bench.machine import this_machine
from bench.results import DispatchLatency, result_file, save
from bench.statistics import percentile
from sgl_conveyor import ConveyorEndpoint, tool_region
from sgl_conveyor.demo.server import running_server
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.timings import Timings

TOOL = "bench.nothing:Nothing"
TEXT = "A sentence of plain words that says nothing, again and again, until it ends here. " * 8


@sgl.function  # type: ignore[untyped-decorator]
def _region(s: Any, text: str) -> None:
    s += "Text:\n" + tool_region("text", tool="nothing", literal=text, max_tokens=400)


def measure(url: str, units: int) -> DispatchLatency:
    """Dispatch and queueing over at least so many units.

    Args:
        url: the server's.
        units: how many.

    Raises:
        ConveyorError: a call failed.
    """
    backend = ConveyorEndpoint(url)
    dispatch: list[float] = []
    queueing: list[float] = []
    _timings(backend)  # warm up, to its end
    while len(dispatch) < units:
        timings = _timings(backend)
        dispatch += [1e3 * s for s in timings.dispatch()]
        queueing += [1e3 * s for s in timings.queueing()]
    return DispatchLatency(
        machine=this_machine(),
        units=len(dispatch),
        dispatch_p50_ms=percentile(dispatch, 50),
        dispatch_p99_ms=percentile(dispatch, 99),
        dispatch_max_ms=max(dispatch),
        queueing_p50_ms=percentile(queueing, 50),
        queueing_p99_ms=percentile(queueing, 99),
    )


def _timings(backend: ConveyorEndpoint) -> Timings:
    outcome = _region.run(text=TEXT, backend=backend)["text.result"].outcome()
    if outcome.error is not None or not outcome.timings.units:
        raise ConveyorError(f"the tool that does nothing was not fed: {outcome}")
    timings: Timings = outcome.timings
    return timings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--url")
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--json", type=result_file, metavar="FILE")
    args = parser.parse_args()
    if args.units < 1:
        parser.error("--units must be at least 1")
    if args.url:
        found = measure(args.url, args.units)
    else:
        with running_server(["--tools", TOOL], Console()) as url:
            found = measure(url, args.units)
    for name in found.__struct_fields__[1:]:
        print(f"{name:18s} {getattr(found, name):8.3f}")
    if args.json is not None:
        save(args.json, found)


if __name__ == "__main__":
    main()
