"""Frames, which a worker and its host say to each other, and how a plain process says them.

A frame is its length, four bytes in network order, and so many bytes. The two ends are a pair that
the worker inherits: it has no path, nobody else can connect to it, and what a hostile worker writes
waits in the kernel until we read it, at our own pace.
"""

from __future__ import annotations

import socket

from sgl_conveyor.errors import ChannelClosed, ProtocolError
from sgl_conveyor.messages import MAX_FRAME_BYTES

_PREFIX_BYTES = 4
#: Bytes that are asked for at once.
CHUNK_BYTES = 64 * 1024


class FrameCutter:
    """Cuts what a stream brings into frames.

    Args:
        largest: bytes of the largest frame; nothing of a larger one is kept.
    """

    def __init__(self, largest: int = MAX_FRAME_BYTES) -> None:
        self._largest = largest
        self._buffer = bytearray()
        self._start = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def take(self) -> bytes | None:
        """The next whole frame, or None.

        Raises:
            ProtocolError: a frame is announced that is larger than may be.
        """
        begin = self._start + _PREFIX_BYTES
        if len(self._buffer) < begin:
            return None
        size = int.from_bytes(self._buffer[self._start : begin])
        if size > self._largest:
            raise ProtocolError(
                f"a frame of {size} bytes is announced: the limit is {self._largest}"
            )
        if len(self._buffer) < begin + size:
            return None
        self._start = begin + size
        return bytes(memoryview(self._buffer)[begin : self._start])


def framed(frame: bytes) -> bytes:
    """A frame as the stream carries it."""
    return len(frame).to_bytes(_PREFIX_BYTES) + frame


class BlockingFrames:
    """A stream socket of a process without an event loop, which has nothing else to do.

    Args:
        stream: one end of a pair.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._cutter = FrameCutter()

    def receive(self) -> bytes:
        """Wait for the next frame: the other end, this process's parent, may take its time.

        Raises:
            ChannelClosed: the other end is gone.
        """
        while (frame := self._cutter.take()) is None:
            self._read(0)
        return frame

    def receive_now(self) -> bytes | None:
        """The next frame if it is there.

        Raises:
            ChannelClosed: the other end is gone.
        """
        while (frame := self._cutter.take()) is None:
            try:
                self._read(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
        return frame

    def send(self, frame: bytes) -> None:
        """Send a frame; wait while the other end does not read.

        Raises:
            ChannelClosed: the other end is gone.
        """
        try:
            self._stream.sendall(framed(frame))
        except OSError as error:
            raise ChannelClosed(f"the host of this worker is gone: {error}") from None

    def _read(self, flags: int) -> None:
        try:
            data = self._stream.recv(CHUNK_BYTES, flags)
        except BlockingIOError:
            raise
        except OSError as error:
            raise ChannelClosed(f"the host of this worker is gone: {error}") from None
        if not data:
            raise ChannelClosed("the host of this worker is gone")
        self._cutter.feed(data)
