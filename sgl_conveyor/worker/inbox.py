"""What has come for a call while its hooks are busy."""

from __future__ import annotations

from collections import deque

from sgl_conveyor import messages as m
from sgl_conveyor.errors import QueueOverflow

#: Messages, and their bytes, that may wait for one call's hooks.
MAX_MESSAGES = 100_000
MAX_BYTES = 16 * 1024 * 1024


class Inbox:
    """The messages of one call in their order, an abort or a cancel ahead of what waits.

    After one of these nothing else is taken: nothing else could be of use.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[m.ToWorker, int]] = deque()
        self._bytes = 0
        #: Whether the call must end: an abort or a cancel has come.
        self.ending = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: m.ToWorker, size: int) -> None:
        """Take a message.

        Args:
            message: for the call.
            size: of its frame (bytes).

        Raises:
            QueueOverflow: more waits than may; the message was not taken.
        """
        if isinstance(message, (m.AbortCall, m.CancelCall)):
            self._waiting.clear()
            self._bytes = 0
            self.ending = True
        elif self.ending:
            return
        elif len(self._waiting) >= MAX_MESSAGES or self._bytes + size > MAX_BYTES:
            raise QueueOverflow(
                f"the tool is so far behind its text that more than {MAX_MESSAGES} messages or "
                f"{MAX_BYTES} bytes wait for its hooks"
            )
        self._waiting.append((message, size))
        self._bytes += size

    def take(self) -> m.ToWorker:
        """The next message; there must be one."""
        message, size = self._waiting.popleft()
        self._bytes -= size
        return message
