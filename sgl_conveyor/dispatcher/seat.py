"""A call's place at its tool: in the queue, then in a worker."""

from __future__ import annotations

import time

from sgl_conveyor import messages as m
from sgl_conveyor.dispatcher.process import Worker

_MESSAGES_AT_ONCE = 1000
_MESSAGES_A_SECOND = 200


class Seat:
    """One call's place.

    Args:
        call: the call's id.
    """

    def __init__(self, call: str) -> None:
        self.call = call
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

    def allowance(self) -> float:
        """How many messages the call may have sent: several for each that it got, some a second.

        Our own worker stays far below; what a model wrote in its process need not.
        """
        seconds = time.monotonic() - self.assigned_at
        return _MESSAGES_AT_ONCE + 4 * self.told + _MESSAGES_A_SECOND * seconds
