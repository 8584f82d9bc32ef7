"""python -m bench.measure.early_abort [--url URL] [--repeat 10]: what a bad call costs.

The program of `programs/validation.py` decodes a recorded call whose arguments are bad early on.
Sequentially the tool sees them when the whole call is there; partially it aborts the decoding at
the first bad one. Both modes run in turn against a server with the validation tool.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec
import sglang as sgl

from bench.analyse.results import AbortedMode, EarlyAbort, save
from bench.analyse.runs import Machine
from bench.analyse.statistics import bootstrap
from bench.measure.command import command, count
from bench.measure.machine import this_machine
from bench.measure.servers import two_servers
from programs.validation import BAD, QUESTION
from sgl_conveyor import ConveyorEndpoint, tool_region
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.timings import Timings

MODES = ("sequential", "partial")
#: Seconds in which tokens that were scheduled before the abort may still come.
_SETTLE_S = 1.0


class BadCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call: its latency (seconds), and its tokens before and after its end."""

    latency_s: float
    before: int
    after: int


@sgl.function  # type: ignore[untyped-decorator]
def _bad_call(s: Any, question: str, partial: bool) -> None:
    s += sgl.user(question)
    region = tool_region("call", tool="validation", max_tokens=400, literal=BAD, partial=partial)
    s += sgl.assistant(region)


def measure(backend: ConveyorEndpoint, mode: str) -> BadCall:
    """One run; the tokens are counted when no more can come.

    Raises:
        ConveyorError: the tool did not abort the call.
    """
    started = time.monotonic()
    state = _bad_call.run(question=QUESTION, partial=mode == "partial", backend=backend)
    result = state["call.result"]
    if result.aborted is None:
        raise ConveyorError(f"the bad call was not aborted: {result}")
    latency = time.monotonic() - started
    time.sleep(_SETTLE_S)
    call = state.get_meta_info("call")["call"]
    view = httpx.get(f"{backend.base_url}/conveyor/calls/{call}", trust_env=False)
    timings = msgspec.convert(view.raise_for_status().json()["timings"], type=Timings)
    if timings.finished is None:
        raise ConveyorError("the aborted call has no end")
    before = sum(at <= timings.finished for at in timings.tokens)
    return BadCall(latency_s=latency, before=before, after=len(timings.tokens) - before)


def result_of(machine: Machine, runs: Mapping[str, Sequence[BadCall]]) -> EarlyAbort:
    """The figures.

    Args:
        machine: where they are from.
        runs: of each mode, in the order of the rounds.
    """
    modes = [
        AbortedMode(
            mode=mode,
            runs=len(runs[mode]),
            latency_s=bootstrap([run.latency_s for run in runs[mode]]),
            tokens_before=bootstrap([run.before for run in runs[mode]]),
            most_tokens_after=max(run.after for run in runs[mode]),
        )
        for mode in MODES
    ]
    rounds = zip(runs["sequential"], runs["partial"], strict=True)
    reductions = [1 - partial.latency_s / sequential.latency_s for sequential, partial in rounds]
    return EarlyAbort(machine=machine, modes=modes, reduction=bootstrap(reductions))


def main() -> None:
    parser = command(__doc__)
    parser.add_argument("--url", help="of a server that runs; without it, one is started")
    parser.add_argument("--repeat", type=count, default=10)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = args.url or stack.enter_context(two_servers(tools=["validation"])).ours
        backend = ConveyorEndpoint(url)
        measure(backend, "sequential")  # fills the prefix cache, for both modes
        rounds = [[measure(backend, mode) for mode in MODES] for _ in range(args.repeat)]
    runs = dict(zip(MODES, zip(*rounds, strict=True), strict=True))
    result = result_of(this_machine(), runs)
    save(args.json, result)
    print(f"{'':12}{'latency p50, s':>26}{'tokens before':>26}{'after, most':>14}")
    for found in result.modes:
        latency, before = str(found.latency_s), str(found.tokens_before)
        print(f"{found.mode:12}{latency:>26}{before:>26}{found.most_tokens_after:>14}")
    saved = result.reduction.scaled(100)
    print(f"reduction of the latency, paired ({args.repeat} runs): {saved} %")


if __name__ == "__main__":
    main()
