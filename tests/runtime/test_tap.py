"""The tap on SGLang's real `Req` objects and a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from sglang.srt.managers.schedule_batch import FINISH_ABORT, FINISH_LENGTH, FINISH_MATCHED_STR, Req
from sglang.srt.sampling.sampling_params import SamplingParams

from sgl_conveyor import messages as m
from sgl_conveyor.channel import configure
from sgl_conveyor.runtime.tap import Tap


class Wire:
    """A tap, and what comes out of it."""

    def __init__(self, address: str) -> None:
        context = zmq.Context.instance()
        self._pull = configure(context.socket(zmq.PULL))
        self._pull.bind(address)
        self._pull.setsockopt(zmq.RCVTIMEO, 5000)
        push = configure(context.socket(zmq.PUSH))
        push.connect(address)
        self.tap = Tap(push)
        self._decoder = m.from_tap()

    def step(self, *reqs: Any) -> list[m.TapRecord]:
        """The records of one step; none if no message comes."""
        self.tap.observe(reqs)
        self.tap.hello()
        message = self._decoder.decode(self._pull.recv())
        if isinstance(message, m.TapHello):
            return []
        assert isinstance(self._decoder.decode(self._pull.recv()), m.TapHello)
        return message.records


@pytest.fixture
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    return Wire(f"inproc://{request.node.name}")


def make(call: object = "c", rid: str = "r") -> Req:
    custom = None if call is None else {"conveyor": {"call": call}}
    params = SamplingParams(max_new_tokens=100, custom_params=custom)
    return Req(rid, "", list(range(10)), params)


def test_each_step_sends_what_is_new_with_the_prompts_tail_first(wire: Wire) -> None:
    req = make()
    req.output_ids.append(11)
    assert wire.step(req) == [m.TapRecord("r", 0, [11], [5, 6, 7, 8, 9])]
    req.output_ids.extend([12, 13])
    assert wire.step(req) == [m.TapRecord("r", 1, [12, 13])]
    assert wire.step(req) == []


@pytest.mark.parametrize("call", [None, 7])
def test_a_request_without_a_call_sends_nothing(wire: Wire, call: object) -> None:
    req = make(call)
    req.output_ids.append(11)
    assert wire.step(req) == []


def test_the_end_is_sent_once_without_the_tokens_after_it(wire: Wire) -> None:
    req = make()
    req.output_ids.extend([11, 12, 13])
    req.finished_reason = FINISH_MATCHED_STR("stop")
    req.finished_len = 2
    [record] = wire.step(req)
    assert (record.tokens, record.finish) == ([11, 12], m.Finish("stop", "stop"))
    req.finished_output = True
    req.output_ids.append(14)
    assert wire.step(req) == []


def test_an_end_without_a_new_token_is_sent(wire: Wire) -> None:
    req = make()
    req.output_ids.append(11)
    wire.step(req)
    req.finished_reason = FINISH_LENGTH(1)
    assert wire.step(req) == [m.TapRecord("r", 1, [], None, m.Finish("length"))]


def test_a_refused_request_says_why_and_an_aborted_one_does_not(wire: Wire) -> None:
    for reason, finish in (
        (FINISH_ABORT("Unclosed '['", 400), m.Finish("abort", None, "Unclosed '['", True)),
        (FINISH_ABORT(), m.Finish("abort")),
    ):
        req = make()
        req.output_ids.append(11)
        req.finished_reason = reason
        [record] = wire.step(req)
        assert record.finish == finish


def test_the_skipped_request_is_skipped(wire: Wire) -> None:
    req, skipped = make(), make(rid="s")
    for each in (req, skipped):
        each.output_ids.append(11)
    wire.tap.observe([req, skipped], skipped)
    assert [r.rid for r in wire._decoder.decode(wire._pull.recv()).records] == ["r"]


def test_nothing_that_goes_wrong_is_raised_into_the_scheduler(wire: Wire) -> None:
    wire.tap.observe([object()])
    req = make()
    req.output_ids.append(11)
    assert len(wire.step(req)) == 1


def test_a_dispatcher_that_does_not_read_never_blocks_the_scheduler() -> None:
    push = configure(zmq.Context.instance().socket(zmq.PUSH))
    push.setsockopt(zmq.SNDHWM, 10)
    push.connect("inproc://nobody-reads")
    tap = Tap(push)
    req = make()
    for _ in range(1000):
        req.output_ids.append(11)
        tap.observe([req])
