"""Requests with a region: attached to their call before SGLang sees them, reported at their end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import uuid
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException

from sgl_conveyor import messages as m
from sgl_conveyor.errors import CallRefused, DispatcherGone
from sgl_conveyor.runtime.compact_json import ask_for_compact_json, refusal_of_schema
from sgl_conveyor.runtime.control import ControlClient

logger = logging.getLogger(__name__)

GENERATE_REQUEST = "sglang.srt.managers.tokenizer_manager.TokenizerManager.generate_request"
SERVE_GENERATE = "sglang.srt.entrypoints.http_server.serve_generate_request"
DISPATCHER_GONE = (
    "the dispatcher is not running: requests with a tool region are served again when it is back"
)

_ATTACHED = "_conveyor_attached"
#: Seconds between two lists of live requests.
_NAMING_INTERVAL_S = 5.0
_MAX_REASON_CHARS = 2000
_RID = re.compile(r"[0-9a-f]{32}")


class Admission:
    """The hooks on SGLang's HTTP side.

    Args:
        control: gives the client of the dispatcher, in the running event loop.
    """

    def __init__(self, control: Callable[[], ControlClient]) -> None:
        self._control = control
        # Requests whose end was not reported, by their ids.
        self._live: dict[str, _Attached] = {}
        self._names_its_requests = False

    def register(self) -> None:
        """Register the hooks; they are applied when SGLang loads its plugins."""
        from sglang.srt.plugins.hook_registry import HookRegistry, HookType

        HookRegistry.register(GENERATE_REQUEST, self.generate_request, HookType.AROUND)
        HookRegistry.register(SERVE_GENERATE, self.serve_generate, HookType.AROUND)

    async def serve_generate(
        self, original: Callable[..., Awaitable[Any]], obj: Any, request: Any
    ) -> Any:
        """`/generate`: attach before the response begins, so that a refusal has its status."""
        if call_of(obj) is None:
            return await original(obj, request)
        try:
            attached = await self._attach(obj)
        except HTTPException as refused:
            from fastapi.responses import JSONResponse

            body = {"error": {"message": refused.detail}}
            return JSONResponse(body, status_code=refused.status_code)
        streams = False
        try:
            response = await original(obj, request)
            streams = bool(obj.stream)
            return response
        finally:
            if not streams:
                # It has ended, and said so, unless SGLang refused it before it began.
                self._report(attached, None, "the request never ran", failed=True)

    def generate_request(
        self,
        original: Callable[..., AsyncIterator[Any]],
        manager: Any,
        obj: Any,
        request: Any = None,
    ) -> AsyncIterator[Any]:
        """Every route's way to the scheduler; requests without a region pass untouched."""
        if call_of(obj) is None:
            return original(manager, obj, request)
        return self._generate(original, manager, obj, request)

    async def _generate(
        self, original: Callable[..., AsyncIterator[Any]], manager: Any, obj: Any, request: Any
    ) -> AsyncIterator[Any]:
        attached = await self._attach(obj)
        reason, failed = "the client disconnected", False
        try:
            async for output in original(manager, obj, request):
                ended = output["meta_info"].get("finish_reason")
                if ended is not None and ended["type"] == "abort":
                    why = str(ended.get("message") or "the request was aborted")
                    # Only an error of the request has a status.
                    self._report(attached, None, why, failed=ended.get("status_code") is not None)
                elif ended is not None:
                    self._report(attached, output["meta_info"]["completion_tokens"])
                yield output
        except Exception as error:
            reason = str(getattr(error, "detail", error)) or type(error).__name__
            # That the client has left is a ValueError of SGLang's too, and no fault of the request.
            left = request is not None and await request.is_disconnected()
            failed = isinstance(error, (ValueError, HTTPException)) and not left
            raise
        finally:
            self._report(attached, None, reason, failed=failed)

    async def _attach(self, obj: Any) -> _Attached:
        """Attach a request to the call that it names, once.

        Raises:
            HTTPException: it cannot be (400, 404, 410 or 503).
        """
        call = call_of(obj)
        if not isinstance(call, str) or not call.isascii():
            raise HTTPException(400, 'custom_params.conveyor must be {"call": the id of a call}')
        attached: _Attached | None = getattr(obj, _ATTACHED, None)
        if attached is not None and attached.call == call:
            return attached
        refusal = refusal_of(obj)
        if refusal is not None:
            raise HTTPException(400, refusal)
        if obj.rid is None:
            obj.rid = uuid.uuid4().hex
        params = obj.sampling_params
        stop = params.get("stop") or []
        attached = _Attached(call, obj.rid)
        try:
            await self._ask_to_attach(attached, params, stop)
        except CallRefused as refused:
            raise HTTPException(refused.status, refused.message) from None
        except DispatcherGone:
            raise HTTPException(503, DISPATCHER_GONE) from None
        ask_for_compact_json(params)
        setattr(obj, _ATTACHED, attached)
        # A response that never begins never ends: then the request's own end is what we see.
        weakref.finalize(obj, self._abandoned, attached, asyncio.get_running_loop()).atexit = False
        return attached

    async def _ask_to_attach(self, attached: _Attached, params: Any, stop: Any) -> None:
        """Have the dispatcher take the request; whatever goes wrong, it hears of its end."""
        control = self._control()
        if not self._names_its_requests:
            self._names_its_requests = True
            control.supervisor.keep("list of live requests", self._name_requests)
        if attached.rid in self._live:
            raise CallRefused(400, f"a request with the rid {attached.rid} is running already")
        self._live[attached.rid] = attached
        try:
            await control.ask(
                lambda seq: m.AttachRequest(
                    seq,
                    attached.call,
                    attached.rid,
                    [stop] if isinstance(stop, str) else list(stop),
                    bool(params.get("no_stop_trim", False)),
                    bool(params.get("skip_special_tokens", True)),
                )
            )
        except CallRefused:
            # There is no such request for the dispatcher.
            attached.reported = True
            del self._live[attached.rid]
            raise
        except BaseException:
            # It may have been attached all the same: its answer came too late, or nobody waits.
            self._report(attached, None, "the request was given up before it began")
            raise

    async def _name_requests(self) -> None:
        """Tell the dispatcher every few seconds which requests are still alive."""
        while True:
            await asyncio.sleep(_NAMING_INTERVAL_S)
            with contextlib.suppress(DispatcherGone):
                self._control().tell(m.LiveRequests(list(self._live)))

    def _abandoned(self, attached: _Attached, loop: asyncio.AbstractEventLoop) -> None:
        """A request is forgotten, in whatever thread the collector runs."""
        if not attached.reported and not loop.is_closed():
            loop.call_soon_threadsafe(self._report, attached, None, "the request never ran")

    def _report(
        self, attached: _Attached, tokens: int | None, reason: str = "", *, failed: bool = False
    ) -> None:
        """Report a request's end, once.

        Args:
            attached: the request.
            tokens: how many were committed, at a normal end.
            reason: why it ended otherwise.
            failed: whether that is an error of the request.
        """
        if attached.reported:
            return
        attached.reported = True
        self._live.pop(attached.rid, None)
        reason = reason[:_MAX_REASON_CHARS].encode(errors="replace").decode()
        try:
            self._control().tell(m.RequestEnded(attached.rid, tokens, reason, failed))
        except DispatcherGone:
            # Its calls are gone with it.
            logger.debug("no dispatcher to hear that request %s ended", attached.rid)


@dataclass
class _Attached:
    """A request that decodes a call's region, and whether its end was reported."""

    call: str
    rid: str
    reported: bool = False


def call_of(obj: Any) -> Any:
    """What a request says of its call: an id, or something else that will be refused, or None."""
    params = getattr(obj, "sampling_params", None)
    for one in params if isinstance(params, list) else [params]:
        custom = one.get("custom_params") if isinstance(one, dict) else None
        if isinstance(custom, dict) and "conveyor" in custom:
            ours = custom["conveyor"]
            return ours.get("call", False) if isinstance(ours, dict) else False
    return None


def refusal_of(obj: Any) -> str | None:
    """Why a request with a region cannot be served, in one sentence; None if it can."""
    params = obj.sampling_params
    ids = getattr(obj, "input_ids", None)
    if not obj.text and not ids:
        # SGLang's scheduler dies of a prompt without a token.
        return "a request with a tool region takes text or input_ids, and neither may be empty"
    if (
        not isinstance(params, dict)
        or isinstance(obj.text, list)
        or (ids and isinstance(ids[0], list))
    ):
        return "a request with a tool region takes one prompt: send a request for each"
    if params.get("n") not in (None, 1):
        return "a request with a tool region cannot have n > 1: a region is one text"
    if params.get("beam_width") not in (None, 1):
        return "a request with a tool region cannot use beam search: its tokens must be final"
    if not _is_text_list([] if params.get("stop") is None else params["stop"]):
        return "stop must be a text or a list of texts, none of them empty"
    if (schema_refusal := refusal_of_schema(params)) is not None:
        return schema_refusal
    if params.get("ignore_eos"):
        return "a request with a tool region cannot have ignore_eos: its grammar ends with EOS"
    if params.get("stop_regex"):
        return "a request with a tool region cannot have stop_regex: use stop"
    if obj.rid is not None and (not isinstance(obj.rid, str) or not _RID.fullmatch(obj.rid)):
        return "the rid of a request with a tool region is 32 hex digits: SGLang aborts by prefix"
    return None


def _is_text_list(stop: Any) -> bool:
    texts = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, (list, tuple)) or not all(isinstance(t, str) and t for t in texts):
        return False
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True
