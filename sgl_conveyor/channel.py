"""The sockets: where they are, how they are made, what they refuse."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import zmq
import zmq.asyncio

from sgl_conveyor.core import ConfigurationError
from sgl_conveyor.messages import MAX_FRAME_BYTES

#: Frames that may wait in a socket before a sender is told so.
HIGH_WATER_MARK = 10_000
#: Linux's limit for the path of a local socket (bytes), its final NUL included.
_MAX_PATH_BYTES = 108

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
            ConfigurationError: its path is too long for a socket.
        """
        path = Path(tempfile.mkdtemp(prefix="sgl-conveyor-"))
        if len(os.fsencode(path)) + len("/worker-") + 32 >= _MAX_PATH_BYTES:
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
    def workers(self) -> str:
        """Where trusted workers connect."""
        return self._address("workers")

    @property
    def tokenizer(self) -> Path:
        """The served model's tokenizer, as the HTTP process wrote it."""
        return self.path / "tokenizer.json"

    @property
    def tools(self) -> Path:
        """The descriptions of the server's tools, as JSON."""
        return self.path / "tools.json"

    def own_channel(self, token: str) -> str:
        """The channel of one sandboxed worker."""
        return self._address(f"worker-{token}")

    def _address(self, name: str) -> str:
        return f"ipc://{self.path / name}"


def path_of(address: str) -> Path:
    """The file of an `ipc://` address."""
    return Path(address.removeprefix("ipc://"))


def new_token() -> str:
    """32 hex digits that nobody can guess."""
    return secrets.token_hex(16)


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
