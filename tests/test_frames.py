"""Frames are whole wherever the stream is cut, and limited; a plain process speaks in them too."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.errors import ChannelClosed, ProtocolError
from sgl_conveyor.frames import BlockingFrames, FrameCutter, framed


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, cut at these places."""
    ends = [*sorted({p % (len(data) + 1) for p in places}), len(data)]
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(min_value=0)))
def test_frames_are_whole_wherever_the_stream_is_cut(
    frames: list[bytes], places: list[int]
) -> None:
    cutter, found = FrameCutter(), []
    for piece in cut(b"".join(map(framed, frames)), places):
        cutter.feed(piece)
        while (frame := cutter.take()) is not None:
            found.append(frame)
    assert found == frames


def test_a_frame_that_is_too_large_is_refused_before_it_is_here() -> None:
    cutter = FrameCutter(largest=10)
    cutter.feed(framed(bytes(10)) + (11).to_bytes(4))
    assert cutter.take() == bytes(10)
    with pytest.raises(ProtocolError, match="11 bytes is announced: the limit is 10"):
        cutter.take()


def test_a_plain_worker_hears_that_its_host_is_gone() -> None:
    ours, its = socket.socketpair()
    worker = BlockingFrames(its)
    ours.sendall(framed(b"one"))
    assert worker.receive_now() == b"one"
    assert worker.receive_now() is None
    ours.close()
    with pytest.raises(ChannelClosed, match="host of this worker is gone"):
        worker.receive()
    with pytest.raises(ChannelClosed, match="host of this worker is gone"):
        worker.send(b"x")
    its.close()
