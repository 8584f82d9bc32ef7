"""However a server ends, nothing of it is left."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.runtime.servers import Server, conveyor_server, still_running

#: The issue's limit (seconds).
ORPHAN_LIMIT_S = 10.0
PARTS = {
    "the launcher": "sgl_conveyor.launch_server",
    "SGLang's HTTP process": "sgl_conveyor.runtime.server",
    "the scheduler": "sglang::scheduler",
}


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    with conveyor_server(tmp_path / "log", "--conveyor-drain", "5") as server:
        yield server


@pytest.mark.parametrize("part", PARTS)
def test_the_death_of_a_part_ends_the_others(own_server: Server, part: str) -> None:
    parts = own_server.parts()
    own_server.part(PARTS[part]).kill()
    assert still_running(parts, ORPHAN_LIMIT_S) == []


def test_a_signal_drains_and_ends_everything(own_server: Server) -> None:
    parts = own_server.parts()
    children = [p for p in parts if p.pid != own_server.process.pid]
    # As a terminal does: to the launcher, whose children are in sessions of their own.
    own_server.process.send_signal(signal.SIGINT)
    assert own_server.process.wait(ORPHAN_LIMIT_S) == 0
    assert still_running(children, 1.0) == []
    assert not [p for p in psutil.Process().children() if p.pid in {c.pid for c in children}]
