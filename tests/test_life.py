"""The life of a call, edge by edge."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.core import TextPiece, ToolError
from sgl_conveyor.errors import TransitionError
from sgl_conveyor.events import (
    AbortTool,
    ClearDeadline,
    ClientAborted,
    DeadlinePassed,
    EndInput,
    Feed,
    KillTool,
    OutputEmitted,
    RequestAttached,
    RequestEnded,
    SetDeadline,
    Settle,
    StopDecoding,
    TextCommitted,
    TokensLost,
    ToolAborted,
    ToolFailed,
    ToolFinished,
    ToolOpened,
    UnitsRan,
)
from sgl_conveyor.life import ATTACH_LIMIT_S, MAX_EMITTED_BYTES, TAP_LIMIT_S, CallLife, State
from sgl_conveyor.specs import Limits, ToolSpec
from sgl_conveyor.timings import UnitTiming
from tests.support import quick

TIMEOUT_S = 5.0
START = 100.0
RID = "0123456789abcdef" * 2

BY_LINES = ToolSpec(
    name="lines",
    source="tools:Lines",
    hooks=frozenset({"on_line", "finish", "abort"}),
    limits=Limits(timeout_s=TIMEOUT_S),
)
AT_ONCE = ToolSpec(name="whole", source="tools:Whole", hooks=frozenset({"finish"}))

ATTACH = RequestAttached(101.0, RID)
TEXT = TextCommitted(102.0, 2, "one\n")
END = TextCommitted(103.0, 1, "two", "stop")
CUT = TextCommitted(103.0, 1, "two", "length")
REQUEST_ABORTED = TextCommitted(103.0, 1, "two", "abort")
LOST = TokensLost(expected=2, got=5)
HTTP_END = RequestEnded(3, "")
HTTP_ABORT = RequestEnded(None, "the client disconnected")
OPENED = ToolOpened(100.5, 101.5)
UNITS = UnitsRan([UnitTiming(102.0, 102.5, 103.0)])
EMITTED = OutputEmitted("hello")
FINISHED = ToolFinished(7, None, 103.5, 104.0)
FAILED = ToolFailed(104.0, ToolError("ValueError", "no number"))
TOOL_ABORTED = ToolAborted(104.0, "enough")
CLIENT_ABORTED = ClientAborted(104.0, "no longer wanted")


def no(deadline):
    return DeadlinePassed(deadline)


#: How a call comes into each state; in `failed` and `aborted` its region is still decoded.
WAYS = {
    State.CREATED: [],
    State.ATTACHED: [ATTACH],
    State.DECODING: [ATTACH, TEXT],
    State.DRAINING: [ATTACH, TEXT, END],
    State.DONE: [ATTACH, TEXT, END, FINISHED],
    State.FAILED: [ATTACH, TEXT, FAILED],
    State.ABORTED: [ATTACH, TEXT, CLIENT_ABORTED],
}


def new_call(spec=BY_LINES, *, partial=True):
    return CallLife(spec, partial=partial, start=START)


def call_in(state, **options):
    call = new_call(**options)
    for event in WAYS[state]:
        call.handle(event)
    assert call.state is state
    return call


def short(instruction):
    """An instruction in one word, and the deadline's name."""
    name = type(instruction).__name__
    deadline = isinstance(instruction, (SetDeadline, ClearDeadline))
    return f"{name} {instruction.name}" if deadline else name


# --- every edge ------------------------------------------------------------------------------

IMPOSSIBLE = "impossible"
#: Where a call has ended, and what is due then.
ENDS = ["ClearDeadline attach", "ClearDeadline tap", "ClearDeadline drain", "Settle"]
DRAINS = ["Feed", "EndInput", "ClearDeadline tap", "SetDeadline drain"]
UNCHANGED = None

#: For each state: an event, the state after it (`UNCHANGED` is the same), and what must be done.
EDGES = {
    State.CREATED: [
        (ATTACH, State.ATTACHED, ["ClearDeadline attach"]),
        (TEXT, IMPOSSIBLE, []),
        (END, IMPOSSIBLE, []),
        (CUT, IMPOSSIBLE, []),
        (REQUEST_ABORTED, IMPOSSIBLE, []),
        (LOST, State.FAILED, ["AbortTool", *ENDS]),
        (no("attach"), State.ABORTED, ["AbortTool", *ENDS]),
        (no("drain"), UNCHANGED, []),
        (OPENED, UNCHANGED, []),
        (EMITTED, UNCHANGED, []),
        (FINISHED, IMPOSSIBLE, []),
        (FAILED, State.FAILED, ENDS),
        (TOOL_ABORTED, State.ABORTED, ENDS),
        (CLIENT_ABORTED, State.ABORTED, ["AbortTool", *ENDS]),
    ],
    State.ATTACHED: [
        (ATTACH, IMPOSSIBLE, []),
        (TEXT, State.DECODING, ["Feed"]),
        (END, State.DRAINING, DRAINS),
        (CUT, State.FAILED, ["AbortTool", *ENDS]),
        (REQUEST_ABORTED, State.ABORTED, ["AbortTool", *ENDS]),
        (LOST, State.FAILED, ["AbortTool", *ENDS]),
        (HTTP_END, UNCHANGED, ["SetDeadline tap"]),
        (HTTP_ABORT, State.ABORTED, ["AbortTool", *ENDS]),
        (no("attach"), UNCHANGED, []),
        (no("drain"), UNCHANGED, []),
        (OPENED, UNCHANGED, []),
        (UNITS, UNCHANGED, []),
        (EMITTED, UNCHANGED, []),
        (FINISHED, IMPOSSIBLE, []),
        (FAILED, State.FAILED, ENDS),
        (TOOL_ABORTED, State.ABORTED, ["StopDecoding", *ENDS]),
        (CLIENT_ABORTED, State.ABORTED, ["StopDecoding", "AbortTool", *ENDS]),
    ],
    State.DECODING: [
        (ATTACH, IMPOSSIBLE, []),
        (TEXT, UNCHANGED, ["Feed"]),
        (END, State.DRAINING, DRAINS),
        (CUT, State.FAILED, ["AbortTool", *ENDS]),
        (REQUEST_ABORTED, State.ABORTED, ["AbortTool", *ENDS]),
        (LOST, State.FAILED, ["AbortTool", *ENDS]),
        (HTTP_END, UNCHANGED, ["SetDeadline tap"]),
        (HTTP_ABORT, State.ABORTED, ["AbortTool", *ENDS]),
        (no("attach"), UNCHANGED, []),
        (no("drain"), UNCHANGED, []),
        (OPENED, UNCHANGED, []),
        (UNITS, UNCHANGED, []),
        (EMITTED, UNCHANGED, []),
        (FINISHED, IMPOSSIBLE, []),
        (FAILED, State.FAILED, ENDS),
        (TOOL_ABORTED, State.ABORTED, ["StopDecoding", *ENDS]),
        (CLIENT_ABORTED, State.ABORTED, ["StopDecoding", "AbortTool", *ENDS]),
    ],
    State.DRAINING: [
        (ATTACH, IMPOSSIBLE, []),
        (TEXT, IMPOSSIBLE, []),
        (END, IMPOSSIBLE, []),
        (CUT, IMPOSSIBLE, []),
        (REQUEST_ABORTED, IMPOSSIBLE, []),
        (HTTP_END, UNCHANGED, []),
        (HTTP_ABORT, UNCHANGED, []),
        (no("attach"), UNCHANGED, []),
        (no("tap"), UNCHANGED, []),
        (no("drain"), State.FAILED, [*ENDS, "KillTool"]),
        (OPENED, UNCHANGED, []),
        (UNITS, UNCHANGED, []),
        (EMITTED, UNCHANGED, []),
        (FINISHED, State.DONE, ["ClearDeadline drain", "Settle"]),
        (FAILED, State.FAILED, ENDS),
        (TOOL_ABORTED, State.ABORTED, ENDS),
        (CLIENT_ABORTED, State.ABORTED, ["AbortTool", *ENDS]),
    ],
    State.DONE: [
        (ATTACH, IMPOSSIBLE, []),
        (TEXT, IMPOSSIBLE, []),
        (END, IMPOSSIBLE, []),
        *((event, UNCHANGED, []) for event in (
            LOST, HTTP_END, HTTP_ABORT, no("attach"), no("tap"), no("drain"), OPENED, UNITS,
            EMITTED, FINISHED, FAILED, TOOL_ABORTED, CLIENT_ABORTED,
        )),
    ],
    State.FAILED: [
        (ATTACH, IMPOSSIBLE, []),
        *((event, UNCHANGED, []) for event in (
            TEXT, END, CUT, REQUEST_ABORTED, LOST, HTTP_END, HTTP_ABORT, no("attach"), no("tap"),
            no("drain"), OPENED, UNITS, EMITTED, FINISHED, FAILED, TOOL_ABORTED, CLIENT_ABORTED,
        )),
    ],
    State.ABORTED: [
        (ATTACH, IMPOSSIBLE, []),
        *((event, UNCHANGED, []) for event in (
            TEXT, END, CUT, REQUEST_ABORTED, LOST, HTTP_END, HTTP_ABORT, no("attach"), no("tap"),
            no("drain"), OPENED, UNITS, EMITTED, FINISHED, FAILED, TOOL_ABORTED, CLIENT_ABORTED,
        )),
    ],
}  # fmt: skip


def edge_name(state, event):
    detail = getattr(event, "finish", None) or getattr(event, "name", None) or ""
    return f"{state}-{type(event).__name__}{detail and '-' + detail}"


@pytest.mark.parametrize(
    ("state", "event", "after", "due"),
    [
        pytest.param(state, *edge, id=edge_name(state, edge[0]))
        for state, edges in EDGES.items()
        for edge in edges
    ],
)
def test_edge(state, event, after, due):
    call = call_in(state)
    if after == IMPOSSIBLE:
        before = (call.text, call.tokens, call.outcome, call.history)
        with pytest.raises(TransitionError):
            call.handle(event)
        assert call.state is state
        assert (call.text, call.tokens, call.outcome, call.history) == before
    else:
        assert [short(i) for i in call.handle(event)] == due
        assert call.state is (after or state)


# --- the way to a result ---------------------------------------------------------------------


def test_a_call_waits_for_its_request():
    assert new_call().begin() == [SetDeadline("attach", ATTACH_LIMIT_S)]


def test_text_goes_to_the_tool_as_it_comes():
    call = call_in(State.ATTACHED)
    assert call.handle(TEXT) == [Feed([TextPiece("one\n", TEXT.at)])]
    assert call.handle(END) == [
        Feed([TextPiece("two", END.at)]),
        EndInput(END.at),
        ClearDeadline("tap"),
        SetDeadline("drain", TIMEOUT_S),
    ]
    assert call.text == "one\ntwo"
    assert call.region_ended


def test_tokens_that_make_no_text_certain_feed_nothing():
    call = call_in(State.ATTACHED)
    assert call.handle(TextCommitted(102.0, 1, "")) == []
    assert call.state is State.DECODING


def test_a_region_without_text_still_ends():
    call = call_in(State.ATTACHED)
    due = call.handle(TextCommitted(102.0, 1, "", "stop"))
    assert [short(i) for i in due] == DRAINS[1:]


@pytest.mark.parametrize(("spec", "partial"), [(BY_LINES, False), (AT_ONCE, True)])
def test_the_baseline_and_a_tool_without_units_get_the_whole_text_at_the_end(spec, partial):
    call = new_call(spec, partial=partial)
    call.handle(ATTACH)
    assert call.handle(TEXT) == []
    assert call.handle(TEXT) == []
    due = call.handle(END)
    pieces = [
        TextPiece("one\n", TEXT.at),
        TextPiece("one\n", TEXT.at),
        TextPiece("two", END.at),
    ]
    assert due[:2] == [Feed(pieces), EndInput(END.at)]


def test_finish_gives_the_value():
    call = call_in(State.DONE)
    assert (call.outcome.value, call.outcome.error, call.outcome.aborted) == (7, None, None)


def test_a_value_that_is_only_a_part_comes_with_its_error():
    call = call_in(State.DRAINING)
    error = ToolError("ZeroDivisionError", "division by zero")
    call.handle(ToolFinished("half", error, 103.5, 104.0))
    assert call.state is State.DONE
    assert (call.outcome.value, call.outcome.error) == ("half", error)


def test_all_times_are_relative_to_the_start():
    call = new_call()
    for event in [ATTACH, OPENED, TEXT, END, UNITS, FINISHED]:
        call.handle(event)
    timings = call.outcome.timings
    assert timings.queued == 1.0
    assert (timings.open_started, timings.opened) == (0.5, 1.5)
    assert timings.first_token == 2.0
    assert timings.tokens == [2.0, 2.0, 3.0]
    assert timings.units == [UnitTiming(2.0, 2.5, 3.0)]
    assert timings.region_end == 3.0
    assert (timings.finish_started, timings.finished) == (3.5, 4.0)


def test_units_are_added_up():
    call = call_in(State.DECODING)
    call.handle(UNITS)
    call.handle(UNITS)
    assert len(call.outcome.timings.units) == 2


# --- how a region ends early -----------------------------------------------------------------


def test_a_region_cut_by_its_limit_has_no_result():
    call = call_in(State.DECODING)
    due = call.handle(CUT)
    assert call.outcome.error.type == "RegionCut"
    assert "3 tokens" in call.outcome.error.message
    assert due[0] == AbortTool(str(call.outcome.error))
    assert call.text == "one\ntwo"
    assert call.region_ended


def test_a_gap_in_the_tokens_says_where():
    call = call_in(State.DECODING)
    due = call.handle(LOST)
    assert call.outcome.error.type == "TokensLost"
    assert "expected offset 2, got 5" in call.outcome.error.message
    assert due[0] == AbortTool(str(call.outcome.error))


def test_after_a_gap_no_more_text_is_taken():
    call = call_in(State.DECODING)
    call.handle(LOST)
    assert call.region_ended
    with pytest.raises(TransitionError):
        call.handle(TEXT)


def test_a_call_without_a_request_is_aborted():
    call = new_call()
    due = call.handle(DeadlinePassed("attach"))
    assert "30 s" in call.outcome.aborted
    assert due[0] == AbortTool(call.outcome.aborted)


# --- what the HTTP side reports --------------------------------------------------------------


def test_a_normal_end_waits_a_second_for_the_tap():
    call = call_in(State.DECODING)
    assert call.handle(HTTP_END) == [SetDeadline("tap", TAP_LIMIT_S)]
    due = call.handle(END)
    assert ClearDeadline("tap") in due
    assert call.state is State.DRAINING


def test_a_normal_end_that_the_tap_never_reaches_fails():
    call = call_in(State.DECODING)
    call.handle(HTTP_END)
    due = call.handle(DeadlinePassed("tap"))
    assert [short(i) for i in due] == ["AbortTool", *ENDS]
    assert call.outcome.error.type == "TokensLost"
    assert "3 tokens" in call.outcome.error.message
    assert "only 2" in call.outcome.error.message


def test_a_normal_end_after_the_tap_changes_nothing():
    call = call_in(State.DRAINING)
    assert call.handle(HTTP_END) == []
    assert call.handle(DeadlinePassed("tap")) == []
    assert call.state is State.DRAINING


def test_an_abort_in_the_queue_reaches_the_call_over_http_alone():
    call = call_in(State.ATTACHED)
    due = call.handle(HTTP_ABORT)
    assert due[0] == AbortTool("the client disconnected")
    assert call.outcome.aborted == "the client disconnected"
    assert call.region_ended


def test_both_sides_may_report_the_same_abort():
    call = call_in(State.DECODING)
    call.handle(REQUEST_ABORTED)
    assert call.handle(HTTP_ABORT) == []
    assert call.outcome.aborted == "the request was aborted"


def test_an_http_report_may_come_twice():
    call = call_in(State.DECODING)
    call.handle(HTTP_ABORT)
    assert call.handle(HTTP_ABORT) == []


def test_a_failed_calls_region_ends_with_the_http_report_if_the_tap_has_brought_everything():
    call = call_in(State.FAILED)
    call.handle(RequestEnded(5, ""))
    assert not call.region_ended
    call.handle(RequestEnded(2, ""))
    assert call.region_ended


# --- the tool fails, aborts, takes too long --------------------------------------------------


def test_a_failed_tool_does_not_stop_the_text():
    call = call_in(State.DECODING)
    assert StopDecoding(RID) not in call.handle(FAILED)
    assert call.handle(TEXT) == []
    assert call.handle(END) == []
    assert call.state is State.FAILED
    assert call.text == "one\none\ntwo"
    assert call.tokens == 5
    assert call.outcome.timings.region_end == 3.0
    assert call.outcome.error == ToolError("ValueError", "no number")


def test_a_tool_that_fails_before_the_request_came_still_lets_it_be_decoded():
    call = new_call()
    call.handle(FAILED)
    assert call.handle(ATTACH) == [ClearDeadline("attach")]
    call.handle(TEXT)
    assert call.state is State.FAILED
    assert call.text == "one\n"


@pytest.mark.parametrize("state", [State.ABORTED, State.DONE])
def test_other_ended_calls_take_no_request(state):
    call = new_call()
    call.state = state
    with pytest.raises(TransitionError):
        call.handle(ATTACH)


def test_an_abort_by_the_tool_stops_decoding_and_does_not_tell_the_tool():
    call = call_in(State.DECODING)
    due = call.handle(TOOL_ABORTED)
    assert due[0] == StopDecoding(RID)
    assert not any(isinstance(i, AbortTool) for i in due)
    assert call.outcome.aborted == "enough"
    assert call.outcome.timings.finished == 4.0


def test_an_abort_by_the_client_stops_decoding_and_tells_the_tool():
    call = call_in(State.DECODING)
    due = call.handle(CLIENT_ABORTED)
    assert due[:2] == [StopDecoding(RID), AbortTool("no longer wanted")]


def test_tokens_that_come_after_an_abort_are_kept_as_text_and_fed_to_nobody():
    call = call_in(State.ABORTED)
    assert call.handle(TEXT) == []
    assert call.handle(REQUEST_ABORTED) == []
    assert call.text == "one\none\ntwo"
    assert call.region_ended


def test_a_tool_that_takes_too_long_is_killed():
    call = call_in(State.DRAINING)
    due = call.handle(DeadlinePassed("drain"))
    assert call.outcome.error.type == "ToolTimeout"
    assert "5 s" in call.outcome.error.message
    assert due[-1] == KillTool(call.outcome.error.message)
    assert not any(isinstance(i, AbortTool) for i in due)


@pytest.mark.parametrize("state", [State.CREATED, State.ATTACHED, State.DECODING])
def test_a_result_before_the_region_ended_is_impossible_and_the_message_says_the_history(state):
    call = call_in(state)
    with pytest.raises(TransitionError) as raised:
        call.handle(FINISHED)
    assert f"ToolFinished is impossible in state {state}" in str(raised.value)
    for step in call.history or ["created"]:
        assert step in str(raised.value)


def test_the_history_names_each_step_once():
    call = call_in(State.DECODING)
    call.handle(TEXT)
    call.handle(TEXT)
    assert call.history == [
        "created --RequestAttached--> attached",
        "attached --TextCommitted--> decoding",
        "decoding --TextCommitted--> decoding",
    ]


# --- output ----------------------------------------------------------------------------------


def test_output_is_collected():
    call = call_in(State.DECODING)
    call.handle(OutputEmitted("a"))
    call.handle(OutputEmitted("b"))
    assert call.outcome.emitted == "ab"


def test_output_that_is_too_long_is_dropped_and_says_so():
    call = call_in(State.DECODING)
    call.handle(OutputEmitted("x" * (MAX_EMITTED_BYTES - 1)))
    call.handle(OutputEmitted("yz"))
    kept, _, note = call.outcome.emitted.partition("y")
    assert kept == "x" * (MAX_EMITTED_BYTES - 1)
    assert "was dropped" in note
    before = call.outcome.emitted
    call.handle(OutputEmitted("more"))
    assert call.outcome.emitted == before


def test_output_that_exactly_filled_the_room_says_so_too_when_more_comes():
    call = call_in(State.DECODING)
    call.handle(OutputEmitted("x" * MAX_EMITTED_BYTES))
    call.handle(OutputEmitted("y"))
    note = call.outcome.emitted[MAX_EMITTED_BYTES:]
    assert "was dropped" in note


def test_the_limit_of_the_output_counts_bytes():
    call = call_in(State.DECODING)
    call.handle(OutputEmitted("🎉" * (MAX_EMITTED_BYTES // 2)))
    size = len(call.outcome.emitted.encode())
    assert size < MAX_EMITTED_BYTES + 100


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.ABORTED])
def test_output_after_the_end_is_dropped(state):
    call = call_in(state)
    call.handle(EMITTED)
    assert call.outcome.emitted == ""


# --- whatever comes --------------------------------------------------------------------------

events = st.sampled_from([
    ATTACH, TEXT, TEXT, TextCommitted(102.5, 1, ""), END, CUT, REQUEST_ABORTED, LOST, HTTP_END,
    HTTP_ABORT, no("attach"), no("tap"), no("drain"), no("unknown"), OPENED, UNITS, EMITTED,
    FINISHED, FAILED, TOOL_ABORTED, CLIENT_ABORTED,
])  # fmt: skip
#: Half of them begin as calls do.
sequences = st.tuples(st.sampled_from(list(WAYS.values())), st.lists(events, max_size=12)).map(
    lambda both: both[0] + both[1]
)


@quick
@given(sequences, st.booleans(), st.sampled_from([BY_LINES, AT_ONCE]))
def test_whatever_comes_a_call_settles_once_and_stays_as_it_ended(sequence, partial, spec):
    call = new_call(spec, partial=partial)
    due = call.begin()
    for event in sequence:
        before, said_before = call.state, len(due)
        with contextlib.suppress(TransitionError):
            due += call.handle(event)
        if before.ended:
            assert call.state is before
            assert all(isinstance(i, ClearDeadline) for i in due[said_before:])
    assert due.count(Settle()) == int(call.state.ended)


@quick
@given(sequences, st.booleans(), st.sampled_from([BY_LINES, AT_ONCE]))
def test_whatever_comes_the_tool_gets_the_text_in_order_then_one_end(sequence, partial, spec):
    call = new_call(spec, partial=partial)
    due = call.begin()
    for event in sequence:
        with contextlib.suppress(TransitionError):
            due += call.handle(event)
    to_tool = [i for i in due if isinstance(i, (Feed, EndInput, AbortTool, KillTool))]
    fed = "".join(p.text for i in to_tool if isinstance(i, Feed) for p in i.pieces)
    kinds = [type(i) for i in to_tool if not isinstance(i, Feed)]
    assert call.text.startswith(fed)
    assert kinds in ([], [EndInput], [AbortTool], [EndInput, AbortTool], [EndInput, KillTool])
    if EndInput in kinds:
        assert fed == call.text
    if kinds:
        first_end = next(i for i in to_tool if not isinstance(i, Feed))
        assert not any(isinstance(i, Feed) for i in to_tool[to_tool.index(first_end) :])


@quick
@given(sequences)
def test_whatever_comes_an_ended_call_waits_for_nothing(sequence):
    call = new_call()
    waiting = set()
    due = call.begin()
    for event in sequence:
        with contextlib.suppress(TransitionError):
            due += call.handle(event)
    for instruction in due:
        if isinstance(instruction, SetDeadline):
            waiting.add(instruction.name)
        if isinstance(instruction, ClearDeadline):
            waiting.discard(instruction.name)
    if call.state.ended:
        assert not waiting
