"""One call of a workload, in each of the four modes.

stock: a plain SGLang generates the text, then the client calls the tool in a process of its own.
client: the same server streams the text over HTTP, and the client feeds the tool as it comes.
sequential, partial: our server, which feeds the tool itself, after or while it decodes.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from bench.local_tools import LocalTools
from bench.runs import Run
from sgl_conveyor.core import Outcome, Timings

#: Tokens that a recorded text may have.
_MAX_TOKENS = 600
_LIMIT_S = 600.0


@dataclass(frozen=True)
class Work:
    """One recorded call.

    Args:
        workload: its name.
        number: of the recorded text.
        tool: the tool's name.
        prompt: what stands before the region.
        text: the region's text.
        grammar: an EBNF grammar that admits only it.
    """

    workload: str
    number: int
    tool: str
    prompt: str
    text: str
    grammar: str


class Modes:
    """The four ways to run a call; connections are kept alive between calls.

    Args:
        ours: our server's URL.
        stock: a stock SGLang's URL.
        tools: the client's own, for the modes of the stock server.
    """

    def __init__(self, ours: str, stock: str, tools: LocalTools) -> None:
        self._ours = _client(ours)
        self._stock = _client(stock)
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
        answer = await self._stock.post("/generate", json=_request(work))
        answer.raise_for_status()
        text = answer.json()["text"]
        decoded = time.monotonic()
        _check(work, text)
        call = self._tools.open(work.tool, partial=False, start=start)
        call.feed(text)
        call.end()
        return _run(work, "stock", start, decoded, await call.result())

    async def _run_client(self, work: Work) -> Run:
        start = time.monotonic()
        call = self._tools.open(work.tool, partial=True, start=start)
        body = {**_request(work), "stream": True}
        seen = ""
        async with self._stock.stream("POST", "/generate", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if not line.startswith("data:") or line == "data: [DONE]":
                    continue
                text = json.loads(line[5:])["text"]
                if len(text) > len(seen):
                    call.feed(text[len(seen) :])
                    seen = text
                if call.ended:
                    break  # the tool has aborted: closing the stream ends the decoding
        decoded = time.monotonic()
        if not call.ended:
            _check(work, seen)
            call.end()
        return _run(work, "client", start, decoded, await call.result())

    async def _run_ours(self, work: Work, *, partial: bool) -> Run:
        start = time.monotonic()
        body = {"tool": work.tool, "region": "call", "partial": partial, "sent_at": start}
        created = await self._ours.post("/conveyor/calls", json=body)
        created.raise_for_status()
        call = created.json()["call"]
        answer = await self._ours.post("/generate", json=_request(work, call))
        answer.raise_for_status()
        decoded = time.monotonic()
        view = await self._ours.get(f"/conveyor/calls/{call}", params={"wait": 300})
        view.raise_for_status()
        seen = msgspec.json.decode(view.content, type=_View)
        outcome = msgspec.structs.replace(seen.result, timings=seen.timings)
        if outcome.aborted is None:
            _check(work, answer.json()["text"])
        mode = "partial" if partial else "sequential"
        return _run(work, mode, start, decoded, outcome)


class _View(msgspec.Struct):
    result: Outcome
    timings: Timings


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=_LIMIT_S, trust_env=False)


def _request(work: Work, call: str | None = None) -> dict[str, Any]:
    sampling: dict[str, Any] = {
        "max_new_tokens": _MAX_TOKENS,
        "temperature": 0.0,
        "ebnf": work.grammar,
    }
    if call is not None:
        sampling["custom_params"] = {"conveyor": {"call": call}}
    return {"text": work.prompt, "sampling_params": sampling}


def _check(work: Work, text: str) -> None:
    if text != work.text:
        raise RuntimeError(f"{work.workload} {work.number}: decoded {text!r}, not {work.text!r}")


def _run(work: Work, mode: str, start: float, decoded: float, outcome: Outcome) -> Run:
    latency = time.monotonic() - start
    if outcome.error is not None:
        ended = "failed"
    else:
        ended = "done" if outcome.aborted is None else "aborted"
    return Run(
        workload=work.workload,
        call=work.number,
        mode=mode,
        latency_s=latency,
        decode_s=decoded - start,
        ended=ended,
        value=str(outcome),
        timings=outcome.timings,
    )
