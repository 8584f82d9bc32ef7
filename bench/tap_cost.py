"""What the tap costs a scheduler step: the real hook, real `Req` objects, a real socket.

python -m bench.tap_cost [--steps 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import zmq

from sgl_conveyor.channel import RunDirectory, configure
from sgl_conveyor.runtime.tap import Tap

BATCH = 32
TAPPED = (0, 1, 32)


def make_requests(tapped: int) -> list[Any]:
    """A batch of requests of SGLang's scheduler, of which so many are tapped."""
    from sglang.srt.managers.schedule_batch import Req
    from sglang.srt.sampling.sampling_params import SamplingParams

    requests = []
    for number in range(BATCH):
        custom = {"conveyor": {"call": f"{number:048x}"}} if number < tapped else None
        params = SamplingParams(max_new_tokens=10**6, custom_params=custom)
        requests.append(Req(f"{number:032x}", "", [1, 2, 3, 4, 5, 6], params))
    return requests


def drain(address: str) -> None:
    """Be the dispatcher's end of the socket, in a process of its own."""
    pull = configure(zmq.Context.instance().socket(zmq.PULL))
    pull.bind(address)
    while True:
        pull.recv()


def measure(tap: Tap, tapped: int, steps: int) -> list[float]:
    """Microseconds of each step, in which every request commits one token."""
    requests = make_requests(tapped)
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
    directory = RunDirectory.create()
    context = zmq.Context.instance()
    push = configure(context.socket(zmq.PUSH))
    push.connect(directory.tap)
    reader = multiprocessing.get_context("spawn").Process(target=drain, args=(directory.tap,))
    reader.start()
    tap = Tap(push)
    figures = {}
    try:
        for tapped in TAPPED:
            measure(tap, tapped, 200)  # warm up
            costs = measure(tap, tapped, args.steps)
            deciles = statistics.quantiles(costs, n=100)
            figures[tapped] = {"p50_us": deciles[49], "p99_us": deciles[98], "steps": args.steps}
            p50, p99 = deciles[49], deciles[98]
            print(f"{tapped:3d} of {BATCH} tapped: p50 {p50:6.1f} µs, p99 {p99:6.1f} µs a step")
    finally:
        reader.terminate()
        reader.join()
        shutil.rmtree(directory.path)
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
