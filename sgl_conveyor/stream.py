"""Frames over a stream socket of an event loop, at its own pace."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import deque
from collections.abc import Callable

from sgl_conveyor.errors import ProtocolError, QueueOverflow
from sgl_conveyor.frames import CHUNK_BYTES, FrameCutter, framed
from sgl_conveyor.messages import MAX_FRAME_BYTES

#: Frames, and their bytes, that one socket brings before the rest of the event loop has its turn.
_FRAMES_AT_ONCE = 64
_BYTES_AT_ONCE = 256 * 1024
#: Frames that leave together at most: the first of many should not wait for the last.
_TOGETHER = 16
#: Buffers of one system call.
_BUFFERS_AT_ONCE = 64


class FrameSocket:
    """A stream socket of an event loop: no task and no future for each frame.

    Args:
        stream: one end of a pair.
        received: called with each frame, in the event loop, while `listen` runs.
        largest: bytes of the largest frame that the other end may send.
        most_waiting: bytes that may wait for the other end to read them.
    """

    def __init__(
        self,
        stream: socket.socket,
        received: Callable[[bytes], None],
        *,
        largest: int = MAX_FRAME_BYTES,
        most_waiting: int = 2 * MAX_FRAME_BYTES,
    ) -> None:
        stream.setblocking(False)
        self._stream = stream
        self._received = received
        self._cutter = FrameCutter(largest)
        self._most_waiting = most_waiting
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Future[None] | None = None
        self._take_is_due = False
        # Each with whom it is about.
        self._unsent: deque[tuple[str, memoryview]] = deque()
        self._first_is_cut = False
        self._fresh = 0
        self._write_is_due = False
        self._peer_is_slow = False
        #: Bytes that the other end has not taken yet.
        self.waiting_bytes = 0
        self.closed = False

    @property
    def waiting_frames(self) -> int:
        """Frames that the other end has not taken whole."""
        return len(self._unsent)

    # --- from the other end ---

    async def listen(self) -> None:
        """Bring frames until the other end is gone.

        Raises:
            ProtocolError: the other end announced a frame larger than may be.
            OSError: the socket is of no use any more.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        loop.add_reader(self._stream, self._readable)
        # Frames of an earlier `listen` may be here already.
        self._take_soon()
        try:
            await self._over
        finally:
            loop.remove_reader(self._stream)
            self._loop = None

    def take_what_is_there(self) -> None:
        """Bring at once all that the other end, which is gone, has left."""
        with contextlib.suppress(ProtocolError):
            while True:
                while (frame := self._cutter.take()) is not None:
                    self._received(frame)
                if not self._read():
                    return

    def _readable(self) -> None:
        # Once a turn is enough.
        if not self._take_is_due:
            self._take()

    def _take(self) -> None:
        size, more = 0, True
        try:
            for _ in range(_FRAMES_AT_ONCE):
                if self._loop is None or size > _BYTES_AT_ONCE:
                    return
                if (frame := self._next()) is None:
                    more = False
                    return
                size += len(frame)
                self._received(frame)
        finally:
            # What is in our hands already gives no sign any more.
            if more:
                self._take_soon()

    def _next(self) -> bytes | None:
        """The next frame, if it is there."""
        try:
            while (frame := self._cutter.take()) is None:
                if not self._read():
                    return None
        except ProtocolError as error:
            self._end(error)
            return None
        return frame

    def _read(self) -> bool:
        """Read some; whether there was anything."""
        try:
            data = self._stream.recv(CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            self._end(error)
            return False
        if not data:
            self._end(None)
            return False
        self._cutter.feed(data)
        return True

    def _take_soon(self) -> None:
        if self._loop is not None and not self._take_is_due:
            self._take_is_due = True
            self._loop.call_soon(self._take_due)

    def _take_due(self) -> None:
        self._take_is_due = False
        if self._loop is not None:
            self._take()

    def _end(self, error: Exception | None) -> None:
        if self._over is None or self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    # --- to the other end ---

    def put(self, frame: bytes, about: str = "", *, limited: bool = True) -> None:
        """Send a frame at the end of this turn of the event loop, or when the other end reads.

        Args:
            frame: to send.
            about: what `drop` calls it.
            limited: whether it is refused when too much waits already.

        Raises:
            QueueOverflow: more waits for the other end than may; the frame was not taken.
        """
        if self.closed:
            return
        if limited and self._unsent and self.waiting_bytes + len(frame) > self._most_waiting:
            raise QueueOverflow(
                f"the other end of the channel does not read: {self.waiting_bytes} bytes wait"
            )
        whole = framed(frame)
        self._unsent.append((about, memoryview(whole)))
        self.waiting_bytes += len(whole)
        self._fresh += 1
        if self._peer_is_slow:
            return
        if self._fresh >= _TOGETHER:
            self._write()
        elif not self._write_is_due:
            self._write_is_due = True
            asyncio.get_running_loop().call_soon(self._write_due)

    def drop(self, about: str) -> None:
        """Forget the frames about this that wait; one that has left in part goes on.

        Args:
            about: as `put` was told.
        """
        first = self._unsent[0] if self._unsent and self._first_is_cut else None
        rest = [entry for entry in self._unsent if entry is not first and entry[0] != about]
        self._unsent = deque(rest if first is None else [first, *rest])
        self.waiting_bytes = sum(len(view) for _, view in self._unsent)

    async def sent(self) -> None:
        """Wait until the other end has taken all, or is gone."""
        self._write()
        while self._unsent:
            await asyncio.sleep(0.005)

    def _write_due(self) -> None:
        self._write_is_due = False
        if not self._peer_is_slow:
            self._write()

    def _write(self) -> None:
        self._fresh = 0
        while self._unsent:
            some = [view for _, view in itertools.islice(self._unsent, _BUFFERS_AT_ONCE)]
            try:
                count = self._stream.sendmsg(some)
            except BlockingIOError:
                self._wait_for_room()
                return
            except OSError:
                # The other end is gone: `listen` says so as well.
                self._unsent.clear()
                self.waiting_bytes = 0
                break
            self._has_left(count)
        self._wait_no_more()

    def _has_left(self, count: int) -> None:
        """Forget so many bytes, which were sent."""
        self.waiting_bytes -= count
        while count:
            about, first = self._unsent[0]
            self._first_is_cut = count < len(first)
            if self._first_is_cut:
                self._unsent[0] = (about, first[count:])
                return
            count -= len(first)
            self._unsent.popleft()

    def _wait_for_room(self) -> None:
        if not self._peer_is_slow:
            self._peer_is_slow = True
            asyncio.get_running_loop().add_writer(self._stream, self._write)

    def _wait_no_more(self) -> None:
        if self._peer_is_slow:
            self._peer_is_slow = False
            asyncio.get_running_loop().remove_writer(self._stream)

    def close(self) -> None:
        """Close the socket; `listen` must have ended."""
        self.closed = True
        self._unsent.clear()
        self.waiting_bytes = 0
        self._wait_no_more()
        self._stream.close()
