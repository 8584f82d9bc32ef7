"""The load on the dispatcher: which of it is measured, and whether it was all there."""

from __future__ import annotations

import msgspec
import pytest

from bench.measure.dispatcher_load import Drive, Processes, drive, figures_of, load_checks
from bench.measure.tap_player import Load
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.timings import Timings, UnitTiming

USED = Processes(began=110.0, ended=112.0, own_s=0.5, workers_s=1.0, memory=50_000_000)


def test_every_token_of_every_call_comes_while_the_processes_are_watched() -> None:
    load = Load(calls=4, batch=2, rate=80, seconds=0.5, warm_up_s=0.2)
    run = drive(load)
    assert [len(timings.tokens) for _, timings in run.calls] == [load.steps] * 4
    # A step of each batch, no matter how late.
    assert len(run.late) == 2 * load.steps
    used = run.processes
    assert used.ended - used.began >= load.seconds
    for start, timings in run.calls:
        assert timings.first_token is not None
        assert timings.region_end is not None
        assert start + timings.first_token < used.began < start + timings.region_end
    assert used.memory > 1_000_000
    figures = figures_of(run)
    assert figures.calls == 4
    assert 0 < figures.units <= 4 * load.steps
    assert 0 < figures.p50_ms <= figures.p99_ms <= figures.max_ms


def seen(start: float, ready: list[float], wait: float) -> tuple[float, Timings]:
    """A call whose tokens are a unit each."""
    units = [UnitTiming(at - start, at - start + wait, at - start + wait) for at in ready]
    return start, Timings(tokens=[at - start for at in ready], units=units)


def test_waits_tokens_and_processor_time_are_of_the_same_two_seconds() -> None:
    # What came before, after and at the end itself would be a long wait.
    early, late = seen(90, [109.9], 5.0), seen(95, [112.0, 113.0], 5.0)
    inside = seen(100, [110.0, 111.0, 111.5, 111.9], 0.002)
    load = Load(calls=3, rate=2.0)
    found = figures_of(Drive(load=load, processes=USED, calls=[early, late, inside], late=[0.001]))
    assert (found.units, found.rate, found.calls) == (4, 2.0, 3)
    assert (found.core, found.workers_core, found.memory_mb) == (0.25, 0.5, 50.0)
    assert found.max_ms == pytest.approx(2.0)
    assert found.tap_late_p99_ms == pytest.approx(1.0)
    assert all(check.passed for check in load_checks(found))


def test_without_a_unit_there_is_no_figure() -> None:
    run = Drive(load=Load(), processes=USED, calls=[seen(90, [109.0], 0.1)], late=[0.0])
    with pytest.raises(ConveyorError, match="no unit"):
        figures_of(run)


@pytest.mark.parametrize(
    ("changes", "missed"),
    [({"rate": 1.95}, "rate reached"), ({"tap_late_p99_ms": 5.1}, "steps late")],
)
def test_another_load_than_the_asked_one_is_noticed(changes: dict, missed: str) -> None:
    load = Load(calls=1, rate=2.0)
    inside = seen(100, [110.0, 110.5, 111.0, 111.5], 0.002)
    found = figures_of(Drive(load=load, processes=USED, calls=[inside], late=[0.001]))
    checks = load_checks(msgspec.structs.replace(found, **changes))
    assert [missed in check.name for check in checks if not check.passed] == [True]
