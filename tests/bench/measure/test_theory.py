"""Predictions against hand-made pairs of runs, and a small grid through a real dispatcher."""

import msgspec
import pytest

from bench.analyse.predictions import Errors, Point, Predictions, point_of, points_of
from bench.analyse.results import load
from bench.analyse.runs import Machine, Recording, Run
from bench.measure import streams, theory, theory_grid
from bench.measure.harness import dispatcher
from bench.report.theory_figure import draw
from bench.workloads.tools import PACED
from sgl_conveyor.timings import Timings, UnitTiming

MACHINE = Machine(date="", cores=1, memory_gib=1.0, gpu="", versions={}, command="")
#: Two units, certain at 0.5 s and 1 s, of 0.6 s and 0.1 s; the region ends at 1 s.
HELD = Timings(
    partial=False,
    tokens=[0.25, 0.5, 0.75, 1.0],
    units=[UnitTiming(0.5, 1.0, 1.6), UnitTiming(1.0, 1.6, 1.7)],
    region_end=1.0,
    finish_started=1.7,
    finished=1.7,
)


def run(mode, latency, timings=HELD, **fields):
    fields = {"workload": "search", "call": 1, "ended": "done", **fields}
    return Run(
        mode=mode,
        latency_s=latency,
        result_s=latency,
        decode_s=1.0,
        value="",
        timings=timings,
        **fields,
    )


def recording(*runs):
    return Recording(machine=MACHINE, runs=list(runs))


def point(predicted, seen):
    return Point(
        name="grid", ratio=1.0, units=1, sequential_s=2.0, partial_s=seen, predicted_s=predicted
    )


def test_a_partial_run_is_predicted_from_its_sequential_one_and_the_way_to_the_client():
    unknown = Timings()
    pair = recording(run("sequential", 1.72), run("partial", 1.3, unknown))
    [found], skipped = points_of(pair, "search")
    # 0.5 + 0.6 + 0.1, and the 0.02 s that the sequential result was on its way.
    assert found.predicted_s == pytest.approx(1.22)
    assert found.error == pytest.approx(0.08 / 1.3)
    assert found.reduction_seen == pytest.approx(1 - 1.3 / 1.72)
    assert found.ratio == pytest.approx(0.7)
    assert skipped == []


def test_an_aborted_run_ends_two_decode_steps_after_the_unit_that_decided_it():
    units = [UnitTiming(0.25, 1.0, 1.1), UnitTiming(0.25, 1.1, 1.15)]
    held = Timings(partial=False, tokens=HELD.tokens, units=units, region_end=1.0, finished=1.15)
    pair = [run("sequential", 1.15, held, ended="aborted"), run("partial", 0.9, ended="aborted")]
    [found], _ = points_of(recording(*pair), "search")
    assert found.predicted_s == pytest.approx(0.25 + 0.15 + 2 * 0.25)
    assert found.aborted


def test_pairs_that_say_nothing_are_named():
    pairs = recording(
        run("sequential", 1.7), run("partial", 1.2, ended="aborted"),
        run("sequential", 1.7, call=2, ended="failed"),
        run("partial", 1.2, call=2, ended="failed"),
        run("sequential", 1.7, Timings(), call=3), run("partial", 1.2, call=3),
        run("sequential", 1.7, call=4), run("partial", 1.2, call=5),
    )  # fmt: skip
    found, skipped = points_of(pairs, "search")
    assert found == []
    calls = sorted(reason.split(":")[0] for reason in skipped)
    assert calls == ["call 1", "call 2", "call 3", "call 4", "call 5"]
    assert "call 4: it has no partial run" in skipped


def predictions(good, skipped, wrong=()):
    """A grid's point with no error, points of `search`, and pairs that say nothing."""
    points = [point(1.0, 1.0)] + [
        msgspec.structs.replace(point(predicted, 1.0), name="search")
        for predicted in [*[1.0] * good, *wrong]
    ]
    searched = Errors.of([p for p in points if p.name == "search"])
    return Predictions(
        machine=MACHINE,
        errors={"search": searched, "workloads": searched, "grid": Errors.of(points[:1])},
        skipped={"search": [f"call {number}: it failed" for number in range(skipped)]},
        points=points,
    )


def test_too_many_pairs_that_say_nothing_miss_the_verdict():
    line, reached = theory.verdict(predictions(9, 1))
    assert reached, line
    line, reached = theory.verdict(predictions(8, 1))
    assert not reached
    assert "too few points: search (8 of 9 pairs)" in line


def test_a_workload_over_the_target_is_named_though_all_together_decide():
    found = predictions(1, 0, wrong=[2.0])
    pooled = {**found.errors, "workloads": Errors.of([point(1.0, 1.0)])}
    line, reached = theory.verdict(msgspec.structs.replace(found, errors=pooled))
    assert reached
    assert "over it by themselves: search" in line


def test_errors_are_relative_to_what_was_seen():
    found = Errors.of([point(1.1, 1.0), point(0.9, 1.0), point(1.0, 1.0)])
    assert (found.points, found.median) == (3, pytest.approx(0.1))
    assert found.bias == pytest.approx(0.0)
    assert not found.good
    assert Errors.of([point(1.04, 1.0)]).good
    assert not Errors.of([point(1.04, 1.0)] * 9 + [point(1.5, 1.0)]).good


@pytest.mark.parametrize(("predicted", "code"), [(1.01, 0), (1.5, 1)])
def test_the_command_fails_when_a_target_is_missed(monkeypatch, capsys, tmp_path, predicted, code):
    monkeypatch.setattr(theory_grid, "measure", lambda quick: [point(predicted, 1.0)])
    runs, out = tmp_path / "runs.json", tmp_path / "new" / "points.json"
    recording(run("sequential", 1.7), run("partial", 1.2)).save(runs)
    monkeypatch.setattr("sys.argv", ["theory", "--runs", str(runs), "--json", str(out)])
    assert theory.main() == code
    assert ("MISSED" in capsys.readouterr().out) == bool(code)
    saved = load(out, Predictions)
    assert set(saved.errors) == {"search", "workloads", "grid"}
    assert msgspec.json.decode(out.read_bytes())["points"][1]["reduction_seen"] == 0.5
    draw(tmp_path / "figure.svg", saved.points)
    assert "search" in (tmp_path / "figure.svg").read_text()


def test_a_case_of_the_grid_has_its_units_and_its_shape():
    case = theory_grid.Case(1.0, 4, "front")
    assert case.weights == [9, 6, 4, 1]
    assert len(case.text.splitlines()) == 4
    assert theory_grid.Case(1.0, 4, "back").weights == [1, 4, 6, 9]
    grid = theory_grid.cases(quick=False)
    assert {case.ratio for case in grid} >= {0.1, 10.0}
    assert {case.units for case in grid} >= {1, 64}
    assert {case.shape for case in grid} == {"front", "even", "back"}


def test_the_recorded_pairs_are_two_decodings_of_one_text():
    pairs = streams.load()
    assert len(pairs) >= 12
    for pair in pairs:
        assert len(pair.sequential_ms) == len(pair.partial_ms) > 40
        assert pair.sequential_ms != pair.partial_ms
        for partial in (False, True):
            commits = pair.commits(streams.MOST_TOKENS, partial=partial)
            assert commits == sorted(commits)
            assert len(commits) == streams.MOST_TOKENS


def test_a_recorded_stream_is_played_faster_and_goes_on_with_its_own_steps():
    pair = streams.Pair(
        workload="search", call=1, sequential_ms=[100, 140, 200], partial_ms=[90, 130, 170]
    )
    faster = pytest.approx([at / streams.SPEED for at in (0.1, 0.14, 0.2, 0.24, 0.3)])
    assert pair.commits(5, partial=False) == faster
    assert pair.commits(2, partial=True) == pytest.approx(
        [at / streams.SPEED for at in (0.09, 0.13)]
    )


def test_pairs_of_calls_that_ended_by_themselves_are_kept():
    fed = msgspec.structs.replace(HELD, partial=True, tokens=[0.2, 0.5, 0.8, 1.1])
    kept = streams.pairs_of(
        recording(
            run("sequential", 1.7), run("partial", 1.2, fed),
            run("sequential", 1.7, call=2, ended="aborted"),
            run("partial", 1.2, call=2, ended="aborted"),
        )
    )  # fmt: skip
    assert [pair.call for pair in kept] == [1]
    assert kept[0].sequential_ms == [250, 500, 750, 1000]
    assert kept[0].partial_ms == [200, 500, 800, 1100]


def test_a_call_played_through_a_dispatcher_ends_when_it_was_predicted_to():
    case = theory_grid.Case(1.0, 4, "even")
    with dispatcher([PACED], limits={"workers": 6}) as harness:
        stream = theory_grid.Stream.of(case.text, harness, streams.load()[0], partial=False)
        region = repr(stream.commits[-1] / sum(case.weights))
        jobs = [(stream, region, partial) for partial in (False, True)] * 3
        timings = theory_grid.play(harness, jobs)
    assert [(t.partial, len(t.units)) for t in timings] == [(False, 4), (True, 4)] * 3
    pairs = list(zip(timings[::2], timings[1::2], strict=True))
    found = [point_of("grid", held, seen=(held.finished, fed.finished)) for held, fed in pairs]
    # A wrong model is wrong in each pair, a busy machine is not.
    assert min(point.error for point in found) < 0.15, (found, timings)
