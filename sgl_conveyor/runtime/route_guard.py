"""What may come to our routes at all: nothing from a foreign website, no large or slow body."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sgl_conveyor.runtime.route_errors import error_response, is_ours

#: Bytes of a request's body.
MAX_BODY_BYTES = 1024 * 1024
#: Seconds until all of a request's body is there.
_BODY_LIMIT_S = 30.0


class RouteGuard:
    """Around the whole application: refuses requests below `/conveyor` before anything reads them.

    SGLang answers every website (CORS): any page that a user has open could drive a server without
    a key on the same machine. A browser names the page in `Origin`; other clients do not.

    Args:
        app: the application with all its middleware.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if not is_ours(scope):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if (origin := headers.get("origin")) is not None and not _is_own(origin, headers):
            refusal = error_response(403, "this server answers no other website")
            await refusal(scope, receive, send)
            return
        too_large = error_response(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        if _announced(headers) > MAX_BODY_BYTES:
            await too_large(scope, receive, send)
            return
        # Bodies of ours are small, and one may come without its length.
        try:
            async with asyncio.timeout(_BODY_LIMIT_S):
                came = await _body(receive)
        except TimeoutError:
            late = error_response(408, f"the body did not come within {_BODY_LIMIT_S:g} seconds")
            # What is left of it is no next request.
            late.headers["connection"] = "close"
            await late(scope, receive, send)
            return
        if came is None:
            await too_large(scope, receive, send)
            return
        await self._app(scope, _again(came, receive), send)


async def _body(receive: Receive) -> list[Message] | None:
    """A request's body as one message, and the client's leave if it comes first.

    Args:
        receive: of the connection.

    Returns:
        None if the body is too large.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            # A route that reads no body may serve who does not wait for the answer.
            part: Message = {"type": "http.request", "body": bytes(body), "more_body": True}
            return [part, message] if body else [message]
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return [{"type": "http.request", "body": bytes(body), "more_body": False}]


def _again(came: list[Message], receive: Receive) -> Receive:
    """Messages that have come, once more, and then what comes."""
    left = iter(came)

    async def replayed() -> Message:
        for message in left:
            return message
        return await receive()

    return replayed


def _is_own(origin: str, headers: Headers) -> bool:
    """Whether a page is this server's own.

    A foreign one can have its own name lead to this machine once it is loaded (DNS rebinding): its
    origin is then what it asks. It cannot do so with an address, or with this machine's own name.
    """
    page = urlsplit(origin)
    if page.netloc != headers.get("host"):
        return False
    return page.hostname == "localhost" or _is_address(page.hostname or "")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _announced(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0
