"""The tap's place: steps of requests of its own, with something wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

import zmq

from bench.fuzz.client import Client
from bench.fuzz.corpus import examples
from bench.fuzz.parts import parts_of
from bench.fuzz.place import Place
from bench.fuzz.sessions import disturbed
from bench.fuzz.zmtp import raw
from bench.measure.harness import LIMIT_S
from sgl_conveyor import messages as m

_FINISHES = (
    m.Finish("stop"),
    m.Finish("stop", "x"),
    m.Finish("stop", 2),
    m.Finish("length"),
    m.Finish("abort", None, "why"),
    m.Finish("abort", None, "why", True),
)
_STOPS: tuple[list[str], ...] = ([], ["x"], ["", "xx", "x" * 1000], ["\n"])


class Tap(Place):
    """Each session is a few requests of the tool `target`.

    Args:
        client: asks the dispatcher for what the place needs.
        seed: of the run.
        honest: the ids of honest calls.
    """

    name = "tap"

    def __init__(self, client: Client, seed: int, honest: Callable[[], list[str]]) -> None:
        super().__init__(client, seed, honest)
        client.tap.setsockopt(zmq.SNDTIMEO, int(1000 * LIMIT_S))

    def session(self, random: Random) -> None:
        calls = [self.client.create("target") for _ in range(random.choice((1, 1, 3)))]
        rids = [self.client.attach(call, random.choice(_STOPS)) for call in calls]
        past = [call[:32] for call in self._past]
        course = _course(random, rids)
        if past and random.random() < 0.2:
            # What was said of an ended request, once more.
            course += _course(random, [random.choice(past)])
        frames = disturbed(random, course, past)
        if random.random() < 0.05:
            path = self.client.directory.path / "tap"
            self.count(1, raw(random, path, b"PUSH", frames))
        for frame in frames:
            parts = parts_of(random, frame)
            self.client.tap.send_multipart(parts)
            self.count(1, sum(map(len, parts)))
        for call in calls:
            self.wait_for_end(call, random.choice((0.0, 0.05)))
            self.client.forget(call)
            self.past(call)


def _course(random: Random, rids: list[str]) -> list[bytes]:
    """Steps of these requests, to their ends or not so far, and the tap's other messages."""
    steps = random.choice((1, 3, 20))
    offset = 0
    frames = []
    for step in range(steps):
        tokens = [random.choice((0, 1, 2, 198, 1000, 49_151)) for _ in range(random.choice((1, 3)))]
        last = step == steps - 1 and random.random() < 0.8
        finish = random.choice(_FINISHES) if last else None
        tail = None if offset else random.choice(([], [1, 2, 3], None))
        records = [m.TapRecord(rid, offset, tokens, tail, finish) for rid in rids]
        frames.append(m.encode(m.TapStep(time.monotonic(), records)))
        offset += len(tokens)
    if random.random() < 0.3:
        frames += [m.encode(message) for message in tap_examples(rids[0]).values()]
    return frames


def tap_examples(rid: str) -> dict[str, Any]:
    """A message of each type that the tap may send.

    Args:
        rid: a request's id.
    """
    return examples(m.FromTap, {"rid": rid})
