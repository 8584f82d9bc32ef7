"""Frames that are almost messages; the same ones for the same seed.

It also runs inside a sandbox: of ours it imports what a worker has.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from sgl_conveyor.messages import VERSION

#: No mutant is larger than this (bytes), but for what grows a frame a little.
MAX_MUTANT_BYTES = 128 * 1024
_DEEP = 3000
#: Places of a message, and of one of its lists, where something is changed.
_MOST_PLACES = 200
_MOST_OF_ONE = 50

#: Values that nobody expects, as MessagePack: what an encoder would refuse is possible too.
_RAW: Sequence[bytes] = (
    # Text that is no UTF-8: half a surrogate pair, half a character, an overlong zero.
    b"\xa3\xed\xa0\x80", b"\xa2\xe2\x82", b"\xa2\xc0\x80", b"\xa1\xff",
    # Lengths of 4 GiB and more, of which nothing follows.
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xdc\xff\xff", b"\xde\xff\xff",
    # Nested without end, with an end, and as the keys of maps.
    b"\x91" * _DEEP, b"\x91" * _DEEP + b"\xc0", b"\x81\xa1a" * _DEEP + b"\xc0", b"\x81" * _DEEP,
    # What is no type, extensions, times.
    b"\xc1", b"\xd4\x7f\x00", b"\xd6\xff\xff\xff\xff\xff", b"\xc7\x0c\xff" + b"\xff" * 12,
    # The same number in nine bytes.
    b"\xcf\x00\x00\x00\x00\x00\x00\x00\x01",
)  # fmt: skip
_PLAIN: Sequence[object] = (
    None, True, False, 0, 1, -1, 255, 2**31, -(2**31), 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63),
    2**64 - 1, 0.0, -0.0, 0.1, 5e-324, 1e308, -1e308, float("nan"), float("inf"), float("-inf"),
    "", "\0", "\x7f\x1b[2J\r\n", "\ufffd\u202e\U0001f9d1\u200d\U0001f680", "'; --", "../../../x",
    b"", b"\0", b"\xff" * 100, b"[" * 5000, b"NaN", b'"\xed\xa0\x80"', b"1e999", b"{}",
    [], {}, [[]], [None], {"": ""}, {"a": {"b": []}}, [1] * 1000, [0.0] * 1000, ["x"] * 1000,
)  # fmt: skip


class Mutator:
    """Makes frames that are almost valid.

    Args:
        random: decides everything.
        frames: valid ones, of which parts are taken.
        ids: of calls or requests that are not the sender's.
    """

    def __init__(self, random: Random, frames: Sequence[bytes], ids: Sequence[str]) -> None:
        self._random = random
        self._frames = list(frames)
        self._ids = list(ids)
        self._tags = sorted({message[0] for message in map(_read, frames) if message})
        self._on_bytes: list[Callable[[bytes], bytes]] = [
            self._flip, self._cut, self._extend, self._overwrite, self._splice, self._version,
            self._junk,
        ]  # fmt: skip
        self._on_lists: list[Callable[[list[Any], int], None]] = [
            self._replace, self._replace, self._replace, self._delete, self._insert, self._swap,
            self._repeat,
        ]  # fmt: skip

    def mutate(self, frame: bytes) -> bytes:
        """The frame with something wrong: in its bytes, or in what it means."""
        message = _read(frame)
        if message and self._random.random() < 0.75:
            for _ in range(self._random.choice((1, 1, 1, 2, 4))):
                self._change(message)
            # What no encoder takes is among the raw values already.
            with contextlib.suppress(RecursionError, OverflowError):
                frame = bytes((VERSION,)) + msgspec.msgpack.encode(message)
        else:
            frame = self._random.choice(self._on_bytes)(frame)
        return frame[:MAX_MUTANT_BYTES]

    # --- what it means ---

    def _change(self, message: list[Any]) -> None:
        if self._random.random() < 0.1 and message:
            message[0] = self._random.choice(self._tags)
            return
        places = list(_places(message))
        if places:
            self._random.choice(self._on_lists)(*self._random.choice(places))

    def _replace(self, part: list[Any], index: int) -> None:
        old = part[index]
        if isinstance(old, str) and self._ids and self._random.random() < 0.3:
            part[index] = self._random.choice(self._ids)
        elif isinstance(old, (int, float)) and self._random.random() < 0.4:
            # Of the same type: it is looked at where the first check is past.
            same = [v for v in _PLAIN if type(v) is type(old)]
            part[index] = self._random.choice([*same, old + 1, old - 1, -old])
        elif isinstance(old, (str, bytes)) and self._random.random() < 0.4:
            part[index] = self._longer(old)
        else:
            part[index] = self._hostile()

    def _longer(self, text: str | bytes) -> str | bytes:
        times = self._random.choice((0, 2, 100, 10_000))
        return text[: MAX_MUTANT_BYTES // max(1, times)] * times

    def _delete(self, part: list[Any], index: int) -> None:
        del part[index]

    def _insert(self, part: list[Any], index: int) -> None:
        part.insert(index + self._random.randrange(2), self._hostile())

    def _swap(self, part: list[Any], index: int) -> None:
        other = self._random.randrange(len(part))
        part[index], part[other] = part[other], part[index]

    def _repeat(self, part: list[Any], index: int) -> None:
        part[index:index] = [part[index]] * self._random.choice((1, 10, 1000))

    def _hostile(self) -> object:
        if self._random.random() < 0.4:
            return msgspec.Raw(self._random.choice(_RAW))
        # Lists are changed where they have come to be.
        return copy.deepcopy(self._random.choice(_PLAIN))

    # --- its bytes ---

    def _flip(self, frame: bytes) -> bytes:
        data = bytearray(frame)
        for _ in range(self._random.choice((1, 1, 2, 8)) if data else 0):
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        return bytes(data)

    def _cut(self, frame: bytes) -> bytes:
        return frame[: self._random.randrange(len(frame) + 1)]

    def _extend(self, frame: bytes) -> bytes:
        return frame + self._random.randbytes(self._random.choice((1, 4, 100)))

    def _overwrite(self, frame: bytes) -> bytes:
        at = self._random.randrange(len(frame) + 1)
        return frame[:at] + self._random.choice(_RAW) + frame[at + self._random.randrange(9) :]

    def _splice(self, frame: bytes) -> bytes:
        other = self._random.choice(self._frames)
        return self._cut(frame) + other[self._random.randrange(len(other) + 1) :]

    def _version(self, frame: bytes) -> bytes:
        return bytes((self._random.choice((0, 1, VERSION + 1, 0x80, 0xFF)),)) + frame[1:]

    def _junk(self, _frame: bytes) -> bytes:
        data = self._random.randbytes(self._random.choice((0, 1, 10, 1000, 20_000)))
        return data if self._random.random() < 0.5 else bytes((VERSION,)) + data


def _read(frame: bytes) -> list[Any]:
    """What a frame holds, as lists; nothing if it cannot be read."""
    try:
        message = msgspec.msgpack.decode(frame[1:])
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return []
    return message if isinstance(message, list) else []


def _places(message: list[Any]) -> list[tuple[list[Any], int]]:
    """Each list of a message with each place in it; not all, if there are many."""
    found: list[tuple[list[Any], int]] = []
    left = [message]
    while left and len(found) < _MOST_PLACES:
        part = left.pop(0)
        found += [(part, index) for index in range(min(len(part), _MOST_OF_ONE))]
        left += [inner for inner in part[:_MOST_OF_ONE] if isinstance(inner, list)]
    return found
