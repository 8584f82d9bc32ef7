"""The two servers of a comparison, ours and stock SGLang, with the same flags and cores."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from sgl_conveyor import embedded_model
from sgl_conveyor.demo.server import free_port
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.launch_server import READY
from sgl_conveyor.processes import die_with_parent
from sgl_conveyor.runtime.environment import RUN_DIRECTORY
from sgl_conveyor.runtime.server import cpu_flags

#: What SGLang's own server says when it serves.
_STOCK_READY = "The server is fired up and ready to roll"
_START_LIMIT_S = 900.0
_END_LIMIT_S = 30.0
_KEEP_ALIVE_S = 600


class Servers(NamedTuple):
    """Where the two answer."""

    ours: str
    stock: str


@contextlib.contextmanager
def two_servers(
    *flags: str, tools: list[str], tools_config: Path | None = None
) -> Iterator[Servers]:
    """Start our server and a stock one; both are ended even when the body raises.

    The stock one runs on the same platform with our plugin off; on a machine without an
    accelerator both have all cores but one for the engine.

    Args:
        flags: SGLang's, for both; the embedded model is served unless they name another.
        tools: ours, as `--tools` takes them.
        tools_config: as `--tools-config` takes it.

    Raises:
        ConveyorError: one did not become ready; the end of its log is in the message.
    """
    same = [*flags, *_model_flags(list(flags))]
    if "--sleep-on-idle" not in same:
        # An idle server would spin on a core that the other one needs.
        same.append("--sleep-on-idle")
    config = [] if tools_config is None else ["--tools-config", str(tools_config)]
    more, variables = _platform(same)
    own = ["-m", "sgl_conveyor.launch_server", *same, *config, "--tools", *tools]
    stock = ["-m", "sglang.launch_server", *same, *more]
    environment = {**os.environ, **variables}
    environment.pop(RUN_DIRECTORY, None)
    # A client's connection outlives the calls that other modes make in between.
    environment["SGLANG_TIMEOUT_KEEP_ALIVE"] = str(_KEEP_ALIVE_S)
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_started(own, environment))
        other = stack.enter_context(_started(stock, {**environment, "SGLANG_PLUGINS": "none"}))
        ours.wait_until_it_says(READY)
        other.wait_until_it_says(_STOCK_READY)
        yield Servers(ours.url, other.url)


def _model_flags(flags: list[str]) -> list[str]:
    names = {flag.partition("=")[0] for flag in flags}
    if names & {"--model-path", "--model", "--config"}:
        return []
    path = str(embedded_model.ensure())
    return ["--model-path", path, "--served-model-name", embedded_model.NAME]


def _platform(flags: list[str]) -> tuple[list[str], dict[str, str]]:
    """What our launcher adds by itself on this machine, for the stock server too."""
    import torch

    if torch.accelerator.is_available() or "SGLANG_USE_CPU_ENGINE" in os.environ:
        return [], {}
    more, variables = cpu_flags(flags, sorted(os.sched_getaffinity(0)))
    return more, {name: os.environ.get(name, value) for name, value in variables.items()}


class _Server:
    """A server process and its log."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self._log = log

    def wait_until_it_says(self, ready: str) -> None:
        """Wait for a line of its log.

        Raises:
            ConveyorError: it ended, or did not say it in time.
        """
        deadline = time.monotonic() + _START_LIMIT_S
        while ready not in (text := self._log.read_text(errors="replace")):
            tail = "\n".join(text.splitlines()[-15:])
            if self.process.poll() is not None:
                raise ConveyorError(
                    f"the server ended with code {self.process.returncode}:\n{tail}"
                )
            if time.monotonic() > deadline:
                raise ConveyorError(f"the server was not ready in {_START_LIMIT_S:g} s:\n{tail}")
            time.sleep(0.5)

    def end(self) -> None:
        """Ask it to end, then end whatever is left of it."""
        parts: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            parts = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for part in parts:
            with contextlib.suppress(psutil.NoSuchProcess):
                part.kill()


@contextlib.contextmanager
def _started(arguments: list[str], environment: dict[str, str]) -> Iterator[_Server]:
    """A server that starts; its log is kept if it fails."""
    port = free_port()
    descriptor, name = tempfile.mkstemp(prefix="sgl-conveyor-bench-", suffix=".log")
    with os.fdopen(descriptor, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments[:2], "--port", str(port), *arguments[2:]],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=die_with_parent(),
        )
    server = _Server(process, f"http://127.0.0.1:{port}", Path(name))
    try:
        yield server
    finally:
        server.end()
    Path(name).unlink()
