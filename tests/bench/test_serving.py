"""SGLang's benchmark as our client, against a server that only looks like one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from bench import serving
from bench.serving import ServingLoad
from sgl_conveyor.core import ConveyorError

LOAD = ServingLoad(requests=3, concurrency=2, output_tokens=5)
TAPPED = ServingLoad(requests=3, concurrency=2, output_tokens=5, literal="one two")


class Answers(BaseHTTPRequestHandler):
    """Writes as many tokens as it is asked for, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[dict]] = []
    calls = 0
    loses_a_token = False

    def do_GET(self) -> None:
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
    Answers.asked, Answers.calls, Answers.loses_a_token = [], 0, False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with server:
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_ordinary_requests_have_no_call_and_an_exact_length(url: str) -> None:
    figures = serving.run(url, LOAD, seed=1)
    assert figures.tokens == 15
    assert figures.throughput > 0
    assert Answers.calls == 0
    assert all(body["sampling_params"]["ignore_eos"] for body in Answers.asked)


def test_each_tapped_request_has_a_call_of_its_own(url: str) -> None:
    serving.run(url, TAPPED, seed=1, tool="nothing")
    parameters = [body["sampling_params"] for body in Answers.asked]
    named = [p["custom_params"]["conveyor"]["call"] for p in parameters]
    assert sorted(named) == ["call 1", "call 2", "call 3"]
    assert not any("ignore_eos" in p for p in parameters)


def test_both_servers_get_the_same_requests(url: str) -> None:
    serving.run(url, TAPPED, seed=7, tool="nothing")
    serving.run(url, TAPPED, seed=7)
    for body in Answers.asked:
        body["sampling_params"].pop("custom_params", None)
    ours, stock = ([json.dumps(b) for b in half] for half in (Answers.asked[:3], Answers.asked[3:]))
    assert sorted(ours) == sorted(stock)


def test_a_call_that_missed_a_token_is_noticed(url: str) -> None:
    Answers.loses_a_token = True
    with pytest.raises(ConveyorError, match="the calls got"):
        serving.run(url, TAPPED, seed=1, tool="nothing")
