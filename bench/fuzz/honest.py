"""Calls that must not be harmed: run again and again, each looked at when it has ended."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

from bench.fuzz.client import Client
from bench.measure.harness import STOP
from sgl_conveyor.errors import ConveyorError

#: Seconds from a call's first word to its result: much more than it takes where all cores are busy.
LIMIT_S = 20.0
_PAUSE_S = 0.01
#: Rounds in which a long call is decoded: hostile workers have the time to name it.
_ROUNDS_OF_ONE = 8
#: One of another tool than any hostile worker's, and one of the same.
_LONG = ("echo", "python")
_TEXT = "One call shall not hear what other calls have said to the same dispatcher. "


class Honest:
    """Runs one call after the other, of a trusted tool, a few, and in a sandbox, one.

    Args:
        client: of its own.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._now: list[str] = []
        self._long: dict[str, str] = {}
        self._rounds = 0
        #: Calls that came to the right result, and the longest of them (seconds).
        self.calls = 0
        self.slowest_s = 0.0

    def ids(self) -> list[str]:
        """The calls that run now."""
        # A hostile call of the same tool comes nearest.
        nearest = [call for tool, call in list(self._long.items()) if tool == "python"]
        return [*self._now, *self._long.values(), *nearest, *nearest]

    def run(self, over: threading.Event, harmed: Callable[[str], None]) -> None:
        """Run calls until it is over.

        Args:
            over: when.
            harmed: told what was wrong with one.
        """
        try:
            while not over.is_set():
                self.round()
        except Exception as error:
            traceback.print_exc()
            harmed(f"an honest call: {type(error).__name__}: {error}")

    def round(self) -> None:
        """Run a few calls.

        Raises:
            ConveyorError: one of them came to a wrong result, or too late.
            TimeoutError: the dispatcher does not answer.
        """
        self._go_on()
        for number, tool in enumerate(("echo", "echo", "echo", "python")):
            began = time.monotonic()
            text = _TEXT * (1 + number)
            self._one(tool, text)
            took = time.monotonic() - began
            if took > LIMIT_S:
                raise ConveyorError(f"a call of {tool} took {took:.1f} s")
            self.calls += 1
            self.slowest_s = max(self.slowest_s, took)

    def _go_on(self) -> None:
        """Decode some more of the calls that last for rounds; look at them at their ends."""
        if not self._long:
            self._rounds = 0
            for tool in _LONG:
                self._long[tool] = call = self._client.create(tool)
                self._client.attach(call)
        self._rounds += 1
        for tool, call in self._long.items():
            self._client.decode(call, _input(tool, _TEXT))
        if self._rounds == _ROUNDS_OF_ONE:
            for tool, call in self._long.items():
                self._client.decode(call, "", STOP)
                self._look(tool, call, _TEXT * _ROUNDS_OF_ONE)
            self._long = {}

    def _one(self, tool: str, result: str) -> None:
        client = self._client
        call = client.create(tool)
        self._now = [call]
        client.attach(call)
        text = _input(tool, result)
        half = len(text) // 2
        client.decode(call, text[:half])
        time.sleep(_PAUSE_S)
        client.decode(call, text[half:], STOP)
        self._look(tool, call, result)

    def _look(self, tool: str, call: str, result: str) -> None:
        view = self._client.read(call)
        outcome = view.outcome
        wrong = outcome.error or outcome.aborted or outcome.attachments or view.state != "done"
        # The tool for Python emits what it prints.
        if wrong or outcome.value != result or (tool == "echo" and outcome.emitted):
            raise ConveyorError(f"a call of {tool} came to {view.state}: {outcome!r}"[:2000])
        self._client.forget(call)


def _input(tool: str, result: str) -> str:
    """The text with which a tool comes to a result."""
    return f"print({result!r}, end='')\n" if tool == "python" else result
