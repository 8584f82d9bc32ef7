"""The tap, played: recorded tokens at an even pace, from a process of its own."""

from __future__ import annotations

import multiprocessing
import queue
import random
import time

import msgspec
import zmq

from bench.measure.harness import STOP
from sgl_conveyor import messages as m
from sgl_conveyor.channel import configure
from sgl_conveyor.errors import ConveyorError

#: The stream goes on for so long after what is measured, so that its end is not part of it.
_TAIL_S = 1.0
_END_LIMIT_S = 30.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is decoded.

    Args:
        calls: at once.
        batch: calls that commit their next token in the same step, at the same moment; all of
            them, if one scheduler decodes them.
        rate: tokens a second of all calls together.
        seconds: how long it is measured, after the warm-up.
        warm_up_s: before.
    """

    calls: int = 256
    batch: int = 256
    rate: float = 5000.0
    seconds: float = 15.0
    warm_up_s: float = 2.0

    @property
    def steps(self) -> int:
        """Tokens of each call, those before and after what is measured included."""
        lasts = self.warm_up_s + self.seconds + _TAIL_S
        return max(1, round(lasts * self.rate / self.calls))


def streams_of(recorded: list[list[int]], load: Load) -> list[list[int]]:
    """As many tokens as there are steps for each call: recorded ones, in an order of its own.

    Args:
        recorded: the tokens of some texts.
        load: says how many calls and steps there are.
    """
    draw = random.Random(0)
    streams = []
    for _ in range(load.calls):
        stream: list[int] = []
        while len(stream) < load.steps:
            stream += draw.choice(recorded)
        streams.append(stream[: load.steps])
    return streams


class Player:
    """The tap's player in a process of its own, which ends with the block.

    Args:
        address: the tap's.
        rids: the ids of their requests.
        streams: the tokens of each call.
        load: the pace.
    """

    def __init__(self, address: str, rids: list[str], streams: list[list[int]], load: Load) -> None:
        context = multiprocessing.get_context("spawn")
        self._late: multiprocessing.Queue[list[float]] = context.Queue()
        arguments = (address, rids, streams, load, self._late)
        self._process = context.Process(target=play, args=arguments)

    def __enter__(self) -> Player:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def lateness(self) -> list[float]:
        """Wait for its end: how late each step was (seconds).

        Raises:
            ConveyorError: it did not end, or not well.
        """
        try:
            late = self._late.get(timeout=_END_LIMIT_S)
        except queue.Empty:
            raise ConveyorError("the player of the tap did not come to its end") from None
        self._process.join(_END_LIMIT_S)
        if self._process.exitcode != 0:
            raise ConveyorError(f"the player of the tap ended with {self._process.exitcode}")
        return late


def play(
    address: str,
    rids: list[str],
    streams: list[list[int]],
    load: Load,
    late: multiprocessing.Queue[list[float]],
) -> None:
    """Be the tap: at each step one more token of every call of a batch, at an even pace.

    Args:
        address: the tap's.
        rids: the ids of their requests.
        streams: the tokens of each call, all equally many.
        load: the pace.
        late: gets how late each step was (seconds).
    """
    push: zmq.Socket[bytes] = configure(zmq.Context.instance().socket(zmq.PUSH))
    push.setsockopt(zmq.LINGER, 10_000)
    push.connect(address)
    began = time.monotonic()
    sent, lateness = 0, []
    for step in range(load.steps):
        tail: list[int] | None = [] if step == 0 else None
        finish = STOP if step == load.steps - 1 else None
        for first in range(0, len(rids), load.batch):
            batch = slice(first, first + load.batch)
            records = [
                m.TapRecord(rid, step, [stream[step]], tail, finish)
                for rid, stream in zip(rids[batch], streams[batch], strict=True)
            ]
            due = began + sent / load.rate
            time.sleep(max(0.0, due - time.monotonic()))
            lateness.append(time.monotonic() - due)
            push.send(m.encode(m.TapStep(time.monotonic(), records)))
            sent += len(records)
    push.close()
    late.put(lateness)
