"""`sgl-conveyor doctor`: which walls there are here, and whether each check holds."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import textwrap
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sgl_conveyor.cgroup import take_over
from sgl_conveyor.conformance.checks import WALLS, Result, all_checks, what_is_weaker
from sgl_conveyor.conformance.run import run_checks
from sgl_conveyor.dispatcher.hosts.local import LocalHost
from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.processes import configure_logging
from sgl_conveyor.syscall_filter import library_version
from sgl_conveyor.worker.landlock import landlock_version
from sgl_conveyor.worker.sandbox import check

_LIMIT_S = 10.0
#: Characters of what happened.
_SHOWN = 90


def run_doctor(console: Console) -> int:
    """Print a table of walls and one of checks.

    Args:
        console: where.

    Returns:
        The exit code: 0 if all checks hold, 1 if the sandbox is weaker than docs/security.md says.

    Raises:
        ConfigurationError: no sandbox can be made here; the message says why.
    """
    configure_logging("doctor", "critical")
    # Before any process is started: those would be in the way.
    cgroup, why_not = _cgroup()
    check()
    console.print(_walls(cgroup, why_not))
    results = run_checks(all_checks(), LocalHost(unsafe=False, cgroup=cgroup))
    console.print(_table(results))
    if (weaker := what_is_weaker(results)) is not None:
        console.print(weaker, style="bold red", highlight=False)
        return 1
    console.print(f"All {len(results)} checks hold.", highlight=False)
    return 0


def _cgroup() -> tuple[Path | None, str]:
    try:
        return take_over(), ""
    except ConfigurationError as error:
        return None, str(error)


def _walls(cgroup: Path | None, why_not: str) -> Table:
    table = Table("wall", "here", title="Walls of a sandbox")
    table.add_row(
        "kernel, processor, user", f"{platform.release()}, {platform.machine()}, {_who()}"
    )
    table.add_row("mounts, namespaces", _bubblewrap())
    table.add_row("system calls", f"libseccomp {library_version()}")
    version = landlock_version()
    table.add_row(
        "Landlock",
        f"version {version} of its interface"
        if version
        else "the kernel has none, or it is not switched on: the mounts stand alone",
    )
    table.add_row(
        "cgroup v2",
        f"{cgroup}: the kernel keeps memory, processes and cores"
        if cgroup
        else f"none ({why_not}): the dispatcher looks at memory 20 times a second, and a sandbox "
        "that burns the cores gets a lower share. To have one, start the server in a systemd unit "
        "with Delegate=yes",
    )
    return table


def _who() -> str:
    return "root" if os.getuid() == 0 else "an ordinary user"


def _bubblewrap() -> str:
    found = shutil.which("bwrap")
    assert found is not None, "a sandbox was made"
    run = subprocess.run(
        [found, "--version"], capture_output=True, text=True, timeout=_LIMIT_S, check=True
    )
    return run.stdout.strip()


def _table(results: list[Result]) -> Table:
    table = Table("checks, and what stops it", "a program", "holds", "what happened")
    group = ""
    for result in results:
        check = result.check
        if check.group != group:
            table.add_section()
        first = f"{check.group}: {WALLS[check.group]}" if check.group != group else ""
        group = check.group
        holds = "[green]yes[/]" if result.holds else "[bold red]NO[/]"
        table.add_row(first, check.name, holds, escape(textwrap.shorten(result.what, _SHOWN)))
    return table
