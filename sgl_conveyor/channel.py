"""The sockets: where they are, how they are made, what they refuse."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import zmq
import zmq.asyncio

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.messages import MAX_FRAME_BYTES

#: Frames that may wait in a socket before a sender is told so.
HIGH_WATER_MARK = 10_000
#: Linux's limit for the path of a local socket (bytes), its final NUL included.
_MAX_PATH_BYTES = 108

#: Messages that one socket brings before the rest of the event loop has its turn.
_AT_ONCE = 64

_S = TypeVar("_S", bound="zmq.Socket[Any]")


class RunDirectory:
    """The private directory (0700) that holds the sockets and files of one server.

    Args:
        path: an existing directory; `create` makes one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls) -> RunDirectory:
        """A new directory below the temporary one, which only this user can enter.

        Raises:
            ConfigurationError: it cannot be made, or its path is too long for a socket.
        """
        try:
            path = Path(tempfile.mkdtemp(prefix="sgl-conveyor-"))
        except OSError as error:
            raise ConfigurationError(
                f"no directory for the sockets can be made ({error.strerror}): set TMPDIR to one "
                "that can be written"
            ) from None
        if len(os.fsencode(path)) + len("/control") >= _MAX_PATH_BYTES:
            path.rmdir()
            raise ConfigurationError(
                f"the path {path} is too long for a socket: set TMPDIR to a shorter one"
            )
        return cls(path)

    @property
    def tap(self) -> str:
        """Where the tap pushes."""
        return self._address("tap")

    @property
    def control(self) -> str:
        """Where the HTTP process asks."""
        return self._address("control")

    @property
    def tokenizer(self) -> Path:
        """The served model's tokenizer, as the HTTP process wrote it."""
        return self.path / "tokenizer.json"

    @property
    def tools(self) -> Path:
        """The descriptions of the server's tools, as JSON."""
        return self.path / "tools.json"

    def _address(self, name: str) -> str:
        return f"ipc://{self.path / name}"


def configure(socket: _S, *, unconnected_waits: bool = True) -> _S:
    """Give a socket our limits; it never lingers.

    Args:
        socket: a fresh socket.
        unconnected_waits: whether frames are kept for a peer that is not there yet.
    """
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    socket.setsockopt(zmq.IMMEDIATE, 0 if unconnected_waits else 1)
    return socket


def send_now(socket: zmq.asyncio.Socket, *frames: bytes) -> None:
    """Send on a socket of the event loop without waiting.

    Raises:
        zmq.ZMQError: the peer is gone (`EHOSTUNREACH`), or does not read (`EAGAIN`).
    """
    # With DONTWAIT the future is done when it is returned.
    sent = socket.send_multipart(frames, zmq.DONTWAIT)
    assert isinstance(sent, asyncio.Future)
    if (error := sent.exception()) is not None:
        raise error


class LoopSocket:
    """A socket of an event loop that has many small messages: no future and no task for each.

    Args:
        socket: a plain one; all that comes and goes passes through here.
        received: called with each message's frames, in the event loop, while `listen` runs.
    """

    def __init__(self, socket: zmq.Socket[bytes], received: Callable[[list[bytes]], None]) -> None:
        self._socket = socket
        self._received = received
        self._loop: asyncio.AbstractEventLoop | None = None
        self._broken: asyncio.Future[None] | None = None
        self._due = False

    async def listen(self) -> None:
        """Bring messages, for ever.

        Raises:
            zmq.ZMQError: the socket is of no use any more.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._broken = loop.create_future()
        descriptor = self._socket.FD
        loop.add_reader(descriptor, self._take)
        # What came before gives no sign any more.
        self._take_soon()
        try:
            await self._broken
        finally:
            loop.remove_reader(descriptor)
            self._loop = None

    def send(self, *frames: bytes) -> None:
        """Send without waiting.

        Raises:
            zmq.ZMQError: the peer is gone (`EHOSTUNREACH`), or does not read (`EAGAIN`).
        """
        try:
            self._socket.send_multipart(frames, zmq.DONTWAIT)
        finally:
            # Sending may have taken the sign that something came: ZeroMQ gives it once.
            self._take_soon()

    def close(self) -> None:
        """Close the socket; `listen` must have ended."""
        self._socket.close(linger=0)

    def fail(self, error: zmq.ZMQError) -> None:
        """Have `listen` raise: whoever supervises it decides what follows."""
        if self._broken is not None and not self._broken.done():
            self._broken.set_exception(error)

    def _take_soon(self) -> None:
        if self._loop is not None and not self._due:
            self._due = True
            self._loop.call_soon(self._take_due)

    def _take_due(self) -> None:
        self._due = False
        self._take()

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            if self._loop is None:
                return
            try:
                frames = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            except zmq.ZMQError as error:
                self.fail(error)
                return
            try:
                self._received(frames)
            except BaseException:
                self._take_soon()
                raise
        self._take_soon()
