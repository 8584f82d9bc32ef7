"""SGLang's own programs give the same on our server as on a stock one."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sglang as sgl
from sglang.test import test_programs as programs

from sgl_conveyor import ConveyorEndpoint
from tests.runtime.servers import Server, stock_server

#: Programs that ask nothing of the model that 135 million parameters cannot give.
PASS = {
    "stream": programs.test_stream,
    "regex": programs.test_regex,
    "dtype_gen": programs.test_dtype_gen,
    "parallel_encoding": programs.test_parallel_encoding,
    "parallel_decoding": programs.test_parallel_decoding,
    "completion_speculative": None,
    "gen_min_new_tokens": programs.test_gen_min_new_tokens,
    "expert_answer": programs.test_expert_answer,
}
#: Programs whose checks need a larger model: they fail on a stock server too.
FAIL = {
    "few_shot_qa": programs.test_few_shot_qa,
    "mt_bench": programs.test_mt_bench,
    "select": programs.test_select,
    "decode_int": programs.test_decode_int,
    "decode_json_regex": programs.test_decode_json_regex,
    "react": programs.test_react,
}


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with stock_server(tmp_path_factory.mktemp("stock") / "log") as server:
        yield server
