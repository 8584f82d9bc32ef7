"""The checks: a program each, in a folder that is named for what it is about."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROGRAMS = Path(__file__).parent / "programs"
#: Stands for what a variable of this process holds while checks run.
SECRET = "told to no sandbox"
#: What is in the programs' folder, in the order in which it is shown: by which walls it holds.
WALLS = {
    "works": "this must work",
    "files": "mounts, Landlock",
    "network": "network namespace, system calls",
    "kernel": "system calls, user namespaces",
    "rights": "users, capabilities, limits, keyring",
    "memory": "cgroup or watch, limits, size of /tmp",
    "processes": "cgroup or limits",
    "time": "dispatcher's watch",
}
#: Of these each program has a sandbox of its own: it is ended, or uses up what others need.
_ALONE = ("memory", "processes", "time")


@dataclass(frozen=True)
class Check:
    """A program, and what must happen.

    Args:
        group: one of `WALLS`.
        name: what the program does, in words.
        program: Python.
    """

    group: str
    name: str
    program: str

    @property
    def must_work(self) -> bool:
        """Whether the program must end well; else something must stop it."""
        return self.group == "works"

    @property
    def alone(self) -> bool:
        """Whether it needs a sandbox of its own."""
        return self.group in _ALONE


@dataclass(frozen=True)
class Result:
    """What came of a check.

    Args:
        check: which.
        holds: whether what must happen did.
        what: that happened, in words.
    """

    check: Check
    holds: bool
    what: str


def all_checks() -> list[Check]:
    """Every check, in the order of `WALLS` and of their names."""
    return [
        Check(group, path.stem.replace("_", " "), _filled(path.read_text(encoding="utf-8")))
        for group in WALLS
        for path in sorted((_PROGRAMS / group).glob("*.py"))
    ]


def _filled(program: str) -> str:
    home = os.path.expanduser("~")
    return program.replace("HOST_HOME", home).replace("HOST_SECRET", SECRET)


def quick_checks() -> list[Check]:
    """Those that can share one sandbox: they take a moment together."""
    return [check for check in all_checks() if not check.alone]


def what_is_weaker(results: list[Result]) -> str | None:
    """One sentence about the checks that do not hold, or None if all do.

    Args:
        results: of any checks.
    """
    wrong = [result for result in results if not result.holds]
    if not wrong:
        return None
    shown = "; ".join(
        f"what must work does not: {r.check.name} ({r.what})"
        if r.check.must_work
        else f"a program {r.check.name} ({r.what})"
        for r in wrong
    )
    return (
        f"the sandbox is weaker here than docs/security.md says: {shown}. `sgl-conveyor doctor` "
        "shows every check; --unsafe-no-sandbox goes without at your risk"
    )
