"""What a tool's instance says, on its way to the dispatcher; and the answers to what it asks."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from contextvars import ContextVar

import msgspec

from sgl_conveyor import messages as m
from sgl_conveyor.core import Outcome, ToolError, ToolResult
from sgl_conveyor.encodable import encodable
from sgl_conveyor.errors import ResultTooLarge
from sgl_conveyor.returned import too_much
from sgl_conveyor.specs import ToolInfo
from sgl_conveyor.timings import Span

_MAX_LABEL_CHARS = 200

#: The number of the unit whose hook runs, or which began the task that runs; -1 is `open`.
current_unit: ContextVar[int] = ContextVar("current_unit", default=-1)


class CallContext:
    """The `Host` of one call in a worker.

    Args:
        call: its id.
        send: sends a message to the dispatcher.
        tools: the tools that it may call.
        result_bytes: that the call may return.
    """

    def __init__(
        self,
        call: str,
        send: Callable[[m.FromWorker], None],
        tools: Mapping[str, ToolInfo],
        result_bytes: int,
    ) -> None:
        self.tools = tools
        self._call = call
        self._send = send
        self._limit = self._room = result_bytes
        self._refs = itertools.count()
        self._asked: dict[int, asyncio.Future[Outcome]] = {}

    def emit(self, text: str) -> None:
        text = encodable(text)
        self.spend(len(text.encode()))
        for start in range(0, len(text), m.PIECE_CHARS):
            self._send(m.Emitted(self._call, text[start : start + m.PIECE_CHARS]))

    def spend(self, size: int) -> None:
        """Return so many bytes more.

        Raises:
            ResultTooLarge: the call would return more than it may; these are not counted.
        """
        if size > self._room:
            raise ResultTooLarge(too_much(self._limit))
        self._room -= size

    def send_pieces(self, data: bytes) -> tuple[bytes, int]:
        """Send what is too much for one message; returns what is left for it, and how many came."""
        view, number = memoryview(data), 0
        while len(view) > m.PIECE_BYTES:
            self._send(m.DataPiece(self._call, number, bytes(view[: m.PIECE_BYTES])))
            view, number = view[m.PIECE_BYTES :], number + 1
        return bytes(view), number

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        self.spend(len(data))
        rest, pieces = self.send_pieces(data)
        self._send(m.FileSent(self._call, encodable(name), encodable(media_type), rest, pieces))

    def worked(self, label: str, started: float, ended: float) -> None:
        span = Span(encodable(label[:_MAX_LABEL_CHARS]), started, ended, current_unit.get())
        self._send(m.Worked(self._call, span))

    async def call_tool(self, name: str, text: str) -> ToolResult:
        if not self.tools:
            raise RuntimeError("call_tool() is for tools without a sandbox, with coroutine hooks")
        ref = next(self._refs)
        answer = self._asked[ref] = asyncio.get_running_loop().create_future()
        try:
            self._send(m.CallTool(self._call, ref, encodable(name), encodable(text)))
            return ToolResult(await answer)
        finally:
            del self._asked[ref]
            if not answer.done() or answer.cancelled():
                self._send(m.DropCall(self._call, ref))

    def answered(self, message: m.ToolAnswer) -> None:
        """Give an answer to who waits for it."""
        answer = self._asked.get(message.ref)
        if answer is not None and not answer.done():
            outcome = message.outcome
            try:
                outcome.value = msgspec.json.decode(outcome.value or b"null")
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                # The other tool may run what a model wrote.
                unread = ToolError("ProtocolError", f"its result cannot be read: {error}")
                outcome = Outcome(error=unread)
            answer.set_result(outcome)
