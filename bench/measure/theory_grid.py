"""Calls of known cost through the real dispatcher and real workers: no model, no server.

Tokens are committed when those of a real decoding were (`bench.measure.streams`), for several
calls at once, as the steps of a batch are. The two runs of a pair get two decodings of one text, a
sequential and a partial one: they differ as real runs do.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from bench.analyse.predictions import Point, point_of
from bench.measure import streams
from bench.measure.harness import Harness, dispatcher
from bench.workloads.tools import PACED
from sgl_conveyor import messages as m
from sgl_conveyor.timings import Timings

RATIOS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
UNITS = (1, 2, 4, 8, 16, 32, 64)
QUICK_RATIOS = (0.1, 0.5, 1.0, 2.0, 10.0)
QUICK_UNITS = (1, 4, 16, 64)
SHAPES = ("front", "even", "back")
#: Calls at once, each in a worker of its own.
LANES = 12
#: Tokens of a call, if its lines need no more.
_TOKENS = 60
_LOOK_INTERVAL_S = 0.05


@dataclass(frozen=True)
class Case:
    """A call: tool time over decode time, its units, and how their costs lie."""

    ratio: float
    units: int
    shape: str

    @property
    def weights(self) -> list[int]:
        """The units' costs, from 9 to 1."""
        if self.shape == "even" or self.units == 1:
            return [5] * self.units
        falling = [9 - round(8 * i / (self.units - 1)) for i in range(self.units)]
        return falling if self.shape == "front" else falling[::-1]

    @property
    def text(self) -> str:
        """A line a unit: its weight and, to fill the time, words."""
        words = max(0, _TOKENS // self.units - 2)
        return "".join(f"{weight}{' and' * words}\n" for weight in self.weights)


def cases(*, quick: bool) -> list[Case]:
    """The grid."""
    ratios, units = (QUICK_RATIOS, QUICK_UNITS) if quick else (RATIOS, UNITS)
    return [
        Case(ratio, count, shape)
        for ratio, count, shape in itertools.product(ratios, units, SHAPES)
        if count > 1 or shape == "even"
    ]


@dataclass(frozen=True)
class Stream:
    """Tokens, and the commit of each one (seconds since the POST)."""

    tokens: list[int]
    commits: list[float]

    @classmethod
    def of(cls, text: str, harness: Harness, pair: streams.Pair, *, partial: bool) -> Stream:
        """A text's, with the token that ends it, at the pace of a recorded decoding.

        Args:
            text: what is decoded.
            harness: the dispatcher, which has the tokenizer.
            pair: the recorded decodings.
            partial: which of the two.
        """
        tokenizer = harness.tokenizer
        tokens = [*tokenizer.encode(text).ids, tokenizer.token_to_id("<|im_end|>")]
        return cls(tokens, pair.commits(len(tokens), partial=partial))


class Playing:
    """A call whose tokens are being committed."""

    def __init__(self, harness: Harness, stream: Stream, region: str, *, partial: bool) -> None:
        self._harness = harness
        self._stream = stream
        self._sent = 0
        self._began = time.monotonic()
        self._call = harness.create("paced", region, partial=partial)
        self._rid = harness.attach(self._call)
        self.due = self._began + stream.commits[0]
        self.timings: Timings | None = None

    def step(self) -> m.TapRecord | None:
        """Do what is due: give the next token's record, or look whether the call has ended.

        Raises:
            RuntimeError: it failed.
        """
        tokens, commits = self._stream.tokens, self._stream.commits
        if self._sent == len(tokens):
            self._look()
            return None
        token, offset = tokens[self._sent], self._sent
        self._sent += 1
        last = self._sent == len(tokens)
        self.due = self._began + commits[-1 if last else self._sent]
        finish = m.Finish("stop", token) if last else None
        return m.TapRecord(self._rid, offset, [token], None if offset else [], finish)

    def _look(self) -> None:
        view = self._harness.read(self._call, 0.0)
        self.due = time.monotonic() + _LOOK_INTERVAL_S
        if view.ended:
            if view.outcome.error is not None:
                raise RuntimeError(str(view.outcome.error))
            self.timings = view.outcome.timings


def play(harness: Harness, jobs: Iterable[tuple[Stream, str, bool]]) -> list[Timings]:
    """Run calls, some at once; their timings, in their order.

    Args:
        harness: the dispatcher.
        jobs: each call's stream, the name of its region, and whether it is partial.
    """
    waiting = deque(enumerate(jobs))
    running: dict[int, Playing] = {}
    done: dict[int, Timings] = {}
    while waiting or running:
        while waiting and len(running) < LANES:
            number, (stream, region, partial) = waiting.popleft()
            running[number] = Playing(harness, stream, region, partial=partial)
        pause = min(call.due for call in running.values()) - time.monotonic()
        time.sleep(max(0.0, pause))
        now = time.monotonic()
        records = [call.step() for call in running.values() if call.due <= now]
        committed = [record for record in records if record is not None]
        if committed:
            harness.tap.send(m.encode(m.TapStep(time.monotonic(), committed)))
        for number, call in list(running.items()):
            if call.timings is not None:
                done[number] = call.timings
                del running[number]
    return [done[number] for number in sorted(done)]


def measure(*, quick: bool, seed: int = 0) -> list[Point]:
    """The points of the grid; both runs of a pair run side by side, in random order.

    Args:
        quick: a part of the grid.
        seed: of the order, and of the choice of recorded decodings.
    """
    chance = random.Random(seed)
    recorded = streams.load()
    # Each recorded pair as often as any other: a few differ much, and the figures turn on these.
    recorded = chance.sample(recorded, len(recorded))
    with dispatcher([PACED], limits={"workers": LANES}) as harness:
        jobs: list[tuple[Stream, str, bool]] = []
        order: list[Case] = []
        # The long ones first, so that no lane ends long after the others.
        grid = cases(quick=quick)
        grid.sort(key=lambda case: case.ratio * max(_TOKENS, 2 * case.units), reverse=True)
        for case, pair in zip(grid, itertools.cycle(recorded), strict=False):
            held = Stream.of(case.text, harness, pair, partial=False)
            region = repr(case.ratio * held.commits[-1] / sum(case.weights))
            fed = Stream.of(case.text, harness, pair, partial=True)
            for stream in chance.sample([held, fed], 2):
                jobs.append((stream, region, stream is fed))
                order.append(case)
        timings = play(harness, jobs)
    points = []
    for i in range(0, len(jobs), 2):
        sequential, partial = sorted(timings[i : i + 2], key=lambda t: t.partial)
        assert (sequential.partial, partial.partial) == (False, True)
        assert sequential.finished is not None
        assert partial.finished is not None
        seen = sequential.finished, partial.finished
        points.append(point_of("grid", sequential, seen=seen, shape=order[i].shape))
    return points
