"""A sandbox that takes more of the cores than a call usually does gives way to what else runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sgl_conveyor.dispatcher.hosts.priority import NICENESS
from tests.dispatcher.harness import STOP, Harness, dispatcher, wait_until

AUTOGROUP = Path("/proc/self/autogroup")
pytestmark = pytest.mark.skipif(not AUTOGROUP.exists(), reason="the kernel has no autogroups")

BURNS = """\
import os
for _ in range(4):
    if os.fork() == 0:
        while True:
            pass

while True:
    pass
"""


@pytest.fixture(scope="module")
def conveyor() -> Iterator[Harness]:
    with dispatcher(["python"], limits={"timeout_s": 60.0}) as harness:
        yield harness


def niceness_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])


def sessions_in(conveyor: Harness) -> dict[int, int]:
    """The niceness of the session of each process in a sandbox."""
    found = {}
    for process in psutil.Process(conveyor.process.pid).children(recursive=True):
        try:
            inside = os.getsid(process.pid) not in {p.pid for p in conveyor.workers()}
            if inside and os.getsid(process.pid) != conveyor.process.pid:
                found[process.pid] = niceness_of(process.pid)
        except (ProcessLookupError, FileNotFoundError, psutil.NoSuchProcess):
            continue
    return found


def test_one_that_burns_gives_way_and_others_do_not(conveyor: Harness) -> None:
    wait_until(lambda: len(sessions_in(conveyor)) >= 2, "two sandboxes")
    assert set(sessions_in(conveyor).values()) == {0}
    call = conveyor.create("python")
    conveyor.attach(call)
    conveyor.decode(call, BURNS)
    wait_until(lambda: NICENESS in sessions_in(conveyor).values(), "a session that gives way")
    lowered = [pid for pid, nice in sessions_in(conveyor).items() if nice == NICENESS]
    # All that it forks with it, and not the other sandbox, which waits for a call.
    wait_until(lambda: len(set(map(os.getsid, lowered))) == 1, "one session")
    assert 0 in sessions_in(conveyor).values()


def test_the_start_of_a_worker_is_not_its_programs_doing() -> None:
    with dispatcher(["tests.tools.slow_to_import:SlowToImport"]) as conveyor:
        call = conveyor.create("slow_to_import")
        conveyor.attach(call)
        conveyor.decode(call, "x", STOP)
        seen: set[int] = set()
        while not conveyor.read(call, 0).ended:
            seen |= set(sessions_in(conveyor).values())
        assert conveyor.read(call).outcome.value == "waited"
    assert seen == {0}
