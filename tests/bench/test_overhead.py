"""The verdict: which figures it has, and when it is a bad one."""

from __future__ import annotations

import msgspec
import pytest

from bench.dispatcher_load import DispatcherFigures
from bench.overhead import Against, Overhead, Pair, checks, verdict
from bench.serving import ServingFigures
from bench.tap_cost import TapCost

STOCK = ServingFigures(itl_ms=100, throughput=40, tokens=192)
LOADED = DispatcherFigures(
    rate=5000,
    core=0.4,
    workers_core=0.5,
    memory_mb=90,
    p50_ms=2,
    p99_ms=8,
    max_ms=20,
    tap_late_p99_ms=0.5,
    units=75_000,
    calls=256,
)


def against(itl_ms: float, throughput: float) -> Against:
    ours = ServingFigures(itl_ms=itl_ms, throughput=throughput, tokens=192)
    return Against.of([Pair(kind="tapped", first="ours", ours=ours, stock=STOCK)] * 5)


def overhead(**changes: object) -> Overhead:
    good = Overhead(
        against_stock={"tapped": against(101, 39.5)},
        tap=[
            TapCost(tapped=n, batch=max(n, 32), p50_us=n, p99_us=3 * n, steps=9) for n in (32, 256)
        ],
        dispatcher=LOADED,
    )
    return msgspec.structs.replace(good, **changes)


def test_all_within_the_limits_passes() -> None:
    found = list(checks(overhead()))
    assert all(check.passed for check in found)
    line = verdict(found)
    assert line.startswith("passed: ")
    for figure in ("+1.0 % [+1.0, +1.0]", "-1.2 %", "32.0 µs", "40 % of a core", "90 MB", "8.0 ms"):
        assert figure in line


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"against_stock": {"tapped": against(104, 40)}}, "tapped inter-token"),
        ({"against_stock": {"ordinary": against(100, 38)}}, "ordinary throughput"),
        ({"tap": [TapCost(tapped=32, batch=32, p50_us=51, p99_us=60, steps=9)]}, "tap at 32"),
        ({"dispatcher": msgspec.structs.replace(LOADED, core=0.51)}, "dispatcher at 5000"),
        ({"dispatcher": msgspec.structs.replace(LOADED, memory_mb=201)}, "201 MB"),
        ({"dispatcher": msgspec.structs.replace(LOADED, p99_ms=10.5)}, "token to hook"),
    ],
)
def test_one_figure_over_its_limit_is_missed(changes: dict, missed: str) -> None:
    found = list(checks(overhead(**changes)))
    assert [check.passed for check in found].count(False) == 1
    line = verdict(found)
    assert line.startswith("1 missed: ")
    assert f"MISSED {missed}" in line


def test_an_uncertain_figure_is_missed() -> None:
    ours = [ServingFigures(itl_ms=ms, throughput=40, tokens=192) for ms in (96, 98, 100, 105, 110)]
    pairs = [Pair(kind="ordinary", first="stock", ours=o, stock=STOCK) for o in ours]
    unsure = Against.of(pairs)
    assert unsure.itl.value == pytest.approx(0)
    found = list(checks(overhead(against_stock={"ordinary": unsure})))
    assert not found[0].passed
