"""Our HTTP routes, in SGLang's own server and behind its own API key; see docs/http.md."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from sgl_conveyor import messages as m
from sgl_conveyor.describe import openai_function
from sgl_conveyor.errors import CallRefused, DispatcherGone, DispatcherSlow
from sgl_conveyor.runtime.admission import DISPATCHER_GONE
from sgl_conveyor.runtime.control import ANSWER_LIMIT_S, ControlClient
from sgl_conveyor.runtime.route_errors import PREFIX, SentenceRoute, error_response
from sgl_conveyor.specs import ToolSpec

_CALL_GONE = "the call is no longer kept: its dispatcher ended"


class NewCall(BaseModel):
    """The body of `POST /conveyor/calls`.

    Attributes:
        tool: the tool's name.
        region: the region's name, for the tool and the logs.
        partial: whether the tool is fed while the region is decoded.
        sent_at: the client's monotonic clock as it sends this, if it runs on the same machine.
    """

    model_config = ConfigDict(extra="forbid")

    tool: str = Field(max_length=256)
    region: str = Field(default="", max_length=256)
    partial: bool = True
    sent_at: float | None = None


def make_router(control: Callable[[], ControlClient], tools: list[ToolSpec]) -> APIRouter:
    """The routes below `/conveyor`.

    Args:
        control: gives the client of the dispatcher, in the running event loop.
        tools: the server's tools.
    """
    router = APIRouter(prefix=PREFIX, route_class=SentenceRoute)

    @router.post("/calls")
    async def create_call(body: NewCall) -> JSONResponse:
        sent_at = time.monotonic() if body.sent_at is None else body.sent_at
        try:
            created = await control().ask(
                lambda seq: m.CreateCall(seq, body.tool, body.region, body.partial, sent_at)
            )
        except DispatcherGone:
            return error_response(503, DISPATCHER_GONE)
        except CallRefused as refused:
            return error_response(refused.status, refused.message)
        assert isinstance(created, m.Created)
        grammar = msgspec.to_builtins(created.grammar)
        content = {"call": created.call, "timeout_s": created.timeout_s, **grammar}
        return JSONResponse(content, status_code=201)

    @router.get("/calls/{call}")
    async def read_call(
        call: str, wait: Annotated[float, Query(ge=0, le=m.MAX_WAIT_S)] = 0.0
    ) -> Response:
        return await _view(lambda seq: m.ReadCall(seq, call, wait), wait + ANSWER_LIMIT_S)

    @router.delete("/calls/{call}")
    async def delete_call(call: str) -> Response:
        return await _view(lambda seq: m.DeleteCall(seq, call), ANSWER_LIMIT_S)

    @router.get("/tools")
    async def list_tools() -> JSONResponse:
        return JSONResponse({"tools": [openai_function(tool) for tool in tools]})

    async def _view(question: Callable[[int], m.FromHttp], limit_s: float) -> Response:
        try:
            view = await control().ask(question, limit_s)
        except DispatcherSlow:
            return error_response(503, "the dispatcher did not answer in time: try again")
        except DispatcherGone:
            return error_response(410, _CALL_GONE)
        except CallRefused as refused:
            return error_response(refused.status, refused.message)
        assert isinstance(view, m.CallView)
        return Response(view_as_json(view), media_type="application/json")

    return router


def view_as_json(view: m.CallView) -> bytes:
    """A call as `GET /conveyor/calls/{call}` shows it; its value is JSON already."""
    outcome = view.outcome
    content: dict[str, Any] = {
        "call": view.call,
        "tool": view.tool,
        "region": view.region,
        "state": view.state,
        "text": view.text,
        "emitted": outcome.emitted,
        "result": None,
        "timings": outcome.timings,
    }
    if view.ended:
        content["result"] = {
            "value": msgspec.Raw(outcome.value or b"null"),
            "error": outcome.error,
            "aborted": outcome.aborted,
            "emitted": outcome.emitted,
            "attachments": outcome.attachments,
        }
    return msgspec.json.encode(content)
