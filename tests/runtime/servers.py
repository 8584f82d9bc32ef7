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
from sgl_conveyor.runtime.environment import RUN_DIRECTORY
from sgl_conveyor.runtime.server import cpu_flags

START_LIMIT_S = 600.0
END_LIMIT_S = 30.0
STOCK_READY = "ready to roll"


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


@dataclass
class Start:
    """One start of a server, for the summary.

    Args:
        kind: which server.
        seconds: until it was ready, or until it was needed, if that was later.
    """

    kind: str
    seconds: float


#: Every server that this session started and waited for, in order.
STARTS: list[Start] = []


class Starting:
    """A server that begins to load; others can do so at the same time.

    Args:
        log: what it writes.
        argv: its command, without the port.
        environment: its variables.
        ready: what its log says when it serves.
        api_key: its key, or an empty text.
    """

    def __init__(
        self, log: Path, argv: list[str], environment: dict[str, str], ready: str, api_key: str = ""
    ) -> None:
        port = free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*argv, "--port", str(port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self._server = Server(f"http://127.0.0.1:{port}", process, log, api_key)
        self._kind, self._ready = argv[2], ready
        self._began = time.monotonic()
        self._parts: list[psutil.Process] = []

    def wait(self) -> Server:
        """The server, once it serves."""
        if not self._parts:
            seconds = self._wait_until_ready()
            STARTS.append(Start(self._kind, seconds))
            self._parts = self._server.parts()
        return self._server

    def end(self) -> None:
        """Ask it to end, then kill what is left of it."""
        process = self._server.process
        if process.poll() is None and not self._parts:
            self._parts = self._server.parts()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for part in self._parts:
            with contextlib.suppress(psutil.NoSuchProcess):
                part.kill()

    def _wait_until_ready(self) -> float:
        """The seconds that it took."""
        log, process = self._server.log, self._server.process
        deadline = self._began + START_LIMIT_S
        while self._ready not in (text := log.read_text(errors="replace")):
            tail = "\n".join(text.splitlines()[-20:])
            assert process.poll() is None, f"the server ended with {process.returncode}:\n{tail}"
            assert time.monotonic() < deadline, f"the server was not ready in time:\n{tail}"
            time.sleep(0.5)
        return time.monotonic() - self._began


@contextlib.contextmanager
def starting_conveyor(log: Path, *flags: str, api_key: str = "") -> Iterator[Starting]:
    """Our server, which begins to load."""
    argv = [sys.executable, "-m", "sgl_conveyor.launch_server", *flags]
    key = ["--api-key", api_key] if api_key else []
    with _ended(Starting(log, [*argv, *key], os.environ.copy(), READY, api_key)) as start:
        yield start


@contextlib.contextmanager
def starting_stock(log: Path) -> Iterator[Starting]:
    """A plain SGLang on our CPU platform; our package is installed, and must not be noticed.

    It has the flags and cores that our launcher gives SGLang: with another number of threads, sums
    are rounded otherwise, and the most likely token may be another one.
    """
    flags, variables = cpu_flags([], sorted(os.sched_getaffinity(0)))
    argv = [
        *(sys.executable, "-m", "sglang.launch_server", *flags),
        *("--model-path", str(embedded_model.ensure())),
    ]
    environment = {**variables, **os.environ, "SGLANG_PLATFORM": variables["SGLANG_PLATFORM"]}
    environment.pop(RUN_DIRECTORY, None)
    with _ended(Starting(log, argv, environment, STOCK_READY)) as start:
        yield start


@contextlib.contextmanager
def _ended(start: Starting) -> Iterator[Starting]:
    try:
        yield start
    finally:
        start.end()


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
