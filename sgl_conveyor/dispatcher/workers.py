"""The workers of one tool: as many warm ones as its limits say, replaced when they are gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from sgl_conveyor import messages as m
from sgl_conveyor.dispatcher.hosts.host import Host, Listener, Worker
from sgl_conveyor.errors import ProtocolError
from sgl_conveyor.specs import ToolSpec
from sgl_conveyor.supervision import Supervisor

logger = logging.getLogger(__name__)

#: Pause after a worker ended before it was ready, at first and at most (seconds).
_FIRST_BACKOFF_S = 0.2
_MAX_BACKOFF_S = 10.0
_MAX_HELLO_BYTES = 64
#: Seconds that a worker may take from its start to its hello.
HELLO_LIMIT_S = 120.0


class Workers:
    """Starts a tool's workers, and knows which calls each one serves.

    Args:
        spec: the tool.
        host: where they run.
        supervisor: of the tasks in which they are started.
        needed: whether any call is there; without one a tool may do without workers.
        listener: hears what a worker says after its hello.
        ready: called when there is room that was not there before.
        gone: called with a worker that is gone, the calls that it served, and how it ended.
    """

    def __init__(
        self,
        spec: ToolSpec,
        host: Host,
        supervisor: Supervisor,
        *,
        needed: Callable[[], bool],
        listener: Listener,
        ready: Callable[[], None],
        gone: Callable[[Worker, set[str], str], None],
    ) -> None:
        self._spec = spec
        self._host = host
        self._supervisor = supervisor
        self._needed = needed
        self._listener = listener
        self._ready = ready
        self._gone = gone
        self._calls: dict[Worker, set[str]] = {}
        self._starting = 0
        # Workers that ended before they were ready, since the last one that was; no start before.
        self._failures = 0
        self._not_before = 0.0
        self._closed = False
        self._last_call = time.monotonic()
        #: Set at the first hello; an exception if the first worker died before it.
        self.first_hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """Kill all; start no more."""
        self._closed = True
        for worker in self._calls:
            worker.kill()

    # --- how many ---

    def refill(self) -> None:
        """Start what is missing, unless the last one failed just now.

        A worker that serves one call is replaced when that is over, not earlier: a start takes as
        much of a core as many a tool, and would slow the call down.
        """
        if self._closed or time.monotonic() < self._not_before or self._idle:
            return
        able = sum(not worker.retired for worker in self._calls)
        for _ in range(self._spec.limits.workers - self._starting - able):
            self._starting += 1
            self._supervisor.run(f"a worker of the tool {self._spec.name}", self._run_one())

    def used(self) -> None:
        """A call has come or has ended: from now on the workers are idle, if they are."""
        self._last_call = time.monotonic()

    def end_idle(self) -> None:
        """Kill workers that have not been needed for so long that none is kept."""
        if self._idle:
            for worker in self._calls:
                worker.kill()

    def end_late(self) -> None:
        """Kill workers that have not said hello in time: others take their places."""
        latest = time.monotonic() - HELLO_LIMIT_S
        for worker in self._calls:
            if not worker.ready and not worker.retired and worker.started_at < latest:
                logger.error(
                    "killing %s worker %s: no hello within %g s",
                    self._spec.name,
                    worker.pid,
                    HELLO_LIMIT_S,
                )
                worker.kill()

    @property
    def _idle(self) -> bool:
        limit = self._spec.limits.idle_s
        if limit is None or self._needed() or not self.first_hello.done():
            return False
        return time.monotonic() - self._last_call > limit

    # --- which ---

    @property
    def free(self) -> int:
        """Calls that could be served at once, now."""
        return sum(self._room(worker) for worker in self._calls)

    @property
    def pids(self) -> list[int]:
        """The processes of all workers, warm ones included."""
        return [worker.pid for worker in self._calls if worker.pid is not None]

    @property
    def serving(self) -> list[Worker]:
        """Those that have calls and are not being ended."""
        return [worker for worker, calls in self._calls.items() if calls and not worker.retired]

    def calls(self, worker: Worker) -> list[str]:
        """The calls that a worker serves; none if it is gone."""
        return list(self._calls.get(worker, ()))

    def with_room(self) -> Worker | None:
        """A worker that can take a call, or None."""
        return next((worker for worker in self._calls if self._room(worker) > 0), None)

    def take(self, worker: Worker, call: str) -> None:
        """A worker serves a call from now on."""
        worker.used = True
        self._calls[worker].add(call)

    def release(self, worker: Worker, call: str) -> None:
        """A worker is done with a call; one that serves a single call ends."""
        self._calls[worker].discard(call)
        self.used()
        if self._spec.sandbox:
            worker.kill()
            self.refill()

    def _room(self, worker: Worker) -> int:
        """How many more calls a worker can take."""
        if not worker.ready or worker.retired:
            return 0
        if self._spec.sandbox:
            return 0 if worker.used else 1
        return self._spec.limits.concurrency - len(self._calls[worker])

    # --- one worker ---

    async def _run_one(self) -> None:
        worker: Worker | None = None

        def started(new: Worker) -> None:
            nonlocal worker
            worker = new
            self._starting -= 1
            self._calls[new] = set()
            # One that is retired before it has a process is killed as soon as it has.
            new.retired = self._closed

        try:
            how = await self._host.run(self._spec, started, self)
        except Exception as error:
            logger.exception("a worker of the tool %s could not be run", self._spec.name)
            how = f"it could not be run: {error}"
            self._starting -= worker is None
        if worker is None or not worker.ready:
            self._back_off(how)
        if worker is not None:
            worker.retired = True
            self._gone(worker, self._calls.pop(worker), how)
        self.refill()

    def _back_off(self, how: str) -> None:
        """Start none for a while: the next one would end as this one did."""
        message = f"a worker of the tool {self._spec.name!r} ended before it was ready ({how})"
        logger.error("%s", message)
        if not self.first_hello.done():
            self.first_hello.set_exception(RuntimeError(message))
        pause = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2**self._failures)
        self._failures += 1
        self._not_before = time.monotonic() + pause

    # --- what one says ---

    def may_say(self, worker: Worker, size: int) -> bool:
        """Whether a worker may say this now: a hello, then what its calls ask for."""
        if worker.ready:
            return self._listener.may_say(worker, size)
        if worker.sandboxed and size > _MAX_HELLO_BYTES:
            logger.error(
                "killing %s worker %s: a hello of %d bytes", self._spec.name, worker.pid, size
            )
            worker.kill()
            return False
        return True

    def heard(self, worker: Worker, message: m.FromWorker) -> None:
        """A worker said something.

        Raises:
            ProtocolError: it did not begin with a hello, or it says another one.
        """
        if worker.ready != (not isinstance(message, m.WorkerHello)):
            raise ProtocolError("a worker says hello first, and once")
        if worker.ready:
            self._listener.heard(worker, message)
            return
        worker.ready = True
        self._failures = 0
        if not self.first_hello.done():
            self.first_hello.set_result(None)
        self._ready()
