"""SGLang's server: its HTTP process and what that starts, watched for the first death."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from sgl_conveyor.channel import RunDirectory
from sgl_conveyor.launcher.descendants import runs
from sgl_conveyor.processes import die_with_parent
from sgl_conveyor.runtime.environment import RUN_DIRECTORY

#: What the titles of SGLang's processes begin with.
_TITLE = "sglang::"
#: Linux's flag of a process that was forked and has run no program of its own (PF_FORKNOEXEC).
_FORKED = 0x40
#: Seconds between two looks at processes that are known: a death is seen within them.
_LOOK_INTERVAL_S = 0.5
#: Seconds between two searches for new ones, while the server starts and later: they cost more.
_SEARCH_INTERVAL_S = 1.0
_LATER_SEARCH_INTERVAL_S = 10.0


@dataclass(frozen=True)
class Death:
    """The end of a server.

    Args:
        what: which process ended, and how, for the log.
        code: what the launcher's exit code becomes if it ends with it, never 0.
    """

    what: str
    code: int


class SglangServer:
    """A running server; `start` makes one.

    Args:
        process: its HTTP process, the parent of the others.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._parts: dict[psutil.Process, str] = {}
        self._next_search = 0.0
        #: Whether it has answered, and so started all that it will.
        self.ready = False

    @classmethod
    async def start(cls, flags: list[str], directory: RunDirectory) -> SglangServer:
        """Start a server.

        Args:
            flags: SGLang's.
            directory: where the dispatcher's sockets are.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "sgl_conveyor.runtime.server", *flags),
            env={**os.environ, RUN_DIRECTORY: str(directory.path)},
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        return cls(process)

    @property
    def process(self) -> asyncio.subprocess.Process:
        """Its HTTP process."""
        return self._process

    async def death(self) -> Death:
        """Wait for the first of its processes that ends.

        SGLang notices by itself, but then waits a minute for dumps of a GPU's memory, while its
        clients wait in vain.
        """
        serving = asyncio.ensure_future(self._process.wait())
        try:
            while True:
                await asyncio.wait({serving}, timeout=_LOOK_INTERVAL_S)
                if serving.done():
                    return _end_of_http(self._process.pid, serving.result())
                for part, name in self._parts.items():
                    if not runs(part):
                        return Death(f"SGLang's {name} (process {part.pid}) died", 1)
                if time.monotonic() >= self._next_search:
                    self._search()
        finally:
            serving.cancel()

    def _search(self) -> None:
        interval = _LATER_SEARCH_INTERVAL_S if self.ready else _SEARCH_INTERVAL_S
        self._next_search = time.monotonic() + interval
        try:
            children = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        for child in children:
            try:
                name = " ".join(child.cmdline())
                # It has its parent's title, and may end any time.
                is_fork = _is_fork(child.pid)
            except (psutil.Error, OSError):
                continue
            if name.startswith(_TITLE) and not is_fork:
                self._parts[child] = name.removeprefix(_TITLE).strip()


def _is_fork(pid: int) -> bool:
    """Whether a process still runs its parent's program, with its parent's title.

    Raises:
        OSError: it is gone.
    """
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return bool(int(after_name[6]) & _FORKED)


def _end_of_http(pid: int, code: int) -> Death:
    how = f"with code {code}" if code >= 0 else f"by {_signal_name(-code)}"
    return Death(f"SGLang's HTTP process (process {pid}) ended {how}", code if code > 0 else 1)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
