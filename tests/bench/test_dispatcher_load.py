"""The load on the dispatcher, as small as it gets."""

from __future__ import annotations

from bench.dispatcher_load import Load, measure


def test_every_token_of_every_call_is_counted() -> None:
    figures = measure(Load(calls=4, rate=80, seconds=1.5, warm_up_s=0.5))
    # Twenty steps a second of four calls; the window's ends may cut one step off.
    assert 4 * 29 <= figures.rate * 1.5 <= 4 * 31
    assert figures.calls == 4
    # Half a character is no unit, all else is one.
    assert 100 <= figures.units <= 4 * 31
    assert 0 < figures.p50_ms <= figures.p99_ms <= figures.max_ms
    assert 0 < figures.core < 2
    assert 10 < figures.memory_mb < 1000
