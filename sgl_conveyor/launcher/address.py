"""Where SGLang will listen: looked at once, since it looks only when its model is loaded."""

from __future__ import annotations

import argparse
import errno
import os
import socket
from pathlib import Path
from typing import Any

import yaml

from sgl_conveyor.errors import ConfigurationError

#: SGLang's defaults.
_HOST = "127.0.0.1"
_PORT = 30000


def check_address(flags: list[str]) -> None:
    """Bind to SGLang's address once, as its HTTP server will.

    Args:
        flags: SGLang's.

    Raises:
        ConfigurationError: nothing can listen there; the message says why.
    """
    host, port = _address(flags)
    if port == 0:
        raise ConfigurationError("--port 0: SGLang calls itself on the port that it was given")
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConfigurationError(f"--host {host} --port {port}: {error}") from None
    for family, kind, protocol, _, address in places:
        _bind(host, port, family, kind, protocol, address)


def _bind(host: str, port: int, family: int, kind: int, protocol: int, address: Any) -> None:
    try:
        probe = socket.socket(family, kind, protocol)
    except OSError:
        return  # as asyncio does: a family that this machine does not have
    with probe:
        # As asyncio's servers do.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigurationError(
                    f"port {port} of {host} is in use: end what listens there, "
                    "or choose another --port"
                ) from None
            why = os.strerror(error.errno or 0)
            raise ConfigurationError(f"--host {host} --port {port}: {why}") from None


def _address(flags: list[str]) -> tuple[str, int]:
    """The host and port that SGLang's own parser will find in its flags."""
    parser = argparse.ArgumentParser(add_help=False)
    # SGLang says itself what is wrong with a flag that has no value.
    parser.add_argument("--host", nargs="?")
    parser.add_argument("--port", nargs="?")
    given, _ = parser.parse_known_args(flags)
    file = _config_file(flags)
    host = given.host or file.get("host") or _HOST
    port = given.port or file.get("port", _PORT)
    try:
        number = int(port)
    except (TypeError, ValueError):
        raise ConfigurationError(f"--port {port}: a port is a number") from None
    if not 0 <= number < 65536:
        raise ConfigurationError(f"--port {port}: a port is a number below 65536")
    return str(host), number


def _config_file(flags: list[str]) -> dict[str, Any]:
    """What SGLang's --config file says; nothing if it cannot be read, which SGLang says itself."""
    if "--config" not in flags[:-1]:
        return {}
    try:
        content = yaml.safe_load(Path(flags[flags.index("--config") + 1]).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
