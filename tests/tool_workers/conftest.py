"""One dispatcher with the python tool for all tests of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.dispatcher.harness import Harness, dispatcher
from tests.tool_workers.python_calls import MIB


@pytest.fixture(scope="module")
def conveyor() -> Iterator[Harness]:
    limits = {"timeout_s": 8.0, "memory_bytes": 512 * MIB}
    os.environ["CONVEYOR_TEST_SECRET"] = "the server's own"
    with dispatcher(["python"], limits=limits) as harness:
        yield harness
    del os.environ["CONVEYOR_TEST_SECRET"]
