"""The fuzz run itself: nothing is harmed, and what is harmed is noticed."""

from __future__ import annotations

import threading

import pytest

from bench.fuzz.log import Log
from bench.fuzz.report import shown
from bench.fuzz.run import PLACES, Report, fuzz

#: Seeds of their own: another one than the command's finds other things.
SHORT_SEED, LONG_SEED = 3, 7


def check(report: Report) -> None:
    assert not report.harmed, shown(report)
    assert report.places.keys() == set(PLACES)
    for place in report.places.values():
        assert place.frames > 0
        assert place.ends
    assert report.honest > 8
    assert "nothing was harmed" in shown(report)


def test_three_seconds_harm_nobody() -> None:
    report = fuzz(3.0, SHORT_SEED)
    check(report)
    assert report.different_ends > 20


@pytest.mark.server  # for its minute alone: `make check` has the seconds above
@pytest.mark.timeout(600)
def test_a_minute_harms_nobody_and_reaches_many_ends() -> None:
    report = fuzz(60.0, LONG_SEED)
    check(report)
    assert report.different_ends > 100
    assert report.workers["worker"] > 10
    assert report.workers["sandbox"] > 10


@pytest.mark.parametrize(
    ("line", "is_wrong"),
    [
        ("Traceback (most recent call last):", True),
        ("[2026-01-01 10:00:00 conveyor] killing echo worker 1: it speaks without a call", True),
        ("[2026-01-01 10:00:00 conveyor] target worker 1 died with call x: exit code 1", True),
        ("[2026-01-01 10:00:00 conveyor] killing python worker 1: it speaks without a call", False),
        (
            "[2026-01-01 10:00:00 conveyor] fuzzed worker 1: Traceback (most recent call last):",
            False,
        ),
    ],
)
def test_what_must_not_be_in_the_log_is_noticed(line: str, is_wrong: bool) -> None:
    log = Log()
    with open(log.descriptor, "w", closefd=False) as file:
        file.write(f"first\n{line}\n")
    log.close()
    assert bool(log.wrong) == is_wrong
    assert log.lines == 2


def test_a_dispatcher_that_ends_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.fuzz.watch import Watch

    def kill(watch: Watch, over: threading.Event, harmed: object) -> None:
        watch._client.process.kill()
        watch._client.process.wait()
        run(watch, over, harmed)

    run = Watch.run
    monkeypatch.setattr(Watch, "run", kill)
    report = fuzz(30.0, SHORT_SEED, ["tap"])
    assert "the dispatcher ended" in report.harmed[0]
    assert "in the sessions: tap" in report.harmed[0]
