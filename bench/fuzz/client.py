"""One of several clients of the same dispatcher, each for a thread of its own."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
import zmq

from bench.measure.harness import LIMIT_S, Harness
from sgl_conveyor import messages as m
from sgl_conveyor.errors import ConveyorError

#: Seconds between two lists of the requests that live.
_INTERVAL_S = 4.0
#: Milliseconds after which whoever waits for an answer looks whether there is a dispatcher.
_LOOK_MS = 200


class Names:
    """The requests that live, of all clients together: a list without one would end it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rids: set[str] = set()
        self._named_at = 0.0

    def add(self, rid: str) -> None:
        """A request lives from now on."""
        with self._lock:
            self._rids.add(rid)

    def discard(self, rid: str) -> None:
        """A request has ended."""
        with self._lock:
            self._rids.discard(rid)

    def all(self) -> list[str]:
        """Those that live."""
        with self._lock:
            return list(self._rids)

    def due(self) -> bool:
        """Whether it is time to name them; says so once."""
        with self._lock:
            if time.monotonic() - self._named_at < _INTERVAL_S:
                return False
            self._named_at = time.monotonic()
            return True


class Client(Harness):
    """What SGLang's processes would tell the dispatcher, in a thread of its own.

    Args:
        first: the harness that started the dispatcher.
        names: shared with all other clients.
    """

    def __init__(self, first: Harness, names: Names) -> None:
        self._names = names
        #: Seconds that an answer may take.
        self.limit_s = LIMIT_S
        super().__init__(first.process, first.directory, first)

    def name_requests(self) -> None:
        if self._names.due():
            self.control.send(m.encode(m.LiveRequests(self._names.all())))

    def attach(self, call: str, stop: list[str] | None = None) -> str:
        # First of all: a list that is made now must have it.
        self._names.add(call[:32])
        return super().attach(call, stop)

    def heard(self, socket: zmq.Socket[Any]) -> bytes:
        """The next frame of a socket of ours.

        Raises:
            TimeoutError: it did not come in time.
            ConveyorError: the dispatcher has ended.
        """
        deadline = time.monotonic() + self.limit_s
        while not socket.poll(_LOOK_MS):
            if self.process.poll() is not None:
                raise ConveyorError(f"the dispatcher ended: {self.process.returncode}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the dispatcher did not answer within {self.limit_s:g} s")
        return bytes(socket.recv())

    def _receive(self) -> bytes:
        return self.heard(self.control)

    def forget(self, call: str) -> None:
        """Delete a call, end its request, and keep nothing of it here."""
        self.ask(m.DeleteCall, call)
        self.control.send(m.encode(m.RequestEnded(call[:32], None, "it was deleted")))
        self._names.discard(call[:32])
        self.rids.pop(call, None)
        self.started.pop(call, None)

    def ended(self, call: str, wait: float) -> str | None:
        """How a call ended: `ok`, or the type and sentence of what went wrong; None: not yet.

        Args:
            call: its id.
            wait: seconds at most.

        Raises:
            ConveyorError: what its tool returned is no JSON.
        """
        view = self.ask(m.ReadCall, call, wait)
        if isinstance(view, m.Refused):
            return f"{view.status} {view.message}"
        assert isinstance(view, m.CallView)
        if not view.ended:
            return None
        try:
            msgspec.json.decode(view.outcome.value or b"null")
        except msgspec.DecodeError as error:
            raise ConveyorError(f"a result that no client can read: {error}") from None
        if view.outcome.error is not None:
            return str(view.outcome.error)
        return "ok" if view.outcome.aborted is None else f"Aborted: {view.outcome.aborted}"

    def close(self) -> None:
        """Close its sockets."""
        self.tap.close(0)
        self.control.close(0)
