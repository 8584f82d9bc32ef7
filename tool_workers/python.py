"""The python tool: runs each statement of a program as soon as it is complete."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

from sgl_conveyor.tools import IncompleteResult, Tool
from tool_workers._python_figures import figures
from tool_workers._python_output import Output

#: What the file name of a statement begins with, in a traceback.
_STATEMENT = "<statement "


class Python(Tool):
    """Run Python. The result is what it printed, the last expression's value, and a traceback if a
    statement failed; the first one that fails ends the execution, and so does `exit()`. Figures
    drawn with matplotlib are attached as PNG.
    """

    stop = "```"
    sandbox = True
    # Each serves one call: while one is replaced, the other is warm.
    workers = 2

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._ended = False
        self._error: BaseException | None = None
        self._last_value: Any = None

    def open(self) -> None:
        os.environ["MPLBACKEND"] = "module://tool_workers._python_backend"
        self._output = Output(self.emit)
        self._shell = _Shell.instance(config=_CONFIG)
        self._output.begin()

    def on_statement(self, source: str) -> None:
        if self._ended:
            return
        result: ExecutionResult = self._shell.run_cell(source, store_history=False)
        self._last_value = result.result
        self._ran(result.error_before_exec or result.error_in_exec)
        self._output.send()

    def finish(self) -> str | IncompleteResult:
        self._output.install()
        if self._last_value is not None:
            self._attempt(lambda: self._output.say(f"{self._last_value!r}\n"))
        self._attempt(figures.show_open)
        for number, image in enumerate(figures.images, start=1):
            self.attach(f"figure-{number}.png", "image/png", image)
        self._output.end()
        text, error = self._output.text, self._error
        if error is None:
            return text
        says = error.code if isinstance(error, SystemExit) else error
        return IncompleteResult(text, type(error).__name__, _text_of(says))

    def _attempt(self, work: Callable[[], None]) -> None:
        """Run what runs the program's own code, a `__repr__` say."""
        try:
            work()
        except BaseException as error:
            self._ran(error)
        else:
            self._ran(None)

    def _ran(self, error: BaseException | None) -> None:
        """The program's code has run: say how it ended, if it did not come to its end."""
        says, code = ("", 0) if error is None else _end_of(error)
        forked = os.getpid() != self._pid
        if forked or self._error is None:
            self._output.say(says)
        if forked:
            # A fork came out of its statement: this copy of the worker has nothing to do.
            os._exit(code & 0xFF)
        self._ended = self._ended or error is not None
        if code and self._error is None:
            self._error = error


def _end_of(error: BaseException) -> tuple[str, int]:
    """What Python prints when this ends a script, and the script's exit code."""
    if not isinstance(error, SystemExit):
        return user_traceback(error), 1
    match error.code:
        case None:
            return "", 0
        case int(code):
            return "", code
        case message:
            return f"{_text_of(message)}\n", 1


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


def _text_of(value: Any) -> str:
    try:
        return str(value)[:2000]
    except BaseException as failure:
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

    def init_builtins(self) -> None:
        # Python's own `exit` and `quit` end the program; IPython's would end a terminal.
        super().init_builtins()
        for name in ("exit", "quit"):
            del self.builtin_trap.auto_builtins[name]

    def init_user_ns(self) -> None:
        super().init_user_ns()
        for name in ("exit", "quit"):
            del self.user_ns[name]

    async def run_code(self, code_obj: Any, result: Any = None, *, async_: bool = False) -> bool:
        """Run compiled code as IPython does, but keep all that it raises, SystemExit too."""
        try:
            if async_:
                await eval(code_obj, self.user_global_ns, self.user_ns)
            else:
                exec(code_obj, self.user_global_ns, self.user_ns)
        except BaseException as error:
            if result is not None:
                result.error_in_exec = error
            return True
        return False

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
