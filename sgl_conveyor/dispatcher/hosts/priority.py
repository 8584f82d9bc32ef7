"""The share of the cores that a session gets, where Linux shares them out by session.

With `sched_autogroup` on, as Debian has it, a niceness counts only within its session,
and each session is worth as much as another (sched(7), "The autogroup feature"). Where it is off,
or cgroups share the cores out, this changes nothing.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: Of the levels of niceness: a session's share becomes 23 parts to another's 1024.
NICENESS = 17


def lower_sessions_below(first: int, processes: list[int]) -> bool:
    """Lower the share of the sessions that a process's descendants have made for themselves.

    Args:
        first: the process, at the head of a session.
        processes: it and its descendants.

    Returns:
        Whether that is done, or cannot be; False if the kernel wants to be asked again a little
        later (it does this once in 100 ms for a user without rights).
    """
    sessions: dict[int, int] = {}
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            sessions.setdefault(os.getsid(process), process)
    sessions.pop(first, None)
    for process in sessions.values():
        try:
            Path(f"/proc/{process}/autogroup").write_text(str(NICENESS))
        except BlockingIOError:
            return False
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            # No such feature; or it has ended; or it hides from its own user.
            continue
    return True
