"""The tool whose calls are checks: it runs programs, and says what each one raised."""

from __future__ import annotations

import json
from typing import NamedTuple

from sgl_conveyor.tools import Tool


class Raised(NamedTuple):
    """What a program raised.

    Args:
        stopped: whether it is what a wall raises, and no mistake of the program's own.
        what: its type and text.
    """

    stopped: bool
    what: str


class Probe(Tool):
    """Runs programs, given as a JSON object of texts by name, in a sandbox."""

    sandbox = True

    def __init__(self) -> None:
        self._text = ""

    def on_text(self, delta: str) -> None:
        self._text += delta

    def finish(self) -> dict[str, Raised | None]:
        programs: dict[str, str] = json.loads(self._text)
        return {name: _raised_by(name, program) for name, program in programs.items()}


def _raised_by(name: str, program: str) -> Raised | None:
    """What it raised; None if it did all that it wanted."""
    try:
        exec(compile(program, f"<{name}>", "exec"), {"__name__": name})
    except (OSError, MemoryError, RuntimeError, ValueError) as error:
        return Raised(True, f"{type(error).__name__}: {error}")
    except BaseException as error:
        return Raised(False, f"{type(error).__name__}: {error}")
    return None
