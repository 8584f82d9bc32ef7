"""The pictures, of recordings that were never measured."""

import msgspec
import pytest

from bench.analyse.summary import summarize
from bench.report.__main__ import draw
from bench.report.charts import DISPATCH, draw_dispatch
from bench.report.page import CAPTIONS, Material
from bench.report.timeline import TIMELINE, timeline_pair
from tests.bench.changes import changed
from tests.bench.synthetic import recording


@pytest.fixture(scope="module")
def measured():
    return recording(calls=8)


def test_every_picture_is_drawn_and_the_same_each_time(measured, tmp_path):
    for folder in ("one", "two"):
        draw(Material.gather(measured, {}), tmp_path / folder)
    assert {path.name for path in (tmp_path / "one").iterdir()} == set(CAPTIONS)
    for name in CAPTIONS:
        image = (tmp_path / "one" / name).read_bytes()
        assert image.startswith(b"\x89PNG")
        assert image == (tmp_path / "two" / name).read_bytes()


def test_the_timeline_is_of_the_best_call_or_of_the_one_asked_for(measured):
    summary = summarize(measured)
    sequential, partial = timeline_pair(measured, summary)
    assert sequential.call == partial.call == summary.workloads["codegen"].best.call
    assert (sequential.mode, partial.mode) == ("sequential", "partial")
    assert timeline_pair(measured, summary, 2)[0].call == 2


def test_without_codegen_there_is_no_timeline(tmp_path):
    part = recording(calls=2, workloads=["calculator", "validation"])
    draw(Material.gather(part, {}), tmp_path)
    assert not (tmp_path / TIMELINE).exists()
    assert (tmp_path / DISPATCH).exists()


@pytest.mark.parametrize(("early_s", "refused"), [(0.00001, False), (0.001, True)])
def test_a_hook_before_its_token_is_refused_but_for_the_clocks_jitter(
    measured, tmp_path, early_s, refused
):
    def early(run):
        first, *others = run.timings.units
        ready = max(first.ready, run.timings.opened)
        before = msgspec.structs.replace(first, ready=ready, started=ready - early_s)
        return msgspec.structs.replace(run.timings, units=[before, *others])

    odd = changed(
        measured,
        lambda run: (run.workload, run.mode, run.call) == ("database", "partial", 5),
        timings=early,
    )
    if refused:
        with pytest.raises(ValueError, match="database 5, partial"):
            draw_dispatch(odd, summarize(odd), tmp_path / "dispatch.png")
    else:
        draw_dispatch(odd, summarize(odd), tmp_path / "dispatch.png")
