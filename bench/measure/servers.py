"""The servers of a comparison: ours and stock SGLang, with the same flags, cores and scheduling."""

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
    *flags: str, tools: list[str], tools_config: Path | None = None, stock_first: bool = False
) -> Iterator[Servers]:
    """Start our server and a stock one; both are ended even when the body raises.

    The stock one runs on the same platform with our plugin off; on a machine without an
    accelerator both have all cores but one for the engine.

    Args:
        flags: SGLang's, for both; the embedded model is served unless they name another.
        tools: ours, as `--tools` takes them.
        tools_config: as `--tools-config` takes it.
        stock_first: whether the stock one is started before ours.

    Raises:
        ConveyorError: one did not become ready; the end of its log is in the message.
    """
    config = [] if tools_config is None else ["--tools-config", str(tools_config)]
    plan = _Plan.of(flags)
    with contextlib.ExitStack() as stack:
        stock = stack.enter_context(plan.stock()) if stock_first else None
        ours = stack.enter_context(plan.ours(*config, "--tools", *tools))
        stock = stock or stack.enter_context(plan.stock())
        yield Servers(ours.ready_url(), stock.ready_url())


@contextlib.contextmanager
def two_stock_servers(*flags: str) -> Iterator[tuple[str, str]]:
    """Start two stock servers as `two_servers` starts one; they must come out even.

    Args:
        flags: as those of `two_servers`.

    Raises:
        ConveyorError: one did not become ready; the end of its log is in the message.
    """
    plan = _Plan.of(flags)
    with plan.stock() as one, plan.stock() as other:
        yield one.ready_url(), other.ready_url()


class _Plan(NamedTuple):
    """What all servers of a comparison get: flags and variables; the stock ones' own flags."""

    flags: list[str]
    variables: dict[str, str]
    stock_flags: list[str]

    @classmethod
    def of(cls, flags: tuple[str, ...]) -> _Plan:
        same = [*flags, *_model_flags(flags)]
        if "--sleep-on-idle" not in same:
            # An idle server would spin on a core that the other one needs.
            same.append("--sleep-on-idle")
        more, variables = _platform(same)
        # A client's connection outlives the calls that other modes make in between.
        variables["SGLANG_TIMEOUT_KEEP_ALIVE"] = str(_KEEP_ALIVE_S)
        return cls(same, variables, more)

    def ours(self, *own: str) -> contextlib.AbstractContextManager[_Server]:
        return _started("sgl_conveyor.launch_server", [*self.flags, *own], self.variables, READY)

    def stock(self) -> contextlib.AbstractContextManager[_Server]:
        flags = [*self.flags, *self.stock_flags]
        variables = {**self.variables, "SGLANG_PLUGINS": "none"}
        return _started("sglang.launch_server", flags, variables, _STOCK_READY)


def _model_flags(flags: tuple[str, ...]) -> list[str]:
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

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path, ready: str) -> None:
        self.process = process
        self._url = url
        self._log = log
        self._ready = ready

    def ready_url(self) -> str:
        """Wait until its log says that it is ready; where it answers.

        Raises:
            ConveyorError: it ended, or did not say it in time.
        """
        deadline = time.monotonic() + _START_LIMIT_S
        while self._ready not in (text := self._log.read_text(errors="replace")):
            tail = "\n".join(text.splitlines()[-15:])
            if (code := self.process.poll()) is not None:
                raise ConveyorError(f"the server ended with code {code}:\n{tail}")
            if time.monotonic() > deadline:
                raise ConveyorError(f"the server was not ready in {_START_LIMIT_S:g} s:\n{tail}")
            time.sleep(0.5)
        return self._url

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
def _started(
    module: str, flags: list[str], variables: dict[str, str], ready: str
) -> Iterator[_Server]:
    """A server that starts; its log is kept if it fails."""
    port = free_port()
    environment = {**os.environ, **variables}
    environment.pop(RUN_DIRECTORY, None)
    descriptor, name = tempfile.mkstemp(prefix="sgl-conveyor-bench-", suffix=".log")
    with os.fdopen(descriptor, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--port", str(port), *flags],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=die_with_parent(),
            # Linux shares a core out by session first (sched_autogroup). Our launcher gives SGLang
            # one of its own; a stock server in ours would share its part with this client.
            start_new_session=True,
        )
    server = _Server(process, f"http://127.0.0.1:{port}", Path(name), ready)
    try:
        yield server
    finally:
        server.end()
    Path(name).unlink()
