"""A call's place at its tool: in the queue, then in a worker."""

from __future__ import annotations

import time

from sgl_conveyor import messages as m
from sgl_conveyor.dispatcher.hosts.host import Worker

_MESSAGES_AT_ONCE = 1000
_MESSAGES_A_SECOND = 200
#: Units that the end of a text may have beside those of its characters.
_UNITS_WITHOUT_TEXT = 16
#: Bytes of messages beside those of the result.
_BYTES_AT_ONCE = 1024 * 1024
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
        self._log_chars = 0
        #: Whether all its units have run and the worker asks whether it may finish.
        self.drained = False
        #: Whether the worker may have begun to finish.
        self.finishing = False
        self.worker: Worker | None = None
        self.waiting: list[m.ToWorker] = []
        self.waiting_bytes = 0
        # Hooks that the worker owes an answer for, and when it answered last.
        self.owed = 0
        self._fed = 0
        self.answered_at = 0.0
        self._assigned_at = 0.0
        # Messages to the worker, and from it.
        self._told = 0
        self.heard = self.heard_bytes = 0
        self._told_chars = self._units = 0
        self._has_opened = False
        #: When an abort, or the end after a result, must have been answered.
        self.release_by: float | None = None

    def begin(self, worker: Worker) -> None:
        """Have a worker from now on; it is told all that waits."""
        self.worker = worker
        self.answered_at = self._assigned_at = time.monotonic()
        self.waiting_bytes = 0
        waiting, self.waiting = self.waiting, []
        for message in waiting:
            self.tell(worker, message)

    def tell(self, worker: Worker, message: m.ToWorker) -> None:
        """Send the call's worker a message, and count what it owes for it.

        Args:
            worker: the call's.
            message: for it.
        """
        if isinstance(message, (m.OpenCall, m.FeedText)):
            if not self.owed:
                self.answered_at = time.monotonic()
            self.owed += 1
        self._told += 1
        if isinstance(message, m.FeedText):
            self._told_chars += sum(len(piece.text) for piece in message.pieces)
        self._remember(message)
        worker.send(message)

    def answered(self, message: m.Opened | m.Progress) -> None:
        """The worker has done what it owed, or a part of it; saying nothing new is neither."""
        if isinstance(message, m.Opened):
            if self._has_opened:
                return
            self._has_opened = True
            self.owed = max(0, self.owed - 1)
        else:
            if not message.units and message.fed <= self._fed:
                return
            self.owed = max(0, self.owed - max(0, message.fed - self._fed))
            self._fed = max(self._fed, message.fed)
            self._units += len(message.units)
        self.answered_at = time.monotonic()

    @property
    def has_more_units_than_text(self) -> bool:
        """Whether the worker reports more units than its text can have."""
        return self._units > self._told_chars + _UNITS_WITHOUT_TEXT

    def restart(self) -> None:
        """Wait for another worker, once: what the lost one was told will be told again."""
        assert self.log is not None
        self.worker = None
        self.waiting, self.log = self.log, None
        self.owed = self._fed = self._told = self._told_chars = self.heard = self.heard_bytes = 0
        self._units = 0
        self.drained = self.finishing = self._has_opened = False

    def allowance(self) -> float:
        """How many messages the call may have sent: several for each that it got, some a second.

        Our own worker stays far below; what a model wrote in its process need not.
        """
        seconds = time.monotonic() - self._assigned_at
        return _MESSAGES_AT_ONCE + 4 * self._told + _MESSAGES_A_SECOND * seconds

    def allowance_bytes(self, result_bytes: int) -> int:
        """How many bytes the call may have sent: its result, and the times of its units.

        A unit has at least one character, and its three times take 28 bytes.

        Args:
            result_bytes: of the largest result.
        """
        return result_bytes + _BYTES_AT_ONCE + 32 * self._told_chars

    def _remember(self, message: m.ToWorker) -> None:
        """Keep what the worker was told, for another one; up to a limit."""
        if self.log is None or not isinstance(message, (m.OpenCall, m.FeedText, m.EndRegion)):
            return
        if isinstance(message, m.FeedText):
            self._log_chars += sum(len(piece.text) for piece in message.pieces)
        if self._log_chars > MAX_LOG_CHARS:
            self.log = None
        else:
            self.log.append(message)
