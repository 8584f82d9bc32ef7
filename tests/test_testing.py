"""The kit for testing tools: calls have the life of served ones, and faults are found."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sgl_conveyor.core import Attachment
from sgl_conveyor.errors import ToolAbort
from sgl_conveyor.testing import (
    HookCall,
    check_every_cut,
    cuts,
    every_cut,
    pieces,
    run_tool,
)
from sgl_conveyor.tools import Tool
from tests.support import quick
from tool_workers.python import Python


class Lines(Tool):
    """Keeps the lines; `stop` aborts, `raise` fails."""

    def __init__(self):
        self.lines = []

    def open(self):
        pass

    def on_line(self, line):
        if line == "stop":
            raise ToolAbort("as written")
        if line == "raise":
            raise ValueError("as written")
        self.lines.append(line)

    def finish(self):
        return self.lines

    def abort(self, reason):
        pass


class Words(Tool):
    """Counts words wrongly: one that is cut counts twice."""

    def __init__(self):
        self.count = 0

    def on_text(self, delta):
        self.count += len(delta.split())

    def finish(self):
        return self.count


class Sum(Tool):
    """Adds up, as the values come."""

    read_only = True

    class Args(BaseModel):
        values: list[int]

    def __init__(self):
        self.total = 0

    async def on_argument(self, path, value):
        if isinstance(value, int):
            self.total += value

    async def finish(self):
        return {"total": self.total, "count": len(self.args.values)}


class Asks(Tool):
    """Asks the tool of its first line for its second one."""

    def __init__(self):
        self.lines = []

    async def on_line(self, line):
        self.lines.append(line)

    async def finish(self):
        result = await self.call_tool(self.lines[0], self.lines[1])
        error = None if result.error is None else str(result.error)
        return {"value": result.value, "error": error, "known": sorted(self.tools)}


def names(run):
    return [hook.name for hook in run.hooks]


# --- one call --------------------------------------------------------------------------------


def test_a_run_has_the_result_the_text_and_the_hooks():
    run = run_tool(Lines, "one\ntwo", cuts=[2])
    assert run.result.value == ["one", "two"]
    assert (run.result.error, run.result.aborted) == (None, None)
    assert run.text == "one\ntwo"
    assert run.hooks == [
        HookCall("open", ()),
        HookCall("on_line", ("one",)),
        HookCall("on_line", ("two",)),
        HookCall("finish", ()),
    ]


@pytest.mark.parametrize("text", ["", "\n"])
def test_a_region_may_be_empty(text):
    assert run_tool(Lines, text).result.value == [""] * len(text)


def test_arguments_are_handed_over_and_checked():
    run = run_tool(Sum, '{"values": [1, 2]}', cuts=[13])
    assert run.result.value == {"total": 3, "count": 2}
    assert [hook.arguments for hook in run.hooks[:3]] == [
        ("values[0]", 1),
        ("values[1]", 2),
        ("values", [1, 2]),
    ]
    error = run_tool(Sum, '{"values": "many"}').result.error
    assert error.type == "InvalidArguments"
    assert "values" in error.message


def test_a_tool_knows_its_call():
    class Who(Tool):
        def finish(self):
            return [self.call.tool, self.call.region, bool(self.call.id)]

    assert run_tool(Who, "").result.value == ["who", "region", True]
    assert run_tool(Who, "", region="code").result.value == ["who", "code", True]


def test_the_pieces_are_what_on_text_gets():
    text = "a word"
    for given_cuts, expected in ([3], ["a w", "ord"]), (range(6), list(text)), ([], [text]):
        run = run_tool(Words, text, cuts=given_cuts)
        assert [h.arguments[0] for h in run.hooks if h.name == "on_text"] == expected


def test_sequentially_the_same_pieces_come_in_the_same_order():
    partial = run_tool(Words, "a word", cuts=range(6))
    sequential = run_tool(Words, "a word", cuts=range(6), partial=False)
    assert sequential.hooks == partial.hooks
    first = sequential.result.timings.units[0]
    assert first.ready < sequential.result.timings.region_end <= first.started


# --- ends ------------------------------------------------------------------------------------


def test_a_region_that_is_cut_aborts():
    run = run_tool(Lines, "one\ntwo", end="length")
    assert run.result.error.type == "RegionCut"
    assert names(run)[-1] == "abort"
    assert "finish" not in names(run)


def test_a_region_that_is_given_up_aborts():
    run = run_tool(Lines, "one\ntwo\n", cuts=[4], end="abort")
    assert run.result.aborted == "the client deleted the call"
    assert run.hooks[-1] == HookCall("abort", ("the client deleted the call",))
    assert names(run) == ["open", "on_line", "on_line", "abort"]


def test_a_tool_that_aborts_gets_no_more_text():
    text = "one\nstop\ntwo\n"
    run = run_tool(Lines, text, cuts=[4, 9])
    assert (run.result.aborted, run.result.error) == ("as written", None)
    assert run.text == "one\nstop\n"
    assert names(run) == ["open", "on_line", "on_line", "abort"]


def test_a_tool_that_fails_aborts_and_has_no_result():
    run = run_tool(Lines, "one\nraise\ntwo\n", cuts=[4, 10])
    assert str(run.result.error) == "ValueError: as written"
    assert run.result.value is None
    assert names(run) == ["open", "on_line", "on_line", "abort"]


def test_a_coroutine_hook_has_the_tools_time_limit():
    class Slow(Tool):
        timeout_s = 0.05

        async def on_line(self, line):
            await asyncio.sleep(60)

    assert run_tool(Slow, "one\n").result.error.type == "ToolTimeout"


def test_a_result_that_is_no_json_is_an_error():
    class Odd(Tool):
        def finish(self):
            return object()

    assert run_tool(Odd, "").result.error.type == "TypeError"


def test_a_result_is_what_a_program_gets():
    class Models(Tool):
        def finish(self):
            return {"sum": Sum.Args(values=[1]), "pair": (1, 2)}

    assert run_tool(Models, "").result.value == {"sum": {"values": [1]}, "pair": [1, 2]}


def test_a_plain_hook_may_start_an_event_loop():
    class Loop(Tool):
        def finish(self):
            return asyncio.run(asyncio.sleep(0, "done"))

    assert run_tool(Loop, "").result.value == "done"


# --- what a tool says besides ----------------------------------------------------------------


def test_output_files_and_spans_are_in_the_result():
    class Talks(Tool):
        def on_line(self, line):
            self.emit(line + ";")
            with self.span(f"work on {line}"):
                pass

        def finish(self):
            self.attach("a.txt", "text/plain", b"\x00\xff")

    result = run_tool(Talks, "one\ntwo").result
    assert result.emitted == "one;two;"
    assert result.attachments == [Attachment("a.txt", "text/plain", b"\x00\xff")]
    assert [span.label for span in result.timings.spans] == ["work on one", "work on two"]
    for span in result.timings.spans:
        assert 0 <= span.started <= span.ended <= result.timings.finished


def test_a_span_ends_even_when_its_work_fails():
    class Fails(Tool):
        def finish(self):
            with self.span("in vain"):
                raise ValueError("no")

    timings = run_tool(Fails, "").result.timings
    assert [span.label for span in timings.spans] == ["in vain"]


def test_files_have_a_limit():
    class Big(Tool):
        def finish(self):
            self.attach("a", "x/y", bytes(9 * 2**20))
            self.attach("b", "x/y", bytes(9 * 2**20))

    result = run_tool(Big, "").result
    assert result.error.type == "ResultTooLarge"
    assert "returns more than 16777216 bytes" in result.error.message
    assert [file.name for file in result.attachments] == ["a"]


def test_units_have_times():
    timings = run_tool(Lines, "one\ntwo", cuts=[4]).result.timings
    assert len(timings.units) == 2
    assert timings.units[0].ready <= timings.units[0].started <= timings.units[0].ended
    assert timings.region_end <= timings.finished


# --- other tools -----------------------------------------------------------------------------


def test_a_tool_calls_another_one():
    value = run_tool(Asks, 'sum\n{"values": [1, 2]}', tools=[Sum, Lines]).result.value
    assert value == {
        "value": {"total": 3, "count": 2},
        "error": None,
        "known": ["lines", "sum"],
    }


def test_the_other_tools_errors_come_back():
    assert run_tool(Asks, "lines\nraise", tools=[Lines]).result.value["error"] == (
        "ValueError: as written"
    )
    assert "unknown tool 'other'" in run_tool(Asks, "other\nx", tools=[Sum]).result.value["error"]


def test_without_other_tools_there_is_nobody_to_call():
    assert run_tool(Asks, "sum\n{}").result.error.type == "RuntimeError"


# --- cuts ------------------------------------------------------------------------------------


def test_a_tool_that_depends_on_the_cuts_is_caught():
    with pytest.raises(AssertionError, match=r"cut at \[1\]: .*2.* but in one piece .*1"):
        check_every_cut(Words, "word")


@pytest.mark.parametrize(
    "fault",
    [
        lambda self, delta: self.emit(f"{len(delta)} "),
        lambda self, delta: self.attach("a", "x/y", delta.encode()),
        lambda self, delta: 1 / (len(delta) - 1),
    ],
    ids=["emitted", "attached", "raised"],
)
def test_more_than_the_value_is_compared(fault):
    faulty = type("Faulty", (Tool,), {"on_text": fault})
    with pytest.raises(AssertionError, match="cut at"):
        check_every_cut(faulty, "abc")


def test_what_is_compared_can_be_chosen():
    assert check_every_cut(Words, "word", same=lambda result: result.error).result.value == 1


def test_a_tool_that_does_not_depend_on_the_cuts_passes():
    run = check_every_cut(Lines, "one\ntwo\n")
    assert run.result.value == ["one", "two"]
    assert names(run) == ["open", "on_line", "on_line", "finish"]
    assert check_every_cut(Lines, "one\nraise\ntwo").result.error.type == "ValueError"
    assert check_every_cut(Sum, '{"values": [1]}').result.value["total"] == 1
    asked = check_every_cut(Asks, 'sum\n{"values": []}', tools=[Sum])
    assert asked.result.value["value"] == {"total": 0, "count": 0}


@quick
@given(st.lists(st.integers()).map(lambda values: json.dumps({"values": values})), st.data())
def test_a_hypothesis_test_draws_the_cuts_of_its_text(text, data):
    places = data.draw(cuts(text))
    assert all(0 < place < len(text) for place in places)
    assert places == sorted(set(places))
    run = run_tool(Sum, text, cuts=places)
    assert run.result.value["total"] == sum(json.loads(text)["values"])


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_without_a_place_to_cut(text):
    assert list(every_cut(text)) in ([[], []], [[]])

    @quick
    @given(cuts(text))
    def draws(places):
        assert pieces(text, places) == ([text] if text else [])

    draws()


def test_every_cut_is_none_one_at_each_place_and_all():
    assert list(every_cut("abc")) == [[], [1], [2], [1, 2]]


@quick
@given(st.text(max_size=20), st.lists(st.integers(-5, 30)))
def test_pieces_are_the_text_and_never_empty(text, places):
    cut = pieces(text, places)
    assert "".join(cut) == text
    assert all(cut)
    assert len(cut) == len({p for p in places if 0 < p < len(text)}) + bool(text)


# --- tools with a sandbox --------------------------------------------------------------------


def test_a_tool_with_a_sandbox_runs_in_one():
    source = "import os\nprint(os.uname().nodename, os.environ['HOME'])\n"
    run = run_tool(Python, source, cuts=[10])
    assert run.result.value == "sandbox /tmp\n"
    assert run.result.emitted == run.result.value
    assert (run.text, run.hooks) == (source, [])
    assert len(run.result.timings.units) == 2


def test_a_sandbox_that_dies_is_an_error():
    error = run_tool(Python, "import os\nos._exit(3)\nprint(1)\n", cuts=[10, 22]).result.error
    assert error.type == "WorkerLost"


def test_a_region_in_a_sandbox_may_be_cut_too():
    assert run_tool(Python, "print(1)\n", end="length").result.error.type == "RegionCut"
