"""The python tool: which system calls a program may make, and that what programs need works."""

from __future__ import annotations

import ctypes
import errno
import json
import subprocess
import sys

import pytest

from sgl_conveyor.syscall_filter import compiled_filter
from tests.dispatcher.harness import Harness
from tests.tool_workers.python_calls import run, value

#: Each with harmless arguments: none connects, mounts or changes anything, even if it could.
REFUSED = {
    "socket": [(family, 1, 0) for family in (1, 2, 10, 16, 17, 38, 40)],  # unix, inet, …, vsock
    "socketpair": [(2, 1, 0, 0)],
    "connect": [(-1, 0, 0)],
    "bind": [(-1, 0, 0)],
    "io_uring_setup": [(0, 0)],
    "userfaultfd": [(0,)],
    "memfd_create": [(0, 0)],
    "memfd_secret": [(0,)],
    "shmget": [(0, 1, 0)],
    "msgget": [(0, 0)],
    "semget": [(0, 1, 0)],
    "mq_open": [(0, 0, 0, 0)],
    "kcmp": [(0, 0, 0, 0, 0)],
    "personality": [(0xFFFFFFFF,)],
    "modify_ldt": [(0, 0, 0)],
    "mbind": [(0, 0, 0, 0, 0, 0)],
    "perf_event_open": [(0, 0, -1, -1, 0)],
    "keyctl": [(0, -3, 0), (1, 0, 0)],
    "add_key": [(0, 0, 0, 0, -3)],
    "request_key": [(0, 0, 0, 0)],
    "ptrace": [(0, 0, 0, 0)],
    "process_vm_readv": [(0, 0, 0, 0, 0, 0)],
    "bpf": [(-1, 0, 0)],
    "unshare": [(0x10000000,)],
    "setns": [(-1, 0)],
    "clone": [(0x10000000 | 17, 0, 0, 0, 0)],
    "mount": [(0, 0, 0, 0, 0)],
    "setsid": [()],
    "pidfd_getfd": [(-1, 0, 0)],
    "open_by_handle_at": [(-1, 0, 0)],
    "seccomp": [(2, 0, 0)],
}
#: Makes system calls by their numbers, and prints their errors.
CALLS = """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
def error_of(number, arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *(ctypes.c_long(a) for a in arguments))
    return ctypes.get_errno() if result < 0 else 0

"""


def number_of(name: str) -> int:
    number = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name(name.encode())
    return int(number)


def errors(conveyor: Harness, calls: list[tuple[int, tuple[int, ...]]]) -> list[int]:
    """What system calls fail with in the sandbox."""
    source = CALLS + f"print(json.dumps([error_of(*call) for call in {calls!r}]))\n"
    return list(json.loads(value(conveyor, source)))


def test_what_is_nobodys_business_is_refused(conveyor: Harness) -> None:
    asked = [(name, call) for name, calls in REFUSED.items() for call in calls]
    known = [(name, number_of(name), call) for name, call in asked if number_of(name) >= 0]
    found = errors(conveyor, [(number, call) for _, number, call in known])
    # A call whose arguments are not among those that are allowed is as one that is unknown.
    unlike = {"socketpair": errno.ENOSYS, "clone": errno.ENOSYS}
    wanted = [(name, call, unlike.get(name, errno.EPERM)) for name, _, call in known]
    assert [(name, call, e) for (name, _, call), e in zip(known, found, strict=True)] == wanted


def test_what_is_unknown_does_not_exist(conveyor: Harness) -> None:
    assert errors(conveyor, [(9999, ()), (number_of("clone3"), (0, 0))]) == [errno.ENOSYS] * 2


def test_it_is_made_for_this_processor_in_a_few_kibibytes() -> None:
    # The kernel takes 4096 instructions of 8 bytes.
    assert 1000 < len(compiled_filter()) < 4096 * 8


PROGRAMS = {
    "numpy": "import numpy as np\nprint(float(np.linalg.inv(np.eye(50)).sum()))\n",
    "pandas": "import pandas as pd\nprint(pd.DataFrame({'a': [1, 2]}).a.sum())\n",
    "matplotlib": (
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('/tmp/f.png')\n"
        "import os\nprint(os.path.getsize('/tmp/f.png') > 1000)\n"
    ),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_what_programs_need_works(conveyor: Harness, program: str) -> None:
    outcome = run(conveyor, program).outcome
    assert outcome.error is None, outcome.value
    assert outcome.value


def test_the_keys_of_who_started_it_are_left_behind() -> None:
    source = (
        "import ctypes\nfrom sgl_conveyor.worker.confinement import leave_keyring\n"
        "keyring = lambda: ctypes.CDLL(None).syscall(NUMBER, 0, -3, 1)\n"
        "before = keyring()\nleave_keyring()\nprint(before == -1 or keyring() != before)\n"
    ).replace("NUMBER", str(number_of("keyctl")))
    run = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "True\n"
