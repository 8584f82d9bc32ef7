"""What a worker of coroutines says, kept in its order while the dispatcher does not read."""

from __future__ import annotations

from sgl_conveyor import messages as m
from sgl_conveyor.errors import QueueOverflow
from sgl_conveyor.stream import FrameSocket

#: Frames that wait, and their bytes, beyond which a tool's output is refused.
MAX_FRAMES = 100_000
MAX_BYTES = 64 * 1024 * 1024

#: What a tool says as often as it likes; of the rest there are a few messages a call.
Output = m.Emitted | m.DataPiece | m.FileSent | m.Worked | m.CallTool


def put(socket: FrameSocket, message: m.FromWorker) -> None:
    """Send a message soon.

    Args:
        socket: the worker's end of its channel.
        message: to send.

    Raises:
        QueueOverflow: it is a tool's output, and too much waits already; it is not sent.
    """
    full = socket.waiting_frames >= MAX_FRAMES or socket.waiting_bytes >= MAX_BYTES
    if full and isinstance(message, Output):
        raise QueueOverflow(
            "the dispatcher does not read what this worker sends: "
            f"{socket.waiting_frames} messages with {socket.waiting_bytes} bytes wait"
        )
    socket.put(m.encode(message))
