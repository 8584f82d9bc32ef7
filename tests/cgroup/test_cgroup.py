"""Cgroups for real, where this process may make some: as root under a kernel with cgroup v2.

Few machines that run tests have one, so test_in_user_mode_linux.py runs this file under a kernel of
its own.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1024**2
ROOT = Path("/sys/fs/cgroup")
USER = 61_234


def may_make_cgroups() -> bool:
    control = ROOT / "cgroup.subtree_control"
    return os.access(control, os.W_OK) and {"memory", "pids"} <= set(control.read_text().split())


pytestmark = pytest.mark.skipif(
    not may_make_cgroups(), reason="no cgroup v2 here: test_in_user_mode_linux.py runs these"
)


@pytest.fixture
def delegated() -> Iterator[Path]:
    """A cgroup as a systemd unit with Delegate=yes has it, of an ordinary user."""
    folder = ROOT / f"unit-{secrets.token_hex(4)}"
    folder.mkdir()
    for path in (folder, folder / "cgroup.procs", folder / "cgroup.subtree_control"):
        os.chown(path, USER, USER)
    yield folder
    for left in [*folder.glob("*/"), folder]:
        left.rmdir()


def run_in(cgroup: Path, source: str, user: int = USER) -> list[str]:
    """The lines that a program prints which runs in a cgroup, alone there at first."""

    program = (
        "import os, signal, subprocess, traceback\nfrom pathlib import Path\n"
        "from sgl_conveyor.cgroup import SandboxGroup, enter, take_over\n"
        "from sgl_conveyor.errors import ConfigurationError\n"
        "from sgl_conveyor.specs import Limits\n"
        # The interpreter may lie where only root can read it.
        f"os.setgid({user})\nos.setuid({user})\n"
        f"MIB = {MIB}\n{textwrap.dedent(source)}"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=lambda: (cgroup / "cgroup.procs").write_text("0"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


#: Runs a program in a sandbox's cgroup, which it enters as a worker does, and says how it ended.
IN_A_GROUP = """
group = SandboxGroup(take_over(), Limits(memory_bytes=64 * MIB))
child = os.fork()
if child == 0:
    try:
        enter(group.folder)
        exec(PROGRAM)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), group.ran_out_of_memory)
group.remove()
print(group.folder.exists())
"""


def test_a_cgroup_that_is_ours_becomes_the_parent_of_others(delegated: Path) -> None:
    source = "print(take_over())\nprint(Path('/proc/self/cgroup').read_text().strip())\n"
    assert run_in(delegated, source) == [str(delegated), f"0::/{delegated.name}/server"]
    controllers = (delegated / "cgroup.subtree_control").read_text().split()
    assert {"memory", "pids", "cpu"} <= set(controllers)


REFUSED = "try:\n    take_over()\nexcept ConfigurationError as error:\n    print(error)\n"


def test_one_with_other_processes_is_left_alone(delegated: Path) -> None:
    source = (
        "other = subprocess.Popen(['sleep', '60'])\n" + REFUSED + "other.kill()\nother.wait()\n"
    )
    assert run_in(delegated, source) == [f"processes of others are in {delegated}"]
    assert not (delegated / "server").exists()


def test_one_that_this_user_may_not_write_is_left_alone(delegated: Path) -> None:
    assert run_in(delegated, REFUSED, USER + 1) == [f"this user may not write {delegated}"]


def test_one_without_controllers_is_left_alone(delegated: Path) -> None:
    (delegated / "cgroup.subtree_control").write_text("+memory")
    inner = delegated / "inner"
    inner.mkdir()
    lines = run_in(inner, REFUSED, 0)
    assert lines == [f"{inner} has no controller for cpu, pids"]


@pytest.mark.parametrize(
    "program",
    [
        "held = b'x' * (200 * MIB)",
        # In no process's memory.
        "file = os.memfd_create('x')\nfor _ in range(50):\n    os.write(file, bytes(4 * MIB))",
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        held = b'x' * (40 * MIB)\n"
        "        signal.pause()\n"
        "os.wait()",
    ],
    ids=["a process", "a file without a name", "processes together"],
)
def test_what_passes_its_memory_is_ended_altogether(delegated: Path, program: str) -> None:
    lines = run_in(delegated, f"PROGRAM = {program!r}\n{IN_A_GROUP}")
    assert lines == ["-9 True", "False"]


def test_what_stays_below_is_not(delegated: Path) -> None:
    program = "held = b'x' * (20 * MIB)"
    lines = run_in(delegated, f"PROGRAM = {program!r}\n{IN_A_GROUP}")
    assert lines == ["0 False", "False"]


def test_processes_have_a_number(delegated: Path) -> None:
    program = (
        "children = []\n"
        "try:\n"
        "    for _ in range(200):\n"
        "        child = os.fork()\n"
        "        if child == 0:\n"
        "            signal.pause()\n"
        "        children.append(child)\n"
        "except BlockingIOError:\n"
        "    print(len(children), flush=True)\n"
    )
    lines = run_in(delegated, f"PROGRAM = {program!r}\n{IN_A_GROUP}")
    # The children that are left end with the cgroup.
    assert lines == ["71", "0 False", "False"]


def test_others_come_first_at_the_cores(delegated: Path) -> None:
    source = """
    group = SandboxGroup(take_over(), Limits(memory_bytes=64 * MIB))
    print((group.folder / 'cpu.weight').read_text().strip())
    print((group.folder / 'cpu.max').read_text().strip())
    group.remove()
    """
    # Of the only core a fifth is left to others, and one of many.
    cores = len(os.sched_getaffinity(0)) - 1 or 0.8
    assert run_in(delegated, source) == ["10", f"{int(cores * 100_000)} 100000"]


def test_real_workers_are_kept_by_theirs(delegated: Path) -> None:
    """The checks of memory and processes, where nothing else than a cgroup would stop them."""
    source = """
    from sgl_conveyor.conformance.checks import all_checks
    from sgl_conveyor.conformance.run import run_checks
    from sgl_conveyor.dispatcher.hosts.local import LocalHost
    names = ('takes too much in many processes', 'forks without end')
    checks = [check for check in all_checks() if check.name in names]
    cgroup = take_over()
    for result in run_checks(checks, LocalHost(unsafe=True, cgroup=cgroup)):
        print(result.check.name, result.holds, result.what)
    print([folder.name for folder in cgroup.glob('*/')])
    """
    assert run_in(delegated, source, 0) == [
        "takes too much in many processes True MemoryLimit: the tool's processes hold more than "
        f"{512 * MIB} bytes together",
        "forks without end True BlockingIOError: [Errno 11] Resource temporarily unavailable",
        "['server']",
    ]
