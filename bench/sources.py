"""Where each file of results comes from, and whether it may stand beside the runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.runs import Machine
from bench.tables import NONE, table

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
            msgspec.DecodeError: it is no JSON.
        """
        document = msgspec.json.decode(path.read_bytes())
        said = document.get("machine") if isinstance(document, dict) else None
        return cls(name, None if said is None else msgspec.convert(said, type=Machine))

    def refused(self, runs: Machine) -> str:
        """Why its figures must not stand beside those of the runs; empty if they may.

        Args:
            runs: where those were measured.
        """
        if self.machine is None:
            return "the file does not say on which machine it was measured"
        if not _same(self.machine, runs):
            return f"another machine ({described(self.machine)})"
        return ""


def described(machine: Machine) -> str:
    """A machine in a few words."""
    gpu = "no GPU" if machine.gpu == "none" else machine.gpu
    return f"{machine.cores} CPU cores, {machine.memory_gib:g} GiB, {gpu}"


def table_of(sources: Sequence[Source], runs: Machine) -> str:
    """A row a file: its command, its date and commit, and how it differs from the runs.

    Args:
        sources: the files.
        runs: where the workloads' runs were measured.
    """
    rows = []
    for source in sources:
        if (machine := source.machine) is None:
            rows.append((source.name, NONE, NONE, NONE, f"left out: {source.refused(runs)}"))
            continue
        refused = source.refused(runs)
        notes = [f"left out: {refused}"] if refused else []
        notes += ["another date"] if machine.date != runs.date else []
        notes += ["another commit"] if machine.commit != runs.commit else []
        notes += ["another model"] if machine.model != runs.model else []
        rows.append(
            (
                source.name,
                f"`{machine.command}`",
                machine.date,
                machine.commit or "no git",
                ", ".join(notes) or NONE,
            )
        )
    return table(("file", "command", "date", "commit", "beside the runs"), rows)


def _same(one: Machine, other: Machine) -> bool:
    near = abs(one.memory_gib - other.memory_gib) <= _MEMORY_WITHIN_GIB
    return near and (one.cores, one.gpu) == (other.cores, other.gpu)
