"""One call in the dispatcher: its life, the pool that runs its tool, and who waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sgl_conveyor import events, life
from sgl_conveyor import messages as m
from sgl_conveyor.core import TextPiece, ToolError
from sgl_conveyor.dispatcher.pool import WorkerPool
from sgl_conveyor.driver import CallDriver, Check
from sgl_conveyor.specs import ToolSpec


class Call:
    """A call that the dispatcher keeps.

    Args:
        id: the call's id.
        pool: the workers of its tool.
        region: its region's name.
        call_life: its life.
        result_bytes: that it may return.
        check: has its value checked.
        settled: called when the call has ended, before whoever waits is answered.
    """

    def __init__(
        self,
        id: str,
        pool: WorkerPool,
        *,
        region: str,
        call_life: life.CallLife,
        result_bytes: int,
        check: Check,
        settled: Callable[[Call], None],
    ) -> None:
        self.id = id
        self.pool = pool
        self.region = region
        self.life = call_life
        self.ended_at: float | None = None
        #: How many calls this one lies within, and those that its tool has made (by their refs).
        self.depth = 0
        self.children: dict[int, Call] = {}
        #: Has whoever gives the call its text end that.
        self.stop_decoding: Callable[[], None] = _nothing
        self._settled = settled
        self._waiters: list[Callable[[], None]] = []
        self._driver = CallDriver(
            id,
            call_life,
            _PooledWorker(pool, id),
            call_later=asyncio.get_running_loop().call_later,
            stop_decoding=lambda: self.stop_decoding(),
            settled=self._settle,
            result_bytes=result_bytes,
            check=check,
        )

    @property
    def spec(self) -> ToolSpec:
        """The call's tool."""
        return self.life.spec

    @property
    def size_bytes(self) -> int:
        """About how much memory the call's text, output and timings hold."""
        record = self.life.record
        outcome, timings = record.outcome, record.timings
        marks = 32 * (len(timings.tokens) + 3 * len(timings.units) + 3 * len(timings.spans))
        files = sum(len(file.data) for file in outcome.attachments)
        value = len(outcome.value) if isinstance(outcome.value, (bytes, bytearray)) else 0
        return len(record.text) + len(outcome.emitted) + value + files + marks

    def begin(self) -> None:
        """Give the call a worker, or a place in the queue; its tool opens at once.

        Raises:
            CallRefused: the queue is full (503).
        """
        self.pool.open(self.id, self.region)
        self._driver.begin()

    def handle(self, event: events.Event) -> None:
        """Take an event, and do what the call's life instructs."""
        self._driver.handle(event)

    def heard(self, message: m.FromWorker) -> None:
        """Take what the call's worker said."""
        self._driver.heard(message)

    def lost(self, error: ToolError) -> None:
        """Nothing more will come from the call's worker."""
        if not self._driver.checking:
            self.handle(events.ToolFailed(time.monotonic(), error))

    def fail(self, error: ToolError) -> None:
        """End the call where it is, with an error of ours."""
        self._driver.fail(error)

    def abort(self, reason: str) -> None:
        """End the call, if what it does can still be prevented."""
        self.handle(events.AbortAsked(time.monotonic(), reason))

    def wait(self, seconds: float, answer: Callable[[], None]) -> None:
        """Call `answer` when the call has ended, or after so many seconds."""
        # Nor does one wait that is no number: such a timer has no place among others.
        if self.ended_at is not None or not seconds > 0:
            answer()
            return
        done = False

        def once() -> None:
            nonlocal done
            if not done:
                done = True
                timer.cancel()
                if once in self._waiters:
                    self._waiters.remove(once)
                answer()

        timer = asyncio.get_running_loop().call_later(seconds, once)
        self._waiters.append(once)

    def _settle(self) -> None:
        if self.ended_at is None:
            self.ended_at = time.monotonic()
        self._settled(self)
        for answer in list(self._waiters):
            answer()

    def view(self, seq: int) -> m.CallView:
        """What a client may know of the call, as the answer to its request `seq`."""
        return m.CallView(
            seq=seq,
            call=self.id,
            tool=self.spec.name,
            region=self.region,
            state=str(self.life.state),
            text=self.life.record.text,
            ended=self.ended_at is not None,
            outcome=self.life.record.outcome,
        )


@dataclass(frozen=True)
class _PooledWorker:
    """The tool's side of one call: whichever worker of the pool serves it."""

    pool: WorkerPool
    call: str

    def feed(self, pieces: list[TextPiece]) -> None:
        self.pool.feed(self.call, pieces)

    def end_input(self, at: float) -> None:
        self.pool.end(self.call, at)

    def let_finish(self) -> None:
        self.pool.finish(self.call)

    def abort(self, reason: str) -> None:
        self.pool.abort(self.call, reason)

    def kill(self) -> None:
        self.pool.kill(self.call)


def _nothing() -> None:
    pass
