"""One call of a workload, in each of the four modes.

stock: a plain SGLang generates the text, then the client calls the tool in a process of its own.
client: the same server streams the text over HTTP, and the client feeds the tool as it comes.
sequential, partial: our server, which feeds the tool itself, after or while it decodes.
In all of them the tool opens when the request is sent, and a connection is kept between calls.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx
import msgspec

from bench.analyse.runs import Run
from bench.measure.servers import Servers
from bench.workloads.local_tools import LocalCall, LocalTools
from bench.workloads.recorded import Work
from sgl_conveyor.core import Outcome
from sgl_conveyor.literal import literal_grammar
from sgl_conveyor.timings import Timings

_T = TypeVar("_T")

#: Tokens that a recorded text may have.
_MAX_TOKENS = 600
_LIMIT_S = 600.0
#: Seconds that a result may take.
_WAIT_S = 300


class Modes:
    """The four ways to run a call; connections are kept alive between calls.

    Args:
        servers: ours and a stock SGLang.
        tools: the client's own, for the modes of the stock server.
    """

    def __init__(self, servers: Servers, tools: LocalTools) -> None:
        self._ours = _client(servers.ours)
        self._stock = _client(servers.stock)
        self._tools = tools

    async def close(self) -> None:
        """Close the connections."""
        await self._ours.aclose()
        await self._stock.aclose()

    async def prepare(self, work: Work) -> None:
        """Have both servers compile the call's grammar and keep its prompt, before any is timed.

        A grammar for one text belongs to the replay alone: no real request would pay for it.

        Raises:
            httpx.HTTPError: a server cannot be reached, or refused.
        """
        for server in (self._ours, self._stock):
            body = _request(work)
            body["sampling_params"]["max_new_tokens"] = 2
            answer = await server.post("/generate", json=body)
            answer.raise_for_status()

    async def run(self, work: Work, mode: str) -> Run:
        """One call.

        Raises:
            RuntimeError: the text that came is not the recorded one.
            httpx.HTTPError: a server cannot be reached, or refused.
        """
        run = {"stock": self._run_stock, "client": self._run_client}.get(mode)
        if run is not None:
            return await run(work)
        return await self._run_ours(work, partial=mode == "partial")

    async def _run_stock(self, work: Work) -> Run:
        start = time.monotonic()
        # Open before the text is there: a session or a connection that a careful user keeps ready.
        call = self._tools.open(work.tool, partial=False, start=start)
        answer = await self._stock.post("/generate", json=_request(work))
        answer.raise_for_status()
        text = answer.json()["text"]
        decoded = time.monotonic()
        _check(work, text)
        call.feed(text)
        call.end()
        outcome = await call.result()
        return _run(work, "stock", start, decoded, time.monotonic(), outcome)

    async def _run_client(self, work: Work) -> Run:
        start = time.monotonic()
        call = self._tools.open(work.tool, partial=True, start=start)
        body = {**_request(work), "stream": True, "rid": uuid.uuid4().hex}
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._feed_as_it_comes(body, call))
            result = tasks.create_task(_timed(call.result()))
            await asyncio.wait((reading, result), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():  # the tool has aborted
                await self._stock.post("/abort_request", json={"rid": body["rid"]})
            text = await reading
            decoded = time.monotonic()
            if not call.ended:
                _check(work, text)
                call.end()
            outcome, ready = await result
        return _run(work, "client", start, decoded, ready, outcome)

    async def _feed_as_it_comes(self, body: dict[str, Any], call: LocalCall) -> str:
        """Stream a request and give the tool each piece until it ends; the whole text."""
        seen = ""
        async with self._stock.stream("POST", "/generate", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if not line.startswith("data:") or line == "data: [DONE]":
                    continue
                if call.ended:
                    continue  # what comes after an abort is of no use to the tool
                text = json.loads(line[5:])["text"]
                if len(text) > len(seen):
                    call.feed(text[len(seen) :])
                    seen = text
        return seen

    async def _run_ours(self, work: Work, *, partial: bool) -> Run:
        start = time.monotonic()
        body = {"tool": work.tool, "region": "call", "partial": partial, "sent_at": start}
        created = await self._ours.post("/conveyor/calls", json=body)
        created.raise_for_status()
        call = created.json()["call"]
        # The result is asked for beside the text, so that no round trip stands between them.
        async with asyncio.TaskGroup() as tasks:
            generating = tasks.create_task(
                _timed(self._ours.post("/generate", json=_request(work, call)))
            )
            waiting = tasks.create_task(
                _timed(self._ours.get(f"/conveyor/calls/{call}", params={"wait": _WAIT_S}))
            )
        answer, decoded = generating.result()
        view, ready = waiting.result()
        answer.raise_for_status()
        view.raise_for_status()
        seen = msgspec.json.decode(view.content, type=_View)
        outcome = msgspec.structs.replace(seen.result, timings=seen.timings)
        if outcome.aborted is None:
            _check(work, answer.json()["text"])
        mode = "partial" if partial else "sequential"
        return _run(work, mode, start, decoded, ready, outcome)


class _View(msgspec.Struct):
    result: Outcome
    timings: Timings


def _client(url: str) -> httpx.AsyncClient:
    kept = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None)
    return httpx.AsyncClient(base_url=url, timeout=_LIMIT_S, trust_env=False, limits=kept)


async def _timed(what: Coroutine[Any, Any, _T]) -> tuple[_T, float]:
    """What it gives, and when."""
    return await what, time.monotonic()


def _request(work: Work, call: str | None = None) -> dict[str, Any]:
    sampling: dict[str, Any] = {
        "max_new_tokens": _MAX_TOKENS,
        "temperature": 0.0,
        "ebnf": literal_grammar(work.text),
    }
    if call is not None:
        sampling["custom_params"] = {"conveyor": {"call": call}}
    return {"text": work.prompt, "sampling_params": sampling}


def _check(work: Work, text: str) -> None:
    if text != work.text:
        raise RuntimeError(f"{work.workload} {work.number}: decoded {text!r}, not {work.text!r}")


def _run(
    work: Work, mode: str, start: float, decoded: float, ready: float, outcome: Outcome
) -> Run:
    if outcome.error is not None:
        ended = "failed"
    else:
        ended = "done" if outcome.aborted is None else "aborted"
    return Run(
        workload=work.workload,
        call=work.number,
        mode=mode,
        latency_s=max(decoded, ready) - start,
        result_s=ready - start,
        decode_s=decoded - start,
        ended=ended,
        value=str(outcome),
        timings=outcome.timings,
    )
