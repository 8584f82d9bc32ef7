"""A worker that dies: who gets a second one, and that nothing happens twice that must not."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.dispatcher.harness import STOP, Harness, dispatcher, lines_of, wait_until

MORTAL = "tests.tools.mortal:Mortal"
REPLAYABLE = "tests.tools.mortal:ReplayableMortal"
READ_ONLY = "tests.tools.mortal:ReadOnlyMortal"
TOOLS = ["mortal", "replayable_mortal", "read_only_mortal"]
PAYMENT = "tests.tools.mortal:Payment"
REPLAYABLE_PAYMENT = "tests.tools.mortal:ReplayablePayment"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mortal") / "record"


@pytest.fixture(scope="module")
def conveyor(record: Path) -> Iterator[Harness]:
    environment = {"MORTAL_RECORD": str(record)}
    with dispatcher([MORTAL, REPLAYABLE, READ_ONLY], environment=environment) as harness:
        yield harness


def stages(record: Path, test: str) -> list[tuple[str, int]]:
    """The stages that a test's call has reached, each with the worker's process."""
    rows = [line.split() for line in lines_of(record)]
    return [(stage, int(pid)) for name, stage, pid in rows if name == test]


def killed_at(conveyor: Harness, record: Path, tool: str, stage: str) -> tuple[object, list[str]]:
    """The outcome of a call whose worker is killed at a stage, and the stages that were reached."""
    test = f"{tool}-{stage}"
    call = conveyor.create(tool, f"{stage} {test}")
    conveyor.attach(call)
    if stage == "between":
        conveyor.decode(call, "one\n")
        wait_until(lambda: len(stages(record, test)) == 2, "the first line")
        # The line's hook has returned when its progress is reported.
        wait_until(lambda: conveyor.read(call, 0).outcome.timings.units, "its unit")
    elif stage == "line":
        conveyor.decode(call, "one\n")
    else:
        conveyor.decode(call, "one\ntwo\n", STOP)
    if stage != "between":
        wait_until(
            lambda: stages(record, test)[-1:] and stages(record, test)[-1][0] == stage, stage
        )
    os.kill(stages(record, test)[-1][1], signal.SIGKILL)
    if stage in ("between", "line"):
        conveyor.decode(call, "two\n", STOP)
    outcome = conveyor.read(call).outcome
    return outcome, [name for name, _ in stages(record, test)]


@pytest.mark.parametrize("stage", ["open", "line", "between", "finish"])
def test_a_tool_with_effects_ends_with_an_error(
    conveyor: Harness, record: Path, stage: str
) -> None:
    outcome, reached = killed_at(conveyor, record, "mortal", stage)
    assert outcome.error.type == "WorkerLost"
    assert "signal SIGKILL" in outcome.error.message
    assert reached.count("open") == 1


@pytest.mark.parametrize("stage", ["open", "line", "between"])
@pytest.mark.parametrize("tool", ["replayable_mortal", "read_only_mortal"])
def test_a_replayable_tool_gets_its_units_again_before_it_finishes(
    conveyor: Harness, record: Path, tool: str, stage: str
) -> None:
    outcome, reached = killed_at(conveyor, record, tool, stage)
    assert outcome.value == ["one", "two"]
    assert reached.count("open") == 2
    assert reached.count("finish") == 1
    assert len(outcome.timings.units) == 2, "the lost worker's units are forgotten"


def test_a_replayable_tool_is_not_replayed_once_it_finishes(
    conveyor: Harness, record: Path
) -> None:
    outcome, reached = killed_at(conveyor, record, "replayable_mortal", "finish")
    assert outcome.error.type == "WorkerLost"
    assert (reached.count("open"), reached.count("finish")) == (1, 1)


def test_a_read_only_tool_is_replayed_even_then(conveyor: Harness, record: Path) -> None:
    outcome, reached = killed_at(conveyor, record, "read_only_mortal", "finish")
    assert outcome.value == ["one", "two"]
    assert reached.count("finish") == 2


def test_a_replay_happens_once(conveyor: Harness, record: Path) -> None:
    call = conveyor.create("read_only_mortal", "none twice")
    conveyor.attach(call)
    conveyor.decode(call, "one\n")
    for deaths in (1, 2):
        wait_until(lambda n=deaths: len(stages(record, "twice")) == 2 * n, "the line")
        os.kill(stages(record, "twice")[-1][1], signal.SIGKILL)
    view = conveyor.read(call)
    assert view.outcome.error.type == "WorkerLost"


def test_an_aborted_call_is_not_replayed(conveyor: Harness, record: Path) -> None:
    from sgl_conveyor import messages as m

    call = conveyor.create("replayable_mortal", "line aborted")
    conveyor.attach(call)
    conveyor.decode(call, "one\n")
    wait_until(lambda: stages(record, "aborted")[-1:], "the line")
    conveyor.ask(m.DeleteCall, call)
    os.kill(stages(record, "aborted")[-1][1], signal.SIGKILL)
    assert conveyor.run("replayable_mortal", "x", region="none after").outcome.value == ["x"]
    assert [name for name, _ in stages(record, "aborted")].count("open") == 1


def test_a_stalled_worker_counts_as_lost(record: Path) -> None:
    environment = {"MORTAL_RECORD": str(record)}
    with dispatcher([READ_ONLY], environment=environment, limits={"timeout_s": 0.5}) as conveyor:
        call = conveyor.create("read_only_mortal", "line stalled")
        conveyor.attach(call)
        conveyor.decode(call, "one\n")
        wait_until(
            lambda: [n for n, _ in stages(record, "stalled")].count("open") == 2, "the replay"
        )
        conveyor.decode(call, "two\n", STOP)
        assert conveyor.read(call).outcome.value == ["one", "two"]


def test_calls_under_random_kills_are_neither_lost_nor_run_twice(tmp_path: Path) -> None:
    record = tmp_path / "payments"
    chance = random.Random(3)
    with dispatcher(
        [PAYMENT, REPLAYABLE_PAYMENT], environment={"MORTAL_RECORD": str(record)}
    ) as conveyor:
        over = threading.Event()
        killed: list[int] = []

        def kill_workers() -> None:
            while not over.wait(1.0):
                workers = [w for w in conveyor.workers() if w.status() != psutil.STATUS_ZOMBIE]
                if workers:
                    victim = chance.choice(workers)
                    killed.append(victim.pid)
                    os.kill(victim.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_workers)
        killer.start()
        try:
            calls: dict[str, str] = {}
            for number in range(200):
                tool = ("payment", "replayable_payment")[number % 2]
                call = conveyor.create(tool, f"{tool}-{number}")
                calls[call] = f"{tool}-{number}"
                conveyor.attach(call)
                lines = "".join(f"0.{chance.randrange(1, 4)}\n" for _ in range(3))
                conveyor.decode(call, lines, STOP, per_step=4)
                time.sleep(0.03)
            outcomes = {region: conveyor.read(call).outcome for call, region in calls.items()}
        finally:
            over.set()
            killer.join()
    paid = Counter(line.removeprefix("paid ") for line in lines_of(record))
    assert len(killed) >= 5
    assert set(paid.values()) == {1}, "a payment was made twice"
    for region, outcome in outcomes.items():
        if outcome.error is None:
            assert (outcome.value, paid[region]) == (region, 1)
        else:
            assert outcome.error.type == "WorkerLost"
    lost = Counter(r.partition("-")[0] for r, o in outcomes.items() if o.error is not None)
    print(f"{len(killed)} workers killed; of 200 calls lost with an error: {dict(lost)}")
    assert lost["payment"] > lost["replayable_payment"]


def test_an_idle_tool_has_no_worker_until_a_call_comes(record: Path) -> None:
    environment = {"MORTAL_RECORD": str(record)}
    with dispatcher([MORTAL], environment=environment, limits={"idle_s": 0.5}) as conveyor:
        for round in (1, 2):
            wait_until(lambda: not conveyor.workers(), "the idle worker's end")
            view = conveyor.run("mortal", "one\n", region=f"none idle{round}")
            assert view.outcome.value == ["one"]


@pytest.mark.parametrize("tool", ["payment", "replayable_payment"])
def test_a_call_is_never_paid_and_aborted(tmp_path: Path, tool: str) -> None:
    """The end of its region and its abort reach the worker together, in many orders."""
    from sgl_conveyor import messages as m

    record = tmp_path / "payments"
    with dispatcher(
        [PAYMENT, REPLAYABLE_PAYMENT], environment={"MORTAL_RECORD": str(record)}
    ) as conveyor:
        calls = {}
        for number in range(60):
            call = conveyor.create(tool, f"{tool}-{number}")
            calls[call] = f"{tool}-{number}"
            conveyor.attach(call)
            conveyor.decode(call, "0\n", STOP, per_step=4)
            time.sleep(0.0003 * (number % 20))
            conveyor.ask(m.DeleteCall, call)
        outcomes = {region: conveyor.read(call).outcome for call, region in calls.items()}
        paid = {line.removeprefix("paid ") for line in lines_of(record)}
        ends = Counter("aborted" if o.aborted is not None else "paid" for o in outcomes.values())
        print(ends)
        for region, outcome in outcomes.items():
            assert (region in paid) is (outcome.aborted is None), (region, outcome)
