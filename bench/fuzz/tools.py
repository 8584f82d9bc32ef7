"""The tools of the fuzz run: two that do as they should, and one whose worker sends anything."""

from __future__ import annotations

import gc
import os
import socket
import threading
from pathlib import Path
from random import Random
from typing import ClassVar

from bench.fuzz.sessions import stream_of, worker_frames
from sgl_conveyor.tools import Tool

ECHO = "bench.fuzz.tools:Echo"
TARGET = "bench.fuzz.tools:Target"
FUZZED = "bench.fuzz.tools:Fuzzed"
#: Names the file whose text, if there is any, is the seed of what the next worker of `Fuzzed` says
#: before its hello.
BEFORE_HELLO = "CONVEYOR_FUZZ_BEFORE_HELLO"
#: Seconds without anything to do after which a worker ends: it may have said that its call is over,
#: or something that swallows what it says after that.
_LEFT_ALONE_S = 2.0
#: Seconds after the result until the last session.
_AFTERWARDS_S = 0.01


class Echo(Tool):
    """Returns its text: the tool of the calls that must not be harmed."""

    def __init__(self) -> None:
        self._text: list[str] = []

    async def on_text(self, delta: str) -> None:
        self._text.append(delta)

    async def finish(self) -> str:
        return "".join(self._text)


class Target(Echo):
    """The same: the tool of the calls that are created in SGLang's name."""


class Fuzzed(Tool):
    """Each line is `WHEN SEED OTHER-CALL ...`: what its worker says then, beside what it should.

    WHEN is `line`, while the region is decoded, `finish`, or `after` the result.
    """

    _end: ClassVar[threading.Timer | None] = None

    def __init__(self) -> None:
        self._later: list[str] = []

    def open(self) -> None:
        if Fuzzed._end is not None:
            Fuzzed._end.cancel()
        Fuzzed._end = threading.Timer(_LEFT_ALONE_S, os._exit, (0,))
        Fuzzed._end.daemon = True
        Fuzzed._end.start()

    def on_line(self, line: str) -> None:
        if line.startswith("line"):
            _write(self._pieces(line))
        else:
            self._later.append(line)

    def finish(self) -> int:
        for line in self._later:
            pieces = self._pieces(line)
            if line.startswith("finish"):
                _write(pieces)
            else:
                threading.Timer(_AFTERWARDS_S, _write, (pieces,)).start()
        return len(self._later)

    def _pieces(self, line: str) -> list[bytes]:
        _, seed, *others = line.split()
        random = Random(seed)
        return stream_of(random, worker_frames(random, self.call.id, others))


#: The channel of this process, if it is a worker's.
_CHANNELS = [
    found
    for found in gc.get_objects()
    if isinstance(found, socket.socket) and found.family == socket.AF_UNIX
]


def _write(pieces: list[bytes]) -> None:
    for channel in _CHANNELS:
        for piece in pieces:
            channel.sendall(piece)


def _before_hello() -> None:
    file = Path(os.environ.get(BEFORE_HELLO, os.devnull))
    if file.is_file() and (seed := file.read_text()):
        file.write_text("")
        random = Random(seed)
        _write(stream_of(random, worker_frames(random, "0" * 48, [])))


_before_hello()
