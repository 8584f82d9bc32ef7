"""What the tap costs a scheduler step: the real hook, real `Req` objects, a real socket.

python -m bench.tap_cost [--steps 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import zmq

from bench.statistics import percentile
from sgl_conveyor.channel import RunDirectory, configure
from sgl_conveyor.runtime.tap import Tap

#: Requests in a batch, unless more are tapped.
BATCH = 32
TAPPED = (0, 1, 32, 256)
_WARM_UP_STEPS = 200


class TapCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a step costs in which every request of a batch commits one token (microseconds)."""

    tapped: int
    batch: int
    p50_us: float
    p99_us: float
    steps: int

    def __str__(self) -> str:
        cost = f"p50 {self.p50_us:6.1f} µs, p99 {self.p99_us:6.1f} µs a step"
        return f"{self.tapped:3d} of {self.batch:3d} tapped: {cost}"


def tap_costs(tapped: tuple[int, ...] = TAPPED, steps: int = 2000) -> list[TapCost]:
    """What the tap costs at each of these numbers of tapped requests.

    Args:
        tapped: how many of a batch are.
        steps: how many are measured for each.
    """
    directory = RunDirectory.create()
    push: zmq.Socket[bytes] = configure(zmq.Context.instance().socket(zmq.PUSH))
    push.connect(directory.tap)
    reader = multiprocessing.get_context("spawn").Process(target=drain, args=(directory.tap,))
    reader.start()
    tap = Tap(push)
    try:
        return [_cost(tap, number, steps) for number in tapped]
    finally:
        reader.terminate()
        reader.join()
        push.close()
        shutil.rmtree(directory.path)


def _cost(tap: Tap, tapped: int, steps: int) -> TapCost:
    batch = max(BATCH, tapped)
    measure(tap, make_requests(tapped, batch), _WARM_UP_STEPS)
    costs = measure(tap, make_requests(tapped, batch), steps)
    p50, p99 = percentile(costs, 50), percentile(costs, 99)
    return TapCost(tapped=tapped, batch=batch, p50_us=p50, p99_us=p99, steps=steps)


def make_requests(tapped: int, batch: int) -> list[Any]:
    """A batch of requests of SGLang's scheduler, of which so many are tapped."""
    from sglang.srt.managers.schedule_batch import Req
    from sglang.srt.sampling.sampling_params import SamplingParams

    requests = []
    for number in range(batch):
        custom = {"conveyor": {"call": f"{number:048x}"}} if number < tapped else None
        params = SamplingParams(max_new_tokens=10**6, custom_params=custom)
        requests.append(Req(f"{number:032x}", "", [1, 2, 3, 4, 5, 6], params))
    return requests


def drain(address: str) -> None:
    """Be the dispatcher's end of the socket, in a process of its own."""
    pull: zmq.Socket[bytes] = configure(zmq.Context.instance().socket(zmq.PULL))
    pull.bind(address)
    while True:
        pull.recv()


def measure(tap: Tap, requests: list[Any], steps: int) -> list[float]:
    """Microseconds of each step, in which every request commits one token."""
    costs = []
    for _ in range(steps):
        for request in requests:
            request.output_ids.append(1234)
        began = time.perf_counter()
        tap.observe(requests)
        costs.append(1e6 * (time.perf_counter() - began))
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    costs = tap_costs(steps=args.steps)
    for cost in costs:
        print(cost)
    if args.json is not None:
        figures = {str(cost.tapped): msgspec.to_builtins(cost) for cost in costs}
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
