"""One call in a worker: messages in, units split off, hooks called, answers out."""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec

from sgl_conveyor import messages as m
from sgl_conveyor.core import ToolError, shown_call
from sgl_conveyor.encodable import encodable, encodable_value
from sgl_conveyor.errors import InvalidArguments, ToolAbort
from sgl_conveyor.specs import RESULT_BYTES, ToolInfo, ToolSpec
from sgl_conveyor.timings import UnitTiming
from sgl_conveyor.tools import CallInfo, IncompleteResult, Tool
from sgl_conveyor.units.arguments import MAX_BYTES, Argument, ArgumentSplitter, half_pair_of
from sgl_conveyor.units.lines import LineSplitter
from sgl_conveyor.units.statements import StatementSplitter
from sgl_conveyor.worker.context import CallContext, current_unit

#: Progress is reported when this many seconds have passed since the last report, or sooner.
_PROGRESS_INTERVAL_S = 0.05
_MAX_MESSAGE_CHARS = 2000

Send = Callable[[m.FromWorker], None]
HookLimit = Callable[[], AbstractAsyncContextManager[None]]


class _Interrupted(Exception):
    """An abort or a cancel waits: the units before it are not run."""


class HookTimeout(Exception):
    """A hook took longer than the tool's timeout."""


@asynccontextmanager
async def no_limit() -> AsyncIterator[None]:
    """The limit of hooks that cannot be interrupted: the dispatcher kills the worker instead."""
    yield


def cancelling_limit(seconds: float) -> HookLimit:
    """A limit that cancels a coroutine hook after so many seconds."""

    @asynccontextmanager
    async def limit() -> AsyncIterator[None]:
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                yield
        except TimeoutError:
            if scope.expired():
                raise HookTimeout(f"a hook took longer than {seconds:g} s") from None
            raise

    return limit


class CallRunner:
    """One call: an instance of the tool, fed with units until it finishes or aborts.

    Args:
        tool: the tool's class.
        spec: its description.
        opening: the message that began the call.
        send: sends a message to the dispatcher.
        hook_limit: the context in which each hook runs.
        registry: the tools that the tool may call.
        interrupted: asked before each unit whether an abort or a cancel waits.
        result_bytes: that the call may return.
    """

    def __init__(
        self,
        tool: type[Tool],
        spec: ToolSpec,
        opening: m.OpenCall,
        send: Send,
        hook_limit: HookLimit = no_limit,
        registry: Mapping[str, ToolInfo] | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        result_bytes: int = RESULT_BYTES,
    ) -> None:
        self._interrupted = interrupted
        self.call = opening.call
        self.over = False
        #: Whether `abort` runs, or is about to: nothing may interrupt it.
        self.aborting = False
        self._spec = spec
        self._send = send
        self._hook_limit = hook_limit
        self._make = tool
        self._region = opening.region
        self._tool: Tool | None = None
        self._lines = LineSplitter() if "on_line" in spec.hooks else None
        self._statements = StatementSplitter() if "on_statement" in spec.hooks else None
        self._arguments = ArgumentSplitter() if "on_argument" in spec.hooks else None
        self._host = CallContext(opening.call, send, registry or {}, result_bytes)
        # The text as a whole, for a tool whose arguments are checked at the end.
        self._text: list[str] | None = [] if tool.Args is not None else None
        self._text_bytes = 0
        self._fed = 0
        self._unit_count = 0
        self._units: list[UnitTiming] = []
        self._reported_fed = 0
        self._reported_at = 0.0

    async def handle(self, message: m.ToWorker) -> None:
        """Do what a message asks for; nothing that the tool does raises out of here."""
        if self.over:
            return
        try:
            match message:
                case m.OpenCall():
                    await self._open()
                case m.FeedText():
                    await self._feed(message)
                case m.EndRegion():
                    await self._end(message)
                case m.FinishCall():
                    await self._finish()
                case m.AbortCall():
                    await self._abort(message.reason)
                case m.CancelCall():
                    self._release()
        except _Interrupted:
            return
        except ToolAbort as abort:
            self._end_with(m.AbortRaised(self.call, encodable(abort.reason)))
            await self._abort(abort.reason)
        except HookTimeout as timeout:
            self._end_with(m.HookRaised(self.call, ToolError("ToolTimeout", str(timeout))))
            self._release()
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            self._end_with(m.HookRaised(self.call, error_of(error)))
            await self._abort(str(error_of(error)))

    def _end_with(self, message: m.AbortRaised | m.HookRaised) -> None:
        """Say how the call ends; before that, which units led to it, the last one included."""
        if self._units:
            self._report()
        self._send(message)

    def answer(self, message: m.ToolAnswer) -> None:
        """Give the tool the result of a call that it made."""
        self._host.answered(message)

    async def _open(self) -> None:
        current_unit.set(-1)
        started = time.monotonic()
        self._tool = self._make()
        self._tool.call = CallInfo(self.call, self._spec.name, self._region)
        self._tool._host = self._host
        if "open" in self._spec.hooks:
            await self._run(self._tool.open)
        self._send(m.Opened(self.call, started, time.monotonic()))

    async def _feed(self, message: m.FeedText) -> None:
        for piece in message.pieces:
            await self._feed_piece(piece.text, piece.at)
        self._fed += 1
        self._report()

    async def _feed_piece(self, text: str, at: float) -> None:
        assert self._tool is not None
        self._keep(text)
        if "on_text" in self._spec.hooks:
            await self._unit(at, self._tool.on_text, text)
        if self._lines is not None:
            for line in self._lines.feed(text):
                await self._unit(at, self._tool.on_line, line)
        if self._statements is not None:
            for statement in self._statements.feed(text):
                await self._unit(at, self._tool.on_statement, statement)
        if self._arguments is not None:
            for path, value in _checked(self._arguments.feed(text)):
                await self._unit(at, self._tool.on_argument, path, value)

    async def _end(self, message: m.EndRegion) -> None:
        assert self._tool is not None
        if self._lines is not None:
            for line in self._lines.close():
                await self._unit(message.at, self._tool.on_line, line)
        if self._statements is not None:
            for statement in self._statements.close():
                await self._unit(message.at, self._tool.on_statement, statement)
        if self._arguments is not None:
            for path, value in _checked(self._arguments.close()):
                await self._unit(message.at, self._tool.on_argument, path, value)
        self._report()
        if self._text is not None:
            self._tool.args = parse_arguments(type(self._tool), "".join(self._text))
        if self._spec.read_only:
            await self._finish()
        else:
            # What finish does must not happen twice, nor after the client was told of an abort.
            self._send(m.Drained(self.call))

    async def _finish(self) -> None:
        assert self._tool is not None
        current_unit.set(self._unit_count)
        started = time.monotonic()
        value = await self._run(self._tool.finish)
        ended = time.monotonic()
        # It has committed: whatever fails from here on, `abort` must not run.
        self._tool = None
        error = None
        if isinstance(value, IncompleteResult):
            error = ToolError(encodable(value.type), encodable(value.message))
            value = value.value
        data = encode_value(value)
        self._host.spend(len(data))
        rest, pieces = self._host.send_pieces(data)
        self._send(m.Finished(self.call, rest, error, started, ended, pieces))
        self._release()

    async def _abort(self, reason: str) -> None:
        self.aborting = True
        tool, self._tool = self._tool, None
        try:
            if tool is not None and "abort" in self._spec.hooks:
                await self._run(tool.abort, reason)
        except (Exception, SystemExit, KeyboardInterrupt):
            print(f"abort() of call {shown_call(self.call)} raised:", file=sys.stderr)
            traceback.print_exc()
        self._release()

    def _keep(self, text: str) -> None:
        if self._text is None:
            return
        self._text_bytes += len(text.encode(errors="replace"))
        if self._text_bytes > MAX_BYTES:
            raise InvalidArguments(f"the arguments are longer than {MAX_BYTES} bytes")
        self._text.append(text)

    async def _unit(self, ready: float, hook: Callable[..., Any], *unit: Any) -> None:
        if self._interrupted():
            raise _Interrupted
        current_unit.set(self._unit_count)
        self._unit_count += 1
        started = time.monotonic()
        try:
            await self._run(hook, *unit)
        finally:
            ended = time.monotonic()
            self._units.append(UnitTiming(ready, started, ended))
        if ended - self._reported_at > _PROGRESS_INTERVAL_S:
            self._report()

    async def _run(self, hook: Callable[..., Any], *arguments: Any) -> Any:
        async with self._hook_limit():
            value = hook(*arguments)
            return await value if inspect.isawaitable(value) else value

    def _report(self) -> None:
        while len(self._units) > m.PIECE_UNITS:
            some, self._units = self._units[: m.PIECE_UNITS], self._units[m.PIECE_UNITS :]
            self._send(m.Progress(self.call, some, self._reported_fed))
        self._send(m.Progress(self.call, self._units, self._fed))
        self._units = []
        self._reported_fed = self._fed
        self._reported_at = time.monotonic()

    def _release(self) -> None:
        self.over = True
        self._send(m.Released(self.call))


def encode_value(value: Any) -> bytes:
    """A result as JSON; pydantic models are dumped, half of a surrogate pair is escaped.

    Raises:
        TypeError: it cannot be JSON.
    """
    try:
        return msgspec.json.encode(value, enc_hook=_dump)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_dump_any_text)
        return msgspec.json.encode(encodable_value(plain))


def error_of(error: BaseException) -> ToolError:
    """An exception as it crosses the process border."""
    try:
        message = str(error)[:_MAX_MESSAGE_CHARS]
    except Exception as failure:
        message = f"its message cannot be shown: str() raised {type(failure).__name__}"
    return ToolError(type(error).__name__, encodable(message))


def parse_arguments(tool: type[Tool], text: str) -> Any:
    """A region's text as the tool's `Args`.

    Raises:
        InvalidArguments: it is no JSON, or not what `Args` asks for.
    """
    from pydantic import ValidationError

    try:
        return tool.Args.model_validate_json(text)
    except ValidationError as error:
        if (half := half_pair_of(text)) is not None:
            raise InvalidArguments(str(half)) from None
        first, *more = error.errors(include_url=False, include_input=False, include_context=False)
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
        also = f" (and {len(more)} more)" if more else ""
        raise InvalidArguments(
            f"{where.lstrip('.') or 'the arguments'}: {first['msg']}{also}"
        ) from None


def _checked(arguments: Iterator[Argument]) -> Iterator[Argument]:
    try:
        yield from arguments
    except ValueError as error:
        raise InvalidArguments(str(error)) from None


def _dump(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"the result holds a {type(value).__name__}, which cannot be JSON")
    return dump(mode="json")


def _dump_any_text(value: Any) -> Any:
    try:
        return _dump(value)
    except UnicodeEncodeError:
        from pydantic_core import to_jsonable_python

        # As Python, in which pydantic refuses no text, then dates and paths as it has them in JSON.
        return to_jsonable_python(encodable_value(value.model_dump()))
