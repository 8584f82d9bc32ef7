"""The python tool: runs each statement of a program as soon as it is complete."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

from sgl_conveyor.tools import IncompleteResult, Tool
from tool_workers._python_figures import figures

#: Characters of output, and of the last value, that a result holds.
MAX_OUTPUT_CHARS = 256 * 1024
#: Output is emitted when this many seconds have passed since the last time, or sooner.
_EMIT_INTERVAL_S = 0.05
#: What the file name of a statement begins with, in a traceback.
_STATEMENT = "<statement "


class Python(Tool):
    """Run Python. The result is what it printed, the last expression's value, and a traceback if a
    statement failed; the first one that fails ends the execution. Figures drawn with matplotlib
    are attached as PNG.
    """

    stop = "```"
    sandbox = True
    # Each serves one call: while one is replaced, the other is warm.
    workers = 2

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._error: BaseException | None = None
        self._last_value: Any = None
        self._output: list[str] = []
        self._room = MAX_OUTPUT_CHARS
        self._unsent: list[str] = []
        self._sent_at = 0.0

    def open(self) -> None:
        os.environ["MPLBACKEND"] = "module://tool_workers._python_backend"
        self._streams = _CapturedStreams(self._write)
        self._shell = _Shell.instance(config=_CONFIG)
        self._streams.discard()

    def on_statement(self, source: str) -> None:
        if self._error is not None:
            return
        with self._streams:
            result: ExecutionResult = self._shell.run_cell(source, store_history=False)
        if os.getpid() != self._pid:
            # A fork came out of its statement: this copy of the worker has nothing to do.
            os._exit(0)
        self._error = result.error_before_exec or result.error_in_exec
        self._last_value = result.result
        self._send()

    def finish(self) -> str | IncompleteResult:
        if self._last_value is not None:
            self._write(self._shown(self._last_value))
        self._draw()
        if self._error is not None:
            self._write(user_traceback(self._error))
        self._send()
        text = "".join(self._output)
        if self._error is None:
            return text
        return IncompleteResult(text, type(self._error).__name__, _message(self._error))

    def _shown(self, value: Any) -> str:
        """The value as a prompt would show it; a `__repr__` that fails fails the program."""
        with self._streams:
            try:
                return f"{value!r}\n"
            except BaseException as error:
                self._error = error
                return ""

    def _draw(self) -> None:
        """Attach what the program showed, and what it left open."""
        with self._streams:
            try:
                figures.show_open()
            except BaseException as error:
                self._error = self._error or error
        for number, image in enumerate(figures.images, start=1):
            self.attach(f"figure-{number}.png", "image/png", image)

    def _write(self, text: str) -> None:
        if self._room <= 0 or not text:
            return
        if len(text) > self._room:
            text = text[: self._room] + "\n[the rest of the output was dropped]\n"
        self._room -= len(text)
        self._output.append(text)
        self._unsent.append(text)
        if time.monotonic() - self._sent_at > _EMIT_INTERVAL_S:
            self._send()

    def _send(self) -> None:
        """Emit what was written since the last time: a message for each print would be many."""
        if self._unsent:
            self.emit("".join(self._unsent))
        self._unsent.clear()
        self._sent_at = time.monotonic()


def user_traceback(error: BaseException) -> str:
    """A traceback that begins at the user's code, as Python would print it.

    Args:
        error: what the code raised.
    """
    frames: TracebackType | None = error.__traceback__
    while frames is not None and not frames.tb_frame.f_code.co_filename.startswith(_STATEMENT):
        frames = frames.tb_next
    lines = traceback.format_exception(type(error), error, frames, chain=False)
    return "".join(lines)


def _message(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except Exception as failure:
        return f"its message cannot be shown: {type(failure).__name__}"


class _LastValue(DisplayHook):  # type: ignore[misc]
    """Keeps the value of an expression without printing it."""

    def __call__(self, result: Any = None) -> None:
        if result is not None:
            self.shell.user_ns["_"] = result
            self.exec_result.result = result


class _Compiler(CachingCompiler):  # type: ignore[misc]
    """Numbers the statements in the order in which they run."""

    _count = 0

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        self._count += 1
        return f"{_STATEMENT}{self._count}>"


class _Shell(InteractiveShell):  # type: ignore[misc]
    """IPython's shell; what a statement raises is shown by the tool, not printed here."""

    displayhook_class = _LastValue
    compiler_class = _Compiler

    def showtraceback(self, *args: Any, **kwargs: Any) -> None:
        pass

    def showsyntaxerror(self, *args: Any, **kwargs: Any) -> None:
        pass

    def showindentationerror(self, *args: Any, **kwargs: Any) -> None:
        pass


_CONFIG = Config()
_CONFIG.HistoryManager.enabled = False
_CONFIG.InteractiveShell.colors = "nocolor"
_CONFIG.InteractiveShell.cache_size = 0
_CONFIG.InteractiveShell.autocall = 0


class _Stream(io.TextIOBase):
    """A text stream of the statement that runs.

    What its own thread writes is handed over at once; what other threads and forked processes
    write goes to the descriptor, and so into the captured file.
    """

    encoding = "utf-8"

    def __init__(self, write: Callable[[str], None], descriptor: int) -> None:
        self._hand_over = write
        self._descriptor = descriptor
        self._owner = (os.getpid(), threading.get_ident())

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if (os.getpid(), threading.get_ident()) == self._owner:
            self._hand_over(text)
        else:
            os.write(self._descriptor, text.encode(errors="replace"))
        return len(text)

    def fileno(self) -> int:
        return self._descriptor


class _CapturedStreams:
    """While entered, everything that is printed is captured: by Python, and by what it starts.

    Args:
        write: takes each piece of text.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process)
        # Subprocesses and C code write to descriptors 1 and 2, so these become our file for good.
        for descriptor in (1, 2):
            os.dup2(self._file.fileno(), descriptor)
        self._read = 0
        self._own = (_Stream(write, 1), _Stream(write, 2))

    def __enter__(self) -> None:
        self._saved: tuple[TextIO, TextIO] = (sys.stdout, sys.stderr)
        sys.stdout, sys.stderr = self._own

    def discard(self) -> None:
        """Forget what was captured: the shell's own words, of a foreign VIRTUAL_ENV say."""
        self._read = os.fstat(self._file.fileno()).st_size

    def __exit__(self, *exc_info: object) -> None:
        sys.stdout, sys.stderr = self._saved
        data = os.pread(self._file.fileno(), 4 * MAX_OUTPUT_CHARS, self._read)
        self._read += len(data)
        self._write(data.decode("utf-8", "replace"))
