"""The calls of one tool: those that wait for a worker, in their order, and those that have one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from sgl_conveyor.core import TextPiece
from sgl_conveyor.dispatcher.placement import Placement
from sgl_conveyor.errors import CallRefused, QueueOverflow
from sgl_conveyor.specs import ToolSpec

#: Bytes of text that a call without a worker may hold.
MAX_WAITING_BYTES = 1024 * 1024


class CallQueue:
    """The placements of a tool's calls.

    Args:
        spec: the tool.
    """

    def __init__(self, spec: ToolSpec) -> None:
        self._spec = spec
        self._placements: dict[str, Placement] = {}
        self._waiting: deque[Placement] = deque()

    def __len__(self) -> int:
        return len(self._placements)

    def __iter__(self) -> Iterator[Placement]:
        return iter(list(self._placements.values()))

    def get(self, call: str) -> Placement | None:
        """A call's placement, or None."""
        return self._placements.get(call)

    def add(self, call: str) -> Placement:
        """Let a new call wait.

        Raises:
            CallRefused: the queue is full (503).
        """
        if len(self._waiting) >= self._spec.limits.queue:
            raise CallRefused(503, f"the queue of the tool {self._spec.name!r} is full: try later")
        placement = Placement(call, replayable=self._spec.replayable)
        self._placements[call] = placement
        self._waiting.append(placement)
        return placement

    def hold(self, placement: Placement, pieces: list[TextPiece]) -> None:
        """Count text of a call that still waits.

        Raises:
            QueueOverflow: the call holds more than it may.
        """
        placement.waiting_bytes += sum(len(p.text.encode(errors="replace")) for p in pieces)
        if placement.waiting_bytes > MAX_WAITING_BYTES:
            raise QueueOverflow(
                f"the call waited for a worker until its text passed {MAX_WAITING_BYTES} bytes"
            )

    def next(self) -> Placement | None:
        """Take the call that waits longest, for a worker that has room; None if none waits."""
        return self._waiting.popleft() if self._waiting else None

    def restart(self, placement: Placement) -> None:
        """Let a call whose worker was lost wait again, ahead of all others."""
        placement.restart()
        self._waiting.appendleft(placement)

    def leave(self, placement: Placement) -> None:
        """Forget a call, whether it waits or has a worker."""
        del self._placements[placement.call]
        if placement.worker is None:
            self._waiting.remove(placement)
