"""Dispatchers with the python tool, each for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dispatcher.harness import Harness, dispatcher
from tests.tool_workers.python_calls import MIB


@pytest.fixture(scope="module")
def conveyor() -> Iterator[Harness]:
    # A sandbox gives way to whatever else runs here: its time limit is no test's.
    limits = {"timeout_s": 30.0, "memory_bytes": 512 * MIB}
    with dispatcher(["python"], limits=limits) as harness:
        yield harness


@pytest.fixture(scope="module")
def impatient() -> Iterator[Harness]:
    """One that ends a call which takes longer than a moment."""
    with dispatcher(["python"], limits={"timeout_s": 3.0}) as harness:
        yield harness
