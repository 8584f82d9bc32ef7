"""Requests apart from calls: their text, their ends, and a sink that holds several calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tokenizers import Tokenizer

from sgl_conveyor import events
from sgl_conveyor import messages as m
from sgl_conveyor.core import TextPiece, ToolError
from sgl_conveyor.dispatcher import requests
from sgl_conveyor.dispatcher.requests import Request, RequestEnd, RequestTable
from sgl_conveyor.dispatcher.text import TextOptions
from sgl_conveyor.driver import CallDriver
from sgl_conveyor.errors import CallRefused
from sgl_conveyor.life import CallLife
from sgl_conveyor.specs import ToolSpec
from tests.dispatcher.harness import STOP, Harness, dispatcher, wait_until

RID = "a" * 32


@dataclass
class Kept:
    """A sink that keeps what it is given."""

    text: str = ""
    end: RequestEnd | None = None
    error: ToolError | None = None
    request: Request | None = None

    def attached(self, request: Request, at: float) -> None:
        self.request = request

    def committed(self, at: float, tokens: int, text: str) -> None:
        if "!" in text:
            raise ValueError("as ordered")
        self.text += text

    def ended(self, end: RequestEnd) -> None:
        if "!" in end.reason:
            raise ValueError("as ordered")
        self.text += end.text
        self.end = end

    def failed(self, error: ToolError) -> None:
        self.error = error


class Engine:
    """What SGLang's processes say of one request, to the table of the dispatcher."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.stopped: list[str] = []
        self.table = RequestTable(self.stopped.append)
        self._tokenizer = tokenizer
        self._sent: dict[str, int] = {}

    def attach(self, sink: requests.Sink, rid: str = RID) -> None:
        self.table.attach(rid, sink, TextOptions(), self._tokenizer)
        self._sent[rid] = 0

    def commit(self, text: str, finish: m.Finish | None = None, rid: str = RID) -> None:
        tokens = self._tokenizer.encode(text).ids
        offset = self._sent[rid]
        self._sent[rid] += len(tokens)
        record = m.TapRecord(rid, offset, tokens, None if offset else [], finish)
        self.table.tapped(m.TapStep(time.monotonic(), [record]))


@pytest.fixture
def engine(tokenizer: Tokenizer) -> Engine:
    return Engine(tokenizer)


class TestEnds:
    def test_a_normal_end_brings_the_last_text_and_the_count(self, engine: Engine) -> None:
        kept = Kept()
        engine.attach(kept)
        engine.commit("one ")
        engine.commit("two", STOP)
        assert kept.text == "one two"
        assert (kept.end.how, kept.end.total) == ("stop", 3)
        assert len(engine.table) == 0

    def test_an_abort_with_a_status_is_an_error_of_the_request(self, engine: Engine) -> None:
        kept = Kept()
        engine.attach(kept)
        engine.commit("x", m.Finish("abort", None, "Unclosed '['", True))
        assert (kept.end.how, kept.end.reason, kept.end.failed) == ("abort", "Unclosed '['", True)

    def test_both_sides_may_report_an_end_and_the_first_one_counts(self, engine: Engine) -> None:
        kept = Kept()
        engine.attach(kept)
        engine.table.reported(m.RequestEnded(RID, None, "the client disconnected"))
        engine.table.reported(m.RequestEnded(RID, None, "again"))
        engine.commit("late")
        assert kept.end == RequestEnd("abort", reason="the client disconnected")
        assert kept.text == ""

    def test_a_gap_in_the_tokens_ends_the_request(self, engine: Engine) -> None:
        kept = Kept()
        engine.attach(kept)
        engine.table.tapped(m.TapStep(0.0, [m.TapRecord(RID, 3, [1], [])]))
        assert kept.end.how == "lost"
        assert "expected offset 0, got 3" in kept.end.reason

    @pytest.mark.parametrize("number", [-1, 2**32, 2**64 - 1])
    def test_a_number_that_is_no_token_ends_the_request(self, engine: Engine, number: int) -> None:
        for tokens, tail in (([number], []), ([1], [number])):
            kept = Kept()
            engine.attach(kept)
            engine.table.tapped(m.TapStep(0.0, [m.TapRecord(RID, 0, tokens, tail)]))
            assert kept.end.how == "lost"
            assert "no token" in kept.end.reason
            assert len(engine.table) == 0

    def test_a_normal_end_waits_for_the_taps_last_tokens_but_not_for_ever(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(requests, "TAP_LIMIT_S", 0.05)

        async def go() -> tuple[Kept, Kept]:
            heard, unheard = Kept(), Kept()
            engine.attach(heard)
            engine.attach(unheard, "b" * 32)
            engine.table.reported(m.RequestEnded(RID, 1, ""))
            engine.table.reported(m.RequestEnded("b" * 32, 1, ""))
            engine.commit("x", STOP)
            async with asyncio.timeout(10):
                while unheard.end is None:
                    await asyncio.sleep(0.01)
            return heard, unheard

        heard, unheard = asyncio.run(go())
        assert heard.end.how == "stop"
        assert unheard.end.how == "lost"
        assert "only 0 and no end" in unheard.end.reason

    def test_an_error_of_ours_ends_one_request_and_no_other(self, engine: Engine) -> None:
        bad, good = Kept(), Kept()
        engine.attach(bad)
        engine.attach(good, "b" * 32)
        engine.commit("!")
        engine.commit("fine", rid="b" * 32)
        assert bad.error == ToolError("InternalError", "ValueError: as ordered")
        assert good.text == "fine"

    def test_an_error_of_ours_at_the_end_still_ends_what_the_sink_holds(
        self, engine: Engine
    ) -> None:
        bad, good = Kept(), Kept()
        engine.attach(bad)
        engine.attach(good, "b" * 32)
        engine.table.end_all("gone!")
        assert bad.error == good.error == ToolError("InternalError", "ValueError: as ordered")
        assert len(engine.table) == 0

    def test_a_request_that_has_ended_is_not_stopped(self, engine: Engine) -> None:
        kept = Kept()
        engine.attach(kept)
        kept.request.stop()
        engine.commit("x", STOP)
        kept.request.stop()
        assert engine.stopped == [RID]

    def test_two_requests_cannot_have_one_id(self, engine: Engine) -> None:
        engine.attach(Kept())
        with pytest.raises(CallRefused, match="is being decoded already"):
            engine.attach(Kept())


class TestLiveness:
    def test_a_request_that_is_missing_twice_in_the_list_has_ended(self, engine: Engine) -> None:
        kept = Kept()
        engine.attach(kept)
        for named in ([], [RID], []):  # missing twice, but not one after the other
            engine.table.named(named)
        assert kept.end is None
        engine.table.named([])
        assert kept.end == RequestEnd(
            "abort", reason="SGLang's HTTP side no longer knows the request"
        )

    def test_a_silent_http_side_ends_what_it_should_have_named(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = Kept()
        engine.attach(kept)
        engine.table.end_if_silent()
        assert kept.end is None
        monkeypatch.setattr(requests, "SILENCE_LIMIT_S", -1.0)
        engine.table.end_if_silent()
        assert "was silent" in kept.end.reason


# --- the same, in the dispatcher's process -------------------------------------------------------


@pytest.fixture(scope="module")
def conveyor() -> Iterator[Harness]:
    with dispatcher(["tests.tools.puppet:Puppet"]) as harness:
        yield harness


def _opened(conveyor: Harness, call: str) -> bool:
    return conveyor.read(call, 0).outcome.timings.opened is not None


def test_a_request_that_the_http_side_forgot_gives_its_worker_back(conveyor: Harness) -> None:
    call = conveyor.create("puppet")
    conveyor.attach(call)
    conveyor.decode(call, "one\n")
    for _ in range(2):
        conveyor.control.send(m.encode(m.LiveRequests([])))
    assert conveyor.read(call).outcome.aborted == "SGLang's HTTP side no longer knows the request"
    assert conveyor.run("puppet", "free\n").outcome.value == ["free"]


def test_a_server_that_was_started_again_has_none_of_the_old_requests(conveyor: Harness) -> None:
    call = conveyor.create("puppet")
    conveyor.attach(call)
    wait_until(lambda: _opened(conveyor, call), "open()")
    conveyor.restart_http()
    assert conveyor.read(call).outcome.aborted == "SGLang's server ended"
    assert conveyor.run("puppet", "free\n").outcome.value == ["free"]


# --- one request, several calls -----------------------------------------------------------------


@dataclass
class Orders:
    """The tool's side of a call in a turn: remembers what it was told to do."""

    told: list[str] = field(default_factory=list)

    def feed(self, pieces: list[TextPiece]) -> None:
        self.told += [f"feed {piece.text}" for piece in pieces]

    def end_input(self, at: float) -> None:
        self.told.append("end")

    def let_finish(self) -> None:
        self.told.append("finish")

    def abort(self, reason: str) -> None:
        self.told.append(f"abort {reason}")

    def kill(self) -> None:
        self.told.append("kill")


class Turn:
    """A sink of several calls: text between `<` and `>` is a call's, and all else is free.

    It stands for the turns to come: what it needs of a life, a region's call does not.
    """

    def __init__(self, spec: ToolSpec) -> None:
        self._spec = spec
        self._request: Request | None = None
        self._call: CallDriver | None = None
        self.free = ""
        self.calls: list[CallDriver] = []
        self.workers: list[Orders] = []

    def attached(self, request: Request, at: float) -> None:
        self._request = request

    def committed(self, at: float, tokens: int, text: str) -> None:
        for character in text:
            if character == "<":
                self._open(at)
            elif character == ">" and self._call is not None:
                self._call.handle(events.RegionEnded(at))
                self._call = None
            elif self._call is not None:
                self._call.handle(events.TextCommitted(at, 0, character))
            else:
                self.free += character

    def ended(self, end: RequestEnd) -> None:
        self.committed(end.at or 0.0, end.tokens, end.text)
        for call in self.calls:
            if end.how == "stop":
                call.handle(events.GateOpened(end.at))
            else:
                call.handle(events.AbortAsked(end.at, "the turn does not stand"))

    def failed(self, error: ToolError) -> None:
        for call in self.calls:
            call.fail(error)

    def _open(self, at: float) -> None:
        life = CallLife(self._spec, partial=True, start=at, attached=True, gated=True)
        self.workers.append(Orders())
        self._call = CallDriver(
            f"call {len(self.calls)}",
            life,
            self.workers[-1],
            call_later=asyncio.get_running_loop().call_later,
            stop_decoding=self._request.stop,
            settled=lambda: None,
        )
        self._call.begin()
        self.calls.append(self._call)


SPEC = ToolSpec(name="t", source="t:T", hooks=frozenset({"on_text", "finish"}))


def test_several_calls_of_one_request_live_as_regions_do(engine: Engine) -> None:
    async def go() -> Turn:
        turn = Turn(SPEC)
        engine.attach(turn)
        engine.commit("first <a> then <b")
        turn.calls[0].handle(events.UnitsDone(time.monotonic()))
        engine.commit("c> and no more")
        engine.commit(".", STOP)
        turn.calls[1].handle(events.UnitsDone(time.monotonic()))
        return turn

    turn = asyncio.run(go())
    assert turn.free == "first  then  and no more."
    assert turn.workers[0].told == ["feed a", "end", "finish"], "only when the turn stood"
    assert turn.workers[1].told == ["feed b", "feed c", "end", "finish"]


def test_a_turn_that_falls_undoes_the_calls_that_wait_at_their_gates(engine: Engine) -> None:
    async def go() -> Turn:
        turn = Turn(SPEC)
        engine.attach(turn)
        engine.commit("<a><b")
        turn.calls[0].handle(events.UnitsDone(time.monotonic()))
        engine.commit("c", m.Finish("length"))
        return turn

    turn = asyncio.run(go())
    aborted = "abort the turn does not stand"
    assert turn.workers[0].told == ["feed a", "end", aborted]
    assert turn.workers[1].told == ["feed b", "feed c", aborted]


def test_a_tool_that_aborts_in_a_turn_stops_the_one_request(engine: Engine) -> None:
    async def go() -> None:
        turn = Turn(SPEC)
        engine.attach(turn)
        engine.commit("<a")
        turn.calls[0].handle(events.ToolAborted(time.monotonic(), "enough"))

    asyncio.run(go())
    assert engine.stopped == [RID]
