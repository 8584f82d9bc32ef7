"""What SGLang's HTTP process asks and reports, and the answers that it gets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

import zmq
from tokenizers import Tokenizer

from sgl_conveyor import life
from sgl_conveyor import messages as m
from sgl_conveyor.channel import LoopSocket
from sgl_conveyor.dispatcher.call import Call
from sgl_conveyor.dispatcher.region import RegionSink
from sgl_conveyor.dispatcher.requests import RequestTable
from sgl_conveyor.dispatcher.text import TextOptions
from sgl_conveyor.errors import CallRefused, ProtocolError

logger = logging.getLogger(__name__)

#: A client's clock may be believed if the POST took no longer than this (seconds).
_MAX_POST_S = 60.0


class Calls(Protocol):
    """What the dispatcher does for the HTTP process."""

    def open_call(
        self, tool: str, region: str, *, partial: bool, start: float, attached: bool = False
    ) -> Call:
        """Create a call."""

    def find_call(self, call: str) -> Call:
        """The call of this id."""


class HttpSide:
    """What the dispatcher hears from the HTTP process, and tells it.

    Args:
        socket: the control socket, a ROUTER.
        calls: the dispatcher.
        hello: called when the HTTP process has said hello.
    """

    def __init__(self, socket: zmq.Socket[bytes], calls: Calls, hello: Callable[[], None]) -> None:
        self._socket = LoopSocket(socket, self._received)
        self._calls = calls
        self._hello = hello
        self._decoder = m.from_http()
        self._peer: bytes | None = None
        self._pid: int | None = None
        self._tokenizer: Tokenizer | None = None
        # The hello that named it: one that is said again costs no reading.
        self._read_for: m.HttpHello | None = None
        self.requests = RequestTable(self._stop)

    def use_tokenizer(self, file: str) -> None:
        """Decode tokens with the tokenizer in this file."""
        self._tokenizer = Tokenizer.from_file(file)

    async def listen(self) -> None:
        """Serve the HTTP process for ever."""
        await self._socket.listen()

    def _received(self, frames: list[bytes]) -> None:
        try:
            message = self._decoder.decode(frames[-1])
        except ProtocolError as error:
            logger.warning("dropped a message on the control socket: %s", error)
            return
        self._peer = peer = frames[0]
        try:
            self._serve(peer, message)
        except CallRefused as refused:
            self._refuse(message, refused.status, refused.message)
        except Exception as error:
            logger.exception("a question of the HTTP process failed")
            self._refuse(message, 500, f"internal error: {type(error).__name__}")

    def _serve(self, peer: bytes, message: m.FromHttp) -> None:
        match message:
            case m.HttpHello():
                self._greeted(message)
            case m.RequestEnded():
                self.requests.reported(message)
            case m.LiveRequests():
                self.requests.named(message.rids)
            case m.CreateCall():
                self._answer(peer, self._create(message))
            case m.AttachRequest():
                self._attach(message)
                self._answer(peer, m.Attached(message.seq))
            case m.ReadCall():
                self._read(peer, message)
            case m.DeleteCall():
                call = self._calls.find_call(message.call)
                call.abort("the client deleted the call")
                self._answer(peer, call.view(message.seq))

    def _greeted(self, message: m.HttpHello) -> None:
        if self._pid not in (None, message.pid):
            self.requests.end_all("SGLang's server ended")
        self._pid = message.pid
        try:
            if message != self._read_for:
                self.use_tokenizer(message.tokenizer)
                self._read_for = message
        except Exception as error:  # the library has no other class for it
            file = repr(message.tokenizer[:200])
            logger.error("the HTTP process's tokenizer %s cannot be read: %s", file, error)
            return
        logger.info("the HTTP hooks are in place in process %d", message.pid)
        self._hello()

    def _create(self, message: m.CreateCall) -> m.Created:
        now = time.monotonic()
        # A client on another machine has another clock.
        start = message.sent_at if now - _MAX_POST_S < message.sent_at <= now else now
        call = self._calls.open_call(
            message.tool, message.region, partial=message.partial, start=start
        )
        spec = call.spec
        return m.Created(message.seq, call.id, spec.grammar, spec.limits.timeout_s)

    def _attach(self, message: m.AttachRequest) -> None:
        call = self._calls.find_call(message.call)
        if call.life.attached:
            raise CallRefused(400, "the call has a request already: a call takes one request")
        if call.life.state in (life.State.ABORTED, life.State.DONE):
            why = call.life.record.outcome.aborted
            raise CallRefused(400, f"the call has ended{': aborted: ' + why if why else ''}")
        if self._tokenizer is None:
            raise CallRefused(503, "the dispatcher has no tokenizer yet: try again")
        options = TextOptions(message.stop, message.keep_stop, message.skip_special_tokens)
        self.requests.attach(message.rid, RegionSink(call), options, self._tokenizer)

    def _read(self, peer: bytes, message: m.ReadCall) -> None:
        call = self._calls.find_call(message.call)
        wait = min(message.wait, m.MAX_WAIT_S)
        call.wait(wait, lambda: self._answer(peer, call.view(message.seq)))

    def _stop(self, rid: str) -> None:
        if self._peer is not None:
            self._answer(self._peer, m.StopRequest(rid))

    def _refuse(self, message: m.FromHttp, status: int, why: str) -> None:
        seq = getattr(message, "seq", None)
        if seq is not None and self._peer is not None:
            self._answer(self._peer, m.Refused(seq, status, why))

    def _answer(self, peer: bytes, message: m.ToHttp) -> None:
        frame = m.encode(message)
        if len(frame) > m.MAX_FRAME_BYTES and isinstance(message, m.CallView):
            why = f"the call has {len(frame)} bytes: more than can be read ({m.MAX_FRAME_BYTES})"
            frame = m.encode(m.Refused(message.seq, 500, why))
        try:
            self._socket.send(peer, frame)
        except zmq.ZMQError as error:
            logger.warning("the HTTP process cannot be answered: %s", error)
