"""The HTTP process as the dispatcher's client: questions, answers, and orders to stop a request."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from sgl_conveyor import messages as m
from sgl_conveyor.channel import RunDirectory, configure, send_now
from sgl_conveyor.errors import CallRefused, DispatcherGone, DispatcherSlow, ProtocolError
from sgl_conveyor.supervision import Supervisor

logger = logging.getLogger(__name__)

#: Seconds without a line to the dispatcher after which it is made anew.
_RECONNECT_S = 1.0

#: Seconds that the dispatcher may take to answer what it can answer at once.
ANSWER_LIMIT_S = 5.0


class ControlClient:
    """Asks the dispatcher; made in the event loop that uses it.

    Args:
        directory: where the dispatcher's sockets are.
        stop_request: ends a running request of SGLang, by its id.
    """

    def __init__(self, directory: RunDirectory, stop_request: Callable[[str], None]) -> None:
        self._stop_request = stop_request
        self._decoder = m.to_http()
        self._seq = itertools.count(1)
        self._pending: dict[int, asyncio.Future[m.ToHttp]] = {}
        # With unconnected_waits off, sending fails at once while no dispatcher is there.
        self._socket = configure(
            zmq.asyncio.Context.instance().socket(zmq.DEALER), unconnected_waits=False
        )
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        events = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self._monitor = self._socket.get_monitor_socket(events)
        self._connected = asyncio.Event()
        #: Keeps what runs beside the requests.
        self.supervisor = Supervisor()
        self.supervisor.keep("watch of the dispatcher's connection", self._watch_connection)
        self.supervisor.keep("listener to the dispatcher", self._listen)
        self._address = directory.control
        self._socket.connect(self._address)

    async def connected(self, seconds: float) -> None:
        """Wait for the dispatcher.

        Raises:
            DispatcherGone: it did not come within so many seconds.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._connected.wait()
        except TimeoutError:
            raise DispatcherGone("no dispatcher") from None

    async def ask(
        self, question: Callable[[int], m.FromHttp], limit_s: float = ANSWER_LIMIT_S
    ) -> m.ToHttp:
        """Send a question and return the answer.

        Args:
            question: makes the message, with the number that its answer echoes.
            limit_s: seconds that the answer may take.

        Raises:
            CallRefused: the dispatcher refused.
            DispatcherGone: there is no dispatcher, or it did not answer in time.
        """
        seq = next(self._seq)
        answer = self._pending[seq] = asyncio.get_running_loop().create_future()
        try:
            self.tell(question(seq))
            async with asyncio.timeout(limit_s):
                message: m.ToHttp = await answer
        except TimeoutError:
            raise DispatcherSlow(f"no answer within {limit_s:g} s") from None
        finally:
            self._pending.pop(seq, None)
        if isinstance(message, m.Refused):
            raise CallRefused(message.status, message.message)
        return message

    def tell(self, message: m.FromHttp) -> None:
        """Send a message without waiting.

        Raises:
            DispatcherGone: there is no dispatcher.
        """
        try:
            send_now(self._socket, m.encode(message))
        except zmq.ZMQError as error:
            raise DispatcherGone(str(error)) from None

    async def _listen(self) -> None:
        while True:
            frame = await self._socket.recv()
            try:
                message = self._decoder.decode(frame)
            except ProtocolError as error:
                logger.warning("dropped a message of the dispatcher: %s", error)
                continue
            if isinstance(message, m.StopRequest):
                try:
                    self._stop_request(message.rid)
                except Exception:
                    logger.exception("request %s could not be stopped", message.rid)
            elif (answer := self._pending.get(message.seq)) is not None and not answer.done():
                answer.set_result(message)

    async def _watch_connection(self) -> None:
        """Know at once when the dispatcher comes and goes: nobody waits for a dead one."""
        line: int | None = None
        while True:
            event = asyncio.ensure_future(recv_monitor_message(self._monitor))
            try:
                while not event.done():
                    limit = None if line is not None else _RECONNECT_S
                    await asyncio.wait({event}, timeout=limit)
                    if not event.done():
                        self._connect_again()
            finally:
                event.cancel()
            kind, value = event.result()["event"], event.result()["value"]
            if kind == zmq.EVENT_CONNECTED:
                line = value
            elif kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._connected.set()
            elif kind == zmq.EVENT_DISCONNECTED and value == line:
                line = None
                self._disconnected()

    def _disconnected(self) -> None:
        self._connected.clear()
        logger.warning(
            "the dispatcher is gone: requests with a tool region get 503 until it is back"
        )
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(DispatcherGone("the line to the dispatcher broke"))

    def _connect_again(self) -> None:
        """Make the line anew, as ZeroMQ does not by itself after a frame that is too large."""
        with contextlib.suppress(zmq.ZMQError):
            self._socket.disconnect(self._address)
        self._socket.connect(self._address)
