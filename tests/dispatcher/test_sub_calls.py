"""Calls that tools make: results, refusals, and their end with the call that made them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sgl_conveyor import messages as m
from sgl_conveyor.dispatcher.config import Retention
from tests.dispatcher.harness import STOP, Harness, dispatcher, lines_of, wait_until

TOOLS = ["tests.tools.asking:*"]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asking") / "record"


@pytest.fixture(scope="module")
def conveyor(record: Path) -> Iterator[Harness]:
    with dispatcher([*TOOLS, "python"], environment={"ASKING_RECORD": str(record)}) as harness:
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


def test_the_calls_of_a_call_end_with_it(conveyor: Harness, record: Path) -> None:
    call = conveyor.create("asker")
    conveyor.attach(call)
    conveyor.decode(call, "patient 20\n")
    wait_until(lambda: "begun 20" in lines_of(record), "the other tool")
    conveyor.ask(m.DeleteCall, call)
    wait_until(
        lambda: any(line.startswith("aborted the call that made") for line in lines_of(record)),
        "its abort",
    )
    assert "effect" not in lines_of(record)


def test_the_calls_of_a_lost_worker_end_too(conveyor: Harness, record: Path) -> None:
    aborted = len([line for line in lines_of(record) if line.startswith("aborted")])
    call = conveyor.create("asker")
    conveyor.attach(call)
    conveyor.decode(call, "patient 21\n")
    wait_until(lambda: "begun 21" in lines_of(record), "the other tool")
    (worker,) = [w for w in conveyor.workers() if "asking:Asker" in " ".join(w.cmdline())]
    worker.kill()
    assert conveyor.read(call).outcome.error.type == "WorkerLost"
    wait_until(
        lambda: len([x for x in lines_of(record) if x.startswith("aborted")]) > aborted, "abort"
    )


def test_a_call_that_is_given_up_has_no_effect(conveyor: Harness, record: Path) -> None:
    aborted = len([line for line in lines_of(record) if line.startswith("aborted")])
    assert conveyor.run("impatient", "x").outcome.value == "given up"
    wait_until(
        lambda: len([x for x in lines_of(record) if x.startswith("aborted")]) > aborted, "abort"
    )
    assert "effect" not in lines_of(record)


def test_the_calls_of_a_call_take_no_place_among_those_that_are_kept() -> None:
    tools = ["tests.tools.asking:add", "tests.tools.asking:Many"]
    with dispatcher(tools, retention=Retention(calls=20)) as conveyor:
        first = conveyor.run("add", '{"a": 2, "b": 2}')
        assert conveyor.run("many", "40\n").outcome.value == 120
        assert conveyor.read(first.call).outcome.value == 4


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("lying x", "ProtocolError"),
        ("full x", "xxx"),
        ("add " + "x" * 1_100_000, "more than 1048576 bytes"),
    ],
)
def test_a_bad_answer_harms_nobody_else(conveyor: Harness, line: str, says: str) -> None:
    neighbour = conveyor.create("asker")
    conveyor.attach(neighbour)
    conveyor.decode(neighbour, 'add {"a": 1, "b": 1}\n')
    view = conveyor.run("asker", line + "\n")
    assert says in view.outcome.value[0][:500]
    conveyor.decode(neighbour, 'add {"a": 2, "b": 2}\n', STOP)
    assert conveyor.read(neighbour).outcome.value == ["2", "4"]


def test_a_name_that_cannot_be_sent_is_an_unknown_tool(conveyor: Harness) -> None:
    assert "unknown tool '\\\\ud800'" in conveyor.run("unspeakable", "x").outcome.value
