"""What a process does to itself before it runs what a model wrote."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import resource

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.specs import Limits

#: Processes and threads of a sandbox.
PROCESSES = 64
#: Size of the largest file (bytes).
_FILE_BYTES = 64 * 1024**2
_OPEN_FILES = 256
#: The number of the system call `keyctl`, and what it is asked for.
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_JOIN_SESSION_KEYRING = 1


def apply_limits(limits: Limits) -> None:
    """Limit this process and all that it starts; it cannot raise the limits again.

    Args:
        limits: the tool's limits.
    """
    cpu = max(60, math.ceil(4 * limits.timeout_s))
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory_bytes or resource.RLIM_INFINITY),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_NPROC, PROCESSES),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def leave_keyring() -> None:
    """Leave the keys of who started this process, for this one and all that it starts.

    Raises:
        ConfigurationError: this processor is none that we know.
        OSError: the kernel has keys, and would not give a new keyring.
    """
    number = _KEYCTL.get(os.uname().machine)
    if number is None:
        raise ConfigurationError(f"no sandbox is made on a processor like {os.uname().machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, _JOIN_SESSION_KEYRING, None) < 0:
        error = ctypes.get_errno()
        if error != errno.ENOSYS:
            raise OSError(error, f"no new keyring: {os.strerror(error)}")


def give_way() -> None:
    """Give way to what else wants a core, from now on, with all that this process starts.

    Where Linux shares cores out by session first (sched_autogroup), that is within the session.
    """
    os.nice(19)
