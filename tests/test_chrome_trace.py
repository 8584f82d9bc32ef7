"""A call's timings as Chrome's trace events."""

import itertools
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.chrome_trace import (
    Begin,
    ChromeTrace,
    End,
    Instant,
    Metadata,
    Slice,
    chrome_trace,
)
from sgl_conveyor.timings import Span, Timings, UnitTiming

PARTIAL = Timings(
    queued=0.01,
    first_token=0.2,
    tokens=[0.2, 0.3, 0.4, 0.5],
    units=[UnitTiming(0.2, 0.201, 0.45), UnitTiming(0.3, 0.46, 0.48), UnitTiming(0.5, 0.5, 0.6)],
    spans=[Span("search", 0.21, 0.4, 0), Span("search", 0.25, 0.3, 1), Span("read", 0.41, 0.5, 3)],
    open_started=0.002,
    opened=0.1,
    region_end=0.5,
    finish_started=0.6,
    finished=0.7,
)


def row_names(trace):
    return {
        event.tid: event.args["name"]
        for event in trace.trace_events
        if isinstance(event, Metadata) and event.name == "thread_name"
    }


def slices(trace, row):
    """Name, start and end in seconds of each slice of a row."""
    names = row_names(trace)
    return [
        (event.name, event.ts / 1e6, pytest.approx((event.ts + event.dur) / 1e6))
        for event in trace.trace_events
        if isinstance(event, Slice) and names[event.tid] == row
    ]


def test_the_rows_are_named_and_sorted():
    trace = chrome_trace(PARTIAL)
    assert list(row_names(trace).values()) == ["http", "engine", "tool", "work", "work 2"]


def test_http_is_the_request_and_the_wait_for_the_tool():
    assert slices(chrome_trace(PARTIAL), "http") == [
        ("request", 0.0, 0.01),
        ("program waits for the tool", 0.5, 0.7),
    ]


def test_the_engine_queues_and_prefills_then_each_token_lasts_from_commit_to_commit():
    assert slices(chrome_trace(PARTIAL), "engine") == [
        ("queue and prefill", 0.01, 0.2),
        ("token 2", 0.2, 0.3),
        ("token 3", 0.3, 0.4),
        ("token 4", 0.4, 0.5),
    ]


def test_the_tool_opens_takes_each_unit_and_finishes():
    assert slices(chrome_trace(PARTIAL), "tool") == [
        ("open", 0.002, 0.1),
        ("unit 1", 0.201, 0.45),
        ("unit 2", 0.46, 0.48),
        ("unit 3", 0.5, 0.6),
        ("finish", 0.6, 0.7),
    ]


def test_spans_that_overlap_get_rows_of_their_own():
    trace = chrome_trace(PARTIAL)
    assert slices(trace, "work") == [("search", 0.21, 0.4), ("read", 0.41, 0.5)]
    assert slices(trace, "work 2") == [("search", 0.25, 0.3)]
    begun_by = [e.args["begun_by"] for e in trace.trace_events if getattr(e, "cat", "") == "work"]
    assert begun_by == ["unit 1", "unit 2", "finish"]


@pytest.mark.parametrize("partial", [True, False])
def test_a_unit_waits_from_its_certainty_until_the_tool_is_free(partial):
    timings = msgspec.structs.replace(PARTIAL, partial=partial)
    events = chrome_trace(timings).trace_events
    begins = {event.id: event for event in events if isinstance(event, Begin)}
    ends = {event.id: event for event in events if isinstance(event, End)}
    waited = {id: (ends[id].ts - begin.ts) / 1e6 for id, begin in begins.items()}
    expected = {
        number: pytest.approx(seconds)
        for number, seconds in enumerate(timings.queueing(), 1)
        if seconds
    }
    assert waited == expected
    assert begins.keys() == ends.keys()
    assert {b.args["held_until_the_region_ends"] for b in begins.values()} == {not partial}


def test_the_result_is_marked():
    events = chrome_trace(PARTIAL).trace_events
    assert [e.ts for e in events if isinstance(e, Instant) and e.name == "result"] == [0.7e6]


def test_the_file_is_what_a_viewer_reads(tmp_path):
    chrome_trace(PARTIAL, "codegen 3").save(tmp_path / "trace.json")
    written = json.loads((tmp_path / "trace.json").read_text())
    assert written["displayTimeUnit"] == "ms"
    assert {event["ph"] for event in written["traceEvents"]} == {"M", "X", "i", "b", "e"}
    needed = {"X": {"ts", "dur"}, "i": {"ts", "s"}, "b": {"id", "cat", "ts"}, "e": {"id", "cat"}}
    for event in written["traceEvents"]:
        assert {"name", "pid", "tid", *needed.get(event["ph"], ())} <= event.keys()
    assert written["traceEvents"][0]["args"] == {"name": "codegen 3"}
    again = msgspec.json.decode((tmp_path / "trace.json").read_bytes(), type=ChromeTrace)
    assert again == chrome_trace(PARTIAL, "codegen 3")


def test_what_did_not_happen_is_left_out():
    trace = chrome_trace(Timings(open_started=0.1))
    happened = [event for event in trace.trace_events if not isinstance(event, Metadata)]
    assert [(event.name, event.ts) for event in happened] == [("open begins", 0.1e6)]


def test_an_aborted_call_ends_with_its_result_though_decoding_goes_on():
    aborted = msgspec.structs.replace(PARTIAL, finish_started=None, finished=0.35)
    trace = chrome_trace(aborted)
    assert slices(trace, "http") == [("request", 0.0, 0.01)]
    assert slices(trace, "engine")[-1] == ("token 4", 0.4, 0.5)


spans = st.builds(
    lambda start, length, unit: Span("span", start, start + length, unit),
    st.floats(0, 9),
    st.floats(0, 3),
    st.integers(-1, 3),
)


@given(st.lists(spans), st.lists(st.floats(0, 1), min_size=1))
def test_slices_of_a_row_never_overlap(spans, steps):
    commits = list(itertools.accumulate(steps))
    units = [UnitTiming(a, a, b) for a, b in itertools.pairwise(commits)]
    timings = Timings(queued=0.0, first_token=commits[0], tokens=commits, units=units, spans=spans)
    trace = chrome_trace(timings)
    assert sum(isinstance(e, Slice) and e.cat == "work" for e in trace.trace_events) == len(spans)
    for row in row_names(trace):
        reached = 0
        here = [e for e in trace.trace_events if isinstance(e, Slice) and e.tid == row]
        for event in sorted(here, key=lambda e: (e.ts, e.dur)):
            assert round(1e3 * event.ts) >= reached
            reached = round(1e3 * (event.ts + event.dur))
