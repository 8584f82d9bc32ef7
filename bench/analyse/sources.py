"""Where each file of results comes from, and whether it may stand beside the runs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.analyse.runs import Machine

#: The same machine may have a little less memory after another start.
_MEMORY_WITHIN_GIB = 0.5


class Source(msgspec.Struct, frozen=True):
    """A file of results.

    Args:
        name: of what.
        machine: where it was measured; None if the file does not say.
    """

    name: str
    machine: Machine | None

    @classmethod
    def of(cls, name: str, path: Path) -> Source:
        """Read what a file says of its machine.

        Raises:
            msgspec.DecodeError: it is no JSON, or its machine is none.
        """
        return cls(name, msgspec.json.decode(path.read_bytes(), type=_Said).machine)

    def refused(self, runs: Machine) -> str:
        """Why its figures must not stand beside those of the runs; empty if they may.

        Args:
            runs: where those were measured.
        """
        mine = self.machine
        if mine is None:
            return "the file does not say on which machine it was measured"
        near = abs(mine.memory_gib - runs.memory_gib) <= _MEMORY_WITHIN_GIB
        if near and (mine.cores, mine.gpu) == (runs.cores, runs.gpu):
            return ""
        return f"another machine ({mine})"

    def notes(self, runs: Machine) -> list[str]:
        """How it differs from the runs.

        Args:
            runs: where those were measured.
        """
        refused, mine = self.refused(runs), self.machine
        notes = [f"left out: {refused}"] if refused else []
        if mine is not None:
            notes += ["another date"] if mine.date != runs.date else []
            notes += ["another commit"] if mine.commit != runs.commit else []
            notes += ["another model"] if mine.model != runs.model else []
        return notes


class _Said(msgspec.Struct):
    machine: Machine | None = None
