"""The calls that are kept: their ids, and how long."""

import re
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.dispatcher.calls import CallIds, CallTable
from sgl_conveyor.dispatcher.config import Retention
from sgl_conveyor.errors import CallRefused
from tests.support import quick


@dataclass
class Kept:
    """As much of a call as the table knows."""

    id: str
    ended_at: float | None = None
    size_bytes: int = 1


def ended(id, *, ago=0.0, size=1):
    """A call that ended so many seconds ago."""
    return Kept(id, time.monotonic() - ago, size)


def table(*calls, **retention):
    """A table that holds these calls."""
    made = CallTable(CallIds("secret"), Retention(**retention))
    for call in calls:
        made.add(call)
    for call in sorted((c for c in calls if c.ended_at is not None), key=lambda c: c.ended_at):
        made.ended(call)
    return made


def kept(calls):
    return [call.id for call in calls]


# --- ids -------------------------------------------------------------------------------------


def test_ids_are_48_hex_digits_and_never_the_same():
    made = [CallIds("secret").new() for _ in range(1000)]
    assert all(re.fullmatch(r"[0-9a-f]{48}", call) for call in made)
    assert len(set(made)) == len(made)


def test_an_id_is_known_again_with_the_same_secret_and_no_other():
    call = CallIds("secret").new()
    assert CallIds("secret").given_out(call)
    assert not CallIds("another").given_out(call)


@pytest.mark.parametrize("at", range(48))
def test_an_id_with_another_digit_is_unknown(at):
    call = CallIds("secret").new()
    other = "0" if call[at] != "0" else "1"
    assert not CallIds("secret").given_out(call[:at] + other + call[at + 1 :])


@quick
@given(st.text(max_size=60) | st.sampled_from(["", "0" * 48, "\ud800" * 48, "é" * 48]))
def test_any_other_text_is_unknown(text):
    assert not CallIds("secret").given_out(text)


@pytest.mark.parametrize("change", [str.upper, lambda call: call + "0", lambda call: call[:-1]])
def test_an_id_written_otherwise_is_unknown(change):
    ids = CallIds("secret")
    call = next(call for call in iter(ids.new, None) if call.upper() != call)
    assert not ids.given_out(change(call))


# --- finding ---------------------------------------------------------------------------------


def test_a_kept_call_is_found():
    call = Kept("one")
    calls = table(call)
    assert calls.find("one") is call
    assert calls.get("one") is call
    assert (len(calls), list(calls)) == (1, [call])


def test_an_id_that_was_never_given_out_is_404():
    with pytest.raises(CallRefused) as refused:
        table().find("0" * 48)
    assert refused.value.status == 404
    assert table().get("0" * 48) is None


def test_an_id_that_is_no_longer_kept_is_410_after_a_restart_too():
    call = CallIds("secret").new()
    before = table(Kept(call))
    before.remove(call)
    for calls in (before, table()):
        with pytest.raises(CallRefused) as refused:
            calls.find(call)
        assert refused.value.status == 410


def test_removing_what_is_not_there_changes_nothing():
    calls = table(Kept("one"))
    calls.remove("two")
    assert kept(calls) == ["one"]


# --- forgetting ------------------------------------------------------------------------------


def test_ended_calls_are_forgotten_in_time():
    calls = table(ended("old", ago=601), ended("fresh", ago=1), Kept("running"), seconds=600.0)
    calls.sweep()
    assert kept(calls) == ["fresh", "running"]


def test_running_calls_are_never_forgotten():
    calls = table(Kept("one", size_bytes=10**9), Kept("two"), calls=2, bytes=1, seconds=0.0)
    calls.sweep()
    assert kept(calls) == ["one", "two"]


def test_of_too_many_bytes_those_that_ended_first_go():
    calls = table(
        ended("second", ago=2, size=40),
        ended("first", ago=3, size=40),
        ended("third", ago=1, size=40),
        bytes=80,
    )
    calls.sweep()
    assert kept(calls) == ["second", "third"]


def test_as_many_bytes_as_allowed_are_kept():
    calls = table(ended("one", size=40), ended("two", size=40), bytes=80)
    calls.sweep()
    assert kept(calls) == ["one", "two"]


def test_a_new_call_takes_the_place_of_the_one_that_ended_first():
    calls = table(ended("second", ago=1), ended("first", ago=2), Kept("running"), calls=3)
    calls.add(Kept("new"))
    assert kept(calls) == ["second", "running", "new"]


def test_when_all_calls_are_running_a_new_one_is_refused():
    calls = table(Kept("one"), Kept("two"), calls=2)
    with pytest.raises(CallRefused) as refused:
        calls.add(Kept("three"))
    assert refused.value.status == 503
    assert kept(calls) == ["one", "two"]


def test_a_sweep_looks_at_no_call_that_it_keeps():
    class Counted(Kept):
        looks = 0

        @property
        def size_bytes(self):
            Counted.looks += 1
            return 40

        @size_bytes.setter
        def size_bytes(self, size):
            pass

    calls = table(*(Counted(str(n), time.monotonic()) for n in range(100)), bytes=99 * 40)
    Counted.looks = 0
    calls.sweep()
    calls.sweep()
    assert (kept(calls), Counted.looks) == ([str(n) for n in range(1, 100)], 0)


def test_what_a_call_held_at_its_end_is_what_its_removal_frees():
    growing, other = ended("growing", ago=2, size=40), ended("other", ago=1, size=40)
    calls = table(growing, other, bytes=80)
    growing.size_bytes = 1000
    calls.ended(growing)
    calls.sweep()
    assert kept(calls) == ["growing", "other"]
    calls.remove("growing")
    last = ended("last", size=40)
    calls.add(last)
    calls.ended(last)
    calls.sweep()
    assert kept(calls) == ["other", "last"]


def test_the_table_may_change_while_it_is_walked():
    calls = table(Kept("one"), Kept("two"))
    for call in calls:
        calls.remove(call.id)
    assert len(calls) == 0
