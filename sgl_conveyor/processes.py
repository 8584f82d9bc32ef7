"""What processes of ours do to themselves: die with their parent, log as SGLang does."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(signum: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn`: the child gets this signal when the thread that started it ends.

    Args:
        signum: the signal.
    """
    parent = os.getpid()

    def before_exec() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signum)

    return before_exec


def die_with(parent: int, signum: signal.Signals = signal.SIGKILL) -> None:
    """Let this process get a signal when the thread that started it ends; now, if it has ended.

    Unlike a `preexec_fn`, this costs who starts the process nothing: a program of ours does it to
    itself, as its first deed.

    Args:
        parent: the process that started this one.
        signum: the signal.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)


def file_of(name: str, data: bytes) -> int:
    """A descriptor from which this can be read, to its end; it has no path and no limit of size.

    A child inherits it as one of its standard streams, or once it is made inheritable.

    Args:
        name: what it is called in /proc.
        data: all of it.
    """
    descriptor = os.memfd_create(name)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def raise_descriptor_limit() -> None:
    """Let this process, and all that it starts, open as many files as its hard limit allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def configure_logging(part: str, level: str) -> None:
    """Log to stderr in SGLang's format.

    Args:
        part: which process this is, as its lines show it.
        level: `debug`, `info`, `warning` or `error`.
    """
    logging.basicConfig(
        level=level.upper(),
        format=f"[%(asctime)s {part}] %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        force=True,
    )
