"""The python tool: what a model wrote shares its worker's process, and may say anything to us."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from sgl_conveyor import messages as m
from tests.dispatcher.harness import STOP, Harness, wait_until
from tests.tool_workers.python_calls import run, value

FOLDER = Path(__file__).parent / "hostile_channel"
#: Finds the worker's channel and call, as any code in its process can; `say` sends a frame.
CHANNEL = (FOLDER / "_channel.py").read_text()
LINES_OF_CHANNEL = len(CHANNEL.strip().splitlines())
#: Each attack, and the errors that its own call may end with.
ATTACKS = {
    "announces_a_large_frame": {"WorkerLost"},
    "sends_junk": {"WorkerLost"},
    "says_hello_again": {"WorkerLost"},
    "speaks_of_another_call": {"WorkerLost"},
    "reports_units_that_there_are_not": {"WorkerLost"},
    "says_nothing_again_and_again": {"TooManyMessages"},
    "returns_too_much": {"ResultTooLarge", "TooManyBytes"},
    "returns_brackets_again_and_again": {"TransitionError"},
    "returns_many_brackets": {None},
    "calls_another_tool": {"WorkerLost"},
    "forks_and_speaks": {"WorkerLost", "TooManyMessages", "TooManyBytes"},
    # It may: nothing of it arrives.
    "sends_descriptors": {None, "OSError"},
}


def attack(name: str) -> str:
    return CHANNEL + (FOLDER / f"{name}.py").read_text()


def test_each_attack_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("[!_]*.py")} == ATTACKS.keys()


@pytest.mark.parametrize(("name", "ends"), ATTACKS.items(), ids=ATTACKS)
def test_harms_nobody_else(conveyor: Harness, name: str, ends: set[str | None]) -> None:
    dispatcher = psutil.Process(conveyor.process.pid)
    files = dispatcher.num_fds()
    neighbour = conveyor.create("python")
    conveyor.attach(neighbour)
    view = run(conveyor, attack(name))
    conveyor.decode(neighbour, "print('mine')\n", STOP)
    assert conveyor.read(neighbour).outcome.value == "mine\n"
    assert (view.outcome.error and view.outcome.error.type) in ends, view.outcome.error
    # A process that checks large values has some.
    wait_until(lambda: dispatcher.num_fds() <= files + 40, "its files to be closed")


def test_a_result_before_the_regions_end_is_a_lie_that_ends_the_call(conveyor: Harness) -> None:
    lie = "say(m.encode(m.Finished(r.call, b'1', None, 0.0, 0.0)))\n"
    call = conveyor.create("python")
    conveyor.attach(call)
    conveyor.decode(call, CHANNEL + lie + "1\n")
    assert conveyor.read(call).outcome.error.type == "TransitionError"
    assert value(conveyor, "print('next')\n") == "next\n"


@pytest.mark.parametrize("lie", ["Drained(r.call)", "Opened(r.call, 0.0, 0.0)"])
def test_a_call_that_lies_about_its_state_can_still_be_deleted(conveyor: Harness, lie: str) -> None:
    call = conveyor.create("python")
    conveyor.attach(call)
    conveyor.decode(call, CHANNEL + f"say(m.encode(m.{lie}))\ntime.sleep(3)\nprint(1)\n")

    def has_lied() -> bool:
        view = conveyor.read(call, 0)
        return view.ended or len(view.outcome.timings.units) > LINES_OF_CHANNEL

    wait_until(has_lied, "the lie")
    conveyor.ask(m.DeleteCall, call)
    view = conveyor.read(call)
    assert view.state in ("aborted", "failed")
    assert view.outcome.value is None
    assert value(conveyor, "print('next')\n") == "next\n"


def test_a_deeply_nested_result_reaches_nobody(conveyor: Harness) -> None:
    forge = (
        "from sgl_conveyor.worker import runner\n"
        "runner.encode_value = lambda value: b'[' * 500000 + b']' * 500000\n"
    )
    assert run(conveyor, CHANNEL + forge).outcome.error.type == "ProtocolError"
    assert value(conveyor, "print('next')\n") == "next\n"


@pytest.mark.parametrize(
    ("made", "error"),
    [("b'[' + b'1,' * 400000 + b'1]'", None), ("b'[' + b'1,' * 400000 + b']'", "ProtocolError")],
    ids=["a list", "no JSON"],
)
def test_a_large_result_is_checked_too(conveyor: Harness, made: str, error: str | None) -> None:
    forge = f"from sgl_conveyor.worker import runner\nrunner.encode_value = lambda value: {made}\n"
    found = run(conveyor, CHANNEL + forge).outcome
    assert (found.error and found.error.type) == error
    assert error is not None or len(found.value) == 400_001


def test_times_that_are_no_numbers_are_left_out(conveyor: Harness) -> None:
    forge = (
        "nan = float('nan')\nsay(m.encode(m.Progress(r.call, [UnitTiming(nan, nan, nan)], 0)))\n"
    )
    view = run(conveyor, CHANNEL + forge)
    assert all(unit.ready == unit.ready for unit in view.outcome.timings.units)


def test_messages_without_progress_keep_no_hook_alive(impatient: Harness) -> None:
    idle = (
        "while True:\n"
        "    say(m.encode(m.Progress(r.call, [], 0)))\n"
        "    say(m.encode(m.Opened(r.call, 0.0, 0.0)))\n"
        "    time.sleep(0.1)\n"
    )
    assert run(impatient, CHANNEL + idle).outcome.error.type == "ToolTimeout"
