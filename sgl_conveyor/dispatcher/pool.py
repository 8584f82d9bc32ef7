"""The workers of one tool: warm, handed to calls in the order of arrival, replaced when gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

from sgl_conveyor import messages as m
from sgl_conveyor.core import TextPiece, ToolError
from sgl_conveyor.dispatcher.limits import GRACE_S, over_memory, overdue, release_by
from sgl_conveyor.dispatcher.placement import Placement
from sgl_conveyor.dispatcher.process import Worker, WorkerFactory
from sgl_conveyor.errors import CallRefused, ProtocolError
from sgl_conveyor.specs import ToolSpec

logger = logging.getLogger(__name__)

#: Bytes of text that a call without a worker may hold.
MAX_WAITING_BYTES = 1024 * 1024
#: Seconds between two looks at the limits of running calls.
_WATCH_INTERVAL_S = 0.2
_MAX_BACKOFF_S = 10.0
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
    """Warm workers of one tool, and the calls that they serve.

    Args:
        spec: the tool.
        starter: starts worker processes.
        events: who is told what happens to calls.
    """

    def __init__(self, spec: ToolSpec, starter: WorkerFactory, events: CallEvents) -> None:
        self.spec = spec
        self._starter = starter
        self._events = events
        self._workers: dict[Worker, set[str]] = {}
        self._seats: dict[str, Placement] = {}
        self._queue: deque[Placement] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = 0
        # Workers that ended before they were ready, since the last one that was; no start before.
        self._failures = 0
        self._not_before = 0.0
        self._closed = False
        self._last_call = time.monotonic()
        #: Set at the first hello; an exception if the first worker died before it.
        self.first_hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- calls ---

    def open(self, call: str, region: str) -> None:
        """Give a new call a worker, or a place in the queue.

        Raises:
            CallRefused: the queue is full (503).
        """
        if len(self._queue) >= self.spec.limits.queue:
            raise CallRefused(
                503,
                f"the queue of the tool {self.spec.name!r} is full: try later",
            )
        seat = self._seats[call] = Placement(call, replayable=self.spec.replayable)
        self._queue.append(seat)
        self._tell(seat, m.OpenCall(call, region))
        self._assign()
        if self.spec.limits.idle_s is not None:
            self._last_call = time.monotonic()
            self._refill()

    def feed(self, call: str, pieces: list[TextPiece]) -> None:
        """Give a call text, in the pieces in which it became certain."""
        if (seat := self._seats.get(call)) is None:
            return
        if seat.worker is None:
            seat.waiting_bytes += sum(len(p.text.encode(errors="replace")) for p in pieces)
            if seat.waiting_bytes > MAX_WAITING_BYTES:
                self._leave(seat)
                message = (
                    f"the call waited for a worker until its text passed {MAX_WAITING_BYTES} bytes"
                )
                self._events.lost(call, ToolError("QueueOverflow", message))
                return
        self._tell(seat, m.FeedText(call, pieces))

    def end(self, call: str, at: float) -> None:
        """Tell a call that its region is complete."""
        if (seat := self._seats.get(call)) is not None:
            self._tell(seat, m.EndRegion(call, at))

    def finish(self, call: str) -> None:
        """Let a call finish: from here on it cannot begin again elsewhere."""
        seat = self._seats.get(call)
        if seat is not None and seat.worker is not None:
            seat.finishing = True
            self._tell(seat, m.FinishCall(call))

    def answer(self, answer: m.ToolAnswer) -> None:
        """Give a call's tool the answer to a question of its own."""
        seat = self._seats.get(answer.call)
        if seat is not None and seat.worker is not None:
            self._tell(seat, answer)

    def abort(self, call: str, reason: str) -> None:
        """Have a call undo what it did; one that still waits has done nothing."""
        if (seat := self._seats.get(call)) is None:
            return
        if seat.worker is None:
            self._leave(seat)
            return
        seat.release_by = release_by(self.spec)
        self._tell(seat, m.AbortCall(call, reason))

    def kill(self, call: str) -> None:
        """End a call where it is; calls that share its worker go on if the worker still answers."""
        if (seat := self._seats.get(call)) is None:
            return
        seat.log = None
        worker = seat.worker
        if worker is None:
            self._leave(seat)
        elif len(self._workers[worker]) == 1:
            worker.kill()
        else:
            seat.release_by = time.monotonic() + GRACE_S
            self._tell(seat, m.CancelCall(call))

    @property
    def busy(self) -> int:
        """Calls that have a worker, or wait for one."""
        return len(self._seats)

    @property
    def free(self) -> int:
        """Calls that could be served at once, now."""
        return sum(self._room(worker) for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """The processes of all workers, warm ones included."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    # --- workers ---

    def start(self) -> None:
        """Start the warm workers, and watch the limits of their calls."""
        self._refill()
        self._spawn(self._watch())

    async def close(self) -> None:
        """Kill all workers and wait until they are gone."""
        self._closed = True
        for worker in self._workers:
            worker.kill()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSE_LIMIT_S)
            for task in late:
                task.cancel()

    def _refill(self) -> None:
        """Start what is missing.

        A worker that serves one call is replaced when that is over, not earlier: a start takes as
        much of a core as many a tool, and would slow the call down.
        """
        if self._closed or time.monotonic() < self._not_before or self._idle():
            return
        for _ in range(self.spec.limits.workers - self._starting - self._able()):
            self._starting += 1
            self._spawn(self._run_worker())

    def _idle(self) -> bool:
        """Whether no call has come for so long that no worker is kept."""
        limit = self.spec.limits.idle_s
        if limit is None or self._seats or not self.first_hello.done():
            return False
        return time.monotonic() - self._last_call > limit

    def _able(self) -> int:
        return sum(not worker.retired for worker in self._workers)

    async def _run_worker(self) -> None:
        worker: Worker | None = None

        def started(new: Worker) -> None:
            nonlocal worker
            worker = new
            self._starting -= 1
            self._workers[new] = set()

        try:
            how = await self._starter.run(self.spec, started, self._received)
        except Exception as error:
            logger.exception("a worker of the tool %s could not be run", self.spec.name)
            how = f"it could not be run: {error}"
            self._starting -= worker is None
        if worker is not None:
            self._gone(worker, how)
        if worker is None or not worker.ready:
            self._failures += 1
            message = f"a worker of the tool {self.spec.name!r} ended before it was ready ({how})"
            logger.error("%s", message)
            if not self.first_hello.done():
                self.first_hello.set_exception(RuntimeError(message))
            pause = min(_MAX_BACKOFF_S, 0.1 * 2**self._failures)
            self._not_before = time.monotonic() + pause
            await asyncio.sleep(pause)
            self._not_before = 0.0
        self._refill()

    def _gone(self, worker: Worker, how: str) -> None:
        worker.retired = True
        for call in self._workers.pop(worker):
            seat = self._seats[call]
            if seat.release_by is None:
                logger.warning(
                    "%s worker %s died with call %s: %s", self.spec.name, worker.pid, call, how
                )
            if self._can_restart(seat):
                seat.restart()
                self._queue.appendleft(seat)
                self._events.restarted(call)
                continue
            del self._seats[call]
            self._events.lost(call, ToolError("WorkerLost", f"the tool's worker died ({how})"))
        self._assign()

    def _can_restart(self, seat: Placement) -> bool:
        """Whether nothing that the call has done so far would be done twice."""
        if seat.log is None or seat.release_by is not None or self._closed:
            return False
        return self.spec.read_only or not seat.finishing

    def _assign(self) -> None:
        """Hand waiting calls to workers with room."""
        while self._queue:
            worker = next((w for w in self._workers if self._room(w) > 0), None)
            if worker is None:
                return
            seat = self._queue.popleft()
            seat.worker = worker
            seat.answered_at = seat.assigned_at = time.monotonic()
            seat.waiting_bytes = 0
            worker.used = True
            self._workers[worker].add(seat.call)
            waiting, seat.waiting = seat.waiting, []
            for message in waiting:
                self._tell(seat, message)

    def _room(self, worker: Worker) -> int:
        """How many more calls a worker can take."""
        if not worker.ready or worker.retired:
            return 0
        if self.spec.sandbox:
            return 0 if worker.used else 1
        return self.spec.limits.concurrency - len(self._workers[worker])

    # --- messages ---

    def _tell(self, seat: Placement, message: m.ToWorker) -> None:
        if seat.worker is None:
            seat.waiting.append(message)
            return
        if isinstance(message, (m.OpenCall, m.FeedText)):
            if not seat.owed:
                seat.answered_at = time.monotonic()
            seat.owed += 1
        seat.told += 1
        seat.remember(message)
        seat.worker.send(message)

    def _received(self, worker: Worker, message: m.FromWorker) -> None:
        if isinstance(message, m.WorkerHello):
            self._hello(worker, message)
            return
        seat = self._seats.get(message.call)
        if seat is None or seat.worker is not worker:
            if worker.sandboxed and not worker.retired:
                raise ProtocolError("a message of a call that is not the worker's")
            # The last words of a call that was ended meanwhile.
            logger.debug("dropped a message of %s worker %s", self.spec.name, worker.pid)
            return
        seat.heard += 1
        if worker.sandboxed and seat.heard > seat.allowance():
            self._kill(seat, ToolError("TooManyMessages", "the tool's process floods its channel"))
            return
        match message:
            case m.Opened():
                seat.owed = max(0, seat.owed - 1)
                seat.answered_at = time.monotonic()
            case m.Progress():
                seat.owed = max(0, seat.owed - (message.fed - seat.fed))
                seat.fed = message.fed
                seat.answered_at = time.monotonic()
            case m.HookRaised() | m.AbortRaised() | m.Finished():
                seat.release_by = release_by(self.spec)
            case m.Drained() if seat.release_by is not None:
                return
            case m.CallTool() | m.DropCall() if worker.sandboxed:
                raise ProtocolError("a tool in a sandbox wants to call another one")
            case m.Released():
                self._released(seat, worker)
                return
        self._events.from_worker(message.call, message)

    def _hello(self, worker: Worker, message: m.WorkerHello) -> None:
        if message.token != worker.token:
            logger.warning(
                "dropped a hello of %s worker %s: wrong token", self.spec.name, worker.pid
            )
            return
        worker.ready = True
        self._failures = 0
        if not self.first_hello.done():
            self.first_hello.set_result(None)
        self._assign()

    def _released(self, seat: Placement, worker: Worker) -> None:
        del self._seats[seat.call]
        self._workers[worker].discard(seat.call)
        if self.spec.sandbox:
            worker.kill()
            self._refill()
        self._events.lost(seat.call, ToolError("WorkerLost", "the tool ended without a result"))
        self._last_call = time.monotonic()
        self._assign()

    def _leave(self, seat: Placement) -> None:
        """Take a call that has no worker out of the queue."""
        self._queue.remove(seat)
        del self._seats[seat.call]

    # --- limits ---

    async def _watch(self) -> None:
        """Kill workers whose calls take longer, or hold more memory, than they may."""
        while not self._closed:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            now = time.monotonic()
            for seat in list(self._seats.values()):
                if seat.worker is None or seat.worker.retired:
                    continue
                if (why := overdue(seat, self.spec, now)) is not None:
                    self._kill_late(seat, why)
            if self._idle():
                for worker in self._workers:
                    worker.kill()
            await self._watch_memory()

    async def _watch_memory(self) -> None:
        limit = self.spec.limits.memory_bytes
        if limit is None:
            return
        serving = [w for w, calls in self._workers.items() if calls and not w.retired]
        async for worker in over_memory(serving, limit):
            message = f"the tool's processes hold more than {limit} bytes together"
            for call in list(self._workers.get(worker, ())):
                self._kill(self._seats[call], ToolError("MemoryLimit", message))

    def _kill_late(self, seat: Placement, message: str) -> None:
        if not self._can_restart(seat):
            self._kill(seat, ToolError("ToolTimeout", message))
        elif seat.worker is not None:
            logger.warning("killing %s worker %s: %s", self.spec.name, seat.worker.pid, message)
            seat.worker.kill()

    def _kill(self, seat: Placement, error: ToolError) -> None:
        assert seat.worker is not None
        seat.log = None
        logger.warning("killing %s worker %s: %s", self.spec.name, seat.worker.pid, error)
        self._events.lost(seat.call, error)
        seat.worker.kill()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task of the pool of %s failed", self.spec.name, exc_info=error)
