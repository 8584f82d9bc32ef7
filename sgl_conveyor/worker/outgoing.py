"""What a worker of coroutines says, kept in its order while the dispatcher does not read."""

from __future__ import annotations

import asyncio
from collections import deque

import zmq

from sgl_conveyor import messages as m
from sgl_conveyor.channel import LoopSocket, Outbox
from sgl_conveyor.errors import QueueOverflow

#: Frames, and their bytes, beyond which a tool's output is refused.
MAX_FRAMES = 100_000
MAX_BYTES = 64 * 1024 * 1024
#: Seconds until a frame is sent again that the dispatcher did not take.
_AGAIN_S = 0.01

#: What a tool says as often as it likes; of the rest there are a few messages a call.
Output = m.Emitted | m.FileSent | m.Worked | m.CallTool


class Outgoing:
    """Frames in their order; those that the dispatcher does not read yet are kept, up to a limit.

    Args:
        socket: the worker's channel.
    """

    def __init__(self, socket: LoopSocket) -> None:
        self._outbox = Outbox(self._send, socket.fail)
        self._socket = socket
        self._kept: deque[tuple[bytes, ...]] = deque()
        self._kept_frames = 0
        self._kept_bytes = 0
        self._again: asyncio.Task[None] | None = None

    def put(self, message: m.FromWorker) -> None:
        """Send it soon.

        Raises:
            QueueOverflow: it is a tool's output, and too much of that waits; it is not sent.
        """
        full = self._kept_frames >= MAX_FRAMES or self._kept_bytes >= MAX_BYTES
        if full and isinstance(message, Output):
            raise QueueOverflow(
                f"the dispatcher does not read what this worker sends: {self._kept_frames} "
                f"messages with {self._kept_bytes} bytes wait"
            )
        self._outbox.put(m.encode(message))

    async def sent(self) -> None:
        """Wait until all is sent."""
        self._outbox.flush()
        if self._again is not None:
            await self._again

    def _send(self, *frames: bytes) -> None:
        self._kept.append(frames)
        self._kept_frames += len(frames)
        self._kept_bytes += sum(map(len, frames))
        self._send_kept()
        if self._kept and (self._again is None or self._again.done()):
            self._again = asyncio.ensure_future(self._send_later())

    async def _send_later(self) -> None:
        while self._kept:
            await asyncio.sleep(_AGAIN_S)
            self._send_kept()

    def _send_kept(self) -> None:
        while self._kept:
            frames = self._kept[0]
            try:
                self._socket.send(*frames)
            except zmq.Again:
                return
            except zmq.ZMQError as error:
                # A worker that cannot speak is of no use: it ends where it listens.
                self._kept.clear()
                self._socket.fail(error)
                return
            self._kept.popleft()
            self._kept_frames -= len(frames)
            self._kept_bytes -= sum(map(len, frames))
