"""python -m bench.early_abort [--url URL] [--repeat 10]: what a bad call costs, stopped or not.

The program of `programs/validation.py` decodes a recorded call whose arguments are bad early on.
Sequentially the tool sees them when the whole call is there; partially it aborts the decoding at
the first bad one. Both modes run in turn against a server with the validation tool.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import sglang as sgl

from programs.validation import BAD, QUESTION
from sgl_conveyor import ConveyorEndpoint, tool_region
from sgl_conveyor.core import Timings

#: Seconds in which tokens that were scheduled before the abort may still come.
_SETTLE_S = 1.0


@dataclass(frozen=True)
class Run:
    """One call: its latency (seconds), and its tokens before and after its end."""

    latency_s: float
    before: int
    after: int


@sgl.function  # type: ignore[untyped-decorator]
def _bad_call(s: Any, question: str, partial: bool) -> None:
    s += sgl.user(question)
    region = tool_region("call", tool="validation", max_tokens=400, literal=BAD, partial=partial)
    s += sgl.assistant(region)


def measure(backend: ConveyorEndpoint, *, partial: bool) -> Run:
    """One run; the tokens are counted when no more can come."""
    started = time.monotonic()
    state = _bad_call.run(question=QUESTION, partial=partial, backend=backend)
    result = state["call.result"]
    assert result.aborted is not None, result
    latency = time.monotonic() - started
    time.sleep(_SETTLE_S)
    call = state.get_meta_info("call")["call"]
    view = httpx.get(f"{backend.base_url}/conveyor/calls/{call}", trust_env=False).json()
    timings = msgspec.convert(view["timings"], type=Timings)
    assert timings.finished is not None
    before = sum(at <= timings.finished for at in timings.tokens)
    return Run(latency, before, len(timings.tokens) - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.early_abort")
    parser.add_argument("--url", default="http://127.0.0.1:30000")
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    backend = ConveyorEndpoint(args.url)
    measure(backend, partial=False)  # fills the prefix cache, for both modes
    runs: dict[bool, list[Run]] = {False: [], True: []}
    for _ in range(args.repeat):
        for partial in (False, True):
            runs[partial].append(measure(backend, partial=partial))
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            {
                "mode": name,
                "runs": len(runs[partial]),
                "latency p50, s": round(statistics.median(r.latency_s for r in runs[partial]), 2),
                "min": round(min(r.latency_s for r in runs[partial]), 2),
                "max": round(max(r.latency_s for r in runs[partial]), 2),
                "tokens before": max(r.before for r in runs[partial]),
                "tokens after (most)": max(r.after for r in runs[partial]),
            }
            for partial, name in ((False, "sequential"), (True, "partial"))
        ]
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{'':12}{'latency, s: median (min to max)':>34}{'tokens before':>16}{'after':>8}")
    for partial, name in ((False, "sequential"), (True, "partial")):
        seconds = [run.latency_s for run in runs[partial]]
        spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
        before = f"{min(r.before for r in runs[partial])}-{max(r.before for r in runs[partial])}"
        after = f"{min(r.after for r in runs[partial])}-{max(r.after for r in runs[partial])}"
        print(f"{name:12}{spread:>34}{before:>16}{after:>8}")
    medians = [statistics.median(run.latency_s for run in runs[partial]) for partial in runs]
    print(
        f"reduction of the median latency: {1 - medians[1] / medians[0]:.1%} ({args.repeat} runs)"
    )


if __name__ == "__main__":
    main()
