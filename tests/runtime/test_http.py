"""Our HTTP routes and `custom_params`, on the real server."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from sgl_conveyor.literal import literal_grammar
from tests.runtime.servers import Server


def create(client: httpx.Client, tool: str, **more: Any) -> str:
    answer = client.post("/conveyor/calls", json={"tool": tool, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["call"])


def generate(client: httpx.Client, call: object, **sampling: Any) -> httpx.Response:
    # A model may write a literal text letter by letter: enough for each text that is asked for.
    parameters = {"max_new_tokens": 128, "temperature": 0, **sampling}
    custom = {"conveyor": {"call": call}}
    body = {"text": "Text:\n", "sampling_params": {**parameters, "custom_params": custom}}
    return client.post("/generate", json=body)


def read(client: httpx.Client, call: str, wait: float = 20) -> dict[str, Any]:
    answer = client.get(f"/conveyor/calls/{call}", params={"wait": wait})
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


class TestACall:
    def test_from_post_to_result(self, server: Server) -> None:
        with server.client() as client:
            call = create(client, "puppet", region="x", sent_at=time.monotonic())
            answer = generate(client, call, ebnf=literal_grammar("say hi\none 👩‍👩‍👧 two\n"))
            view = read(client, call)
        assert view["state"] == "done"
        assert view["text"] == answer.json()["text"] == "say hi\none 👩‍👩‍👧 two\n"
        assert view["result"] == {
            "value": ["say hi", "one 👩‍👩‍👧 two"],
            "error": None,
            "aborted": None,
            "emitted": "hi",
            "attachments": [],
        }
        timings = view["timings"]
        assert len(timings["tokens"]) == answer.json()["meta_info"]["completion_tokens"]
        assert 0 < timings["queued"] < timings["first_token"] < timings["region_end"]
        assert timings["units"][0][1] < timings["region_end"] < timings["finished"]

    def test_a_stop_string_ends_the_text_for_the_tool_as_for_the_client(
        self, server: Server
    ) -> None:
        with server.client() as client:
            call = create(client, "puppet")
            answer = generate(client, call, ebnf=literal_grammar("one\ntwo## three"), stop=["##"])
            view = read(client, call)
        assert answer.json()["text"] == view["text"] == "one\ntwo"
        assert view["result"]["value"] == ["one", "two"]

    def test_the_openai_route_attaches_too(self, server: Server) -> None:
        with server.client() as client:
            call = create(client, "puppet")
            body = {
                "model": "m",
                "prompt": "Text:\n",
                "max_tokens": 32,
                "temperature": 0,
                "ebnf": literal_grammar("over OpenAI\n"),
                "custom_params": {"conveyor": {"call": call}},
            }
            answer = client.post("/v1/completions", json=body)
            assert answer.status_code == 200, answer.text
            assert read(client, call)["result"]["value"] == ["over OpenAI"]

    def test_delete_aborts(self, server: Server) -> None:
        with server.client() as client:
            call = create(client, "puppet")
            assert client.delete(f"/conveyor/calls/{call}").json()["state"] == "aborted"
            assert read(client, call)["result"]["aborted"] == "the client deleted the call"

    def test_the_tools_in_the_openai_format(self, server: Server) -> None:
        with server.client() as client:
            tools = client.get("/conveyor/tools").json()["tools"]
        by_name = {t["function"]["name"]: t for t in tools}
        assert {"python", "search", "puppet", "strict"} <= by_name.keys()
        assert all(t["type"] == "function" for t in tools)
        search = by_name["search"]
        assert search["function"]["parameters"]["required"] == ["query"]
        assert search["conveyor"]["hooks"] == ["open", "on_argument", "finish", "abort"]
        assert search["conveyor"]["limits"]["concurrency"] == 64


def sentence(answer: httpx.Response) -> str:
    """The message of an error, which has our form and is one line without places in sources."""
    content = answer.json()
    assert content.keys() == {"error"}, content
    assert content["error"].keys() == {"message"}, content
    message: str = content["error"]["message"]
    assert "\n" not in message
    assert ".py" not in message
    assert "http" not in message
    return message


class TestRefusals:
    @pytest.mark.parametrize(
        "request_of",
        [
            lambda c: c.post("/conveyor/calls", json={"tool": "puppet"}),
            lambda c: c.get("/conveyor/calls/" + "0" * 48),
            lambda c: c.delete("/conveyor/calls/" + "0" * 48),
            lambda c: c.get("/conveyor/tools"),
        ],
    )
    def test_no_route_answers_without_the_key(self, server: Server, request_of: Any) -> None:
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            answer = request_of(client)
        assert answer.status_code == 401
        assert "API key" in sentence(answer)

    def test_the_refusals_of_sglangs_own_routes_stay_as_they_are(self, server: Server) -> None:
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            assert client.get("/model_info").json() == {"error": "Unauthorized"}
        with server.client() as client:
            assert client.get("/conveyors").json() == {"detail": "Not Found"}

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b'{"tool": "puppet", "module": "os"}', "module: extra inputs are not permitted"),
            (b'{"region": "x"}', "tool: field required"),
            (b'{"tool": 7}', "tool: input should be a valid string"),
            (b'{"tool": "puppet", "partial": "perhaps"}', "partial: input should be a valid bool"),
            (b'{"tool": "\\ud83e"}', "tool: "),
            (b'{"tool": "puppet"', "the body is not JSON: "),
            (b"\xff", "the body"),
            (b"", "the body must be a JSON object"),
            (b'["puppet"]', "the body must be a JSON object"),
            (b"[" * 100_000, "the body"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_a_body_that_is_not_understood_is_refused_in_a_sentence(
        self, server: Server, body: bytes, words: str
    ) -> None:
        with server.client() as client:
            headers = {"Content-Type": "application/json"}
            answer = client.post("/conveyor/calls", content=body, headers=headers)
        assert answer.status_code == 400
        assert words in sentence(answer)

    @pytest.mark.parametrize("wait", ["-1", "301", "nan", "soon"])
    def test_a_wait_that_makes_no_sense_is_refused_in_a_sentence(
        self, server: Server, wait: str
    ) -> None:
        with server.client() as client:
            answer = client.get("/conveyor/calls/" + "0" * 48, params={"wait": wait})
        assert answer.status_code == 400
        assert sentence(answer).startswith("wait: input should be ")

    def test_a_foreign_website_is_refused_and_no_log_shows_a_calls_id(self, server: Server) -> None:
        with server.client() as client:
            foreign = {"Origin": "https://evil.example"}
            answer = client.post("/conveyor/calls", json={"tool": "puppet"}, headers=foreign)
            assert answer.status_code == 403
            assert sentence(answer) == "this server answers no other website"
            call = create(client, "puppet")
            read(client, call, wait=0)
            client.delete(f"/conveyor/calls/{call}")
        log = server.log.read_text(errors="replace")
        assert f"/conveyor/calls/{call[:8]}…" in log
        assert call not in log

    def test_a_path_and_a_method_that_there_are_not(self, server: Server) -> None:
        with server.client() as client:
            nothing = client.get("/conveyor/nothing")
            put = client.put("/conveyor/tools")
        assert (nothing.status_code, put.status_code) == (404, 405)
        assert sentence(nothing) == "there is no /conveyor/nothing"
        assert sentence(put) == "/conveyor/tools does not take PUT"
        assert put.headers["allow"] == "GET"

    def test_an_unknown_tool_is_refused_with_the_known_ones(self, server: Server) -> None:
        with server.client() as client:
            answer = client.post("/conveyor/calls", json={"tool": "nope"})
        assert answer.status_code == 400
        assert "nothing, planning, puppet, python" in sentence(answer)

    def test_an_unknown_call_is_404(self, server: Server) -> None:
        with server.client() as client:
            unknown = client.get("/conveyor/calls/" + "0" * 48)
            assert unknown.status_code == 404
            assert "call" in sentence(unknown)
            assert generate(client, "0" * 48).status_code == 404

    @pytest.mark.parametrize(
        ("sampling", "word"),
        [
            ({"n": 2}, "n > 1"),
            ({"beam_width": 2}, "beam"),
            ({"ignore_eos": True}, "ignore_eos"),
            ({"stop_regex": "a+"}, "stop_regex"),
            ({"stop": ""}, "none of them empty"),
            ({"stop": ["end", ""]}, "none of them empty"),
        ],
    )
    def test_what_a_region_cannot_be_is_refused(
        self, server: Server, sampling: dict[str, Any], word: str
    ) -> None:
        with server.client() as client:
            call = create(client, "puppet")
            answer = generate(client, call, **sampling)
            client.delete(f"/conveyor/calls/{call}")
        assert answer.status_code == 400
        assert word in answer.json()["error"]["message"]

    def test_a_batch_and_a_foreign_rid_are_refused(self, server: Server) -> None:
        with server.client() as client:
            call = create(client, "puppet")
            sampling = {"custom_params": {"conveyor": {"call": call}}}
            for body in (
                {"text": ["a", "b"], "sampling_params": sampling},
                {"text": "a", "rid": "short", "sampling_params": sampling},
                {"text": "a", "sampling_params": {"custom_params": {"conveyor": {}}}},
                {"text": "a", "sampling_params": {"custom_params": {"conveyor": 7}}},
            ):
                answer = client.post("/generate", json=body)
                assert answer.status_code == 400, answer.text
            client.delete(f"/conveyor/calls/{call}")

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_second_request_is_refused_with_its_status(
        self, server: Server, stream: bool
    ) -> None:
        with server.client() as client:
            call = create(client, "nothing")
            assert generate(client, call, max_new_tokens=4).status_code == 200
            custom = {"custom_params": {"conveyor": {"call": call}}}
            body = {"text": "a", "stream": stream, "sampling_params": custom}
            answer = client.post("/generate", json=body)
        assert answer.status_code == 400
        assert "one request" in answer.json()["error"]["message"]
