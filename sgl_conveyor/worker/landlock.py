"""A second wall around a sandbox's files: Landlock, which this process puts up for itself.

The first wall is the mounts that bubblewrap makes. Where a mount is wrong, or a hole in the kernel
lets a program change one, this one still stands: nothing is written but below /tmp and /dev/shm, no
signal and no abstract socket reaches out. The kernel's documentation, "Landlock: unprivileged
access control", names the bits; a kernel that knows fewer of them is asked for fewer.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

#: The system calls have these numbers on every processor.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_MAKE_CHAR, _MAKE_SOCKET, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_TRUNCATE = 1 << 14
#: How many bits of file access each version of the interface knows, the newest last.
_FILE_BITS = (13, 14, 15, 15, 16)
#: Both bits of each: binding and connecting TCP; abstract sockets and signals that reach out.
_NET_BITS, _NET_SINCE = 3, 4
_SCOPE_BITS, _SCOPE_SINCE = 3, 6

_WRITABLE_FOLDERS = ("/tmp", "/dev/shm")
_WRITABLE_FILES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class _Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr`."""

    _fields_ = (
        ("files", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """The version of Landlock's interface that the kernel has; 0 if it has none, or none is on."""
    version = _libc.syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(0, int(version))


def restrict_files() -> int:
    """Put up the wall for this thread and all that it starts.

    Threads that are there already stay outside: this must come before a tool is imported.

    Returns:
        The version of the kernel's interface; 0 if it has none, and there is no wall.

    Raises:
        OSError: the kernel has Landlock, and would not put it up.
    """
    version = landlock_version()
    if version == 0:
        return 0
    handled = (1 << _FILE_BITS[min(version, len(_FILE_BITS)) - 1]) - 1
    rules = _Ruleset(
        files=handled,
        net=_NET_BITS if version >= _NET_SINCE else 0,
        scoped=_SCOPE_BITS if version >= _SCOPE_SINCE else 0,
    )
    # A kernel that does not know the later members takes them while they are zero.
    ruleset = _checked(_libc.syscall(_CREATE, ctypes.byref(rules), ctypes.sizeof(rules), 0))
    try:
        _allow(ruleset, "/", _EXECUTE | _READ_FILE | _READ_DIR)
        for folder in _WRITABLE_FOLDERS:
            _allow(ruleset, folder, handled & ~(_MAKE_CHAR | _MAKE_SOCKET | _MAKE_BLOCK))
        for file in _WRITABLE_FILES:
            _allow(ruleset, file, handled & (_READ_FILE | _WRITE_FILE | _TRUNCATE))
        _checked(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc.syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: str, access: int) -> None:
    """Allow something with a file, or with all that is below a folder."""
    if not Path(path).exists():
        return
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _Beneath(allowed=access, parent=parent)
        _checked(_libc.syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(parent)


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno() or errno.EINVAL
        raise OSError(error, f"Landlock could not be put up: {os.strerror(error)}")
    return result
