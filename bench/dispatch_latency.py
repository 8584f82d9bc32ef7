"""From the commit of a token to the start of the tool's hook, while decoding runs.

    python -m bench.dispatch_latency [--url URL] [--units 1000] [--json FILE]

The tool does nothing with each piece of text. Without --url a server is started. Queueing behind
the tool's own earlier work is a figure of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import sglang as sgl
from rich.console import Console

from sgl_conveyor import ConveyorEndpoint, tool_region
from sgl_conveyor.demo.server import running_server

TOOL = "tests.tools.puppet:Nothing"
TEXT = "A sentence of plain words that says nothing, again and again, until it ends here. " * 8


@sgl.function
def region(s, text):  # noqa: ANN001, ANN201
    """One region of a tool that does nothing."""
    s += "Text:\n" + tool_region("text", tool="nothing", literal=text, max_tokens=400)


def measure(url: str, units: int) -> dict[str, float]:
    """Milliseconds over at least so many units."""
    sgl.set_default_backend(ConveyorEndpoint(url))
    dispatch: list[float] = []
    queueing: list[float] = []
    region.run(text=TEXT)["text.result"].outcome()  # warm up, to its end
    while len(dispatch) < units:
        timings = region.run(text=TEXT)["text.result"].timings
        dispatch += [1e3 * s for s in timings.dispatch()]
        queueing += [1e3 * s for s in timings.queueing()]
    cuts, queue_cuts = statistics.quantiles(dispatch, n=100), statistics.quantiles(queueing, n=100)
    return {
        "units": len(dispatch),
        "dispatch_p50_ms": cuts[49],
        "dispatch_p99_ms": cuts[98],
        "dispatch_max_ms": max(dispatch),
        "queueing_p50_ms": queue_cuts[49],
        "queueing_p99_ms": queue_cuts[98],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--url")
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.url:
        figures = measure(args.url, args.units)
    else:
        with running_server(["--tools", TOOL], Console()) as url:
            figures = measure(url, args.units)
    for name, value in figures.items():
        print(f"{name:18s} {value:8.3f}")
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
