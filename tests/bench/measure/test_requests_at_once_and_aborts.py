"""What many requests at once and an early abort come to."""

from __future__ import annotations

import pytest

from bench.analyse.results import Concurrency, EarlyAbort, load, save
from bench.analyse.runs import Machine, Run
from bench.measure.concurrency import Round, figures_of
from bench.measure.early_abort import BadCall, result_of
from sgl_conveyor.timings import Timings, UnitTiming

MACHINE = Machine(date="2026-11-22", cores=2, memory_gib=15.6, gpu="none", versions={}, command="")


def run(way: str, latency_s: float) -> Run:
    """A request of ten tokens; only the tap sees each of them."""
    tokens = [0.1 * n for n in range(10 if way == "partial" else 2)]
    units = [UnitTiming(at, at + 0.002, at + 0.002) for at in tokens]
    timings = Timings(tokens=tokens, units=units, opened=0.0)
    fields = dict.fromkeys(Run.__struct_fields__, latency_s)
    fields |= {"workload": "concurrency", "call": 0, "mode": way, "ended": "done", "value": ""}
    return Run(**{**fields, "timings": timings})


def rounds(way: str, latencies: list[float], cpu_s: float) -> list[Round]:
    return [
        Round(runs=[run(way, s), run(way, s)], lasted_s=2 * s, bench_cpu_s=cpu_s) for s in latencies
    ]


@pytest.fixture(scope="module")
def concurrency() -> Concurrency:
    # The machine is slower from round to round, for every way.
    seen = {
        "stock": rounds("stock", [1.0, 2.0, 4.0], 0.01),
        "client": rounds("client", [1.5, 3.0, 6.0], 0.5),
        "partial": rounds("partial", [1.2, 2.4, 4.8], 0.02),
    }
    return Concurrency(machine=MACHINE, loads=figures_of(seen))


def test_ways_are_compared_round_by_round(concurrency) -> None:
    stock, client, partial = concurrency.loads
    assert client.against_stock.low == client.against_stock.high == pytest.approx(0.5)
    assert partial.against_client.low == partial.against_client.high == pytest.approx(-0.2)
    assert (stock.against_client, client.against_client) == (None, None)
    assert [load.rounds for load in concurrency.loads] == [3, 3, 3]


def test_the_clients_own_processor_time_and_the_servers_rate_are_figures(concurrency) -> None:
    stock, client, partial = concurrency.loads
    assert [load.bench_cpu_s for load in (stock, client, partial)] == [0.01, 0.5, 0.02]
    # Two requests of ten tokens in twice the latency of the round in the middle.
    assert stock.tokens_per_s.value == pytest.approx(5.0)
    assert partial.tokens_per_s.value == pytest.approx(20 / 4.8)
    assert stock.dispatch_ms is None
    assert partial.dispatch_ms == pytest.approx(2.0)


def test_an_abort_is_compared_round_by_round() -> None:
    def calls(seconds: list[float], before: int, after: list[int]) -> list[BadCall]:
        return [
            BadCall(latency_s=s, before=before, after=a)
            for s, a in zip(seconds, after, strict=True)
        ]

    runs = {
        "sequential": calls([2.0, 4.0, 8.0], 90, [0, 0, 0]),
        "partial": calls([0.5, 1.0, 2.0], 9, [1, 2, 1]),
    }
    found = result_of(MACHINE, runs)
    assert [mode.mode for mode in found.modes] == ["sequential", "partial"]
    assert found.reduction.low == found.reduction.high == pytest.approx(0.75)
    sequential, partial = found.modes
    assert (sequential.latency_s.value, sequential.latency_s.high) == (4.0, 8.0)
    assert (partial.tokens_before.value, partial.most_tokens_after, partial.runs) == (9, 2, 3)


def test_what_is_saved_is_what_is_loaded(concurrency, tmp_path) -> None:
    calls = [BadCall(latency_s=2.0, before=9, after=1)] * 2
    abort = result_of(MACHINE, {"sequential": calls, "partial": calls})
    for kind, result in ((Concurrency, concurrency), (EarlyAbort, abort)):
        save(tmp_path / "result.json", result)
        assert load(tmp_path / "result.json", kind) == result
