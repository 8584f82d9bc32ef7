"""What a process of this machine takes with all that it started: memory, and time of a core."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from sgl_conveyor.errors import HostError

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Weight:
    """What they take.

    Args:
        memory_bytes: that they hold; 0 if they are gone.
        processor_s: time of cores since their start (seconds), with what has ended among them.
        processes: their numbers, the first one's first.
    """

    memory_bytes: int
    processor_s: float
    processes: list[int]


def weight_of(pid: int, enough: int) -> Weight:
    """Weigh a process and all that it started.

    Pages that several processes share count once, if that makes a difference and can be read.

    Args:
        pid: the process.
        enough: below this many bytes, the quicker sum that counts shared pages more than once
            will do; beyond them nothing more is added.

    Raises:
        HostError: a process is there and its memory cannot be read.
    """
    try:
        processes = with_all_below(pid)
        resident = {process: _resident(process) for process in processes}
        took = _processor_time(processes)
    except (psutil.Error, OSError) as error:
        raise HostError(f"the memory of process {pid} cannot be read: {error}") from error
    held = sum(resident.values())
    if held > enough:
        held = 0
        for process, size in resident.items():
            held += _proportional(process, size)
            if held > enough:
                # Each look at one with many mappings takes milliseconds.
                break
    return Weight(held, took, processes)


def socket_bytes(pid: int) -> int:
    """What may wait in the sockets of a process's network namespace (bytes).

    It is in no process's memory, so each socket counts as if its buffer was full.

    Args:
        pid: a process in that namespace.

    Raises:
        HostError: the system does not say.
    """
    try:
        words = Path(f"/proc/{pid}/net/sockstat").read_text().split()
        # What a socket may send and nobody has read, since no program may make it larger.
        buffer = int(Path("/proc/sys/net/core/wmem_default").read_text())
    except OSError as error:
        raise HostError(f"the sockets of process {pid} cannot be counted: {error}") from error
    return int(words[words.index("used") + 1]) * buffer


def with_all_below(pid: int) -> list[int]:
    """A process and all that it started, as far as they are there.

    Raises:
        OSError: the system does not say.
        psutil.Error: the same.
    """
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        # A kernel without these lists; the way over all processes takes milliseconds.
        try:
            return [pid, *(p.pid for p in psutil.Process(pid).children(recursive=True))]
        except psutil.NoSuchProcess:
            return []
    found, left = [], [pid]
    while left:
        process = left.pop()
        found.append(process)
        # Its children are those of its threads; both may end at any time.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for thread in os.listdir(f"/proc/{process}/task"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    children = Path(f"/proc/{process}/task/{thread}/children").read_text()
                    left += map(int, children.split())
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _proportional(pid: int, resident: int) -> int:
    """With a part of each shared page; all of it for a process that hides how it shares them."""
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
    except (psutil.Error, OSError):
        return resident


def _processor_time(processes: list[int]) -> float:
    ticks = 0
    for process in processes:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The program's name, which may hold anything, is in parentheses.
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS_PER_S
