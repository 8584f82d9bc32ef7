"""One form for every error on our routes: `{"error": {"message": "one sentence"}}`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

PREFIX = "/conveyor"
#: Characters of what a client wrote that an error repeats.
_MAX_CHARS = 100


class _Error(msgspec.Struct, forbid_unknown_fields=True):
    message: str


class _Form(msgspec.Struct, forbid_unknown_fields=True):
    error: _Error


def error_response(status: int, message: str) -> JSONResponse:
    """An error in our form.

    Args:
        status: its HTTP status.
        message: one sentence for the client.
    """
    return JSONResponse({"error": {"message": message}}, status_code=status)


def is_ours(scope: Scope) -> bool:
    """Whether this is a request of a path below `/conveyor`."""
    return scope["type"] == "http" and f"{_path(scope)}/".startswith(f"{PREFIX}/")


def _path(scope: Scope) -> str:
    path: str = scope.get("path", "")
    return path.removeprefix(scope.get("root_path", ""))


class SentenceRoute(APIRoute):
    """A route of ours: what is wrong with a request is said in a sentence."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return error_response(400, _sentence(error))
            except HTTPException as error:
                return error_response(error.status_code, str(error.detail))
            except Exception:
                logger.exception("%s %s failed", request.method, request.url.path)
                return error_response(500, "internal error: the server's log says more")

        return answer


def _sentence(error: RequestValidationError) -> str:
    """What is wrong first, with the name of its field."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}"
    _, *place = first["loc"]
    if not place:
        return "the body must be a JSON object, sent with Content-Type: application/json"
    field = ".".join(map(str, place))[:_MAX_CHARS]
    message = str(first["msg"])
    return f"{field}: {message[:1].lower()}{message[1:_MAX_CHARS]}"


class OneForm:
    """Around the whole application: errors below `/conveyor` that others made get our form.

    These are the refusals of SGLang's API key, and paths and methods that no route takes.

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
        path = _path(scope)
        start: Message | None = None
        body = b""

        async def in_our_form(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
                return
            if start is None:
                await send(message)
                return
            body += message.get("body", b"")
            if message.get("more_body", False):
                return
            if not _is_in_our_form(body):
                response = error_response(
                    start["status"], _message(start["status"], scope["method"], path)
                )
                kept = [header for header in start["headers"] if header[0].lower() == b"allow"]
                start["headers"] = [*response.raw_headers, *kept]
                body = bytes(response.body)
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, in_our_form)


def _is_in_our_form(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=_Form)
    except msgspec.DecodeError:
        return False
    return True


def _message(status: int, method: str, path: str) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return "the API key is missing or wrong: send the header Authorization: Bearer KEY"
    if status == HTTPStatus.NOT_FOUND:
        return f"there is no {path[:_MAX_CHARS]}"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{path[:_MAX_CHARS]} does not take {method[:_MAX_CHARS]}"
    return HTTPStatus(status).phrase
