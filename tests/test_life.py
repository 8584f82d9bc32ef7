"""The life of a call, edge by edge."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.core import TextPiece, ToolError
from sgl_conveyor.errors import TransitionError
from sgl_conveyor.events import (
    AbortAsked,
    AbortTool,
    ClearDeadline,
    DeadlinePassed,
    EndInput,
    Feed,
    GateOpened,
    KillTool,
    LetFinish,
    OutputEmitted,
    RegionAttached,
    RegionEnded,
    SetDeadline,
    Settle,
    StopDecoding,
    TextCommitted,
    ToolAborted,
    ToolFailed,
    ToolFinished,
    ToolOpened,
    ToolRestarted,
    UnitsDone,
    UnitsRan,
)
from sgl_conveyor.life import ATTACH_LIMIT_S, GATE_LIMIT_S, CallLife, State
from sgl_conveyor.specs import Limits, ToolSpec
from sgl_conveyor.timings import UnitTiming
from tests.support import quick

TIMEOUT_S = 5.0
START = 100.0

BY_LINES = ToolSpec(
    name="lines",
    source="tools:Lines",
    hooks=frozenset({"on_line", "finish", "abort"}),
    limits=Limits(timeout_s=TIMEOUT_S),
)
AT_ONCE = ToolSpec(name="whole", source="tools:Whole", hooks=frozenset({"finish"}))

ATTACH = RegionAttached(101.0)
TEXT = TextCommitted(102.0, 2, "one\n")
END = RegionEnded(103.0, 1, "two")
CUT = RegionEnded(103.0, 1, "two", error=ToolError("RegionCut", "raise max_tokens"))
REGION_ABORTED = RegionEnded(103.0, 1, "two", aborted="the request was aborted")
LOST = RegionEnded(None, error=ToolError("TokensLost", "expected offset 2, got 5"))
GONE = RegionEnded(None, aborted="the client disconnected")
OPENED = ToolOpened(100.5, 101.5)
UNITS = UnitsRan([UnitTiming(102.0, 102.5, 103.0)])
EMITTED = OutputEmitted("hello")
UNITS_DONE = UnitsDone(103.2)
GATE_OPENED = GateOpened(103.3)
FINISHED = ToolFinished(7, None, 103.5, 104.0)
FAILED = ToolFailed(104.0, ToolError("ValueError", "no number"))
TOOL_ABORTED = ToolAborted(104.0, "enough")
ABORT_ASKED = AbortAsked(104.0, "no longer wanted")


def no(deadline):
    return DeadlinePassed(deadline)


#: How a call comes into each state; in `failed` and `aborted` its region is still decoded.
WAYS = {
    State.CREATED: [],
    State.ATTACHED: [ATTACH],
    State.DECODING: [ATTACH, TEXT],
    State.DRAINING: [ATTACH, TEXT, END],
    State.DONE: [ATTACH, TEXT, END, UNITS_DONE, FINISHED],
    State.FAILED: [ATTACH, TEXT, FAILED],
    State.ABORTED: [ATTACH, TEXT, ABORT_ASKED],
}


def new_call(spec=BY_LINES, *, partial=True, gated=False):
    return CallLife(spec, partial=partial, start=START, gated=gated)


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
ENDS = ["ClearDeadline attach", "ClearDeadline gate", "ClearDeadline drain", "Settle"]
DRAINS = ["Feed", "EndInput", "SetDeadline drain"]
UNCHANGED = None

#: What may come while a region is decoded.
IN_A_REGION = [
    (END, State.DRAINING, DRAINS),
    (CUT, State.FAILED, ["AbortTool", *ENDS]),
    (REGION_ABORTED, State.ABORTED, ["AbortTool", *ENDS]),
    (LOST, State.FAILED, ["AbortTool", *ENDS]),
    (GONE, State.ABORTED, ["AbortTool", *ENDS]),
    (no("attach"), UNCHANGED, []),
    (no("drain"), UNCHANGED, []),
    (no("gate"), UNCHANGED, []),
    (OPENED, UNCHANGED, []),
    (UNITS, UNCHANGED, []),
    (EMITTED, UNCHANGED, []),
    (GATE_OPENED, UNCHANGED, []),
    (UNITS_DONE, IMPOSSIBLE, []),
    (FINISHED, IMPOSSIBLE, []),
    (FAILED, State.FAILED, ENDS),
    (TOOL_ABORTED, State.ABORTED, ["StopDecoding", *ENDS]),
    (ABORT_ASKED, State.ABORTED, ["StopDecoding", "AbortTool", *ENDS]),
]
#: What may come from the tool's side when the call has ended, and changes nothing.
LATE = [
    no("attach"), no("gate"), no("drain"), OPENED, UNITS, EMITTED, UNITS_DONE, GATE_OPENED,
    ToolRestarted(104.0), FINISHED, FAILED, TOOL_ABORTED, ABORT_ASKED,
]  # fmt: skip

#: For each state: an event, the state after it (`UNCHANGED` is the same), and what must be done.
EDGES = {
    State.CREATED: [
        (ATTACH, State.ATTACHED, ["ClearDeadline attach"]),
        *((event, IMPOSSIBLE, []) for event in (
            TEXT, END, CUT, REGION_ABORTED, LOST, GONE, UNITS_DONE, FINISHED,
        )),
        (no("attach"), State.ABORTED, ["AbortTool", *ENDS]),
        (no("drain"), UNCHANGED, []),
        (OPENED, UNCHANGED, []),
        (EMITTED, UNCHANGED, []),
        (GATE_OPENED, UNCHANGED, []),
        (FAILED, State.FAILED, ENDS),
        (TOOL_ABORTED, State.ABORTED, ENDS),
        (ABORT_ASKED, State.ABORTED, ["AbortTool", *ENDS]),
    ],
    State.ATTACHED: [
        (ATTACH, IMPOSSIBLE, []),
        (TEXT, State.DECODING, ["Feed"]),
        *IN_A_REGION,
    ],
    State.DECODING: [
        (ATTACH, IMPOSSIBLE, []),
        (TEXT, UNCHANGED, ["Feed"]),
        *IN_A_REGION,
    ],
    State.DRAINING: [
        *((event, IMPOSSIBLE, []) for event in (
            ATTACH, TEXT, END, CUT, REGION_ABORTED, LOST, GONE, FINISHED,
        )),
        (no("attach"), UNCHANGED, []),
        (no("gate"), UNCHANGED, []),
        (no("drain"), State.FAILED, [*ENDS, "KillTool"]),
        (OPENED, UNCHANGED, []),
        (UNITS, UNCHANGED, []),
        (EMITTED, UNCHANGED, []),
        (UNITS_DONE, UNCHANGED, ["LetFinish"]),
        (GATE_OPENED, UNCHANGED, []),
        (FAILED, State.FAILED, ENDS),
        (TOOL_ABORTED, State.ABORTED, ENDS),
        (ABORT_ASKED, State.ABORTED, ["AbortTool", *ENDS]),
    ],
    State.DONE: [
        *((event, IMPOSSIBLE, []) for event in (
            ATTACH, TEXT, END, CUT, REGION_ABORTED, LOST, GONE,
        )),
        *((event, UNCHANGED, []) for event in (no("drain"), *LATE)),
    ],
    State.FAILED: [
        (ATTACH, IMPOSSIBLE, []),
        *((event, UNCHANGED, []) for event in (TEXT, END, CUT, REGION_ABORTED, LOST, GONE, *LATE)),
    ],
    State.ABORTED: [
        (ATTACH, IMPOSSIBLE, []),
        *((event, UNCHANGED, []) for event in (TEXT, END, CUT, REGION_ABORTED, LOST, GONE, *LATE)),
    ],
}  # fmt: skip


def edge_name(state, event):
    error = getattr(event, "error", None)
    detail = getattr(event, "name", None) or getattr(error, "type", None) or ""
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
        before = (call.record.text, call.record.tokens, call.record.outcome, call.history)
        with pytest.raises(TransitionError):
            call.handle(event)
        assert call.state is state
        assert (call.record.text, call.record.tokens, call.record.outcome, call.history) == before
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
        SetDeadline("drain", TIMEOUT_S),
    ]
    assert call.record.text == "one\ntwo"
    assert call.region_ended


def test_tokens_that_make_no_text_certain_feed_nothing():
    call = call_in(State.ATTACHED)
    assert call.handle(TextCommitted(102.0, 1, "")) == []
    assert call.state is State.DECODING


def test_a_region_without_text_still_ends():
    call = call_in(State.ATTACHED)
    due = call.handle(RegionEnded(102.0, 1, ""))
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
    assert (call.record.outcome.value, call.record.outcome.error, call.record.outcome.aborted) == (
        7,
        None,
        None,
    )


def test_a_value_that_is_only_a_part_comes_with_its_error():
    call = call_in(State.DRAINING)
    call.handle(UNITS_DONE)
    error = ToolError("ZeroDivisionError", "division by zero")
    call.handle(ToolFinished("half", error, 103.5, 104.0))
    assert call.state is State.DONE
    assert (call.record.outcome.value, call.record.outcome.error) == ("half", error)


def test_all_times_are_relative_to_the_start():
    call = new_call()
    for event in [ATTACH, OPENED, TEXT, END, UNITS, UNITS_DONE, FINISHED]:
        call.handle(event)
    timings = call.record.outcome.timings
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
    assert len(call.record.outcome.timings.units) == 2


# --- how a region ends early -----------------------------------------------------------------


def test_a_region_that_is_not_complete_has_its_text_and_the_error():
    call = call_in(State.DECODING)
    due = call.handle(CUT)
    assert call.record.outcome.error == CUT.error
    assert due[0] == AbortTool(str(CUT.error))
    assert call.record.text == "one\ntwo", "and the tool never saw the last piece"
    assert call.region_ended


def test_a_region_that_is_given_up_has_the_reason():
    call = call_in(State.ATTACHED)
    due = call.handle(GONE)
    assert due[0] == AbortTool("the client disconnected")
    assert call.record.outcome.aborted == "the client disconnected"
    assert call.record.timings.region_end is None, "nobody saw its last token"
    assert call.region_ended


def test_after_a_gap_no_more_text_is_taken():
    call = call_in(State.DECODING)
    call.handle(LOST)
    assert call.region_ended
    with pytest.raises(TransitionError):
        call.handle(TEXT)


def test_a_call_without_a_request_is_aborted():
    call = new_call()
    due = call.handle(DeadlinePassed("attach"))
    assert "30 s" in call.record.outcome.aborted
    assert due[0] == AbortTool(call.record.outcome.aborted)


# --- text that no request of its own brings ----------------------------------------------------


def test_a_call_may_begin_attached_and_waits_for_no_request():
    call = CallLife(BY_LINES, partial=True, start=START, attached=True)
    assert call.begin() == []
    assert call.state is State.ATTACHED
    assert [short(i) for i in call.handle(END)] == DRAINS
    assert call.record.timings.queued is None


# --- the gate before `finish` -------------------------------------------------------------------


def gated(spec=BY_LINES, *events):
    call = CallLife(spec, partial=True, start=START, attached=True, gated=True)
    for event in events:
        call.handle(event)
    return call


def test_a_gated_call_waits_when_its_units_have_run_and_the_drain_does_not_count():
    call = gated(BY_LINES, TEXT, END)
    due = call.handle(UnitsDone(104.0))
    assert due == [ClearDeadline("drain"), SetDeadline("gate", GATE_LIMIT_S)]
    assert call.state is State.DRAINING
    due = call.handle(GateOpened(190.0))
    left = TIMEOUT_S - (104.0 - END.at)
    assert due == [ClearDeadline("gate"), SetDeadline("drain", left), LetFinish()]
    call.handle(FINISHED)
    assert call.state is State.DONE


def test_a_gate_that_is_open_before_the_units_have_run_holds_nothing_up():
    call = gated(BY_LINES, TEXT, GATE_OPENED, END)
    assert call.handle(UNITS_DONE) == [LetFinish()]


def test_the_gate_of_a_read_only_tool_is_always_open():
    read_only = ToolSpec(name="look", source="tools:Look", hooks=BY_LINES.hooks, read_only=True)
    call = gated(read_only, TEXT, END)
    call.handle(FINISHED)
    assert call.state is State.DONE


def test_a_gate_that_never_opens_aborts_the_call():
    call = gated(BY_LINES, TEXT, END, UNITS_DONE)
    due = call.handle(DeadlinePassed("gate"))
    assert [short(i) for i in due] == ["AbortTool", *ENDS]
    assert "at its gate" in call.record.outcome.aborted


def test_a_call_at_its_gate_can_be_aborted_and_one_that_finishes_cannot():
    call = gated(BY_LINES, TEXT, END, UNITS_DONE)
    assert [short(i) for i in call.handle(ABORT_ASKED)] == ["AbortTool", *ENDS]
    call = gated(BY_LINES, TEXT, END, UNITS_DONE, GATE_OPENED)
    assert call.handle(ABORT_ASKED) == []
    assert call.state is State.DRAINING


def test_an_abort_that_came_too_late_counts_when_the_tool_has_to_begin_again():
    call = gated(BY_LINES, TEXT, END, GATE_OPENED, UNITS_DONE, ABORT_ASKED)
    assert call.state is State.DRAINING
    due = call.handle(ToolRestarted(110.0))
    assert [short(i) for i in due] == ["AbortTool", *ENDS]
    assert call.record.outcome.aborted == "no longer wanted"


def test_a_tool_that_finishes_before_the_gate_opened_lies():
    call = gated(BY_LINES, TEXT, END, UNITS_DONE)
    with pytest.raises(TransitionError):
        call.handle(FINISHED)


def test_a_tool_that_begins_again_at_the_gate_comes_to_it_again():
    call = gated(BY_LINES, TEXT, END, UnitsDone(104.0))
    due = call.handle(ToolRestarted(110.0))
    assert due == [ClearDeadline("gate"), SetDeadline("drain", TIMEOUT_S - 1.0)]
    due = call.handle(UnitsDone(112.0))
    assert due == [ClearDeadline("drain"), SetDeadline("gate", GATE_LIMIT_S)]
    assert call.handle(GateOpened(120.0))[1] == SetDeadline("drain", TIMEOUT_S - 3.0)


# --- the tool fails, aborts, takes too long --------------------------------------------------


def test_a_failed_tool_does_not_stop_the_text():
    call = call_in(State.DECODING)
    assert StopDecoding() not in call.handle(FAILED)
    assert call.handle(TEXT) == []
    assert call.handle(END) == []
    assert call.state is State.FAILED
    assert call.record.text == "one\none\ntwo"
    assert call.record.tokens == 5
    assert call.record.outcome.timings.region_end == 3.0
    assert call.record.outcome.error == ToolError("ValueError", "no number")


def test_a_tool_that_fails_before_the_request_came_still_lets_it_be_decoded():
    call = new_call()
    call.handle(FAILED)
    assert call.handle(ATTACH) == [ClearDeadline("attach")]
    call.handle(TEXT)
    assert call.state is State.FAILED
    assert call.record.text == "one\n"


@pytest.mark.parametrize("state", [State.ABORTED, State.DONE])
def test_other_ended_calls_take_no_request(state):
    call = new_call()
    call.state = state
    with pytest.raises(TransitionError):
        call.handle(ATTACH)


def test_an_abort_by_the_tool_stops_decoding_and_does_not_tell_the_tool():
    call = call_in(State.DECODING)
    due = call.handle(TOOL_ABORTED)
    assert due[0] == StopDecoding()
    assert not any(isinstance(i, AbortTool) for i in due)
    assert call.record.outcome.aborted == "enough"
    assert call.record.outcome.timings.finished == 4.0


def test_an_abort_by_the_client_stops_decoding_and_tells_the_tool():
    call = call_in(State.DECODING)
    due = call.handle(ABORT_ASKED)
    assert due[:2] == [StopDecoding(), AbortTool("no longer wanted")]


def test_tokens_that_come_after_an_abort_are_kept_as_text_and_fed_to_nobody():
    call = call_in(State.ABORTED)
    assert call.handle(TEXT) == []
    assert call.handle(REGION_ABORTED) == []
    assert call.record.text == "one\none\ntwo"
    assert call.region_ended


def test_a_tool_that_takes_too_long_is_killed():
    call = call_in(State.DRAINING)
    due = call.handle(DeadlinePassed("drain"))
    assert call.record.outcome.error.type == "ToolTimeout"
    assert "5 s" in call.record.outcome.error.message
    assert due[-1] == KillTool(call.record.outcome.error.message)
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
        "created --RegionAttached--> attached",
        "attached --TextCommitted--> decoding",
        "decoding --TextCommitted--> decoding",
    ]


# --- output ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.ABORTED])
def test_output_after_the_end_is_dropped(state):
    call = call_in(state)
    call.handle(EMITTED)
    assert call.record.outcome.emitted == ""


# --- whatever comes --------------------------------------------------------------------------

events = st.sampled_from([
    ATTACH, TEXT, TEXT, TextCommitted(102.5, 1, ""), END, CUT, REGION_ABORTED, LOST, GONE,
    no("attach"), no("gate"), no("drain"), no("unknown"), OPENED, UNITS, EMITTED, UNITS_DONE,
    GATE_OPENED, ToolRestarted(103.4), FINISHED, FAILED, TOOL_ABORTED, ABORT_ASKED,
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
    assert call.record.text.startswith(fed)
    assert kinds in ([], [EndInput], [AbortTool], [EndInput, AbortTool], [EndInput, KillTool])
    if EndInput in kinds:
        assert fed == call.record.text
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
