"""Calls that tools make: results, refusals, and their end with the call that made them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sgl_conveyor import messages as m
from tests.dispatcher.harness import Harness, dispatcher, wait_until

TOOLS = [f"tests.tools.asking:{name}" for name in ("add", "Patient", "Asker", "Nested", "Reader")]


@pytest.fixture(scope="module")
def conveyor() -> Iterator[Harness]:
    with dispatcher([*TOOLS, "python"]) as harness:
        yield harness


def test_a_tool_calls_others_while_its_own_region_is_decoded(conveyor: Harness) -> None:
    view = conveyor.run("asker", 'add {"a": 2, "b": 3}\npython print(6 * 7)\n')
    assert view.outcome.value == ["5", "42\n"]


def test_what_fails_is_an_error_of_the_result(conveyor: Harness) -> None:
    view = conveyor.run("asker", 'add {"a": 2}\nnobody x\n')
    assert view.outcome.value[0] == "Error: InvalidArguments: b: Field required"
    assert view.outcome.value[1].startswith("Error: Refused: unknown tool 'nobody'")


def test_calls_within_calls_have_a_limit(conveyor: Harness) -> None:
    view = conveyor.run("nested", "x")
    assert view.outcome.value == "Error: Refused: calls within calls may be 4 deep"


def test_a_tool_knows_the_servers_tools(conveyor: Harness) -> None:
    known = conveyor.run("reader", "x").outcome.value
    assert known["add"] == [True, False]
    assert known["python"] == [False, True]


def test_the_calls_of_a_call_end_with_it(conveyor: Harness) -> None:
    call = conveyor.create("asker")
    conveyor.attach(call)
    conveyor.decode(call, "patient x\n")
    wait_until(lambda: conveyor.read(call, 0).text, "the line")
    conveyor.ask(m.DeleteCall, call)
    assert conveyor.read(call).state == "aborted"
    # Its worker serves the next one: nothing of the old call holds it.
    assert conveyor.run("asker", 'add {"a": 1, "b": 1}\n').outcome.value == ["2"]
