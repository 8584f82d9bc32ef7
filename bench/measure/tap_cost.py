"""What the tap costs a scheduler step: the real hook, real `Req` objects, a real socket.

    python -m bench.measure.tap_cost [--steps 2000] [--json FILE]

A step is one call of `SchedulerOutputStreamer.stream_output` as SGLang's hook registry has wrapped
it for us, from the scheduler's side: the wrapper, the look at every request of the batch, the
message and its sending. What SGLang itself does in that method is left out (there it is a method
that does nothing), and so is what the other end of the socket does in a process of its own. That
process counts what arrives; a figure is given only if every token did.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any
from unittest.mock import patch

import zmq

from bench.analyse.results import Overhead, TapCost, save
from bench.analyse.statistics import percentile
from bench.measure.command import command, count
from bench.measure.machine import this_machine
from sgl_conveyor import messages as m
from sgl_conveyor.channel import RunDirectory, configure
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.runtime import tap

#: Requests in a batch, unless more are tapped.
BATCH = 32
TAPPED = (0, 1, 32, 256)
_WARM_UP_STEPS = 200
_ARRIVAL_LIMIT_S = 30.0

#: `stream_output` of one streamer, for a batch.
Stream = Callable[[list[Any]], object]


def tap_costs(tapped: tuple[int, ...] = TAPPED, steps: int = 2000) -> list[TapCost]:
    """What the tap costs at each of these numbers of tapped requests.

    Args:
        tapped: how many of a batch are.
        steps: how many are measured for each.

    Raises:
        ConveyorError: the tap failed, or not every token arrived at the other end.
    """
    directory = RunDirectory.create()
    try:
        with Arrivals(directory.tap) as arrivals, failures() as failed, hooked(directory) as stream:
            costs = []
            for number in tapped:
                costs.append(_cost(stream, number, steps))
                if failed:
                    raise ConveyorError(f"the tap failed: {failed[0].getMessage()}")
                arrivals.expect((_WARM_UP_STEPS + steps) * number)
            return costs
    finally:
        shutil.rmtree(directory.path)


@contextlib.contextmanager
def hooked(directory: RunDirectory) -> Iterator[Stream]:
    """SGLang's output streamer with our hooks on it, as its registry puts them there.

    Args:
        directory: where the socket of the tap is.
    """
    from sglang.srt.managers.scheduler_components.output_streamer import SchedulerOutputStreamer
    from sglang.srt.plugins.hook_registry import HookRegistry

    def stream_output(
        self: Any, reqs: list[Any], return_logprob: bool, skip_req: Any = None
    ) -> None:
        """Nothing of SGLang's own."""

    def made(self: Any, sender: object) -> None:
        self.send_to_detokenizer = sender

    with (
        patch.dict(HookRegistry._hooks, clear=True),
        patch.object(HookRegistry, "_patched", set()),
        patch.object(SchedulerOutputStreamer, "__init__", made),
        patch.object(SchedulerOutputStreamer, "stream_output", stream_output),
    ):
        tap.register_tap(directory)
        HookRegistry.apply_hooks()
        streamer: Any = SchedulerOutputStreamer(object())
        yield lambda reqs: streamer.stream_output(reqs, False, None)


@contextlib.contextmanager
def failures() -> Iterator[list[logging.LogRecord]]:
    """What the tap logs as an error: it does so at its first failure."""
    seen: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = seen.append  # type: ignore[assignment]
    tap.logger.addHandler(handler)
    try:
        yield seen
    finally:
        tap.logger.removeHandler(handler)


class Arrivals:
    """The dispatcher's end of the socket, in a process of its own, which counts tokens.

    Args:
        address: the tap's.
    """

    def __init__(self, address: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._tokens: Any = context.Value("q", 0)
        self._process: BaseProcess = context.Process(
            target=count_tokens, args=(address, self._tokens)
        )
        self._expected = 0

    def __enter__(self) -> Arrivals:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def expect(self, tokens: int) -> None:
        """Wait until so many more tokens have arrived, and no other.

        Args:
            tokens: of all calls.

        Raises:
            ConveyorError: fewer or more did, or the process has ended.
        """
        self._expected += tokens
        deadline = time.monotonic() + _ARRIVAL_LIMIT_S
        while self._tokens.value < self._expected and time.monotonic() < deadline:
            if not self._process.is_alive():
                raise ConveyorError(f"the other end has ended: code {self._process.exitcode}")
            time.sleep(0.01)
        if self._tokens.value != self._expected:
            raise ConveyorError(f"{self._tokens.value} of {self._expected} tokens arrived")


def count_tokens(address: str, tokens: Any) -> None:
    """Read what the tap sends.

    Args:
        address: the tap's.
        tokens: a shared number, to which those of each message are added.
    """
    pull: zmq.Socket[bytes] = configure(zmq.Context.instance().socket(zmq.PULL))
    pull.bind(address)
    decoder = m.from_tap()
    while True:
        message = decoder.decode(pull.recv())
        if isinstance(message, m.TapStep):
            tokens.value += sum(len(record.tokens) for record in message.records)


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


def measure(stream: Stream, requests: list[Any], steps: int) -> list[float]:
    """Microseconds of each step, in which every request commits one token.

    Args:
        stream: what is called at each step.
        requests: the batch.
        steps: how many.
    """
    costs = []
    for _ in range(steps):
        for request in requests:
            request.output_ids.append(1234)
        began = time.perf_counter()
        stream(requests)
        costs.append(1e6 * (time.perf_counter() - began))
    return costs


def _cost(stream: Stream, tapped: int, steps: int) -> TapCost:
    batch = max(BATCH, tapped)
    measure(stream, make_requests(tapped, batch), _WARM_UP_STEPS)
    costs = measure(stream, make_requests(tapped, batch), steps)
    p50, p99 = percentile(costs, 50), percentile(costs, 99)
    return TapCost(tapped=tapped, batch=batch, p50_us=p50, p99_us=p99, steps=steps)


def main() -> None:
    parser = command(__doc__)
    parser.add_argument("--steps", type=count, default=2000)
    args = parser.parse_args()
    costs = tap_costs(steps=args.steps)
    for cost in costs:
        print(cost)
    save(args.json, Overhead(machine=this_machine(), tap=costs))


if __name__ == "__main__":
    main()
