"""A call's place at its tool: in the queue, then in a worker."""

from __future__ import annotations

import time

from sgl_conveyor import messages as m
from sgl_conveyor.dispatcher.process import Worker

_MESSAGES_AT_ONCE = 1000
_MESSAGES_A_SECOND = 200
#: Characters of text that are kept for another worker.
MAX_LOG_CHARS = 1024 * 1024


class Placement:
    """One call's place.

    Args:
        call: the call's id.
        replayable: whether to keep what the worker was told, for another one.
    """

    def __init__(self, call: str, *, replayable: bool) -> None:
        self.call = call
        #: What a fresh worker would have to be told; None if the call cannot begin again.
        self.log: list[m.ToWorker] | None = [] if replayable else None
        self._log_bytes = 0
        #: Whether the worker may have begun to finish.
        self.finishing = False
        self.worker: Worker | None = None
        self.waiting: list[m.ToWorker] = []
        self.waiting_bytes = 0
        # Hooks that the worker owes an answer for, and when it answered last.
        self.owed = 0
        self.fed = 0
        self.answered_at = 0.0
        self.assigned_at = 0.0
        # Messages to the worker, and from it.
        self.told = 0
        self.heard = 0
        #: When an abort, or the end after a result, must have been answered.
        self.release_by: float | None = None

    def remember(self, message: m.ToWorker) -> None:
        """Keep what the worker was told, for another one; up to a limit."""
        if self.log is None or not isinstance(message, (m.OpenCall, m.FeedText, m.EndRegion)):
            return
        if isinstance(message, m.FeedText):
            self._log_bytes += sum(len(piece.text) for piece in message.pieces)
        if self._log_bytes > MAX_LOG_CHARS:
            self.log = None
        else:
            self.log.append(message)

    def restart(self) -> None:
        """Wait for another worker, once: what the lost one was told will be told again."""
        assert self.log is not None
        self.worker = None
        self.waiting, self.log = self.log, None
        self.owed = self.fed = self.told = self.heard = 0
        self.finishing = False

    def allowance(self) -> float:
        """How many messages the call may have sent: several for each that it got, some a second.

        Our own worker stays far below; what a model wrote in its process need not.
        """
        seconds = time.monotonic() - self.assigned_at
        return _MESSAGES_AT_ONCE + 4 * self.told + _MESSAGES_A_SECOND * seconds
