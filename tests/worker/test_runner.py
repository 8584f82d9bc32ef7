"""One call in a worker: which hooks run, in which order, and what is said of them."""

import asyncio
import dataclasses
import enum
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sgl_conveyor import messages as m
from sgl_conveyor.core import TextPiece, ToolError
from sgl_conveyor.describe import describe
from sgl_conveyor.errors import ToolAbort
from sgl_conveyor.specs import RESULT_BYTES
from sgl_conveyor.testing import every_cut, pieces
from sgl_conveyor.tools import HOOKS, IncompleteResult, Tool
from sgl_conveyor.worker import runner
from sgl_conveyor.worker.runner import (
    CallRunner,
    cancelling_limit,
    encode_value,
    error_of,
    no_limit,
)
from tests.support import cut, cut_points, quick

OPEN = m.OpenCall("call", "region")
END = m.EndRegion("call", 9.0)
ABORT = m.AbortCall("call", "no longer wanted")
CANCEL = m.CancelCall("call")


def text(piece, at=1.0):
    return m.FeedText("call", [TextPiece(piece, at)])


def drive(tool, *received, hook_limit=no_limit):
    """What a call of this tool answers to these messages, as the dispatcher decodes it."""
    sent = []
    decoder = m.from_worker()

    def send(message):
        sent.append(decoder.decode(m.encode(message)))

    async def run():
        runner = CallRunner(tool, describe(tool), received[0], send, hook_limit)
        for message in received:
            await runner.handle(message)
            if sent and isinstance(sent[-1], m.Drained):
                await runner.handle(m.FinishCall("call"))
        return runner

    assert asyncio.run(run()).over is isinstance(sent[-1], m.Released)
    return sent


def only(kind, sent):
    """The one message of a kind."""
    (found,) = [message for message in sent if isinstance(message, kind)]
    return found


def kinds(sent):
    return [type(message).__name__ for message in sent]


def recording(*, raises=None, asynchronous=False):
    """A tool that writes down its hooks, and the list that it writes to.

    Args:
        raises: exceptions by the name of the hook that raises them.
        asynchronous: whether the hooks are coroutines.
    """
    journal = []
    raises = raises or {}

    def make(name):
        def hook(self, *arguments):
            journal.append((name, *arguments))
            if name in raises:
                raise raises[name]
            return "result" if name == "finish" else None

        async def async_hook(self, *arguments):
            await asyncio.sleep(0)
            return hook(self, *arguments)

        return async_hook if asynchronous else hook

    return type("Recorder", (Tool,), {name: make(name) for name in HOOKS}), journal


#: A call that reaches every hook but `abort`.
WHOLE_CALL = [OPEN, text("[1,\n"), text("2]"), END]
BEFORE_ABORT = [name for name in HOOKS if name != "abort"]
both_kinds = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


# --- the order -------------------------------------------------------------------------------


@both_kinds
def test_hooks_run_in_the_order_of_the_text(asynchronous):
    tool, journal = recording(asynchronous=asynchronous)
    drive(tool, *WHOLE_CALL)
    assert journal == [
        ("open",),
        ("on_text", "[1,\n"),
        ("on_line", "[1,"),
        ("on_argument", "[0]", 1),
        ("on_text", "2]"),
        ("on_argument", "[1]", 2),
        ("on_line", "2]"),
        ("on_statement", "[1,\n2]"),
        ("finish",),
    ]


@both_kinds
def test_a_whole_call_says_what_it_did(asynchronous):
    tool, _ = recording(asynchronous=asynchronous)
    sent = drive(tool, *WHOLE_CALL)
    assert kinds(sent)[0] == "Opened"
    assert kinds(sent)[-2:] == ["Finished", "Released"]
    assert set(kinds(sent)[1:-3]) == {"Progress"}
    assert kinds(sent)[-3] == "Drained", "it asks before it does what cannot be undone"
    finished = only(m.Finished, sent)
    assert (msgspec.json.decode(finished.value), finished.error) == ("result", None)
    assert finished.started <= finished.ended


def test_a_tool_without_hooks_finishes_with_nothing():
    class Bare(Tool):
        pass

    finished = only(m.Finished, drive(Bare, *WHOLE_CALL))
    assert msgspec.json.decode(finished.value) is None


def test_only_overridden_hooks_run():
    class Lines(Tool):
        def on_line(self, line):
            lines.append(line)

    lines = []
    sent = drive(Lines, *WHOLE_CALL)
    assert lines == ["[1,", "2]"]
    assert sum(len(p.units) for p in sent if isinstance(p, m.Progress)) == 2


def test_each_call_has_an_instance_of_its_own():
    class Counter(Tool):
        def __init__(self):
            self.lines = 0

        def on_line(self, line):
            self.lines += 1

        def finish(self):
            return self.lines

    for _ in range(2):
        assert only(m.Finished, drive(Counter, OPEN, text("a\nb\n"), END)).value == b"2"


def test_a_tool_knows_its_call():
    class Curious(Tool):
        def open(self):
            seen.append(self.call)

    seen = []
    drive(Curious, OPEN)
    assert [(call.id, call.tool, call.region) for call in seen] == [("call", "curious", "region")]


def test_output_is_sent_while_the_call_runs():
    class Talker(Tool):
        def on_line(self, line):
            self.emit(line.upper())

        def finish(self):
            self.emit("!")

    sent = drive(Talker, OPEN, text("a\nb\n"), END)
    assert [e.text for e in sent if isinstance(e, m.Emitted)] == ["A", "B", "!"]
    assert kinds(sent)[-3:] == ["Emitted", "Finished", "Released"]


@quick
@given(st.text(st.sampled_from("ab=1()\n\r é🎉#'"), max_size=30), cut_points)
def test_where_the_text_is_cut_never_changes_the_result(whole, points):
    class Collector(Tool):
        def __init__(self):
            self.seen = {"text": "", "lines": [], "statements": []}

        def on_text(self, delta):
            self.seen["text"] += delta

        def on_line(self, line):
            self.seen["lines"].append(line)

        def on_statement(self, source):
            self.seen["statements"].append(source)

        def finish(self):
            return self.seen

    def result(pieces):
        sent = drive(Collector, OPEN, *(text(piece) for piece in pieces), END)
        return msgspec.json.decode(only(m.Finished, sent).value)

    assert result(cut(whole, points)) == result([whole])
    assert result([whole])["text"] == whole


# --- units -----------------------------------------------------------------------------------


def test_a_unit_is_ready_when_the_token_that_made_it_certain_was_committed():
    class Lines(Tool):
        def on_line(self, line):
            pass

    now = time.monotonic()
    sent = drive(Lines, OPEN, text("a\nb", now), text("\n", now + 1), text("c", now + 2), END)
    units = [unit for p in sent if isinstance(p, m.Progress) for unit in p.units]
    assert [unit.ready for unit in units] == [now, now + 1, END.at]


def test_units_run_one_after_the_other():
    class Statements(Tool):
        def on_statement(self, source):
            pass

    before = time.monotonic()
    sent = drive(Statements, OPEN, text("a = 1\nb = 2\nc = 3\n"), END)
    units = [unit for p in sent if isinstance(p, m.Progress) for unit in p.units]
    times = [before, *(at for unit in units for at in (unit.started, unit.ended)), time.monotonic()]
    assert len(units) == 3
    assert times == sorted(times)


def test_progress_says_how_much_text_is_behind():
    tool, _ = recording()
    sent = drive(tool, OPEN, text("[1"), text(",2]\n"), END)
    fed = [message.fed for message in sent if isinstance(message, m.Progress)]
    assert (fed[-1], fed) == (2, sorted(fed))


# --- aborts ----------------------------------------------------------------------------------


@both_kinds
@pytest.mark.parametrize("hook", BEFORE_ABORT)
def test_a_tool_may_abort_in_any_hook(hook, asynchronous):
    tool, journal = recording(raises={hook: ToolAbort("enough")}, asynchronous=asynchronous)
    sent = drive(tool, *WHOLE_CALL)
    assert [entry[0] for entry in journal].count(hook) == 1
    assert journal[-1] == ("abort", "enough")
    assert kinds(sent)[-2:] == ["AbortRaised", "Released"]
    assert only(m.AbortRaised, sent).reason == "enough"


@both_kinds
@pytest.mark.parametrize("hook", BEFORE_ABORT)
def test_an_exception_in_any_hook_fails_the_call_and_aborts_once(hook, asynchronous):
    tool, journal = recording(raises={hook: ValueError("no number")}, asynchronous=asynchronous)
    sent = drive(tool, *WHOLE_CALL)
    assert [entry[0] for entry in journal].count(hook) == 1
    assert journal[-1] == ("abort", "ValueError: no number")
    assert kinds(sent)[-2:] == ["HookRaised", "Released"]
    assert only(m.HookRaised, sent).error == ToolError("ValueError", "no number")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_tool_cannot_end_its_worker(error):
    tool, journal = recording(raises={"on_line": error})
    sent = drive(tool, *WHOLE_CALL)
    assert only(m.HookRaised, sent).error.type == type(error).__name__
    assert journal[-1][0] == "abort"


def test_a_tool_that_cannot_be_made_fails_without_an_abort():
    class Unmade(Tool):
        def __init__(self):
            raise OSError("no licence")

        def abort(self, reason):
            raise AssertionError("there is no instance to abort")

    sent = drive(Unmade, *WHOLE_CALL)
    assert kinds(sent) == ["HookRaised", "Released"]
    assert only(m.HookRaised, sent).error == ToolError("OSError", "no licence")


@pytest.mark.parametrize("before", [[OPEN], [OPEN, text("[1,\n2")]])
def test_an_abort_from_outside_runs_abort_and_nothing_more(before):
    tool, journal = recording()
    sent = drive(tool, *before, ABORT, text("c\n"), END, ABORT)
    assert journal[-1] == ("abort", "no longer wanted")
    assert [entry[0] for entry in journal].count("abort") == 1
    assert kinds(sent)[-1] == "Released"
    assert not {"HookRaised", "AbortRaised", "Finished"} & set(kinds(sent))


def test_a_cancelled_call_runs_neither_finish_nor_abort():
    tool, journal = recording()
    sent = drive(tool, OPEN, text("[1,\n"), CANCEL, END, ABORT)
    assert not {"finish", "abort"} & {entry[0] for entry in journal}
    assert kinds(sent)[-1] == "Released"


def test_after_finish_nothing_aborts():
    tool, journal = recording()
    sent = drive(tool, *WHOLE_CALL, ABORT, END)
    assert [entry[0] for entry in journal].count("finish") == 1
    assert journal[-1] == ("finish",)
    assert kinds(sent).count("Released") == 1


@both_kinds
@pytest.mark.parametrize("error", [ValueError("again"), ToolAbort("again")])
def test_an_abort_that_raises_ends_the_call_all_the_same(asynchronous, error, capfd):
    raises = {"on_line": ValueError("first"), "abort": error}
    tool, journal = recording(raises=raises, asynchronous=asynchronous)
    sent = drive(tool, *WHOLE_CALL)
    assert [entry[0] for entry in journal].count("abort") == 1
    assert kinds(sent)[-2:] == ["HookRaised", "Released"]
    assert only(m.HookRaised, sent).error.message == "first"
    assert "again" in capfd.readouterr().err


class UnshowableError(Exception):
    """An exception of a tool that goes wrong when it is shown."""

    def __str__(self):
        raise RuntimeError("not even this")


def test_an_exception_whose_message_cannot_be_shown_fails_the_call_like_any_other():
    tool, journal = recording(raises={"on_line": UnshowableError()})
    sent = drive(tool, *WHOLE_CALL)
    assert only(m.HookRaised, sent).error.type == "UnshowableError"
    assert journal[-1][0] == "abort"


# --- results ---------------------------------------------------------------------------------


def finishing_with(value):
    """A tool that returns this, and writes down whether it was aborted."""

    class Finisher(Tool):
        def finish(self):
            journal.append("finish")
            return value

        def abort(self, reason):
            journal.append("abort")

    journal = []
    return Finisher, journal


def test_a_partial_result_comes_with_its_error():
    tool, journal = finishing_with(IncompleteResult("half\n", "ZeroDivisionError", "by zero"))
    finished = only(m.Finished, drive(tool, OPEN, END))
    assert finished.value == b'"half\\n"'
    assert finished.error == ToolError("ZeroDivisionError", "by zero")
    assert journal == ["finish"]


@pytest.mark.parametrize("value", [object(), {"a": object()}, {1, object()}, print])
def test_a_result_that_cannot_be_json_fails_the_call(value):
    tool, _ = finishing_with(value)
    sent = drive(tool, OPEN, END)
    assert kinds(sent)[-2:] == ["HookRaised", "Released"]


def test_a_result_that_cannot_be_sent_is_not_aborted_once_finish_has_returned():
    tool, journal = finishing_with(object())
    drive(tool, OPEN, END)
    assert journal == ["finish"]


class Point(BaseModel):
    x: int


@dataclasses.dataclass
class Pair:
    a: int
    b: str


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, b"null"),
        ("é🎉", '"é🎉"'.encode()),
        ([1, 2.5, True], b"[1,2.5,true]"),
        (Point(x=1), b'{"x":1}'),
        ({"points": [Point(x=1)]}, b'{"points":[{"x":1}]}'),
        (Pair(1, "b"), b'{"a":1,"b":"b"}'),
        ((1, 2), b"[1,2]"),
    ],
)
def test_how_a_result_is_encoded(value, encoded):
    assert encode_value(value) == encoded


class Anything(BaseModel):
    """A model whose strings pydantic does not look at."""

    x: Any
    path: Path = Path("/a")


class Coin(enum.Enum):
    """An enumeration with a value that UTF-8 cannot hold."""

    HALF = "\udd17"


class Whole(msgspec.Struct):
    text: str


#: Half of a surrogate pair in a value, and what a client reads.
HALVES = [
    ("a\ud800b", r"a\ud800b"),
    ("\ud83e\udd17", r"\ud83e\udd17"),
    (["é", ["\udfff"], ("\ud800", 1)], ["é", [r"\udfff"], [r"\ud800", 1]]),
    ({"\ud800": {"a": "\udfff", "b": None}}, {r"\ud800": {"a": r"\udfff", "b": None}}),
    ({1: "\ud800", 2: 0.5, 3: float("nan")}, {"1": r"\ud800", "2": 0.5, "3": None}),
    ({"\ud800"}, [r"\ud800"]),
    (Pair(1, "\ud800"), {"a": 1, "b": r"\ud800"}),
    (Whole("\ud800"), {"text": r"\ud800"}),
    (Coin.HALF, r"\udd17"),
    (Anything(x=["\ud800", Point(x=1)]), {"x": [r"\ud800", {"x": 1}], "path": "/a"}),
    ([Anything(x={"\ud800": 1})], [{"x": {r"\ud800": 1}, "path": "/a"}]),
    ([b"\x00", "\ud800"], ["AA==", r"\ud800"]),
]


@pytest.mark.parametrize(("value", "read"), HALVES, ids=range(len(HALVES)))
def test_half_of_a_surrogate_pair_in_a_result_is_escaped_and_nothing_is_lost(value, read):
    tool, journal = finishing_with(value)
    finished = only(m.Finished, drive(tool, OPEN, END))
    assert msgspec.json.decode(finished.value) == read
    assert finished.error is None
    assert journal == ["finish"]


def test_a_deep_result_with_half_of_a_surrogate_pair_is_escaped_too():
    value = "\ud800"
    for _ in range(800):
        value = [value]
    assert encode_value(value) == b"[" * 800 + b'"\\\\ud800"' + b"]" * 800


def test_half_of_a_surrogate_pair_in_anything_that_a_tool_says_is_escaped():
    class Says(Tool):
        def on_line(self, line):
            self.emit("out \ud800")
            self.attach("file \ud800", "x/\ud800", b"")
            with self.span("span \ud800"):
                pass

        def finish(self):
            return IncompleteResult("half \ud800", "Type\ud800", "message \ud800")

    sent = drive(Says, OPEN, text("a\n"), END)
    assert only(m.Emitted, sent).text == r"out \ud800"
    file = only(m.FileSent, sent)
    assert (file.name, file.media_type) == (r"file \ud800", r"x/\ud800")
    assert only(m.Worked, sent).span.label == r"span \ud800"
    finished = only(m.Finished, sent)
    assert msgspec.json.decode(finished.value) == r"half \ud800"
    assert finished.error == ToolError(r"Type\ud800", r"message \ud800")


def test_half_of_a_surrogate_pair_in_an_error_or_an_abort_is_escaped():
    for hook in BEFORE_ABORT:
        tool, _ = recording(raises={hook: ValueError("lone \ud800")})
        error = only(m.HookRaised, drive(tool, *WHOLE_CALL)).error
        assert error == ToolError("ValueError", r"lone \ud800")
        tool, _ = recording(raises={hook: ToolAbort("lone \ud800")})
        assert only(m.AbortRaised, drive(tool, *WHOLE_CALL)).reason == r"lone \ud800"


def test_a_result_without_surrogates_is_encoded_once(monkeypatch):
    """The walk through a value is for those that msgspec refuses."""
    monkeypatch.setattr(runner, "encodable_value", lambda value: 1 / 0)
    assert encode_value({"a": ["é🎉"]}) == '{"a":["é🎉"]}'.encode()


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)])
def test_output_and_value_have_one_limit_together(more, fits):
    class Large(Tool):
        def finish(self):
            self.emit("x" * 1000)
            return "x" * (RESULT_BYTES - 1002 + more)

    sent = drive(Large, *WHOLE_CALL)
    if fits:
        value = b"".join(s.data for s in sent if isinstance(s, m.DataPiece))
        end = only(m.Finished, sent)
        assert len(value + end.value) == RESULT_BYTES - 1000
        assert max(len(m.encode(s)) for s in sent) < m.MAX_SANDBOX_FRAME_BYTES
    else:
        assert only(m.HookRaised, sent).error.type == "ResultTooLarge"


def test_a_long_message_is_cut():
    assert len(error_of(ValueError("x" * 100_000)).message) == 2000


# --- arguments that are no text --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (r'{"x": "\ud83e"}', r"x: half of a surrogate pair (\ud83e) is no text"),
        (r'{"x": ["a", "\udd17\ud83e"]}', r"x[1]: half of a surrogate pair (\udd17) is no text"),
        (r'{"x": "\ud83e\u0041"}', r"x: half of a surrogate pair (\ud83e) is no text"),
        (
            r'{"more": {"\ud83e": 1}}',
            r"a key of more: half of a surrogate pair (\ud83e) is no text",
        ),
        (r'{"x": "\ud83e\udd17"}', None),
    ],
)
def test_half_of_a_surrogate_pair_is_the_same_error_with_and_without_on_argument(
    arguments, message
):
    class Whole(Tool):
        Args = Anything

        def finish(self):
            return self.args.x

    class Parts(Whole):
        def on_argument(self, path, value):
            seen.append(value)

    for tool in (Whole, Parts):
        for places in every_cut(arguments):
            seen = []
            sent = drive(tool, OPEN, *map(text, pieces(arguments, places)), END)
            if message is None:
                assert only(m.Finished, sent).value == '"🤗"'.encode()
            else:
                assert only(m.HookRaised, sent).error == ToolError("InvalidArguments", message)
            assert "?" not in str(seen)
    if message is None:
        assert seen == ["🤗"]


# --- the limit of a hook ---------------------------------------------------------------------


def test_a_hook_that_takes_too_long_is_cancelled_without_an_abort():
    class Sleeper(Tool):
        async def on_line(self, line):
            try:
                await asyncio.sleep(60)
            finally:
                journal.append("cancelled")

        async def abort(self, reason):
            journal.append("abort")

    journal = []
    sent = drive(Sleeper, OPEN, text("a\n"), END, hook_limit=cancelling_limit(0.02))
    error = only(m.HookRaised, sent).error
    assert error.type == "ToolTimeout"
    assert "0.02 s" in error.message
    assert kinds(sent)[-2:] == ["HookRaised", "Released"]
    assert journal == ["cancelled"]


def test_a_timeout_of_the_tools_own_is_an_exception_like_any_other():
    tool, journal = recording(raises={"on_line": TimeoutError("theirs")}, asynchronous=True)
    sent = drive(tool, *WHOLE_CALL, hook_limit=cancelling_limit(60))
    assert only(m.HookRaised, sent).error == ToolError("TimeoutError", "theirs")
    assert journal[-1][0] == "abort"


def test_an_abort_that_takes_too_long_is_cancelled_too(capfd):
    class Stubborn(Tool):
        async def abort(self, reason):
            await asyncio.sleep(60)

    sent = drive(Stubborn, OPEN, ABORT, hook_limit=cancelling_limit(0.02))
    assert kinds(sent) == ["Opened", "Released"]
    assert "0.02 s" in capfd.readouterr().err


def test_the_worker_needs_neither_sglang_nor_torch():
    program = (
        "import sys, sgl_conveyor.worker.runner, sgl_conveyor.worker.loop\n"
        "print([m for m in ('sglang', 'torch', 'pydantic') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[]\n", "")


@pytest.mark.parametrize("error", [ValueError("bad"), ToolAbort("enough")])
def test_the_unit_that_ends_a_call_is_among_its_timings(error):
    tool, _ = recording(raises={"on_line": error})
    sent = drive(tool, OPEN, text("[1,\n"))
    names = kinds(sent)
    ending = names.index("AbortRaised" if isinstance(error, ToolAbort) else "HookRaised")
    units = [
        u for message in sent[:ending] if isinstance(message, m.Progress) for u in message.units
    ]
    assert len(units) == 2, "the text, and the line that raised"
