"""cgroup v2, where this machine delegates it: limits of a sandbox that the kernel keeps.

A cgroup is delegated to us if we may write it and nobody else's process is in it, as in a systemd
unit with `Delegate=yes`. Processes are only at the leaves (kernel documentation, "Control Group
v2", No Internal Process Constraint): so this process moves to one, `server`, and each sandbox gets
another.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.specs import Limits

_CONTROLLERS = ("memory", "pids", "cpu")
_SERVER = "server"
_SANDBOX = "sandbox-"
#: Processes and threads of a sandbox; bubblewrap's own come on top of its programs'.
_PROCESSES = 72
#: Its share of the cores that others want: the server's is 100.
_CPU_WEIGHT = 10
_CPU_PERIOD_US = 100_000
_OF_ONE_CORE = 0.8
#: Seconds that the kernel may take to end what is in a cgroup.
_EMPTY_LIMIT_S = 5.0
_LOOK_S = 0.01


def take_over() -> Path:
    """Make this process's cgroup the parent of those of sandboxes.

    To be called before this process starts others: what is in the cgroup already stays there, and
    then it can have no children.

    Returns:
        The folder of the cgroup.

    Raises:
        ConfigurationError: it is not delegated; the message says why.
    """
    folder = _own_folder()
    missing = set(_CONTROLLERS) - set(_read(folder / "cgroup.controllers").split())
    if missing:
        raise ConfigurationError(f"{folder} has no controller for {', '.join(sorted(missing))}")
    needed = (folder, folder / "cgroup.procs", folder / "cgroup.subtree_control")
    if not all(os.access(path, os.W_OK) for path in needed):
        raise ConfigurationError(f"this user may not write {folder}")
    if _read(folder / "cgroup.procs").split() != [str(os.getpid())]:
        raise ConfigurationError(f"processes of others are in {folder}")
    server = folder / _SERVER
    try:
        server.mkdir()
        enter(server)
        controllers = " ".join(f"+{name}" for name in _CONTROLLERS)
        (folder / "cgroup.subtree_control").write_text(controllers)
    except OSError as error:
        with contextlib.suppress(OSError):
            enter(folder)
            server.rmdir()
        raise ConfigurationError(f"{folder} cannot be divided: {error.strerror}") from None
    return folder


def enter(folder: Path) -> None:
    """Move this process there, with all that it starts from now on.

    Raises:
        OSError: it may not.
    """
    (folder / "cgroup.procs").write_text("0")


class SandboxGroup:
    """The cgroup of one sandbox.

    Args:
        parent: what was taken over.
        limits: of the tool in it.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, parent: Path, limits: Limits) -> None:
        self.folder = parent / f"{_SANDBOX}{secrets.token_hex(8)}"
        self.folder.mkdir()
        try:
            self._limit(limits)
        except OSError:
            self.folder.rmdir()
            raise

    def _limit(self, limits: Limits) -> None:
        cores = len(os.sched_getaffinity(0))
        values = {
            "pids.max": _PROCESSES,
            "cpu.weight": _CPU_WEIGHT,
            # One core, or a part of the only one, is always left to the server.
            "cpu.max": f"{int((cores - 1 or _OF_ONE_CORE) * _CPU_PERIOD_US)} {_CPU_PERIOD_US}",
            # All of it ends together: what is left of a program would wait for what is gone.
            "memory.oom.group": 1,
        }
        if limits.memory_bytes is not None:
            values["memory.max"] = limits.memory_bytes
        if (self.folder / "memory.swap.max").exists():
            values["memory.swap.max"] = 0
        for name, value in values.items():
            (self.folder / name).write_text(str(value))

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has ended something in it because of its limit of memory.

        Raises:
            OSError: the kernel does not say.
        """
        words = (self.folder / "memory.events").read_text().split()
        counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        return counts["oom_kill"] > 0

    @property
    def memory_bytes(self) -> int:
        """What the kernel counts for it: of processes, files in memory, and for its own use.

        Raises:
            OSError: the kernel does not say.
        """
        return int((self.folder / "memory.current").read_text())

    def remove(self) -> None:
        """End all that is in it, and remove it; this waits for the kernel.

        Raises:
            OSError: something in it has not ended within seconds.
        """
        _remove(self.folder)


def remove_left(parent: Path) -> None:
    """Remove the cgroups of sandboxes that a process which was killed has left.

    Args:
        parent: what was taken over.

    Raises:
        OSError: something in one of them has not ended within seconds.
    """
    for folder in parent.glob(f"{_SANDBOX}*"):
        _remove(folder)


def _remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # a kernel before 5.14
        (folder / "cgroup.kill").write_text("1")
    latest = time.monotonic() + _EMPTY_LIMIT_S
    while True:
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > latest:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def _own_folder() -> Path:
    lines = _read(Path("/proc/self/cgroup")).splitlines()
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    for line in _read(Path("/proc/self/mountinfo")).splitlines():
        before, _, after = line.partition(" - ")
        root, place = before.split()[3:5]
        if after.split()[0] == "cgroup2" and own is not None and Path(own).is_relative_to(root):
            return Path(place) / Path(own).relative_to(root)
    raise ConfigurationError("no cgroup v2 is mounted that this process is in")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
