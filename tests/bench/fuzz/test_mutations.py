"""What the fuzz run sends: every message is in it, the same for the same seed, and seldom valid."""

from __future__ import annotations

import typing
from random import Random
from typing import Any

import pytest

from bench.fuzz.http_side import http_examples
from bench.fuzz.mutations import MAX_MUTANT_BYTES, Mutator
from bench.fuzz.reasons import reason_of
from bench.fuzz.sessions import (
    MAX_SESSION_BYTES,
    disturbed,
    stream_of,
    worker_examples,
    worker_frames,
)
from bench.fuzz.tap import tap_examples
from sgl_conveyor import messages as m
from sgl_conveyor.errors import ProtocolError
from sgl_conveyor.frames import FrameCutter

CALL = "c" * 48
OTHERS = ["d" * 48]
DIRECTIONS: dict[str, tuple[Any, dict[str, Any], m.Decoder]] = {
    "worker": (m.FromWorker, worker_examples(CALL), m.from_worker()),
    "http": (m.FromHttp, http_examples(CALL, "/tokenizer.json"), m.from_http()),
    "tap": (m.FromTap, tap_examples(CALL[:32]), m.from_tap()),
}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_valid_message_of_each_type_is_in_the_corpus(direction: str) -> None:
    union, examples, decoder = DIRECTIONS[direction]
    assert examples.keys() == {kind.__name__ for kind in typing.get_args(union)}
    for example in examples.values():
        assert decoder.decode(m.encode(example)) == example


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_most_mutants_are_no_message_and_some_are(direction: str) -> None:
    _, examples, decoder = DIRECTIONS[direction]
    frames = [m.encode(example) for example in examples.values()]
    mutator = Mutator(Random(1), frames, OTHERS)
    valid, refusals = 0, set()
    for number in range(2000):
        mutant = mutator.mutate(frames[number % len(frames)])
        assert len(mutant) <= MAX_MUTANT_BYTES
        try:
            decoder.decode(mutant)
            valid += 1
        except ProtocolError as error:
            refusals.add(reason_of(str(error)))
    assert 100 < valid < 1500
    assert len(refusals) > 10


def test_the_same_seed_makes_the_same_session_and_another_one_does_not() -> None:
    def session(seed: int) -> list[bytes]:
        random = Random(seed)
        return stream_of(random, worker_frames(random, CALL, OTHERS))

    sessions = [session(seed) for seed in range(50)]
    assert sessions == [session(seed) for seed in range(50)]
    assert len({b"".join(pieces) for pieces in sessions}) > 40


def test_a_session_may_be_all_right_or_begin_right_or_be_all_wrong() -> None:
    course = [m.encode(m.Emitted(CALL, str(number))) for number in range(20)]
    changed = [
        sum(frame not in course for frame in disturbed(Random(seed), course, OTHERS))
        for seed in range(200)
    ]
    assert {0, 1} <= set(changed)
    assert max(changed) >= 15


def test_a_session_has_a_limit() -> None:
    course = [m.encode(m.Emitted(CALL, "x" * 100_000))] * 50
    for seed in range(20):
        assert sum(map(len, disturbed(Random(seed), course, OTHERS))) <= MAX_SESSION_BYTES


def test_most_streams_are_whole_frames_and_some_are_not() -> None:
    frames = [m.encode(m.Emitted(CALL, "x"))] * 5
    whole = 0
    for seed in range(200):
        cutter, found = FrameCutter(), []
        try:
            for piece in stream_of(Random(seed), frames):
                cutter.feed(piece)
                while (frame := cutter.take()) is not None:
                    found.append(frame)
        except ProtocolError:
            continue
        whole += found == frames
    assert 100 < whole < 195


def test_a_reason_is_the_same_whatever_the_numbers() -> None:
    same = {reason_of(f"a frame of {n} bytes: 'Expected `int` - at `$[{n}]`'") for n in (1, 20)}
    assert len(same) == 1
