"""What every process of ours does to itself: die with its parent, log as SGLang does."""

from __future__ import annotations

import ctypes
import logging
import os
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
