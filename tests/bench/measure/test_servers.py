"""The servers of a comparison are started alike."""

from __future__ import annotations

import os

import pytest

from bench.measure.servers import _started
from sgl_conveyor.errors import ConveyorError

SERVER = "tests.bench.measure.session_server"


def test_a_server_shares_no_session_and_so_no_part_of_a_core_with_the_bench() -> None:
    with _started(SERVER, [], {}, "ready") as server:
        server.ready_url()
        session = os.getsid(server.process.pid)
    assert session == server.process.pid
    assert session != os.getsid(0)


def test_a_server_that_ends_early_is_an_error_with_the_end_of_its_log() -> None:
    with pytest.raises(ConveyorError, match="No module named"):
        with _started("tests.no_such_module", [], {}, "ready") as server:
            server.ready_url()
