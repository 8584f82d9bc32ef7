"""SGLang's benchmark as our client, against a server that only looks like one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from bench.measure.serving import Client
from bench.measure.sglang_client import ServingLoad
from sgl_conveyor import embedded_model
from sgl_conveyor.errors import ConveyorError

#: They start no server, but SGLang's client, which takes half a minute of a core.
pytestmark = pytest.mark.server

LOAD = ServingLoad(requests=3, concurrency=2, output_tokens=5)
TAPPED = ServingLoad(requests=3, concurrency=2, output_tokens=5, literal="one two")


class Answers(BaseHTTPRequestHandler):
    """Writes as many tokens as it is asked for, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[dict]] = []
    calls = 0
    loses_a_token = False
    model: ClassVar[dict[str, str]] = {}
    hold_s = 0.0

    def do_GET(self) -> None:
        if self.path == "/model_info":
            self.answer(Answers.model)
            return
        tokens = 5 - self.loses_a_token
        views = {"result": {"error": None, "aborted": None}, "timings": {"tokens": [0] * tokens}}
        self.answer(views if "/conveyor/" in self.path else {"data": [{"id": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/conveyor/calls":
            Answers.calls += 1
            self.answer({"call": f"call {Answers.calls}", **body}, 201)
            return
        Answers.asked.append(body)
        time.sleep(Answers.hold_s)
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(body["sampling_params"]["max_new_tokens"]):
            data = {"text": "x" * (number + 1), "meta_info": {"completion_tokens": number + 1}}
            self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def answer(self, content: dict, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Answers.asked, Answers.calls, Answers.loses_a_token, Answers.hold_s = [], 0, False, 0.0
    Answers.model = {"model_path": "no/such", "tokenizer_path": str(embedded_model.ensure())}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with server:
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client() as started:
        yield started


def test_ordinary_requests_have_no_call_and_an_exact_length(client: Client, url: str) -> None:
    figures = client.run(url, LOAD, seed=1)
    assert figures.tokens == 15
    assert figures.throughput > 0
    assert Answers.calls == 0
    assert all(body["sampling_params"]["ignore_eos"] for body in Answers.asked)


def test_each_tapped_request_has_a_call_of_its_own(client: Client, url: str) -> None:
    client.run(url, TAPPED, seed=1, tool="nothing")
    parameters = [body["sampling_params"] for body in Answers.asked]
    named = [p["custom_params"]["conveyor"]["call"] for p in parameters]
    assert sorted(named) == ["call 1", "call 2", "call 3"]
    assert not any("ignore_eos" in p for p in parameters)


def test_both_servers_get_the_same_requests(client: Client, url: str) -> None:
    client.run(url, TAPPED, seed=7, tool="nothing")
    client.run(url, TAPPED, seed=7)
    for body in Answers.asked:
        body["sampling_params"].pop("custom_params", None)
    ours, stock = ([json.dumps(b) for b in half] for half in (Answers.asked[:3], Answers.asked[3:]))
    assert sorted(ours) == sorted(stock)


def test_a_call_that_missed_a_token_is_noticed(client: Client, url: str) -> None:
    Answers.loses_a_token = True
    with pytest.raises(ConveyorError, match="the calls got"):
        client.run(url, TAPPED, seed=1, tool="nothing")


def test_the_tokenizer_is_that_of_the_server(client: Client, url: str) -> None:
    Answers.model = {"tokenizer_path": "/no/such/tokenizer"}
    with pytest.raises(ConveyorError, match="/no/such/tokenizer"):
        client.run(url, LOAD, seed=1)


def test_a_run_without_an_end_is_ended(url: str) -> None:
    Answers.hold_s = 60.0
    with Client(limit_s=3.0) as client:
        began = time.monotonic()
        with pytest.raises(ConveyorError, match="did not end within 3 s"):
            client.run(url, LOAD, seed=1)
        # Long before the server would have answered.
        assert time.monotonic() - began < Answers.hold_s / 2
        client._process.join(10)
        assert not client._process.is_alive()
