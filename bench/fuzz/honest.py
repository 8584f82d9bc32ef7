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
_TEXT = "One call shall not hear what other calls have said to the same dispatcher. "


class Honest:
    """Runs one call after the other, of a trusted tool, a few, and in a sandbox, one.

    Args:
        client: of its own.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._now: list[str] = []
        #: Calls that came to the right result, and the longest of them (seconds).
        self.calls = 0
        self.slowest_s = 0.0

    def ids(self) -> list[str]:
        """The calls that run now."""
        return list(self._now)

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
        for number, tool in enumerate(("echo", "echo", "echo", "python")):
            began = time.monotonic()
            text = _TEXT * (1 + number)
            self._one(tool, f"print({text!r}, end='')\n" if tool == "python" else text, text)
            took = time.monotonic() - began
            if took > LIMIT_S:
                raise ConveyorError(f"a call of {tool} took {took:.1f} s")
            self.calls += 1
            self.slowest_s = max(self.slowest_s, took)

    def _one(self, tool: str, text: str, result: str) -> None:
        client = self._client
        call = client.create(tool)
        self._now = [call]
        client.attach(call)
        half = len(text) // 2
        client.decode(call, text[:half])
        time.sleep(_PAUSE_S)
        client.decode(call, text[half:], STOP)
        outcome = client.read(call).outcome
        if outcome.value != result or outcome.error is not None or outcome.aborted is not None:
            raise ConveyorError(f"a call of {tool} came to {outcome}: {outcome.error}")
        client.forget(call)
