"""What one peer sends, from first to last: courses of valid frames, and what is done to them.

It also runs inside a sandbox: of ours it imports what a worker has.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import msgspec

from bench.fuzz.corpus import examples
from bench.fuzz.mutations import Mutator
from sgl_conveyor import messages as m
from sgl_conveyor.frames import framed

#: Bytes of one session: what waits in a socket is no part of what the dispatcher holds.
MAX_SESSION_BYTES = 512 * 1024
#: After these a call, or its worker, goes on.
_GENTLE = ("Opened", "Progress", "Emitted", "Worked", "FileSent")
#: Lengths that no frame has, or none may have.
_LENGTHS = (
    0,
    1,
    m.MAX_SANDBOX_FRAME_BYTES + 1,
    m.MAX_FRAME_BYTES,
    m.MAX_FRAME_BYTES + 1,
    2**32 - 1,
)


def disturbed(random: Random, course: Sequence[bytes], ids: Sequence[str]) -> list[bytes]:
    """The course with something wrong: its order, one frame, some, or all; seldom nothing.

    Args:
        random: decides everything.
        course: valid frames.
        ids: of calls or requests that are not the sender's.
    """
    mutator = Mutator(random, course, ids)
    frames = _ordered(random, list(course))
    if not frames:
        return frames
    match random.choice(("none", "one", "one", "one", "some", "some", "all")):
        case "one":
            place = random.randrange(len(frames))
            frames[place] = mutator.mutate(frames[place])
        case "some":
            frames = [mutator.mutate(f) if random.random() < 0.3 else f for f in frames]
        case "all":
            frames = [mutator.mutate(f) for f in frames]
    sums = itertools.accumulate(map(len, frames))
    return [f for f, size in zip(frames, sums, strict=True) if size <= MAX_SESSION_BYTES]


def _ordered(random: Random, frames: list[bytes]) -> list[bytes]:
    match random.choice(("as it is",) * 5 + ("shuffled", "doubled", "gaps", "again", "reversed")):
        case "shuffled":
            random.shuffle(frames)
        case "doubled":
            frames = [frame for frame in frames for _ in range(random.choice((1, 1, 2, 20)))]
        case "gaps":
            frames = [frame for frame in frames if random.random() < 0.7]
        case "again":
            frames = frames + frames
        case "reversed":
            frames.reverse()
    return frames


def worker_frames(random: Random, call: str, others: Sequence[str]) -> list[bytes]:
    """What a worker says of a call, with something wrong.

    Args:
        random: decides everything.
        call: the call's id.
        others: ids of calls that it does not serve.
    """
    if others and random.random() < 0.25:
        return _of_another(random, random.choice(others), others)
    messages = worker_examples(call)
    course = [_gentle(random, messages) for _ in range(random.choice((0, 1, 3, 10, 30)))]
    last = random.sample(sorted(messages), random.choice((0, 1, 1, 2, 5)))
    frames = [m.encode(message) for part in course for message in part]
    frames += [m.encode(messages[name]) for name in last]
    return disturbed(random, frames, others)


def _of_another(random: Random, call: str, others: Sequence[str]) -> list[bytes]:
    """What was said of an ended call, or what the worker of one that lives says."""
    frames = [m.encode(message) for message in worker_examples(call).values()]
    random.shuffle(frames)
    return frames if random.random() < 0.5 else disturbed(random, frames, others)


def worker_examples(call: str) -> dict[str, Any]:
    """A message of each type that a worker may send."""
    values: Mapping[str, object] = {"call": call, "tool": "target", "text": "x"}
    return examples(m.FromWorker, values)


def _gentle(random: Random, messages: Mapping[str, Any]) -> list[Any]:
    message = messages[random.choice(_GENTLE)]
    if not isinstance(message, m.FileSent) or random.random() < 0.5:
        return [message]
    pieces = random.choice((1, 2, 9))
    some = [m.DataPiece(message.call, number, b"x" * 1000) for number in range(pieces)]
    return [*some, msgspec.structs.replace(message, pieces=pieces)]


def stream_of(random: Random, frames: Sequence[bytes]) -> list[bytes]:
    """The frames as a stream carries them, in the pieces in which they are written.

    Seldom a length is wrong, the pieces are no frames, or the last one ends too early.

    Args:
        random: decides everything.
        frames: to send.
    """
    pieces = [framed(frame) for frame in frames]
    match random.choice(("as it is",) * 12 + ("length", "cut", "small", "joined")):
        case "length" if pieces:
            place = random.randrange(len(pieces))
            length = random.choice((*_LENGTHS, len(frames[place]) + 1, len(frames[place]) // 2))
            pieces[place] = length.to_bytes(4) + frames[place]
        case "cut" if pieces:
            pieces[-1] = pieces[-1][: random.randrange(len(pieces[-1]) + 1)]
        case "small":
            whole = b"".join(pieces)[:20_000]
            size = random.choice((1, 3, 100))
            pieces = [whole[at : at + size] for at in range(0, len(whole), size)][:2000]
        case "joined":
            pieces = [b"".join(pieces)]
    return pieces
