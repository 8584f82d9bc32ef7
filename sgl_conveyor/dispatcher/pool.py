"""A tool's calls and its workers brought together: each call is told, heard and limited here."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from sgl_conveyor import messages as m
from sgl_conveyor.core import TextPiece, ToolError, shown_call
from sgl_conveyor.dispatcher.hosts.host import Host, Worker
from sgl_conveyor.dispatcher.limits import GRACE_S, MemoryWatch, overdue, release_by
from sgl_conveyor.dispatcher.placement import Placement
from sgl_conveyor.dispatcher.queue import CallQueue
from sgl_conveyor.dispatcher.workers import Workers
from sgl_conveyor.errors import ProtocolError, QueueOverflow
from sgl_conveyor.specs import RESULT_BYTES, ToolSpec
from sgl_conveyor.supervision import Supervisor

logger = logging.getLogger(__name__)

#: Seconds between two looks at the limits of running calls.
_WATCH_INTERVAL_S = 0.2
#: The same for their memory: a program that takes 2 GiB/s takes 100 MiB between them.
_MEMORY_INTERVAL_S = 0.05
_CLOSE_LIMIT_S = 5.0


class CallEvents(Protocol):
    """Who is told what happens to a call in its worker."""

    def from_worker(self, call: str, message: m.FromWorker) -> None:
        """The call's worker said something."""

    def restarted(self, call: str) -> None:
        """The call's worker was lost; another one begins the call again."""

    def lost(self, call: str, error: ToolError) -> None:
        """Nothing more will come from the call's worker."""


class WorkerPool:
    """Warm workers of one tool, and the calls that they serve in the order of arrival.

    Args:
        spec: the tool.
        host: where the workers run.
        events: who is told what happens to calls.
        result_bytes: that a call may return.
    """

    def __init__(
        self, spec: ToolSpec, host: Host, events: CallEvents, result_bytes: int = RESULT_BYTES
    ) -> None:
        self.spec = spec
        self._result_bytes = result_bytes
        self._events = events
        self._supervisor = Supervisor()
        self._queue = CallQueue(spec)
        self._workers = Workers(
            spec,
            host,
            self._supervisor,
            needed=lambda: len(self._queue) > 0,
            listener=self,
            ready=self._assign,
            gone=self._gone,
        )
        #: Set at the first hello; an exception if the first worker died before it.
        self.first_hello = self._workers.first_hello
        self._closed = False

    # --- what a call is told ---

    def open(self, call: str, region: str) -> None:
        """Give a new call a worker, or a place in the queue.

        Raises:
            CallRefused: the queue is full (503).
        """
        self._tell(self._queue.add(call), m.OpenCall(call, region))
        self._assign()
        self._workers.used()
        self._workers.refill()

    def feed(self, call: str, pieces: list[TextPiece]) -> None:
        """Give a call text, in the pieces in which it became certain."""
        if (placement := self._queue.get(call)) is None:
            return
        if placement.worker is None:
            try:
                self._queue.hold(placement, pieces)
            except QueueOverflow as error:
                self._queue.leave(placement)
                self._events.lost(call, ToolError("QueueOverflow", str(error)))
                return
        self._tell(placement, m.FeedText(call, pieces))

    def end(self, call: str, at: float) -> None:
        """Tell a call that its region is complete."""
        if (placement := self._queue.get(call)) is not None:
            self._tell(placement, m.EndRegion(call, at))

    def finish(self, call: str) -> None:
        """Let a call finish whose units have all run, as it asked; once, and not when it aborts."""
        placement = self._queue.get(call)
        if placement is None or not placement.drained or placement.release_by is not None:
            return
        if placement.worker is None or placement.worker.retired:
            return
        placement.drained = False
        placement.finishing = True
        self._tell(placement, m.FinishCall(call))

    def answer(self, answer: m.ToolAnswer) -> None:
        """Give a call's tool the answer to a question of its own."""
        placement = self._queue.get(answer.call)
        if placement is not None and placement.worker is not None:
            self._tell(placement, answer)

    def abort(self, call: str, reason: str) -> None:
        """Have a call undo what it did; one that still waits has done nothing."""
        if (placement := self._queue.get(call)) is None:
            return
        if placement.worker is None:
            self._queue.leave(placement)
            return
        placement.release_by = release_by(self.spec)
        self._tell(placement, m.AbortCall(call, reason))

    def kill(self, call: str) -> None:
        """End a call where it is; calls that share its worker go on if the worker still answers."""
        if (placement := self._queue.get(call)) is None:
            return
        placement.log = None
        worker = placement.worker
        if worker is None:
            self._queue.leave(placement)
        elif len(self._workers.calls(worker)) == 1:
            worker.kill()
        else:
            placement.release_by = time.monotonic() + GRACE_S
            self._tell(placement, m.CancelCall(call))

    def _tell(self, placement: Placement, message: m.ToWorker) -> None:
        if placement.worker is None:
            placement.waiting.append(message)
            return
        try:
            placement.tell(placement.worker, message)
        except QueueOverflow as error:
            self._events.lost(placement.call, ToolError("QueueOverflow", str(error)))
            self.abort(placement.call, str(error))

    # --- how many ---

    @property
    def busy(self) -> int:
        """Calls that have a worker, or wait for one."""
        return len(self._queue)

    @property
    def free(self) -> int:
        """Calls that could be served at once, now."""
        return self._workers.free

    @property
    def pids(self) -> list[int]:
        """The processes of all workers, warm ones included."""
        return self._workers.pids

    # --- its own life ---

    def start(self) -> None:
        """Start the warm workers, and watch the limits of their calls."""
        name = self.spec.name
        self._workers.refill()
        self._supervisor.keep(f"the time limits of the tool {name}", self._watch_time)
        if (limit := self.spec.limits.memory_bytes) is not None:
            memory = MemoryWatch(limit)
            self._supervisor.keep(
                f"the memory limit of the tool {name}", lambda: self._watch_memory(memory)
            )

    async def close(self) -> None:
        """Kill all workers and wait until they are gone."""
        self._closed = True
        self._workers.close()
        await self._supervisor.close(_CLOSE_LIMIT_S)

    # --- calls and workers ---

    def _assign(self) -> None:
        """Hand waiting calls to workers with room."""
        while (worker := self._workers.with_room()) is not None:
            if (placement := self._queue.next()) is None:
                return
            self._workers.take(worker, placement.call)
            placement.begin(worker)

    def _gone(self, worker: Worker, calls: set[str], how: str) -> None:
        for call in calls:
            if (placement := self._queue.get(call)) is None:
                continue
            if placement.release_by is None:
                logger.warning(
                    "%s worker %s died with call %s: %s",
                    self.spec.name,
                    worker.pid,
                    shown_call(call),
                    how,
                )
            if worker.over_memory is None and self._can_restart(placement):
                self._queue.restart(placement)
                self._events.restarted(call)
                continue
            self._queue.leave(placement)
            error = ToolError("WorkerLost", f"the tool's worker died ({how})")
            if worker.over_memory is not None:
                error = ToolError("MemoryLimit", worker.over_memory)
            self._events.lost(call, error)
        self._assign()

    def _can_restart(self, placement: Placement) -> bool:
        """Whether nothing that the call has done so far would be done twice."""
        if placement.log is None or placement.release_by is not None or self._closed:
            return False
        return self.spec.read_only or not placement.finishing

    # --- what workers say ---

    def may_say(self, worker: Worker, size: int) -> bool:
        """Whether a worker may say this now: a sandbox only with a call, and only so much."""
        if not worker.sandboxed:
            return True
        if worker.retired:
            return False
        placements = [self._queue.get(call) for call in self._workers.calls(worker)]
        if not placements or placements[0] is None:
            self._end_for(worker, "it speaks without a call")
            return False
        placement = placements[0]
        placement.heard += 1
        placement.heard_bytes += size
        if placement.heard > placement.allowance():
            self._kill(placement, ToolError("TooManyMessages", "the tool floods its channel"))
            return False
        if placement.heard_bytes > placement.allowance_bytes(self._result_bytes):
            self._kill(placement, ToolError("TooManyBytes", "the tool floods its channel"))
            return False
        return True

    def _end_for(self, worker: Worker, why: str) -> None:
        logger.warning("killing %s worker %s: %s", self.spec.name, worker.pid, why)
        worker.kill()

    def heard(self, worker: Worker, message: m.FromWorker) -> None:
        """A worker said something of a call.

        Raises:
            ProtocolError: of a call that is not its own, or what no sandbox may say.
        """
        assert not isinstance(message, m.WorkerHello)
        placement = self._queue.get(message.call)
        if placement is None or placement.worker is not worker:
            if worker.sandboxed and not worker.retired:
                raise ProtocolError("a message of a call that is not the worker's")
            # The last words of a call that was ended meanwhile.
            logger.debug("dropped a message of %s worker %s", self.spec.name, worker.pid)
            return
        match message:
            case m.Opened() | m.Progress():
                placement.answered(message)
                if worker.sandboxed and placement.has_more_units_than_text:
                    raise ProtocolError("more units than its text has characters")
            case m.HookRaised() | m.AbortRaised() | m.Finished():
                placement.release_by = release_by(self.spec)
            case m.Drained() if placement.release_by is not None:
                return
            case m.Drained():
                placement.drained = True
            case m.CallTool() | m.DropCall() if worker.sandboxed:
                raise ProtocolError("a tool in a sandbox wants to call another one")
            case m.Released():
                self._released(placement, worker)
                return
        self._events.from_worker(message.call, message)

    def _released(self, placement: Placement, worker: Worker) -> None:
        self._queue.leave(placement)
        self._workers.release(worker, placement.call)
        self._events.lost(
            placement.call, ToolError("WorkerLost", "the tool ended without a result")
        )
        self._assign()

    # --- limits ---

    async def _watch_time(self) -> None:
        """End calls that take longer than they may, and workers that nobody has needed lately.

        A call must be late in two looks: after a stall of our own process, its worker's answers
        still wait in a socket at the first one.
        """
        late: set[Placement] = set()
        while not self._closed:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            now, before, late = time.monotonic(), late, set()
            for placement in self._queue:
                if placement.worker is None or placement.worker.retired:
                    continue
                if (why := overdue(placement, self.spec, now)) is None:
                    continue
                if placement in before:
                    self._kill_late(placement, placement.worker, why)
                else:
                    late.add(placement)
            self._workers.end_idle()
            self._workers.end_late()
            self._workers.refill()

    async def _watch_memory(self, memory: MemoryWatch) -> None:
        """End calls whose workers hold more memory than they may."""
        while not self._closed:
            await asyncio.sleep(_MEMORY_INTERVAL_S)
            for worker, why in await memory.over(self._workers.serving):
                for call in self._workers.calls(worker):
                    if (placement := self._queue.get(call)) is not None:
                        self._kill(placement, ToolError("MemoryLimit", why))

    def _kill_late(self, placement: Placement, worker: Worker, why: str) -> None:
        if self._can_restart(placement):
            logger.warning("killing %s worker %s: %s", self.spec.name, worker.pid, why)
            worker.kill()
        else:
            self._kill(placement, ToolError("ToolTimeout", why))

    def _kill(self, placement: Placement, error: ToolError) -> None:
        assert placement.worker is not None
        placement.log = None
        logger.warning("killing %s worker %s: %s", self.spec.name, placement.worker.pid, error)
        placement.worker.kill()
        self._events.lost(placement.call, error)
