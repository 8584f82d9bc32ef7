"""Messages of ZeroMQ around a frame: alone as it should be, or among other parts."""

from __future__ import annotations

from random import Random

_MOST_PARTS = 1000


def parts_of(random: Random, frame: bytes) -> list[bytes]:
    """The parts of the message that brings a frame.

    Args:
        random: decides everything.
        frame: to send.
    """
    match random.choice(("alone",) * 12 + ("delimited", "more", "twice", "many")):
        case "delimited":
            return [b"", frame]
        case "more":
            return [frame, random.randbytes(random.choice((0, 5, 1000)))]
        case "twice":
            return [frame, frame]
        case "many":
            return [b"x"] * random.randrange(_MOST_PARTS) + [frame]
        case _:
            return [frame]
