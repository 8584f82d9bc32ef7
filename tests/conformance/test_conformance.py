"""The sandbox keeps here what docs/security.md promises: every check, in real workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sgl_conveyor.conformance.checks import Check, Result, all_checks, what_is_weaker
from sgl_conveyor.conformance.run import run_checks
from sgl_conveyor.dispatcher.hosts.local import LocalHost

CHECKS = all_checks()


def shown(check: Check) -> str:
    return f"{check.group}: {check.name}"


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    return {shown(result.check): result for result in run_checks(CHECKS, LocalHost(unsafe=False))}


@pytest.mark.parametrize("check", CHECKS, ids=shown)
def test_a_check_holds(results: dict[str, Result], check: Check) -> None:
    result = results[shown(check)]
    assert result.holds, result.what


class TestWhatDoesNotHold:
    @pytest.mark.parametrize(
        ("group", "program", "what"),
        [
            ("files", "open('/tmp/x', 'w')", "it did"),
            ("files", "import os\nos.kil(1)", "AttributeError"),
            ("rights", "raise SystemExit('found it')", "SystemExit: found it"),
            ("works", "open('/x', 'w')", "Read-only file system"),
            ("memory", "import os\nos._exit(0)", "WorkerLost"),
            ("processes", "import time\ntime.sleep(0.1)", "it did"),
        ],
    )
    def test_is_seen(self, group: str, program: str, what: str) -> None:
        [result] = run_checks([Check(group, "tries", program)], LocalHost(unsafe=False))
        assert not result.holds
        assert what in result.what

    def test_is_said_in_one_sentence(self) -> None:
        wrong = Result(Check("network", "makes a socket", ""), False, "it did")
        idle = Result(Check("works", "threads", ""), False, "RuntimeError: none")
        right = Result(Check("files", "reads", ""), True, "OSError")
        assert what_is_weaker([right]) is None
        assert what_is_weaker([right, wrong, idle]) == (
            "the sandbox is weaker here than docs/security.md says: a program makes a socket (it "
            "did); what must work does not: threads (RuntimeError: none). `sgl-conveyor doctor` "
            "shows every check; --unsafe-no-sandbox goes without at your risk"
        )


class TestAWeakerSandbox:
    """Here programs may make sockets, of which those of the checks are never connected."""

    @pytest.fixture
    def environment(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "sitecustomize.py").write_text(
            "from sgl_conveyor import syscall_filter\n"
            "syscall_filter._REFUSED.remove('socket')\n"
            "syscall_filter._ALLOWED.append('socket')\n"
        )
        return {**os.environ, "PYTHONPATH": str(tmp_path)}

    SENTENCE = "the sandbox is weaker here than docs/security.md says: a program makes a socket"

    def run(self, environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *command],
            env={**environment, "COLUMNS": "300"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def test_the_doctor_says_so_and_fails(self, environment: dict[str, str]) -> None:
        run = self.run(environment, "sgl_conveyor.cli", "doctor")
        assert run.returncode == 1, run
        assert self.SENTENCE in run.stdout

    def test_the_launcher_says_the_same_and_does_not_start(
        self, environment: dict[str, str]
    ) -> None:
        run = self.run(environment, "sgl_conveyor.launch_server", "--tools", "python")
        assert run.returncode == 2, run
        assert self.SENTENCE in run.stderr
