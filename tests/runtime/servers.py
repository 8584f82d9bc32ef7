"""Real servers for tests: started, waited for, and ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from sgl_conveyor import embedded_model
from sgl_conveyor.demo.server import free_port
from sgl_conveyor.launch_server import READY
from sgl_conveyor.runtime.environment import CPU_PLATFORM

START_LIMIT_S = 600.0
END_LIMIT_S = 30.0


@dataclass
class Server:
    """A running server.

    Args:
        url: where it answers.
        process: the one that was started.
        log: what it writes.
        api_key: its key, or an empty text.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    api_key: str = ""

    def client(self, timeout: float = 120.0) -> httpx.Client:
        """A client that has the key."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)

    def parts(self) -> list[psutil.Process]:
        """All processes of the server, its launcher included."""
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def part(self, words: str) -> psutil.Process:
        """The one process whose title or command line holds these words."""
        found = [p for p in self.parts() if words in title(p)]
        assert found, f"no process with {words!r}: {[title(p) for p in self.parts()]}"
        return found[0]


@contextlib.contextmanager
def conveyor_server(log: Path, *flags: str, api_key: str = "") -> Iterator[Server]:
    """Our server, ready."""
    argv = [sys.executable, "-m", "sgl_conveyor.launch_server", *flags]
    key = ["--api-key", api_key] if api_key else []
    with _server(log, [*argv, *key], os.environ.copy(), READY, api_key) as server:
        yield server


@contextlib.contextmanager
def stock_server(log: Path) -> Iterator[Server]:
    """A plain SGLang on our CPU platform; our package is installed, and must not be noticed."""
    argv = [
        *(sys.executable, "-m", "sglang.launch_server", "--device", "cpu", "--sleep-on-idle"),
        *("--model-path", str(embedded_model.ensure()), "--max-total-tokens", "32768"),
    ]
    environment = {**os.environ, "SGLANG_PLATFORM": CPU_PLATFORM, "OMP_NUM_THREADS": "1"}
    with _server(log, argv, environment, "ready to roll", "") as server:
        yield server


@contextlib.contextmanager
def _server(
    log: Path, argv: list[str], environment: dict[str, str], ready: str, api_key: str
) -> Iterator[Server]:
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*argv, "--port", str(port)], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    started: list[psutil.Process] = []
    try:
        _wait_until_ready(process, log, ready)
        server = Server(f"http://127.0.0.1:{port}", process, log, api_key)
        started = server.parts()
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for part in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                part.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, ready: str) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while ready not in (text := log.read_text(errors="replace")):
        tail = "\n".join(text.splitlines()[-20:])
        assert process.poll() is None, f"the server ended with {process.returncode}:\n{tail}"
        assert time.monotonic() < deadline, f"the server was not ready in time:\n{tail}"
        time.sleep(0.5)


def title(process: psutil.Process) -> str:
    """A process's title or command line; nothing if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def still_running(processes: list[psutil.Process], limit_s: float) -> list[str]:
    """What of these processes still runs after so many seconds."""
    deadline = time.monotonic() + limit_s
    while True:
        alive = [p for p in processes if _runs(p)]
        if not alive or time.monotonic() > deadline:
            return [f"{p.pid} {p.name()}" for p in alive if _runs(p)]
        time.sleep(0.1)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
