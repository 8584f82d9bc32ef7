"""ZeroMQ's own protocol (ZMTP 3) by hand, with something wrong: what no ZeroMQ would send."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path
from random import Random

_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_LONG, _COMMAND, _MORE = 2, 4, 1
_LIMIT_S = 0.05


def raw(random: Random, path: Path, kind: bytes, frames: Sequence[bytes]) -> int:
    """Connect, send a stream with something wrong in it, and leave; returns its bytes.

    Args:
        random: decides everything.
        path: of the socket.
        kind: of ZeroMQ's sockets, as which it speaks: `DEALER`.
        frames: what it would send.
    """
    name = b"\x0bSocket-Type" + len(kind).to_bytes(4) + kind
    parts = [_GREETING, _part(_COMMAND, b"\x05READY" + name)]
    parts += [_part(random.choice((0, 0, _MORE)), frame) for frame in frames[:20]]
    data = bytearray(b"".join(parts))
    match random.choice(("flips", "flips", "cut", "length", "junk", "more")):
        case "flips":
            for _ in range(random.choice((1, 3))):
                data[random.randrange(min(len(data), 150))] ^= 1 << random.randrange(8)
        case "cut":
            del data[random.randrange(len(data)) :]
        case "length":
            data += bytes((_LONG,)) + random.choice((2**63, 2**64 - 1, 2**26 + 1)).to_bytes(8)
        case "junk":
            data = bytearray(random.randbytes(random.choice((1, 64, 1000))))
        case "more":
            data += bytes((_MORE, 0)) * 2000
    with socket.socket(socket.AF_UNIX) as peer, contextlib.suppress(OSError):
        # It is done when the other end hangs up, or says nothing more for a moment.
        peer.settimeout(_LIMIT_S)
        peer.connect(str(path))
        peer.sendall(data)
        while peer.recv(4096):
            pass
    return len(data)


def _part(flags: int, body: bytes) -> bytes:
    if len(body) < 256:
        return bytes((flags, len(body))) + body
    return bytes((flags | _LONG,)) + len(body).to_bytes(8) + body
