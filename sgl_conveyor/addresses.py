"""Addresses of sockets on this machine, for processes that need not import ZeroMQ."""

from __future__ import annotations

from pathlib import Path

_SCHEME = "ipc://"


def address_of(path: Path | str) -> str:
    """The address of a socket of this machine.

    Args:
        path: the file that the socket is.
    """
    return f"{_SCHEME}{path}"


def path_of(address: str) -> Path:
    """The file that a socket of this machine is.

    Args:
        address: the socket's.

    Raises:
        ValueError: it is no address of a file.
    """
    if not address.startswith(_SCHEME):
        raise ValueError(f"{address!r} is no address of a file: it does not begin with {_SCHEME}")
    return Path(address.removeprefix(_SCHEME))
