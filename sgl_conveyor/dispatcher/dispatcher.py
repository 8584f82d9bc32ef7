"""The dispatcher: what the tap, the HTTP process and the workers say becomes events of calls,
and what the calls' lives instruct becomes messages."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import zmq
from tokenizers import Tokenizer

from sgl_conveyor import events, life
from sgl_conveyor import messages as m
from sgl_conveyor.channel import LoopSocket, RunDirectory, configure
from sgl_conveyor.core import ToolError
from sgl_conveyor.describe import info_of
from sgl_conveyor.dispatcher.call import Call
from sgl_conveyor.dispatcher.calls import CallIds, CallTable
from sgl_conveyor.dispatcher.config import DispatcherConfig
from sgl_conveyor.dispatcher.from_worker import event_of
from sgl_conveyor.dispatcher.hosts.local import LocalHost
from sgl_conveyor.dispatcher.pool import WorkerPool
from sgl_conveyor.dispatcher.sub_calls import SubCalls
from sgl_conveyor.errors import CallRefused, ProtocolError, TransitionError

logger = logging.getLogger(__name__)

_SWEEP_INTERVAL_S = 1.0
#: A client's clock may be believed if the POST took no longer than this (seconds).
_MAX_POST_S = 60.0


class Dispatcher:
    """One server's calls.

    Args:
        config: see `DispatcherConfig`.
    """

    def __init__(self, config: DispatcherConfig) -> None:
        self._drain_s = config.drain_s
        directory = RunDirectory(Path(config.run_directory))
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        tap = configure(context.socket(zmq.PULL))
        control = configure(context.socket(zmq.ROUTER))
        self._tap = LoopSocket(tap, self._tapped)
        self._control = LoopSocket(control, self._asked)
        registry = [info_of(spec) for spec in config.tools]
        self._host = LocalHost(directory, unsafe=config.unsafe, registry=registry)
        self._sub_calls = SubCalls(self)
        self.pools = {s.name: WorkerPool(s, self._host, self) for s in config.tools}
        self._ids = CallIds(config.secret)
        self._calls: CallTable[Call] = CallTable(self._ids, config.retention)
        self._from_tap = m.from_tap()
        self._from_http = m.from_http()
        self._http: bytes | None = None
        self._tokenizer: Tokenizer | None = None
        if directory.tokenizer.exists():
            self._tokenizer = Tokenizer.from_file(str(directory.tokenizer))
        self.tap_hello = asyncio.Event()
        self.http_hello = asyncio.Event()
        tap.bind(directory.tap)
        control.bind(directory.control)

    async def run(self) -> None:
        """Serve for ever."""
        for pool in self.pools.values():
            pool.start()
        await asyncio.gather(
            self._host.listen(), self._tap.listen(), self._control.listen(), self._sweep()
        )

    async def close(self) -> None:
        """Let running calls end for a while, abort the rest, and end all workers."""
        deadline = time.monotonic() + self._drain_s
        while self._running() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for call in self._running():
            self.handle(call, events.ClientAborted(time.monotonic(), "the server is shutting down"))
        undone = time.monotonic() + 1.0
        while any(pool.busy for pool in self.pools.values()) and time.monotonic() < undone:
            await asyncio.sleep(0.02)
        await asyncio.gather(*(pool.close() for pool in self.pools.values()))

    def _running(self) -> list[Call]:
        return [call for call in self._calls if call.ended_at is None]

    # --- from the tap ---

    def _tapped(self, frames: list[bytes]) -> None:
        try:
            message = self._from_tap.decode(frames[-1])
        except ProtocolError as error:
            logger.warning("dropped a message on the tap's socket: %s", error)
            return
        self.tap_hello.set()
        if isinstance(message, m.TapHello):
            logger.info("the tap is in place in process %d", message.pid)
            return
        for record in message.records:
            with self._guard(record.call):
                self._committed(record, message.at)

    @contextlib.contextmanager
    def _guard(self, call: str) -> Iterator[None]:
        """An error of ours ends the one call that it happened in, not the dispatcher."""
        try:
            yield
        except Exception as error:
            logger.exception("call %s failed in the dispatcher", call)
            found = self._calls.get(call)
            if found is not None:
                failed = ToolError("InternalError", f"{type(error).__name__}: {error}")
                self._follow(found, found.life.handle(events.ToolFailed(time.monotonic(), failed)))
                self.pools[found.spec.name].kill(call)

    def _committed(self, record: m.TapRecord, at: float) -> None:
        call = self._calls.get(record.call)
        if call is None or self._tokenizer is None:
            return
        event = call.text_event(record, at, self._tokenizer)
        if event is not None:
            self.handle(call, event)

    # --- from the HTTP process ---

    def _asked(self, frames: list[bytes]) -> None:
        try:
            message = self._from_http.decode(frames[-1])
        except ProtocolError as error:
            logger.warning("dropped a message on the control socket: %s", error)
            return
        try:
            self._serve_http(frames[0], message)
        except Exception as error:
            logger.exception("a question of the HTTP process failed")
            if (seq := getattr(message, "seq", None)) is not None:
                why = f"internal error: {type(error).__name__}"
                self._answer(frames[0], m.Refused(seq, 500, why))

    def _serve_http(self, peer: bytes, message: m.FromHttp) -> None:
        self._http = peer
        if isinstance(message, m.HttpHello):
            self._tokenizer = Tokenizer.from_file(message.tokenizer)
            logger.info("the HTTP hooks are in place in process %d", message.pid)
            self.http_hello.set()
            return
        if isinstance(message, m.RequestEnded):
            call = self._calls.get(message.call)
            if call is not None and call.life.rid == message.rid:
                self.handle(call, events.RequestEnded(message.tokens, message.reason))
            return
        try:
            match message:
                case m.CreateCall():
                    self._answer(peer, self._create(message))
                case m.AttachRequest():
                    self._attach(message)
                    self._answer(peer, m.Attached(message.seq))
                case m.ReadCall():
                    self._read(peer, message)
                case m.DeleteCall():
                    call = self._calls.find(message.call)
                    self.handle(
                        call, events.ClientAborted(time.monotonic(), "the client deleted the call")
                    )
                    self._answer(peer, call.view(message.seq))
        except CallRefused as refused:
            self._answer(peer, m.Refused(message.seq, refused.status, refused.message))

    def _create(self, message: m.CreateCall) -> m.Created:
        now = time.monotonic()
        # A client on another machine has another clock.
        start = message.sent_at if now - _MAX_POST_S < message.sent_at <= now else now
        call = self.open_call(message.tool, message.region, partial=message.partial, start=start)
        spec = call.spec
        return m.Created(message.seq, call.id, spec.grammar, spec.limits.timeout_s)

    def open_call(self, tool: str, region: str, *, partial: bool, start: float) -> Call:
        """Create a call; its tool opens at once.

        Args:
            tool: its tool's name.
            region: its region's name.
            partial: whether the tool is fed while the region is decoded.
            start: t = 0, in monotonic seconds.

        Raises:
            CallRefused: there is no such tool (400), or no place for the call (503).
        """
        pool = self.pools.get(tool)
        if pool is None:
            known = ", ".join(sorted(self.pools))
            raise CallRefused(400, f"unknown tool {tool!r}: this server has {known}")
        call = Call(self._ids.new(), pool.spec, region=region, partial=partial, start=start)
        self._calls.add(call)
        try:
            pool.open(call.id, call.region)
        except CallRefused:
            self._calls.remove(call.id)
            raise
        self._follow(call, call.life.begin())
        return call

    def _attach(self, message: m.AttachRequest) -> None:
        call = self._calls.find(message.call)
        if call.life.rid is not None:
            raise CallRefused(400, "the call has a request already: a call takes one request")
        if call.life.state in (life.State.ABORTED, life.State.DONE):
            why = call.life.outcome.aborted
            raise CallRefused(400, f"the call has ended{': aborted: ' + why if why else ''}")
        call.attach(message)
        self.handle(call, events.RequestAttached(time.monotonic(), message.rid))

    def _read(self, peer: bytes, message: m.ReadCall) -> None:
        call = self._calls.find(message.call)
        wait = min(message.wait, m.MAX_WAIT_S)
        call.wait(wait, lambda: self._answer(peer, call.view(message.seq)))

    def _answer(self, peer: bytes, message: m.ToHttp) -> None:
        try:
            self._control.send(peer, m.encode(message))
        except zmq.ZMQError as error:
            logger.warning("the HTTP process cannot be answered: %s", error)

    # --- from the workers ---

    def from_worker(self, call: str, message: m.FromWorker) -> None:
        """A call's worker said something."""
        found = self._calls.get(call)
        if found is None:
            return
        with self._guard(call):
            self._from_worker(found, message)

    def _from_worker(self, call: Call, message: m.FromWorker) -> None:
        if isinstance(message, m.CallTool):
            self._sub_calls.make(call, message)
        elif isinstance(message, m.DropCall):
            self._sub_calls.drop(call, message.ref)
        elif (event := event_of(message)) is not None:
            self.handle(call, event)
            if isinstance(message, m.Drained):
                self.pools[call.spec.name].finish(call.id)

    def forget(self, call: Call) -> None:
        """Keep an ended call no longer."""
        self._calls.remove(call.id)

    def answer_tool(self, call: Call, answer: m.ToolAnswer) -> None:
        """Give a call's tool the answer to a question of its own."""
        self.pools[call.spec.name].answer(answer)

    def restarted(self, call: str) -> None:
        """A call's worker was lost, and another one begins it again."""
        found = self._calls.get(call)
        if found is not None:
            self._sub_calls.end(found)
            self.handle(found, events.ToolRestarted())

    def lost(self, call: str, error: ToolError) -> None:
        """Nothing more will come from a call's worker."""
        found = self._calls.get(call)
        if found is not None:
            self.handle(found, events.ToolFailed(time.monotonic(), error))

    # --- the calls ---

    def handle(self, call: Call, event: events.Event) -> None:
        """Take an event of a call, and do what its life instructs."""
        try:
            instructions = call.life.handle(event)
        except TransitionError as error:
            # Only a worker that lies, or an error of ours, can bring a call here.
            logger.error("call %s: %s", call.id, error)
            failed = events.ToolFailed(time.monotonic(), ToolError("TransitionError", str(error)))
            instructions = [
                *call.life.handle(failed),
                events.KillTool("it is in an impossible state"),
            ]
        self._follow(call, instructions)

    def _follow(self, call: Call, instructions: list[events.Instruction]) -> None:
        pool = self.pools[call.spec.name]
        for instruction in instructions:
            match instruction:
                case events.Feed():
                    pool.feed(call.id, instruction.pieces)
                case events.EndInput():
                    pool.end(call.id, instruction.at)
                case events.AbortTool():
                    pool.abort(call.id, instruction.reason)
                case events.KillTool():
                    pool.kill(call.id)
                case events.StopDecoding():
                    if self._http is not None:
                        self._answer(self._http, m.StopRequest(instruction.rid))
                case events.SetDeadline():
                    passed = functools.partial(
                        self.handle, call, events.DeadlinePassed(instruction.name)
                    )
                    call.set_deadline(instruction.name, instruction.seconds, passed)
                case events.ClearDeadline():
                    call.clear_deadline(instruction.name)
                case events.Settle():
                    self._sub_calls.end(call)
                    call.settle()
                    self._calls.ended(call)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            self._calls.sweep()
