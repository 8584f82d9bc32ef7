"""Ends that nobody wanted, on the real server."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import Any

import httpx
import pytest

from sgl_conveyor.literal import literal_grammar
from tests.dispatcher.harness import wait_until
from tests.runtime.conftest import MAX_RUNNING
from tests.runtime.servers import Server
from tests.runtime.test_http import create, generate, read

LONG = "one line of many\n" * 40
#: The interface's limit from a disconnect to the free worker (seconds).
FREE_LIMIT_S = 6.0


@contextlib.contextmanager
def long_requests(server: Server, count: int) -> Any:
    """Ordinary requests that are being decoded, until the body ends."""
    with server.client() as client, contextlib.ExitStack() as stack:
        body = {
            "text": "Count:",
            "stream": True,
            "sampling_params": {"max_new_tokens": 4000, "ignore_eos": True},
        }
        streams = []
        for _ in range(count):
            answer = stack.enter_context(client.stream("POST", "/generate", json=body))
            # Kept: an iterator that is forgotten closes its response.
            streams.append(answer.iter_lines())
            next(streams[-1])
        yield


def disconnect(server: Server, call: str, stream: bool) -> None:
    """Begin to decode a region, and leave in the middle of it."""
    custom = {"conveyor": {"call": call}}
    sampling = {
        "max_new_tokens": 400,
        "temperature": 0,
        "ebnf": literal_grammar(LONG),
        "custom_params": custom,
    }
    body = {"text": "Text:\n", "stream": stream, "sampling_params": sampling}
    with server.client(timeout=1.5) as client, contextlib.suppress(httpx.TimeoutException):
        with client.stream("POST", "/generate", json=body) as answer:
            for number, _ in enumerate(answer.iter_lines()):
                if number > 6:
                    return


class TestDisconnects:
    @pytest.mark.parametrize("stream", [True, False])
    def test_a_client_that_leaves_while_decoding_frees_the_worker(
        self, server: Server, stream: bool
    ) -> None:
        with server.client() as client:
            call = create(client, "puppet", region="left")
            disconnect(server, call, stream)
            left = time.monotonic()
            view = read(client, call, wait=FREE_LIMIT_S)
            assert view["state"] == "aborted", view
            # The only worker of this tool serves the next call.
            following = create(client, "puppet")
            wait_until(
                lambda: read(client, following, 0)["timings"]["opened"] is not None, "the worker"
            )
            assert time.monotonic() - left < FREE_LIMIT_S
            client.delete(f"/conveyor/calls/{following}")

    def test_a_client_that_leaves_the_queue_aborts_the_call(self, server: Server) -> None:
        with server.client() as client, long_requests(server, MAX_RUNNING):
            call = create(client, "puppet")
            disconnect(server, call, stream=False)
            view = read(client, call, wait=10)
        assert view["state"] == "aborted"
        assert view["timings"]["tokens"] == []


class TestARequestThatSglangRefuses:
    @pytest.mark.parametrize(
        ("grammar", "says"),
        [
            ({"regex": "[a"}, "Unclosed '['"),
            ({"ebnf": "root ::= ("}, "EBNF"),
            ({"json_schema": '{"type": "no such type"}'}, "type"),
        ],
    )
    def test_the_calls_error_says_why(
        self, server: Server, grammar: dict[str, str], says: str
    ) -> None:
        with server.client() as client:
            call = create(client, "puppet")
            answer = generate(client, call, **grammar)
            view = read(client, call)
        assert answer.status_code == 400
        assert view["state"] == "failed"
        error = view["result"]["error"]
        assert error["type"] == "RequestFailed"
        assert says in error["message"]
        assert view["result"]["aborted"] is None


class TestADispatcherThatAnswersLate:
    def test_a_request_that_it_attached_for_nobody_gives_the_worker_back(
        self, server: Server
    ) -> None:
        dispatcher = server.part("sgl_conveyor.dispatcher")
        with server.client() as client:
            call = create(client, "puppet")
            dispatcher.suspend()
            try:
                # The question waits in its socket, and will be answered to nobody.
                answer = generate(client, call, ebnf=literal_grammar("never\n"))
            finally:
                dispatcher.resume()
            assert answer.status_code == 503
            view = read(client, call, wait=FREE_LIMIT_S)
            assert view["state"] == "aborted", view
            following = create(client, "puppet")
            generate(client, following, ebnf=literal_grammar("served\n"))
            assert read(client, following)["result"]["value"] == ["served"]


class TestADeadWorker:
    def test_the_call_ends_with_an_error_and_the_server_serves_on(self, server: Server) -> None:
        with server.client() as client:
            call = create(client, "puppet")
            answers: list[httpx.Response] = []

            def decode() -> None:
                answers.append(generate(client, call, ebnf=literal_grammar("sleep 1\n" * 3)))

            decoding = threading.Thread(target=decode)
            decoding.start()
            wait_until(lambda: read(client, call, 0)["timings"]["first_token"], "the first token")
            server.part("--serve tests.tools.puppet:Puppet").kill()
            error = read(client, call)["result"]["error"]
            decoding.join(60)
            assert error["type"] == "WorkerLost"
            assert answers[0].json()["text"] == "sleep 1\n" * 3
            again = create(client, "puppet")
            generate(client, again, ebnf=literal_grammar("fine\n"))
            assert read(client, again)["result"]["value"] == ["fine"]


class TestADeadDispatcher:
    def test_the_engine_serves_on_and_the_dispatcher_comes_back(self, server: Server) -> None:
        dispatcher = server.part("sgl_conveyor.dispatcher")
        with server.client() as client:
            decoding_call = create(client, "puppet")
            answers: list[httpx.Response] = []

            def decode() -> None:
                grammar = literal_grammar("some words\n" * 8)
                answers.append(generate(client, decoding_call, ebnf=grammar))

            decoding = threading.Thread(target=decode)
            decoding.start()
            wait_until(lambda: read(client, decoding_call, 0)["timings"]["first_token"], "decoding")
            created_before = create(client, "puppet")
            # Stopped first, so that nobody restarts it while we look.
            launcher = server.process.pid
            os.kill(launcher, signal.SIGSTOP)
            try:
                dispatcher.kill()
                wait_until(
                    lambda: (
                        client.post("/conveyor/calls", json={"tool": "puppet"}).status_code == 503
                    ),
                    "503 for new calls",
                )
                refused = generate(client, created_before)
                assert refused.status_code == 503
                assert "dispatcher" in refused.json()["error"]["message"]
                assert client.get(f"/conveyor/calls/{decoding_call}").status_code == 410
                plain = {"text": "Hello", "sampling_params": {"max_new_tokens": 4}}
                assert client.post("/generate", json=plain).status_code == 200
                decoding.join(60)
                assert answers[0].json()["text"] == "some words\n" * 8
            finally:
                os.kill(launcher, signal.SIGCONT)
            wait_until(
                lambda: client.post("/conveyor/calls", json={"tool": "nothing"}).status_code == 201,
                "the new dispatcher",
            )
            assert client.get(f"/conveyor/calls/{decoding_call}").status_code == 410
            assert generate(client, created_before).status_code == 410
            again = create(client, "puppet")
            generate(client, again, ebnf=literal_grammar("back\n"))
            assert read(client, again)["result"]["value"] == ["back"]
