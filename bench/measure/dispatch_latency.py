"""From the commit of a token to the start of the tool's hook, while decoding runs.

    python -m bench.measure.dispatch_latency [--url URL] [--units 1000] [--json FILE]

The tool does nothing with each piece of text. Without --url a server is started. Queueing behind
the tool's own earlier work is a figure of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sglang as sgl
from rich.console import Console

from bench.analyse.results import save
from bench.analyse.runs import Machine
from bench.analyse.statistics import percentile
from bench.measure.command import command, count
from bench.measure.machine import this_machine
from bench.workloads.tools import NOTHING
from sgl_conveyor import ConveyorEndpoint, tool_region
from sgl_conveyor.demo.server import running_server
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.timings import Timings

TEXT = "A sentence of plain words that says nothing, again and again, until it ends here. " * 8


class DispatchLatency(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` writes.

    Args:
        machine: where.
        units: how many.
        dispatch_p50_ms, dispatch_p99_ms, dispatch_max_ms: from a unit's certainty to its hook.
        queueing_p50_ms, queueing_p99_ms: that it waited for the tool's own earlier work.
    """

    machine: Machine
    units: int
    dispatch_p50_ms: float
    dispatch_p99_ms: float
    dispatch_max_ms: float
    queueing_p50_ms: float
    queueing_p99_ms: float


@sgl.function  # type: ignore[untyped-decorator]
def _region(s: Any, text: str) -> None:
    s += "Text:\n" + tool_region("text", tool="nothing", literal=text, max_tokens=400)


def measure(url: str, units: int) -> DispatchLatency:
    """Dispatch and queueing over at least so many units, on the server at a URL.

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
    parser = command(__doc__)
    parser.add_argument("--url")
    parser.add_argument("--units", type=count, default=1000)
    args = parser.parse_args()
    if args.url:
        found = measure(args.url, args.units)
    else:
        with running_server(["--tools", NOTHING], Console()) as url:
            found = measure(url, args.units)
    for name in found.__struct_fields__[1:]:
        print(f"{name:18s} {getattr(found, name):8.3f}")
    save(args.json, found)


if __name__ == "__main__":
    main()
