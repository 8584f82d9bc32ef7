"""The programs of the checks really try: those that only look are stopped by a sandbox alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sgl_conveyor.conformance.checks import SECRET, Check, all_checks

#: They only look, or ask whether something could be done.
LOOK = (
    "sees the password file",
    "reads the home folder",
    "sees the servers environment",
    "makes a socket",
    "has a route",
    "signals what is outside",
    "may gain rights",
    "enlarges a sockets buffer",
    "hides memory in a file without a name",
)
#: What only root could do.
MIGHTY = ("has a capability",)
CHECKS = {check.name: check for check in all_checks()}


def raised_outside(check: Check) -> list[object] | None:
    """What the probe hears of a program that runs in no sandbox."""
    source = (
        "import json, sys\nfrom sgl_conveyor.conformance.probe import _raised_by\n"
        "print(json.dumps(_raised_by('program', sys.stdin.read())))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", source],
        input=check.program,
        env={**os.environ, "CONVEYOR_CHECK": SECRET},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    raised: list[object] | None = json.loads(run.stdout)
    return raised


@pytest.mark.parametrize("name", LOOK)
def test_a_program_that_looks_is_stopped_by_the_sandbox_alone(name: str) -> None:
    if name == "has a route" and len(Path("/proc/net/route").read_text().splitlines()) < 2:
        pytest.skip("this machine has no route itself")
    assert raised_outside(CHECKS[name]) is None


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user has no capability")
@pytest.mark.parametrize("name", MIGHTY)
def test_a_program_that_needs_rights_is_stopped_by_the_sandbox_alone(name: str) -> None:
    assert raised_outside(CHECKS[name]) is None


def test_no_program_connects_anywhere() -> None:
    words = (".connect(", "create_connection(", ".sendto(")
    assert not [
        check.name
        for check in CHECKS.values()
        for word in words
        if word in check.program and "sqlite3.connect(" not in check.program
    ]
