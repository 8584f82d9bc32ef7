"""What a program in the python tool prints: by Python, by threads, by what it starts, in C."""

from __future__ import annotations

import codecs
import io
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import TextIO

from sgl_conveyor.encodable import encodable

#: Characters of output, and of the last value, that a result holds.
MAX_OUTPUT_CHARS = 256 * 1024
#: Output is sent when this many seconds have passed since the last time, or sooner.
_SEND_INTERVAL_S = 0.05
#: Bytes that are read at once of what others than the main thread wrote.
_READ_BYTES = 64 * 1024


class Output:
    """Keeps what is printed, in the order in which it comes, and sends it on meanwhile.

    From here on descriptors 1 and 2 of this process are a file: subprocesses, forks, C code and
    threads write to it. What the main thread prints is kept at once, after what that file has got.

    Args:
        send: takes what was printed since the last time; called in the main thread only.
    """

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send_on = send
        self._kept: list[str] = []
        self._room = MAX_OUTPUT_CHARS
        self._full = False
        self._unsent: list[str] = []
        self._sent_at = 0.0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process)
        for descriptor in (1, 2):
            os.dup2(self._file.fileno(), descriptor)
        self._read = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._streams = (_Stream(self.write, 1), _Stream(self.write, 2))
        self._saved: tuple[TextIO, TextIO] = (sys.stdout, sys.stderr)

    @property
    def text(self) -> str:
        """All that was kept."""
        return "".join(self._kept)

    def begin(self) -> None:
        """Forget what was printed before, and put our streams in the place of Python's."""
        for stream in self._saved:
            stream.flush()
        self._read = os.fstat(self._file.fileno()).st_size
        self.install()

    def install(self) -> None:
        """Print to us again, whatever the program has made of Python's streams."""
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = self._streams  # type: ignore[misc, assignment]

    def end(self) -> None:
        """Take what was printed until now, send it, and give Python its streams back."""
        self._take_from_others(final=True)
        self.send()
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = self._saved  # type: ignore[misc, assignment]

    def write(self, text: str) -> None:
        """Keep what the main thread prints."""
        self._take_from_others()
        self._keep(text)

    def say(self, text: str) -> None:
        """Print in any thread or fork, whatever the program has made of Python's streams."""
        self._streams[1].write(text)

    def send(self) -> None:
        """Send what came since the last time: a message for each print would be many."""
        self._take_from_others()
        self._send_kept()

    def _send_kept(self) -> None:
        if self._unsent:
            self._send_on("".join(self._unsent))
        self._unsent.clear()
        self._sent_at = time.monotonic()

    def _take_from_others(self, *, final: bool = False) -> None:
        more = True
        while more and not self._full:
            data = os.pread(self._file.fileno(), _READ_BYTES, self._read)
            self._read += len(data)
            more = len(data) == _READ_BYTES
            if data or final:
                self._keep(self._decoder.decode(data, final and not more))

    def _keep(self, text: str) -> None:
        if self._full or not text:
            return
        text = encodable(text)
        if len(text) > self._room:
            text = text[: self._room] + "\n[the rest of the output was dropped]\n"
            self._full = True
        self._room -= len(text)
        self._kept.append(text)
        self._unsent.append(text)
        if time.monotonic() - self._sent_at > _SEND_INTERVAL_S:
            self._send_kept()


class _Stream(io.TextIOBase):
    """`sys.stdout` or `sys.stderr`.

    What the main thread writes is handed over at once; what other threads and forked processes
    write goes to the descriptor, and so into the file.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, write: Callable[[str], None], descriptor: int) -> None:
        self._hand_over = write
        self._descriptor = descriptor
        self._owner = (os.getpid(), threading.get_ident())

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if (os.getpid(), threading.get_ident()) == self._owner:
            self._hand_over(text)
        else:
            os.write(self._descriptor, text.encode(errors=self.errors))
        return len(text)

    def fileno(self) -> int:
        return self._descriptor
