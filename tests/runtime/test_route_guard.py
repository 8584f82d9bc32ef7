"""What may come to our routes; an application of Starlette stands in for SGLang's server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from sgl_conveyor.runtime import route_guard
from sgl_conveyor.runtime.route_guard import MAX_BODY_BYTES, RouteGuard

URL = "http://127.0.0.1:30000"


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def guarded() -> RouteGuard:
    """Two routes, one of them ours, which answer every website as SGLang's do."""
    app = Starlette(
        routes=[Route(path, _echo, methods=["POST"]) for path in ("/conveyor/calls", "/generate")]
    )
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"]
    )
    return RouteGuard(app)


def ask(method: str, path: str, **rest: object) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app=guarded())
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            return await client.request(method, path, **rest)

    return asyncio.run(go())


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:8000", "null"])
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_foreign_website_is_answered_nothing(origin: str, method: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = ask(method, "/conveyor/calls", headers=headers)
    assert answer.status_code == 403
    assert answer.json() == {"error": {"message": "this server answers no other website"}}
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_foreign_website_whose_name_leads_here_is_answered_nothing() -> None:
    headers = {"Origin": "http://evil.example:30000", "Host": "evil.example:30000"}
    assert ask("POST", "/conveyor/calls", headers=headers).status_code == 403


LOCAL = {"Origin": "http://localhost:30000", "Host": "localhost:30000"}


@pytest.mark.parametrize("headers", [{}, {"Origin": URL}, LOCAL])
def test_other_clients_and_pages_of_its_own_are_served(headers: dict[str, str]) -> None:
    assert ask("POST", "/conveyor/calls", headers=headers, content=b"xyz").text == "3"


def test_sglangs_routes_are_as_they_were() -> None:
    headers = {"Origin": "https://evil.example"}
    answer = ask("POST", "/generate", headers=headers, content=bytes(MAX_BODY_BYTES + 1))
    assert answer.text == str(MAX_BODY_BYTES + 1)
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(announced: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65536 + 1):
            yield bytes(65536)

    content = bytes(MAX_BODY_BYTES + 1) if announced else pieces()
    answer = ask("POST", "/conveyor/calls", content=content)
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "the body is larger than 1048576 bytes"
    assert ask("POST", "/conveyor/calls", content=bytes(MAX_BODY_BYTES)).status_code == 200


def part(body: bytes) -> Message:
    return {"type": "http.request", "body": body, "more_body": True}


LAST: Message = {"type": "http.request", "body": b"", "more_body": False}
GONE: Message = {"type": "http.disconnect"}


def passed_on(messages: Iterable[Message]) -> tuple[list[Message], list[Message]]:
    """What an application receives until the body's end when a client sends this, and what is sent.

    After the messages the client stays, and says nothing.
    """
    received, sent = list[Message](), list[Message]()
    left = iter(messages)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not received or received[-1].get("more_body", False):
            received.append(await receive())

    async def receive() -> Message:
        for message in left:
            return message
        return await asyncio.Future[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/conveyor/calls", "headers": []}
    asyncio.run(asyncio.wait_for(RouteGuard(app)(scope, receive, send), 30.0))
    return received, sent


def test_a_body_in_many_pieces_takes_no_longer_and_comes_in_one() -> None:
    count = 400_000
    began = time.process_time()
    received, _ = passed_on([*[part(b"x")] * count, LAST])
    took = time.process_time() - began
    assert received == [{**LAST, "body": b"x" * count}]
    assert took < 3.0


def test_a_body_that_is_too_large_in_pieces_is_refused() -> None:
    received, sent = passed_on([part(b"x" * 1024)] * 1025)
    assert received == []
    assert sent[0]["status"] == 413


def test_a_body_that_does_not_come_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_guard, "_BODY_LIMIT_S", 0.05)
    received, [start, body] = passed_on([part(b"x")])
    assert received == []
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    said = b'{"error":{"message":"the body did not come within 0.05 seconds"}}'
    assert body["body"] == said


@pytest.mark.parametrize("before", [[], [part(b"ab"), part(b"c")]])
def test_a_client_that_leaves_while_its_body_is_awaited_has_left(before: list[Message]) -> None:
    received, sent = passed_on([*before, GONE])
    assert received == ([part(b"abc"), GONE] if before else [GONE])
    assert sent == []


def test_a_client_that_leaves_after_its_body_has_left() -> None:
    received, _ = passed_on([part(b"abc"), LAST, GONE])
    assert received == [{**LAST, "body": b"abc"}]


def test_the_access_log_shows_no_calls_whole_id() -> None:
    from sgl_conveyor.runtime.server import _hide_calls

    path = f"/conveyor/calls/{'a1' * 24}?wait=3"
    record = logging.LogRecord(
        "uvicorn.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d',
        ("127.0.0.1:5", "GET", path, "1.1", 200), None,
    )  # fmt: skip
    assert _hide_calls(record)
    assert (
        record.getMessage() == '127.0.0.1:5 - "GET /conveyor/calls/a1a1a1a1…?wait=3 HTTP/1.1" 200'
    )
