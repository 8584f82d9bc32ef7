"""The verdict: which figures it has, and when it is a bad one."""

from __future__ import annotations

import msgspec
import pytest

from bench.analyse.results import (
    Against,
    DispatcherFigures,
    Overhead,
    Pair,
    ServingFigures,
    TapCost,
    load,
    save,
)
from bench.measure.overhead import checks, main, verdict

STOCK = ServingFigures(itl_ms=100, throughput=40, tokens=192)
LOADED = DispatcherFigures(
    asked_rate=5000,
    rate=4990,
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


def against(itl_ms: float, throughput: float, pairs: int = 10) -> Against:
    other = ServingFigures(itl_ms=itl_ms, throughput=throughput, tokens=192)
    return Against.of([Pair(kind="tapped", first="other", other=other, stock=STOCK)] * pairs)


def overhead(**changes: object) -> Overhead:
    good = Overhead(
        against_stock={"tapped": against(101, 39.5), "stock": against(100, 40)},
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
    for figure in (
        "tapped 10 pairs",
        "4990 of 5000",
        "+1.0 % [+1.0, +1.0]",
        "-1.2 %",
        "32.0 µs",
        "40 % of a core",
        "90 MB",
        "8.0 ms",
        "stock inter-token +0.0 % [+0.0, +0.0]",
    ):
        assert figure in line


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"against_stock": {"tapped": against(104, 40)}}, "tapped inter-token"),
        ({"against_stock": {"ordinary": against(100, 38)}}, "ordinary throughput"),
        ({"tap": [TapCost(tapped=32, batch=32, p50_us=51, p99_us=60, steps=9)]}, "tap at 32"),
        ({"against_stock": {"tapped": against(101, 40, pairs=9)}}, "tapped 9 pairs"),
        # Stock against stock must come out even, to both sides.
        ({"against_stock": {"stock": against(97, 40)}}, "stock inter-token -3.0 %"),
        ({"against_stock": {"stock": against(100, 40.8)}}, "stock throughput +2.0 %"),
        ({"dispatcher": msgspec.structs.replace(LOADED, rate=4890)}, "dispatcher 4890 of 5000"),
        ({"dispatcher": msgspec.structs.replace(LOADED, tap_late_p99_ms=6)}, "steps late"),
        ({"dispatcher": msgspec.structs.replace(LOADED, core=0.51)}, "dispatcher 51 %"),
        ({"dispatcher": msgspec.structs.replace(LOADED, memory_mb=201)}, "dispatcher 201 MB"),
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
    spread = (94, 96, 97, 98, 100, 100, 105, 108, 110, 111)
    others = [ServingFigures(itl_ms=ms, throughput=40, tokens=192) for ms in spread]
    pairs = [Pair(kind="ordinary", first="stock", other=one, stock=STOCK) for one in others]
    unsure = Against.of(pairs)
    assert unsure.itl.value == pytest.approx(0)
    missed = [c for c in checks(overhead(against_stock={"ordinary": unsure})) if not c.passed]
    assert [check.name for check in missed] == [
        "ordinary inter-token latency against stock, upper end"
    ]
    assert str(missed[0].limit) == "≤ 3 %"
    assert missed[0].value == pytest.approx(100 * unsure.itl.high)


def test_an_even_comparison_may_vary_if_0_is_in_its_interval() -> None:
    spread = (97, 98, 98, 99, 100, 101, 102, 102, 103, 104)
    others = [ServingFigures(itl_ms=ms, throughput=40, tokens=192) for ms in spread]
    pairs = [Pair(kind="stock", first="stock", other=one, stock=STOCK) for one in others]
    assert all(c.passed for c in checks(overhead(against_stock={"stock": Against.of(pairs)})))


def test_the_file_has_the_checks_and_the_machine(monkeypatch, tmp_path, capsys) -> None:
    costs = [TapCost(tapped=32, batch=32, p50_us=60, p99_us=90, steps=9)]
    monkeypatch.setattr("bench.measure.overhead.tap_costs", lambda: costs)
    path = tmp_path / "new" / "folder" / "overhead.json"
    assert main(["--parts", "tap", "--json", str(path)]) == 1
    found = load(path, Overhead)
    assert found.machine is not None
    assert found.machine.cores > 0
    assert [(c.value, str(c.limit), c.passed) for c in found.checks] == [(60, "≤ 50 µs", False)]
    assert capsys.readouterr().out.splitlines()[-1] == found.verdict


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    monkeypatch, tmp_path, capsys
) -> None:
    monkeypatch.setattr("bench.measure.overhead.tap_costs", lambda: pytest.fail("it was measured"))
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "overhead.json"):
        with pytest.raises(SystemExit) as ended:
            main(["--parts", "tap", "--json", str(path)])
        assert ended.value.code == 2
        assert str(path) in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == ""


def test_what_is_saved_is_what_is_loaded(tmp_path) -> None:
    whole = overhead(checks=list(checks(overhead())))
    save(tmp_path / "overhead.json", whole)
    assert load(tmp_path / "overhead.json", Overhead) == whole
