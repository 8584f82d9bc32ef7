"""The tap's cost is given only if the tap did its work."""

from __future__ import annotations

import pytest

from bench.measure import tap_cost
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.runtime.tap import Tap


def test_each_batch_has_a_cost_and_sglang_is_left_as_it_was() -> None:
    from sglang.srt.managers.scheduler_components.output_streamer import SchedulerOutputStreamer

    before = SchedulerOutputStreamer.stream_output
    costs = tap_cost.tap_costs((0, 3, 40), steps=20)
    assert [(cost.tapped, cost.batch, cost.steps) for cost in costs] == [
        (0, 32, 20),
        (3, 32, 20),
        (40, 40, 20),
    ]
    assert all(0 < cost.p50_us <= cost.p99_us for cost in costs)
    assert SchedulerOutputStreamer.stream_output is before


@pytest.mark.parametrize(
    ("method", "broken", "said"),
    [
        # A tap that sees nothing, and one that cannot send.
        ("observe", lambda *_: None, "0 of 220 tokens arrived"),
        ("hello", lambda tap: tap._socket.close(), "the tap failed"),
    ],
)
def test_a_tap_that_sends_nothing_has_no_cost(
    monkeypatch: pytest.MonkeyPatch, method: str, broken: object, said: str
) -> None:
    monkeypatch.setattr(tap_cost, "_ARRIVAL_LIMIT_S", 0.5)
    monkeypatch.setattr(Tap, method, broken)
    with pytest.raises(ConveyorError, match=said):
        tap_cost.tap_costs((1,), steps=20)


def gone(_address: str, _tokens: object) -> None:
    """An other end that ends at once."""


def test_the_end_of_the_other_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_cost, "count_tokens", gone)
    with pytest.raises(ConveyorError, match="the other end has ended: code 0"):
        tap_cost.tap_costs((1,), steps=20)
