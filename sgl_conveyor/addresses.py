"""Addresses of sockets on this machine, for processes that need not import ZeroMQ."""

from __future__ import annotations

from pathlib import Path

_SCHEME = "ipc://"


def address_of(path: Path | str) -> str:
    """The address of the socket that is this file."""
    return f"{_SCHEME}{path}"


def path_of(address: str) -> Path:
    """The file of a socket's address."""
    return Path(address.removeprefix(_SCHEME))
