"""The python tool: what a model wrote shares its worker's process, and may say anything to us."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sgl_conveyor import messages as m
from tests.dispatcher.harness import STOP, Harness, wait_until
from tests.tool_workers.python_calls import MIB, run, value

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


def test_each_attack_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("[!_]*.py")} == ATTACKS.keys()


#: Statements that a neighbour runs at least and at most, and how long after each other (seconds).
STATEMENTS = 20
MOST_STATEMENTS = 300
PAUSE_S = 0.01
#: A statement beside an attack may wait so many times as long as in peace; and so long, for which a
#: busy machine may keep it from the cores (seconds).
MOST_TIMES_PEACE = 20.0
FLOOR_S = 1.0


class Neighbour:
    """A call that has begun, and runs statements while something else happens.

    Args:
        conveyor: where.
    """

    def __init__(self, conveyor: Harness) -> None:
        self._conveyor = conveyor
        self._call = conveyor.create("python")
        conveyor.attach(self._call)
        conveyor.decode(self._call, "print(0)\nprint(1)\n")
        wait_until(lambda: has_run(conveyor, self._call, 1), "the neighbour to begin")

    def median_wait(self, until: Callable[[], bool]) -> float:
        """Run statements; returns how long one waited for its hook in the median (seconds).

        Args:
            until: whether that is enough.
        """
        count = 2
        while count < STATEMENTS or (count < MOST_STATEMENTS and not until()):
            self._conveyor.decode(self._call, f"print({count})\n")
            count += 1
            time.sleep(PAUSE_S)
        self._conveyor.decode(self._call, "", STOP)
        outcome = self._conveyor.read(self._call).outcome
        assert outcome.value == "".join(f"{number}\n" for number in range(count))
        return statistics.median(u.started - u.ready for u in outcome.timings.units[2:])


def has_run(conveyor: Harness, call: str, units: int) -> bool:
    return len(conveyor.read(call, 0).outcome.timings.units) >= units


def has_ended(conveyor: Harness, call: str) -> bool:
    # Its value, which may be large, is not looked at.
    view = conveyor.ask(m.ReadCall, call, 0.0)
    assert isinstance(view, m.CallView)
    return view.ended


def attacker(conveyor: Harness) -> str:
    """A call that is about to attack: it has found its worker's channel."""
    call = conveyor.create("python")
    conveyor.attach(call)
    conveyor.decode(call, CHANNEL)
    wait_until(lambda: has_run(conveyor, call, LINES_OF_CHANNEL - 1), "the attacker to begin")
    return call


@pytest.fixture(scope="module")
def peace_s(conveyor: Harness) -> float:
    """How long a neighbour's statement waits when nobody attacks."""
    return Neighbour(conveyor).median_wait(lambda: True)


@contextlib.contextmanager
def grows_by_at_most(process: psutil.Process, most: int) -> Iterator[None]:
    """Watch a process: at no time does it hold so much more than now (bytes)."""
    first = highest = process.memory_info().rss
    over = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not over.wait(0.01):
            highest = max(highest, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert highest - first < most


@pytest.mark.parametrize(("name", "ends"), ATTACKS.items(), ids=ATTACKS)
def test_harms_nobody_else(
    conveyor: Harness, peace_s: float, name: str, ends: set[str | None]
) -> None:
    dispatcher = psutil.Process(conveyor.process.pid)
    files = dispatcher.num_fds()
    neighbour, call = Neighbour(conveyor), attacker(conveyor)
    with grows_by_at_most(dispatcher, 64 * MIB):
        conveyor.decode(call, (FOLDER / f"{name}.py").read_text(), STOP, per_step=100_000)
        waited = neighbour.median_wait(lambda: has_ended(conveyor, call))
        view = conveyor.read(call)
    assert waited < max(MOST_TIMES_PEACE * peace_s, FLOOR_S)
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
