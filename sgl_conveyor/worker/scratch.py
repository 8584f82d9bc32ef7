"""The memory that a sandbox may write files into, with a size and a number of files.

bubblewrap's own `--tmpfs` has a size only: empty files need none, and 400,000 of them hold 400 MB
of the kernel's memory. So it is mounted here, in a mount namespace of this process's own, where
only the sandbox that it becomes will see it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from sgl_conveyor.errors import ConfigurationError

#: Bytes of files below /tmp and /dev/shm together, and how many there may be.
SCRATCH_BYTES = 80 * 1024**2
SCRATCH_FILES = 8192
#: Where it may be mounted, over what other processes see there.
_PLACES = (Path("/dev/shm"), Path("/mnt"), Path("/srv"))
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 16384, 1 << 18


def mount_scratch(seen: list[Path]) -> dict[str, Path]:
    """Mount it for this process and what it becomes.

    Args:
        seen: what must not be hidden by it.

    Returns:
        For each place inside the sandbox the folder to bind there.

    Raises:
        ConfigurationError: it cannot be mounted; the message says why.
    """
    free = [p for p in _PLACES if p.is_dir() and not any(s.is_relative_to(p) for s in seen)]
    if not free:
        raise ConfigurationError(
            "a sandbox cannot be made here: it needs one folder of /dev/shm, "
            "/mnt and /srv that holds nothing of this environment"
        )
    place = free[0]
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _CLONE_NEWNS if user == 0 else _CLONE_NEWNS | _CLONE_NEWUSER
    _check(libc.unshare(flags), "a mount namespace cannot be made")
    if user != 0:
        # The same user within; without its other groups nobody can drop one to pass a check.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    private = libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    _check(private, "the mount namespace cannot be made private")
    options = f"size={SCRATCH_BYTES},nr_inodes={SCRATCH_FILES},mode=0755".encode()
    mounted = libc.mount(
        b"tmpfs", bytes(place), b"tmpfs", ctypes.c_ulong(_MS_NOSUID | _MS_NODEV), options
    )
    _check(mounted, f"{place} cannot be mounted over")
    folders = {"/tmp": place / "tmp", "/dev/shm": place / "shm"}
    for folder in folders.values():
        folder.mkdir()
        folder.chmod(0o1777)
    return folders


def _check(result: int, what: str) -> None:
    if result != 0:
        why = os.strerror(ctypes.get_errno())
        raise ConfigurationError(
            f"a sandbox cannot be made here: {what} ({why}): it needs user namespaces"
        )
