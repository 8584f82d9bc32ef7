"""Results that wait, timings, and an import that costs nothing."""

import subprocess
import sys
import threading

import pytest

import sgl_conveyor
from sgl_conveyor.core import Outcome, ToolError, ToolResult
from sgl_conveyor.errors import CallRefused, ConveyorError
from sgl_conveyor.specs import ToolSpec
from sgl_conveyor.timings import Timings, UnitTiming


class Source:
    """Where a `ToolResult` gets its outcome; counts how often it was asked."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.outcome


# --- ToolResult ------------------------------------------------------------------------------


def test_a_result_does_not_ask_before_it_is_read():
    source = Source(Outcome(value=1))
    result = ToolResult(source)
    assert repr(result) == "ToolResult(pending)"
    assert source.asked == 0


@pytest.mark.parametrize("field", ["value", "error", "aborted", "emitted", "timings"])
def test_reading_a_field_asks(field):
    outcome = Outcome(value=1, error=ToolError("E", "m"), aborted="why", emitted="out")
    source = Source(outcome)
    assert getattr(ToolResult(source), field) == getattr(outcome, field)
    assert source.asked == 1


def test_a_result_asks_once_whatever_is_read():
    source = Source(Outcome(value="text"))
    result = ToolResult(source)
    assert (result.value, result.error, str(result), result.value) == ("text", None, "text", "text")
    assert source.asked == 1


def test_a_result_asks_again_after_asking_failed():
    answers = iter([ConnectionError("gone"), Outcome(value=1)])

    def ask():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    result = ToolResult(ask)
    with pytest.raises(ConnectionError):
        _ = result.value
    assert result.value == 1


def test_two_readers_do_not_ask_at_the_same_time():
    asking, asked_twice = threading.Semaphore(0), threading.Event()
    overlaps = []

    def ask():
        asking.release()
        # The second reader has this long to come in while the first one asks.
        overlaps.append(asked_twice.wait(0.2))
        return Outcome(value=1)

    result = ToolResult(ask)
    readers = [threading.Thread(target=lambda: result.value) for _ in range(2)]
    readers[0].start()
    asking.acquire()
    readers[1].start()
    if asking.acquire(timeout=0.1):
        asked_twice.set()
    for reader in readers:
        reader.join()
    assert not any(overlaps)


def test_a_known_outcome_shows_itself():
    assert "value=3" in repr(ToolResult(Outcome(value=3)))


# --- str() -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Outcome(value="as it is\n"), "as it is\n"),
        (Outcome(value=""), ""),
        (Outcome(value={"a": [1, 2.5, None, True]}), '{"a":[1,2.5,null,true]}'),
        (Outcome(value="über"), "über"),
        (Outcome(value=["über"]), '["über"]'),
        (Outcome(value=None), "null"),
        (Outcome(error=ToolError("ValueError", "no number")), "Error: ValueError: no number"),
        (Outcome(error=ToolError("KeyboardInterrupt", "")), "Error: KeyboardInterrupt"),
        (Outcome(aborted="enough"), "Aborted: enough"),
    ],
)
def test_the_text_of_an_outcome(outcome, text):
    assert str(outcome) == text
    assert str(ToolResult(outcome)) == text


def test_a_text_that_is_only_a_part_is_shown_before_its_error():
    assert str(Outcome(value="half\n", error=ToolError("ZeroDivisionError", "…"))) == "half\n"


# --- timings ---------------------------------------------------------------------------------


def timings(**changes):
    """Decoding from 1 to 4; the tool works from 1.5 to 2, from 2.5 to 3 and from 4 to 5."""
    values = {
        "first_token": 1.0,
        "region_end": 4.0,
        "open_started": 0.5,
        "opened": 1.0,
        "units": [UnitTiming(1.5, 1.5, 2.0), UnitTiming(2.25, 2.5, 3.0)],
        "finish_started": 4.0,
        "finished": 5.0,
    }
    return Timings(**{**values, **changes})


def test_decode_is_from_the_first_token_to_the_region_end():
    assert timings().decode == 3.0


def test_tool_is_the_time_in_which_hooks_ran():
    assert timings().tool == 0.5 + 0.5 + 0.5 + 1.0


def test_exposed_is_what_the_program_waits_for_after_the_region():
    assert timings().exposed == 1.0


def test_hidden_is_what_ran_while_the_region_was_decoded():
    assert timings().hidden == 1.5


def test_nothing_is_hidden_when_waiting_takes_longer_than_the_tool():
    assert timings(finished=20.0, finish_started=20.0).hidden == 0.0


def test_what_never_happened_has_no_span():
    empty = Timings()
    assert (empty.decode, empty.exposed, empty.hidden, empty.tool) == (None, None, None, 0.0)
    assert (empty.dispatch(), empty.queueing()) == ([], [])


def test_dispatch_is_from_certainty_to_the_hook_when_the_tool_is_free():
    assert timings().dispatch() == [0.0, 0.25]
    assert timings().queueing() == [0.0, 0.0]


def test_queueing_behind_earlier_work_is_no_dispatch():
    behind = timings(units=[UnitTiming(1.5, 1.5, 3.0), UnitTiming(2.0, 3.25, 4.0)])
    assert behind.queueing() == [0.0, 1.0]
    assert behind.dispatch() == [0.0, 0.25]


def test_a_unit_that_waited_for_open_was_queueing():
    early = timings(opened=2.0, units=[UnitTiming(1.5, 2.25, 3.0)])
    assert (early.queueing(), early.dispatch()) == ([0.5], [0.25])


# --- the rest --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hooks", "takes"),
    [
        ({"on_line"}, True),
        ({"on_text", "abort"}, True),
        ({"open", "finish"}, False),
        (set(), False),
    ],
)
def test_a_tool_takes_units_when_it_has_a_unit_hook(hooks, takes):
    assert ToolSpec(name="t", source="m:T", hooks=frozenset(hooks)).takes_units is takes


def test_a_refusal_carries_its_status():
    refused = CallRefused(410, "gone")
    assert isinstance(refused, ConveyorError)
    assert (refused.status, refused.message, str(refused)) == (410, "gone", "gone")


@pytest.mark.parametrize("names", ["", "Tool, ToolAbort, ToolError, IncompleteResult, ToolResult"])
def test_importing_the_package_imports_nothing_heavy(names):
    program = (
        "import sys, sgl_conveyor\n"
        + (f"from sgl_conveyor import {names}\n" if names else "")
        + "print([m for m in ('sglang', 'torch', 'pydantic', 'httpx') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[]\n", "")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = sgl_conveyor.nothing_of_ours
