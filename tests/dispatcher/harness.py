"""The harness of the benches, and what only tests need beside it."""

from __future__ import annotations

from pathlib import Path

from bench.measure.harness import LIMIT_S, STOP, Harness, dispatcher, wait_until

__all__ = ["LIMIT_S", "STOP", "Harness", "dispatcher", "lines_of", "wait_until"]


def lines_of(path: Path) -> list[str]:
    """The lines of a file that may not be there yet."""
    return path.read_text().splitlines() if path.exists() else []
