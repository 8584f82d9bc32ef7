"""Workers as processes of this machine: what they are told, what others see, what they weigh."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys

import psutil
import pytest

from sgl_conveyor import messages as m
from sgl_conveyor.describe import describe
from sgl_conveyor.dispatcher.hosts.local import LocalHost
from sgl_conveyor.worker.loading import load_tool
from tests.dispatcher.harness import dispatcher, wait_until
from tests.worker.at_hand import Ears

WORDY = "tests.tools.slow:Wordy"
WORDY_IN_SANDBOX = "tests.tools.slow:WordyInSandbox"
READS = "tests.tools.slow:Reads"
READS_IN_SANDBOX = "tests.tools.slow:ReadsInSandbox"


@pytest.mark.parametrize("tool", [WORDY, WORDY_IN_SANDBOX])
def test_a_tool_starts_whose_description_is_longer_than_a_command_line_may_be(tool: str) -> None:
    with dispatcher([tool]) as conveyor:
        name = "wordy" if tool == WORDY else "wordy_in_sandbox"
        assert conveyor.run(name, "x").outcome.value == "started"


def test_a_command_line_shows_neither_a_schema_nor_the_environment() -> None:
    environment = {"API_KEY": "secret-of-the-operator"}
    with dispatcher([READS, READS_IN_SANDBOX], environment=environment) as conveyor:
        processes = psutil.Process(conveyor.process.pid).children(recursive=True)
        lines = [" ".join(process.cmdline()) for process in processes]
        assert sum("sgl_conveyor.worker --serve tests.tools.slow:Reads" in x for x in lines) >= 2
        for line in lines:
            assert not re.search(r"[0-9a-f]{32}|hooks|secret-of", line), line


@pytest.mark.parametrize("tool", ["reads", "reads_in_sandbox"])
def test_a_tool_that_reads_its_standard_input_finds_nothing(tool: str) -> None:
    with dispatcher([READS, READS_IN_SANDBOX]) as conveyor:
        assert conveyor.run(tool, "x").outcome.value == ""


def test_what_a_sandbox_writes_as_errors_is_read_and_not_logged() -> None:
    with dispatcher(["tests.tools.slow:WritesErrorsInSandbox"]) as conveyor:
        assert conveyor.run("writes_errors_in_sandbox", "x").outcome.value == "written"


def test_a_worker_ends_whose_parent_ended_before_it_began() -> None:
    source = "from sgl_conveyor.processes import die_with; die_with(1); print('lives')"
    orphan = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, check=False, timeout=30
    )
    assert (orphan.returncode, orphan.stdout) == (-9, b"")


def test_a_worker_that_refuses_to_start_ends_with_its_own_code_and_sentence() -> None:
    spec = describe(load_tool("tests.tools.refuses_to_start:Refuses"))
    said: asyncio.Queue[m.FromWorker] = asyncio.Queue()

    async def run() -> str:
        return await LocalHost(unsafe=True).run(spec, lambda worker: None, Ears(said))

    how = asyncio.run(run())
    assert how == "exit code 2: it is configured badly: configure it well"


class TestMemory:
    def test_a_process_that_is_gone_holds_nothing(self) -> None:
        from sgl_conveyor.dispatcher.hosts.weight import weight_of

        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        assert weight_of(process.pid, 0).memory_bytes == 0

    def test_a_process_counts_with_what_it_started(self) -> None:
        from sgl_conveyor.dispatcher.hosts.weight import weight_of

        before = weight_of(os.getpid(), sys.maxsize).memory_bytes
        source = "x = b'x' * 50_000_000; print(flush=True); input()"
        child = subprocess.Popen(
            [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        assert weight_of(os.getpid(), sys.maxsize).memory_bytes - before > 45_000_000
        child.communicate(b"\n", timeout=30)

    def test_memory_that_cannot_be_read_is_an_error_and_not_zero(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sgl_conveyor.dispatcher.hosts import weight
        from sgl_conveyor.errors import HostError

        def denied(pid: int) -> int:
            raise PermissionError(pid)

        monkeypatch.setattr(weight, "_resident", denied)
        with pytest.raises(HostError, match="cannot be read"):
            weight.weight_of(os.getpid(), 0)

    def test_what_was_started_by_threads_and_what_lost_its_parent_counts_too(self) -> None:
        from sgl_conveyor.dispatcher.hosts.weight import with_all_below

        source = (
            "import os, subprocess, sys, threading, time\n"
            "def work():\n"
            "    subprocess.run(['sh', '-c', 'sleep 30 & sleep 30'])\n"
            "threading.Thread(target=work, daemon=True).start()\n"
            "print(flush=True)\ninput()\n"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        wait_until(lambda: len(with_all_below(child.pid)) >= 4, "two sleeps below a shell")
        parts = with_all_below(child.pid)
        assert parts[0] == child.pid
        for pid in reversed(parts):
            os.kill(pid, signal.SIGKILL)
        child.wait()
        assert with_all_below(child.pid) == [child.pid]

    def test_a_process_that_hides_what_it_shares_counts_in_full(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sgl_conveyor.dispatcher.hosts.weight import weight_of

        def denied(process: psutil.Process) -> None:
            raise psutil.AccessDenied(process.pid)

        monkeypatch.setattr(psutil.Process, "memory_full_info", denied)
        assert weight_of(os.getpid(), 0).memory_bytes > 10_000_000
