"""SGLang's own programs do on our server what they do on a stock one, and a stock one is stock.

What a program should know is not asked: both servers must write the same text, or fail alike. They
serve one request at a time, from an empty cache, with the most likely token each time, so that the
same numbers are computed on both; what the numbers are is the processor's affair.

Of `sglang.test.test_programs`, not run here: decode_json_regex and parallel_decoding take minutes;
react chooses its way by numbers of two requests at once; parallel_encoding hangs on both (it asks
for a route that SGLang 0.5.23 does not have); stream_logprobs compares pieces as they come;
image_qa needs a vision model; the two speculative ones need OpenAI's API.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
import sglang as sgl
from sglang.test import test_programs as programs

from sgl_conveyor import ConveyorEndpoint
from sgl_conveyor.runtime.environment import RUN_DIRECTORY
from tests.dispatcher.harness import wait_until
from tests.runtime.servers import Server

PROGRAMS = {
    "mt_bench": programs.test_mt_bench,
    "select": partial(programs.test_select, check_answer=False),
    "decode_int": programs.test_decode_int,
    "decode_json": programs.test_decode_json,
    "expert_answer": partial(programs.test_expert_answer, check_answer=False),
    "tool_use": programs.test_tool_use,
    "stream": programs.test_stream,
    "regex": programs.test_regex,
    "dtype_gen": programs.test_dtype_gen,
    "gen_min_new_tokens": programs.test_gen_min_new_tokens,
}
#: Of each generation: enough to differ.
MOST_TOKENS = 32
#: Seconds that what a program leaves behind may decode.
DECODE_LIMIT_S = 120.0


class Recorded:
    """Mixed into an endpoint: it decodes greedily, and keeps what was asked and answered."""

    def keep(self) -> list[tuple[str, str]]:
        """The prompts and their texts, from now on."""
        self.kept: list[tuple[str, str]] = []
        return self.kept

    def generate(self, s: Any, sampling_params: Any) -> Any:
        text, meta = super().generate(s, greedy(sampling_params))  # type: ignore[misc]
        self.kept.append((s.text_, text))
        return text, meta

    def generate_stream(self, s: Any, sampling_params: Any) -> Any:
        prompt, pieces = s.text_, []
        for piece, meta in super().generate_stream(s, greedy(sampling_params)):  # type: ignore[misc]
            pieces.append(piece)
            yield piece, meta
        self.kept.append((prompt, "".join(pieces)))

    def select(self, s: Any, choices: list[str], *rest: Any, **more: Any) -> Any:
        """The choice is not kept: its numbers come from requests that run at once."""
        decision = super().select(s, choices, *rest, **more)  # type: ignore[misc]
        assert decision.decision in choices
        self.kept.append((s.text_, repr(choices)))
        return decision


def greedy(sampling_params: Any) -> Any:
    # Not `clone`, which leaves out the grammar.
    made = copy.copy(sampling_params)
    made.temperature = 0
    made.max_new_tokens = max(made.min_new_tokens or 0, min(made.max_new_tokens, MOST_TOKENS))
    return made


class Stock(Recorded, sgl.RuntimeEndpoint):
    pass


class Ours(Recorded, ConveyorEndpoint):
    pass


@pytest.fixture(scope="module")
def endpoints(server: Server, stock: Server) -> Iterator[list[Stock | Ours]]:
    theirs, ours = Stock(stock.url), Ours(server.url, api_key=server.api_key)
    # By itself SGLang guesses another template of this model: that is not what is compared.
    theirs.chat_template = ours.chat_template
    yield [theirs, ours]
    sgl.set_default_backend(None)


def forget(server: Server) -> None:
    """What was decoded before must not be in the cache: it changes what is computed together."""
    with server.client() as client:
        # Not while a request still runs: a program may leave one behind, and it would be decoded
        # together with the next.
        wait_until(lambda: client.post("/flush_cache").status_code == 200, "an idle server")


@pytest.mark.parametrize("program", PROGRAMS)
def test_sglangs_programs_do_the_same_on_both(
    server: Server, stock: Server, endpoints: list[Stock | Ours], program: str
) -> None:
    ends = []
    for each, endpoint in zip((stock, server), endpoints, strict=True):
        forget(each)
        kept, failure = endpoint.keep(), None
        # Some of the programs ask the backend for its endpoint, as SGLang's Runtime has one.
        sgl.set_default_backend(types.SimpleNamespace(endpoint=endpoint))
        others = set(threading.enumerate())
        try:
            PROGRAMS[program]()
        except Exception as error:  # What the program asks of its text, or its own code on it.
            failure = type(error)
        # A program that does not read its text returns while its state still decodes, in a thread
        # that is no daemon; those are SGLang's own pools, which stay.
        for thread in set(threading.enumerate()) - others:
            if not thread.daemon:
                thread.join(DECODE_LIMIT_S)
                late = f"{program} still decodes on {each.url} after {DECODE_LIMIT_S:g} s"
                assert not thread.is_alive(), late
        ends.append((kept, failure))
    assert ends[0] == ends[1]
    assert ends[0][0], f"nothing was generated: {ends[0][1]}"


def test_both_decode_the_same_tokens(server: Server, stock: Server) -> None:
    parameters = {"max_new_tokens": 48, "temperature": 0}
    body = {"text": "The three laws of robotics are", "sampling_params": parameters}
    for each in (server, stock):
        forget(each)
    with server.client() as ours, stock.client() as theirs:
        answers = [c.post("/generate", json=body).json() for c in (ours, theirs)]
    assert answers[0]["output_ids"] == answers[1]["output_ids"]


def test_a_stock_server_has_no_routes_of_ours(stock: Server) -> None:
    assert httpx.get(f"{stock.url}/conveyor/tools").status_code == 404
    log = stock.log.read_text(errors="replace")
    assert "Failed to" not in log


def test_nothing_is_hooked_in_a_process_that_is_none_of_ours() -> None:
    code = (
        "from sglang.srt.plugins import load_plugins; load_plugins()\n"
        "from sglang.srt.plugins.hook_registry import HookRegistry\n"
        "print('hooks:', dict(HookRegistry._hooks), HookRegistry._patched)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != RUN_DIRECTORY}
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=environment,
    )
    assert "hooks:" in run.stdout
    assert "sgl_conveyor" not in run.stdout
