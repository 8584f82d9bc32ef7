"""Several regions in a program."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sgl_conveyor.theory import (
    REGION_END,
    Region,
    Trace,
    predict,
    predict_program,
)
from tests.theory.traces import chains, seconds


@given(st.lists(chains(least=1), min_size=1, max_size=4), st.lists(seconds, min_size=4))
def test_awaited_regions_add_up_and_never_save_half(traces, gaps):
    assume(all(trace.arrivals[0] > 0 for trace in traces))
    regions = [Region(t, before=gap) for t, gap in zip(traces, gaps, strict=False)]
    program = predict_program(regions, after=0.3)
    between = sum(region.before for region in regions) + 0.3
    assert program.partial == pytest.approx(between + sum(predict(t).partial for t in traces))
    assert program.reduction < 0.5


def test_results_read_later_hide_behind_the_next_regions():
    call = Trace(arrivals=(0.1, 1.0), costs=(9.0, 0.0))
    later = [Region(call, awaited=False) for _ in range(10)]
    program = predict_program(later)
    assert program.partial == pytest.approx(9 * 1.0 + 9.1)
    assert program.critical == 9
    # Against a program that awaits each, as one of stock SGLang does, more than half is saved.
    awaited = predict_program([Region(call) for _ in range(10)])
    assert 1 - program.partial / awaited.sequential > 0.5
    assert predict_program([Region(call, awaited=False)], after=20).critical == REGION_END
