"""SGLang's own programs do on our server what they do on a stock one, and a stock one is stock.

Of `sglang.test.test_programs`, not run here: decode_int, few_shot_qa, react and stream_logprobs
fail on both servers (135 million parameters do not know the answers); decode_json_regex and
parallel_decoding pass on both and take minutes; parallel_encoding hangs on both (it asks for a
route that SGLang 0.5.23 does not have); image_qa needs a vision model; the two speculative ones
need OpenAI's API.
"""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
import sglang as sgl
from sglang.test import test_programs as programs

from sgl_conveyor import ConveyorEndpoint
from sgl_conveyor.runtime.environment import RUN_DIRECTORY
from tests.runtime.servers import Server, stock_server

PROGRAMS = {
    "mt_bench": programs.test_mt_bench,
    "select": partial(programs.test_select, check_answer=False),
    "decode_json": programs.test_decode_json,
    "expert_answer": partial(programs.test_expert_answer, check_answer=False),
    "tool_use": programs.test_tool_use,
    "stream": programs.test_stream,
    "regex": programs.test_regex,
    "dtype_gen": programs.test_dtype_gen,
    "gen_min_new_tokens": programs.test_gen_min_new_tokens,
}


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with stock_server(tmp_path_factory.mktemp("stock") / "log") as server:
        yield server


@pytest.mark.parametrize("program", PROGRAMS)
def test_sglangs_programs_run_on_both(server: Server, stock: Server, program: str) -> None:
    endpoints = {
        "stock": sgl.RuntimeEndpoint(stock.url),
        "ours": ConveyorEndpoint(server.url, api_key=server.api_key),
    }
    try:
        for endpoint in endpoints.values():
            # Some of the programs ask the backend for its endpoint, as SGLang's Runtime has one.
            sgl.set_default_backend(types.SimpleNamespace(endpoint=endpoint))
            PROGRAMS[program]()
    finally:
        sgl.set_default_backend(None)


def test_both_decode_the_same_tokens(server: Server, stock: Server) -> None:
    parameters = {"max_new_tokens": 48, "temperature": 0}
    body = {"text": "The three laws of robotics are", "sampling_params": parameters}
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
