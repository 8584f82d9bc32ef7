"""The search tool: when its requests leave, what it gives back, and what it refuses."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.workloads.search_service import Service, running_service
from sgl_conveyor.core import ToolError
from sgl_conveyor.testing import ToolRun, check_every_cut, cuts, run_tool
from tests.support import quick
from tests.tool_workers.search_endpoint import SOON, Answer, Endpoint, echo, http, results
from tool_workers import _search_network as network
from tool_workers.search import MAX_EARLY_REQUESTS, MAX_SNIPPET_CHARS, MAX_TITLE_CHARS, Search

RECORDED = Path(__file__).parents[2] / "bench" / "recorded" / "search.json"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service(rtt_ms=2) as running:
        yield running


@pytest.fixture
def searching(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    configure(monkeypatch, SEARCH_URL=service.url, SEARCH_CA=str(service.ca))
    return service


def configure(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    for name in ("URL", "CA", "ALLOW_PRIVATE", "TIMEOUT_S", "KEEP_ALIVE"):
        monkeypatch.delenv(f"SEARCH_{name}", raising=False)
    # A request that is not given up must outlive the wait for it.
    usual = {"SEARCH_ALLOW_PRIVATE": "1", "SEARCH_TIMEOUT_S": str(2 * SOON)}
    for name, value in {**usual, **environment}.items():
        monkeypatch.setenv(name, value)


def error(run: ToolRun) -> ToolError:
    found = run.result.error
    assert found is not None, run.result.value
    return found


@pytest.fixture(scope="module")
def echoing() -> Iterator[Endpoint]:
    with Endpoint(echo) as running:
        yield running


@contextmanager
def endpoint(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, **settings: str
) -> Iterator[Endpoint]:
    with Endpoint(answer) as running:
        configure(monkeypatch, SEARCH_URL=running.url, **settings)
        yield running


async def until(condition: Callable[[], object]) -> None:
    """Wait, within the tool's event loop."""
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.002)


def watching(**conditions: Callable[[], object]) -> type[Search]:
    """The tool; after an argument that is named here comes no other until its condition holds."""

    class Watched(Search):
        async def on_argument(self, path: str, value: Any) -> None:
            await super().on_argument(path, value)
            if path in conditions:
                await until(conditions[path])

    return Watched


def args(**arguments: object) -> str:
    return json.dumps(arguments)


class TestResults:
    def test_are_titles_addresses_and_snippets(self, searching: Service) -> None:
        found = run_tool(Search, args(query="parse a JSON document", count=3)).result.value
        assert len(found) == 3
        assert all(set(page) == {"title", "url", "snippet"} for page in found)
        assert any(page["title"].startswith("json.") for page in found)

    def test_site_keeps_only_its_pages(self, searching: Service) -> None:
        found = run_tool(Search, args(query="decode text", site="github.com")).result.value
        assert found
        assert all(page["url"].startswith("https://github.com/") for page in found)

    def test_are_the_same_at_every_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = '{"query":"heap q\\u00fceue","site":"python.org","count":2}'
        with endpoint(monkeypatch, echo):
            [found] = check_every_cut(Search, text).result.value
        assert parse_qs(urlsplit(found["url"]).query)["q"] == ["site:python.org heap q\u00fceue"]

    @quick
    @given(data=st.data())
    def test_are_the_same_however_the_text_is_cut(
        self, echoing: Endpoint, data: st.DataObject
    ) -> None:
        words = st.sampled_from(["read", "a zip", "file", "größe", '"x"', "\\", "socket 🧦"])
        optional = {
            "site": st.sampled_from(["", "python.org", "github.com", "10.0.0.1"]),
            "language": st.sampled_from(["all", "en", "de"]),
            "count": st.integers(0, 11),
        }
        strategy = st.fixed_dictionaries(
            {"query": st.lists(words, max_size=4).map(" ".join)}, optional=optional
        )
        text = json.dumps(data.draw(strategy), ensure_ascii=data.draw(st.booleans()))
        with pytest.MonkeyPatch.context() as patch:
            configure(patch, SEARCH_URL=echoing.url)
            partial = run_tool(Search, text, cuts=data.draw(cuts(text))).result
            sequential = run_tool(Search, text, partial=False).result
        assert (partial.value, partial.error) == (sequential.value, sequential.error)

    def test_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        long = {"title": "t" * 9999, "url": "https://a.org", "content": "word \n" * 9999}
        far = {"title": "t", "url": "https://a.org/" + "x" * 9999}
        answer = http(json.dumps({"results": [far, *[long] * 50]}).encode())
        with endpoint(monkeypatch, lambda _: answer):
            found = run_tool(Search, args(query="q", count=10)).result.value
        assert len(found) == 10
        for page in found:
            assert page["url"] == "https://a.org"
            assert len(page["title"]) <= MAX_TITLE_CHARS
            assert len(page["snippet"]) <= MAX_SNIPPET_CHARS
            assert "\n" not in page["snippet"]

    def test_recorded_texts_succeed(self, searching: Service) -> None:
        texts = json.loads(RECORDED.read_text())
        assert len(set(texts)) >= 20
        for text in texts:
            run = run_tool(Search, text)
            assert run.result.error is None, text
            assert run.result.value, text


class TestEarly:
    def test_opening_leaves_a_warm_connection_for_the_query(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with endpoint(monkeypatch, echo) as server:
            run_tool(Search, args(query="q"))
            assert [method for _, method, _ in server.requests] == ["HEAD", "GET"]
            assert server.connections == 1

    def test_calls_share_a_connection_one_after_the_other(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with endpoint(monkeypatch, echo) as server:
            asyncio.run(self._calls(3, at_once=False))
            assert [method for _, method, _ in server.requests] == ["HEAD", "GET", "GET", "GET"]
            assert server.connections == 1

    def test_calls_at_once_each_have_a_warm_connection(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with endpoint(monkeypatch, echo) as server:
            asyncio.run(self._calls(5, at_once=True))
            assert server.connections == 5
            assert sum(method == "HEAD" for _, method, _ in server.requests) == 5

    def test_without_keep_alive_each_call_connects(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with endpoint(monkeypatch, echo, SEARCH_KEEP_ALIVE="0") as server:
            asyncio.run(self._calls(3, at_once=False))
            assert server.connections == 3

    async def _calls(self, count: int, *, at_once: bool) -> None:
        """Several calls in one event loop, as in a worker."""
        tools = [Search() for _ in range(count)]
        for tool in tools:
            tool._host = cast(Any, Silent())
            tool.args = Search.Args(query="q")
        if at_once:
            for tool in tools:
                await tool.open()
            await asyncio.gather(*(tool.finish() for tool in tools))
            return
        for tool in tools:
            await tool.open()
            await tool.finish()

    def test_the_query_leaves_before_the_other_arguments_are_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with endpoint(monkeypatch, echo) as server:
            tool = watching(query=lambda: server.asked)
            run = run_tool(tool, args(query="a b", site="", language="all", count=3))
            assert run.result.error is None
            assert server.asked == [{"q": "a b", "format": "json", "language": "all"}]
            assert "search" in [span.label for span in run.result.timings.spans]

    @pytest.mark.parametrize(
        ("name", "value", "asked"),
        [
            ("site", "docs.python.org", {"q": "site:docs.python.org a", "language": "all"}),
            ("language", "de", {"q": "a", "language": "de"}),
        ],
    )
    def test_a_later_argument_corrects_the_request(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, asked: dict[str, str]
    ) -> None:
        def answer(target: str) -> bytes | None:
            # The first request is never answered: it must be given up.
            return None if len(server.asked) == 1 else echo(target)

        with endpoint(monkeypatch, answer) as server:
            given_up = {name: lambda: 1 not in server.open}
            tool = watching(query=lambda: server.asked, **given_up)
            [found] = run_tool(tool, args(query="a", **{name: value})).result.value
            assert server.asked == [
                {"q": "a", "format": "json", "language": "all"},
                {**asked, "format": "json"},
            ]
            query = parse_qs(urlsplit(found["url"]).query)
            assert query["q"] == [asked["q"]]

    def test_count_cuts_the_results_and_asks_nothing_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        many = results(*(f"https://a.org/{i}" for i in range(20)))
        with endpoint(monkeypatch, lambda _: many) as server:
            tool = watching(query=lambda: server.asked)
            assert len(run_tool(tool, args(query="a", count=9)).result.value) == 9
            assert len(server.asked) == 1

    def test_an_abort_gives_the_request_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def call() -> None:
            tool = Search()
            tool._host = cast(Any, Silent())
            await tool.open()
            await tool.on_argument("query", "a")
            await until(lambda: server.asked)
            await tool.abort("the client deleted the call")
            await until(lambda: not server.open)

        with endpoint(monkeypatch, lambda _: None) as server:
            asyncio.run(call())

    @pytest.mark.parametrize("order", [["a", "b"], ["a", "b", "a"]])
    def test_the_last_of_duplicate_keys_counts(
        self, monkeypatch: pytest.MonkeyPatch, order: list[str]
    ) -> None:
        text = "{" + ", ".join(f'"query": "{query}"' for query in order) + ', "count": 1}'
        with endpoint(monkeypatch, echo) as server:
            tool = watching(query=lambda: server.asked)
            [found] = run_tool(tool, text, cuts=range(len(text))).result.value
            assert parse_qs(urlsplit(found["url"]).query)["q"] == [order[-1]]

    def test_repeated_keys_are_no_flood(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pairs = ", ".join(f'"query": "q{i}"' for i in range(200))
        with endpoint(monkeypatch, lambda t: None if "q199" not in t else echo(t)) as server:

            class Slow(Search):
                async def on_argument(self, path: str, value: Any) -> None:
                    await super().on_argument(path, value)
                    await asyncio.sleep(0.002)

            assert run_tool(Slow, "{" + pairs + "}").result.error is None
            assert len(server.asked) <= MAX_EARLY_REQUESTS + 1


class Silent:
    """A host that nobody listens to."""

    def worked(self, label: str, started: float, ended: float) -> None:
        pass


class TestArguments:
    @pytest.mark.parametrize(
        "arguments",
        [
            {"query": ""},
            {"query": "   "},
            {"query": 5},
            {"query": {"query": "a"}},
            {"query": "a" * 601},
            {"site": "python.org"},
            {"query": "a", "count": 11},
            {"query": "a", "count": "many"},
            {"query": "a", "language": "en us"},
            {"query": "a", "site": ["python.org"]},
            *(
                {"query": "a", "site": site}
                for site in [
                    "https://python.org", "127.0.0.1", "10.0.0.1", "::1", "[::1]", "localhost",
                    "python.org/3", "python.org:80", "user@python.org", "a.org OR site:b.org",
                    "*.python.org", "python.org\n", "0x7f.1", "-a.org", "a..org", " a.org",
                ]
            ),
        ],
    )  # fmt: skip
    def test_that_are_wrong_are_refused_and_never_asked(
        self, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]
    ) -> None:
        with endpoint(monkeypatch, echo) as server:
            assert error(run_tool(Search, json.dumps(arguments))).type == "InvalidArguments"
            assert server.asked == []

    def test_the_schema_has_the_query_first_and_a_default_for_the_others(self) -> None:
        properties = Search.Args.model_json_schema()["properties"]
        assert list(properties) == ["query", "site", "language", "count", "purpose"]
        assert [name for name in properties if "default" not in properties[name]] == ["query"]
        assert all("description" in described for described in properties.values())


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (http(b"{}", "302 Found", "Location: /elsewhere"), "302"),
            (http(b"no", "500 Internal Server Error"), "500"),
            (http(b"<html>"), "no JSON"),
            (http(b'{"results": "none"}'), "shape"),
            (http(b'{"results": [{"title": "no url"}]}'), "shape"),
            (http(b'{"results": [{"url": 5}]}'), "shape"),
            (http(b"[]"), "shape"),
            (http(b'{"results": ' + b"[" * 200_000), ""),
            (http(b'{"results": [{"url": "\xff"}]}'), "no JSON"),
            (http(b" " * (network.MAX_ANSWER_BYTES + 1)), "longer"),
            (http(gzip.compress(b" " * 2**24), "200 OK", "Content-Encoding: gzip"), "compressed"),
            (b"this is no HTTP\r\n\r\n", "HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "HTTP"),
        ],
    )
    def test_that_are_bad_are_errors(
        self, monkeypatch: pytest.MonkeyPatch, answer: bytes, message: str
    ) -> None:
        with endpoint(monkeypatch, lambda _: answer) as server:
            found = error(run_tool(Search, args(query="a")))
            assert found.type == "BadAnswer"
            assert message in found.message
            assert len(server.asked) == 1

    @pytest.mark.parametrize(
        "answer", [None, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
    )
    def test_that_do_not_come_end_at_the_limit(
        self, monkeypatch: pytest.MonkeyPatch, answer: bytes | None
    ) -> None:
        with endpoint(monkeypatch, lambda _: answer, SEARCH_TIMEOUT_S="0.2"):
            started = time.monotonic()
            assert error(run_tool(Search, args(query="a"))).type == "SearchTimeout"
            assert time.monotonic() - started < SOON

    def test_that_come_byte_by_byte_end_at_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Endpoint(lambda _: http(b" " * 900), pause_s=0.02) as server:
            configure(monkeypatch, SEARCH_URL=server.url, SEARCH_TIMEOUT_S="0.3")
            assert error(run_tool(Search, args(query="a"))).type == "SearchTimeout"

    def test_an_endpoint_that_is_not_there_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound:
            port = bound.getsockname()[1]
        configure(monkeypatch, SEARCH_URL=f"http://127.0.0.1:{port}")
        assert error(run_tool(Search, args(query="a"))).type == "Unreachable"

    def test_a_certificate_that_is_not_trusted_is_an_error(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(monkeypatch, SEARCH_URL=service.url)
        found = error(run_tool(Search, args(query="a")))
        assert found.type == "Unreachable"
        assert "certificate" in found.message.lower()


class TestSettings:
    @pytest.mark.parametrize(
        "environment",
        [
            {},
            {"SEARCH_URL": "searx.example.org"},
            {"SEARCH_URL": "ftp://example.org"},
            {"SEARCH_URL": "https://"},
            {"SEARCH_URL": "https://example.org", "SEARCH_CA": "/nowhere/ca.pem"},
            {"SEARCH_URL": "https://example.org", "SEARCH_TIMEOUT_S": "soon"},
        ],
    )
    def test_that_are_missing_or_wrong_are_named(
        self, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
    ) -> None:
        configure(monkeypatch, **environment)
        found = error(run_tool(Search, args(query="a")))
        assert found.type == "NotConfigured"
        assert "SEARCH_" in found.message


class TestPrivateAddresses:
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "[::1]",
            "localhost", "[::ffff:127.0.0.1]", "[fd00::1]", "2130706433", "0x7f000001", "127.1",
            "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1", "100.64.0.1",
            "168.63.129.16", "192.88.99.1", "[3fff::1]", "[5f00::1]",
        ],
    )  # fmt: skip
    def test_are_refused(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        with Endpoint(echo) as server:
            url = f"http://{host}:{server.port}"
            configure(monkeypatch, SEARCH_URL=url, SEARCH_ALLOW_PRIVATE="0")
            assert error(run_tool(Search, args(query="a"))).type == "PrivateAddress"
            assert server.connections == 0

    @pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"]])
    def test_are_refused_behind_a_name_even_beside_public_ones(
        self, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
    ) -> None:
        resolve(monkeypatch, lambda: addresses)
        connected = refuse_connections(monkeypatch)
        configure(monkeypatch, SEARCH_URL="http://a.test", SEARCH_ALLOW_PRIVATE="0")
        assert error(run_tool(Search, args(query="a"))).type == "PrivateAddress"
        assert connected == []

    def test_a_name_that_changes_its_address_leads_nowhere_else(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = iter([["8.8.8.8", "8.8.4.4"], ["127.0.0.1"]])
        resolve(monkeypatch, lambda: next(answers))
        connected = refuse_connections(monkeypatch)
        configure(monkeypatch, SEARCH_URL="http://a.test", SEARCH_ALLOW_PRIVATE="0")
        assert error(run_tool(Search, args(query="a"))).type == "PrivateAddress"
        assert connected == ["8.8.8.8", "8.8.4.4"]

    def test_a_redirect_to_one_is_not_followed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Endpoint(echo) as inside:
            moved = http(b"", "302 Found", f"Location: {inside.url}/search?q=x&format=json")
            with endpoint(monkeypatch, lambda _: moved):
                assert error(run_tool(Search, args(query="a"))).type == "BadAnswer"
            assert inside.requests == []

    def test_a_proxy_of_the_environment_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Endpoint(echo) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("ALL_PROXY", proxy.url)
            with endpoint(monkeypatch, echo):
                assert run_tool(Search, args(query="a")).result.error is None
            assert proxy.requests == []


def resolve(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], list[str]]) -> None:
    """Let every name have the addresses that `answer` gives, each time it is asked."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in answer()]
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def refuse_connections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let no connection be made; returns where some were tried."""
    tried: list[str] = []

    async def connect_tcp(self: object, host: str, *args: Any, **kwargs: Any) -> None:
        tried.append(host)
        raise httpcore.ConnectError("refused")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    return tried
