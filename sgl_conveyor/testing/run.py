"""One call without a server: a life, its driver, and a tool in this process or in a sandbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from sgl_conveyor import events
from sgl_conveyor import messages as m
from sgl_conveyor.core import Outcome, TextPiece, ToolError, ToolResult
from sgl_conveyor.describe import describe, info_of, is_async
from sgl_conveyor.dispatcher.hosts.host import Worker
from sgl_conveyor.dispatcher.hosts.local import LocalHost
from sgl_conveyor.driver import CallDriver, Timer
from sgl_conveyor.life import CallLife, State
from sgl_conveyor.tools import HOOKS, Tool
from sgl_conveyor.worker.runner import CallRunner, cancelling_limit, no_limit

if TYPE_CHECKING:
    pass

#: How a region ends: `stop` is complete, `length` is cut by its limit, `abort` is given up.
End = Literal["stop", "length", "abort"]

#: The id of the only call that there is.
_CALL = "call"
#: Seconds for a call in a sandbox, its worker's start included.
_SANDBOXED_LIMIT_S = 120.0


@dataclass(frozen=True)
class HookCall:
    """One call of a hook: its name, and the arguments without `self`."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class ToolRun:
    """What a call came to.

    Args:
        result: as a program would see it.
        text: how much of the region was decoded: all of it, unless the tool aborted.
        hooks: the hooks in the order in which they were called; empty for a tool with a sandbox.
    """

    result: ToolResult
    text: str
    hooks: list[HookCall] = field(default_factory=list)


class _Orders:
    """The tool's side of a call: what its life instructs, as messages for a worker."""

    def __init__(self) -> None:
        self._messages: list[m.ToWorker] = []

    def feed(self, pieces: list[TextPiece]) -> None:
        self._messages.append(m.FeedText(_CALL, pieces))

    def end_input(self, at: float) -> None:
        self._messages.append(m.EndRegion(_CALL, at))

    def let_finish(self) -> None:
        self._messages.append(m.FinishCall(_CALL))

    def abort(self, reason: str) -> None:
        self._messages.append(m.AbortCall(_CALL, reason))

    def kill(self) -> None:
        self._messages.append(m.CancelCall(_CALL))

    def take(self) -> Iterator[m.ToWorker]:
        """Those that were not taken yet, and those that come meanwhile."""
        while self._messages:
            yield self._messages.pop(0)


class Run:
    """One call, from its life's instructions to a worker and back.

    Args:
        tool: the tool's class.
        region: the region's name.
        partial: whether the tool is fed as the pieces come.
        others: the tools that this one may call.
    """

    def __init__(
        self, tool: type[Tool], region: str, *, partial: bool, others: list[type[Tool]]
    ) -> None:
        self.spec = describe(tool)
        self.hooks: list[HookCall] = []
        self._tool = tool
        self._others = {describe(other).name: other for other in others}
        self._opening = m.OpenCall(_CALL, region)
        self._life = CallLife(self.spec, partial=partial, start=time.monotonic(), attached=True)
        self._decoder = m.from_worker()
        self._orders = _Orders()
        self._driver = CallDriver(
            _CALL,
            self._life,
            self._orders,
            call_later=self._call_later,
            stop_decoding=_nothing,
            settled=_nothing,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: CallRunner | None = None

    async def go(self, texts: list[str], end: End) -> ToolRun:
        """Run the call.

        Args:
            texts: the pieces of the region's text.
            end: how the region ends.

        Raises:
            TimeoutError: a call in a sandbox took longer than two minutes.
        """
        if self.spec.sandbox:
            async with asyncio.timeout(_SANDBOXED_LIMIT_S):
                await self._in_sandbox(texts, end)
        else:
            await self._here(texts, end)
        record = self._life.record
        if isinstance(record.outcome.value, (bytes, bytearray)):
            record.outcome.value = msgspec.json.decode(record.outcome.value)
        return ToolRun(ToolResult(record.outcome), record.text, self.hooks)

    def _call_later(self, seconds: float, passed: Callable[[], None]) -> Timer:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Plain hooks run without a loop, and nobody could interrupt them.
            return _NoTimer()
        return loop.call_later(seconds, passed)

    # --- in this process ---

    async def _here(self, texts: list[str], end: End) -> None:
        registry = {name: info_of(describe(other)) for name, other in self._others.items()}
        limit = cancelling_limit(self.spec.limits.timeout_s) if is_async(self._tool) else no_limit
        tool = _recording(self._tool, self.hooks)
        runner = self._runner = CallRunner(
            tool, self.spec, self._opening, self._from_runner, limit, registry
        )
        await runner.handle(self._opening)
        for event in self._events(texts, end):
            if self._life.state is State.ABORTED:
                break
            self._driver.handle(event)
            for order in self._orders.take():
                await runner.handle(order)

    def _from_runner(self, message: m.FromWorker) -> None:
        message = self._decoder.decode(m.encode(message))
        if isinstance(message, m.CallTool):
            task = asyncio.create_task(self._answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._driver.heard(message)

    async def _answer(self, question: m.CallTool) -> None:
        other = self._others.get(question.tool)
        if other is None:
            error = ToolError("Refused", f"unknown tool {question.tool!r}")
            outcome = Outcome(error=error)
        else:
            others = list(self._others.values())
            run = Run(other, self._opening.region, partial=False, others=others)
            outcome = (await run.go([question.text], "stop")).result.outcome()
            outcome.value = msgspec.json.encode(outcome.value)
        assert self._runner is not None
        self._runner.answer(m.ToolAnswer(question.call, question.ref, outcome))

    # --- in a sandbox ---

    async def _in_sandbox(self, texts: list[str], end: End) -> None:
        inbox: asyncio.Queue[m.FromWorker] = asyncio.Queue()
        made: list[Worker] = []
        running = asyncio.create_task(
            LocalHost(unsafe=False).run(self.spec, made.append, _IntoInbox(inbox))
        )
        try:
            if not await self._until(asyncio.create_task(self._hear(inbox, made)), running):
                return
            made[0].send(self._opening)
            hearing = asyncio.create_task(self._hear(inbox, made))
            for event in self._events(texts, end):
                if self._life.state is State.ABORTED:
                    break
                self._driver.handle(event)
                for order in self._orders.take():
                    made[0].send(order)
                # Let what the worker said meanwhile be heard, as it would be while decoding.
                await asyncio.sleep(0.001)
            await self._until(hearing, running)
        finally:
            for worker in made:
                worker.kill()
            await running

    async def _until(self, hearing: asyncio.Task[None], running: asyncio.Task[str]) -> bool:
        """Wait for what is heard; False if the worker's process ended before."""
        await asyncio.wait({running, hearing}, return_when=asyncio.FIRST_COMPLETED)
        if hearing.done():
            return True
        hearing.cancel()
        error = ToolError("WorkerLost", f"the tool's worker died ({await running})")
        self._driver.handle(events.ToolFailed(time.monotonic(), error))
        return False

    async def _hear(self, inbox: asyncio.Queue[m.FromWorker], made: list[Worker]) -> None:
        """Take messages until the hello, or until the call is over in its worker."""
        while True:
            message = await inbox.get()
            if isinstance(message, (m.WorkerHello, m.Released)):
                return
            self._driver.heard(message)
            for order in self._orders.take():
                made[0].send(order)

    # --- the region ---

    def _events(self, texts: list[str], end: End) -> Iterator[events.Event]:
        *first, last = texts if texts and end != "abort" else [*texts, ""]
        for text in first:
            yield events.TextCommitted(time.monotonic(), 1, text)
        now = time.monotonic()
        match end:
            case "stop":
                yield events.RegionEnded(now, 1, last)
            case "length":
                error = ToolError("RegionCut", "the region reached its limit of tokens")
                yield events.RegionEnded(now, 1, last, error)
            case "abort":
                yield events.AbortAsked(now, "the client deleted the call")


@dataclass(frozen=True)
class _IntoInbox:
    """Hears a worker."""

    inbox: asyncio.Queue[m.FromWorker]

    def may_say(self, worker: Worker, size: int) -> bool:
        return True

    def heard(self, worker: Worker, message: m.FromWorker) -> None:
        self.inbox.put_nowait(message)


class _NoTimer:
    def cancel(self) -> None:
        pass


def _nothing() -> None:
    pass


def _recording(tool: type[Tool], hooks: list[HookCall]) -> type[Tool]:
    """The tool, with a list of the hooks that are called."""

    def recorded(name: str) -> Callable[..., Any]:
        def hook(self: Tool, *arguments: Any) -> Any:
            hooks.append(HookCall(name, arguments))
            return getattr(tool, name)(self, *arguments)

        return hook

    overridden = [name for name in HOOKS if getattr(tool, name) is not getattr(Tool, name)]
    members = {name: recorded(name) for name in overridden}
    return type(tool.__name__, (tool,), {"__module__": tool.__module__, **members})
