"""Frames over a stream socket of an event loop: in order, limited, and at our own pace."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine

import pytest

from sgl_conveyor.errors import ProtocolError, QueueOverflow
from sgl_conveyor.frames import BlockingFrames, framed
from sgl_conveyor.stream import FrameSocket

LIMIT_S = 30.0
MIB = 1024 * 1024


class Pair:
    """A socket of an event loop, the plain one at its other end, and what was received."""

    def __init__(self, largest: int = MIB, most_waiting: int = 64 * MIB) -> None:
        ours, self.other = socket.socketpair()
        self.received: list[bytes] = []
        self.socket = FrameSocket(
            ours, self.received.append, largest=largest, most_waiting=most_waiting
        )


def with_pair(pair: Pair, go: Callable[[Pair], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(LIMIT_S):
            await go(pair)

    asyncio.run(run())
    pair.socket.close()
    pair.other.close()


def test_many_frames_pass_in_their_order_both_ways() -> None:
    frames = [bytes([n % 256]) * (n * 37 % 5000) for n in range(2000)]

    def echo(pair: Pair) -> None:
        blocking = BlockingFrames(pair.other)
        for _ in frames:
            blocking.send(blocking.receive())

    async def go(pair: Pair) -> None:
        thread = threading.Thread(target=echo, args=(pair,))
        thread.start()
        listening = asyncio.ensure_future(pair.socket.listen())
        for frame in frames:
            pair.socket.put(frame)
        while len(pair.received) < len(frames):
            await asyncio.sleep(0.001)
        listening.cancel()
        thread.join(LIMIT_S)
        assert pair.received == frames

    with_pair(Pair(), go)


def test_listening_ends_when_the_other_end_is_gone_and_brings_what_it_left() -> None:
    async def go(pair: Pair) -> None:
        pair.other.sendall(framed(b"last words"))
        pair.other.close()
        await pair.socket.listen()
        assert pair.received == [b"last words"]

    with_pair(Pair(), go)


def test_a_frame_that_is_too_large_ends_the_listening() -> None:
    async def go(pair: Pair) -> None:
        pair.other.sendall(framed(b"fine") + (MIB + 1).to_bytes(4))
        with pytest.raises(ProtocolError, match="the limit is 1048576"):
            await pair.socket.listen()
        assert pair.received == [b"fine"]

    with_pair(Pair(), go)


def test_a_flood_leaves_the_event_loop_its_turns() -> None:
    async def go(pair: Pair) -> None:
        pair.other.setblocking(False)
        flood = b"".join(map(framed, [b"x"] * 1000))
        pair.other.send(flood * 20)
        listening = asyncio.ensure_future(pair.socket.listen())
        turns = 0
        while len(pair.received) < 5000:
            await asyncio.sleep(0)
            turns += 1
        listening.cancel()
        assert turns > 50

    with_pair(Pair(), go)


def test_an_error_of_the_receiver_loses_no_other_frame() -> None:
    async def go(pair: Pair) -> None:
        kept: list[bytes] = []

        def received(frame: bytes) -> None:
            if frame == b"bad":
                raise ValueError("as ordered")
            kept.append(frame)

        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        ours, other = socket.socketpair()
        frames = FrameSocket(ours, received)
        other.sendall(b"".join(map(framed, [b"one", b"bad", b"two"])))
        listening = asyncio.ensure_future(frames.listen())
        while len(kept) < 2:
            await asyncio.sleep(0.001)
        listening.cancel()
        frames.close()
        other.close()
        assert kept == [b"one", b"two"]

    with_pair(Pair(), go)


def test_what_waits_for_a_peer_that_does_not_read_is_limited() -> None:
    async def go(pair: Pair) -> None:
        for _ in range(4):
            pair.socket.put(bytes(MIB))
        with pytest.raises(QueueOverflow, match="does not read"):
            pair.socket.put(b"more")
        await asyncio.sleep(0.01)
        assert pair.socket.waiting_bytes > 3 * MIB
        reading = BlockingFrames(pair.other)
        thread = threading.Thread(target=lambda: [reading.receive() for _ in range(4)])
        thread.start()
        await pair.socket.sent()
        thread.join(LIMIT_S)
        assert pair.socket.waiting_bytes == 0

    with_pair(Pair(most_waiting=4 * MIB + 16), go)


def test_what_is_dropped_is_not_sent_but_for_what_has_left_in_part() -> None:
    async def go(pair: Pair) -> None:
        pair.socket.put(b"x" * MIB, "one")
        pair.socket.put(b"y", "one")
        pair.socket.put(b"z", "other")
        await asyncio.sleep(0.01)  # the first one fills the socket
        pair.socket.drop("one")
        assert pair.socket.waiting_frames == 2
        reading = BlockingFrames(pair.other)
        received: list[bytes] = []
        thread = threading.Thread(
            target=lambda: received.extend(reading.receive() for _ in range(2))
        )
        thread.start()
        await pair.socket.sent()
        thread.join(LIMIT_S)
        assert received == [b"x" * MIB, b"z"]

    with_pair(Pair(), go)


def test_sending_to_a_peer_that_is_gone_is_forgotten() -> None:
    async def go(pair: Pair) -> None:
        pair.other.close()
        pair.socket.put(b"x")
        await pair.socket.sent()
        assert pair.socket.waiting_bytes == 0

    with_pair(Pair(), go)
