"""The demo's server: started on a free port, ended with the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.launch_server import READY

_START_LIMIT_S = 600.0
_END_LIMIT_S = 30.0


@contextlib.contextmanager
def running_server(flags: list[str], console: Console) -> Iterator[str]:
    """Start a server and give its URL; it is ended even when the body raises.

    Args:
        flags: of `sgl_conveyor.launch_server`.
        console: where the progress is shown.

    Raises:
        ConveyorError: it did not become ready; the end of its log is in the message.
    """
    port = free_port()
    descriptor, name = tempfile.mkstemp(prefix="sgl-conveyor-demo-", suffix=".log")
    os.close(descriptor)
    log = Path(name)
    argv = [sys.executable, "-m", "sgl_conveyor.launch_server", "--port", str(port), *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
    try:
        console.print(f"starting SGLang (a minute or two; log: {log})")
        with console.status("starting SGLang"):
            _wait_until_ready(process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    log.unlink(missing_ok=True)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if READY in text:
            return
        if process.poll() is not None:
            tail = "\n".join(text.splitlines()[-15:])
            raise ConveyorError(f"the server ended with code {process.returncode}:\n{tail}")
        time.sleep(0.5)
    raise ConveyorError(f"the server was not ready within {_START_LIMIT_S:g} s: see {log}")
