"""The search tool: asks a SearXNG-style endpoint as soon as the query is complete."""

from __future__ import annotations

import asyncio
import functools
import ssl
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx
import msgspec
from pydantic import BaseModel, Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sgl_conveyor.tools import Tool
from tool_workers._search_network import BadAnswer, KeptLines, Line

#: Characters of a result's title and snippet; a result with a longer address is left out.
MAX_TITLE_CHARS = 200
MAX_SNIPPET_CHARS = 500
MAX_URL_CHARS = 2000
#: Requests that a call may send before its arguments are complete: what a model repeats must not
#: become a flood.
MAX_EARLY_REQUESTS = 3
#: Seconds for which a call waits for its connection before it begins.
_WARM_LIMIT_S = 3.0

_HOST_NAME = r"^(([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9])?$"


def _without_length(schema: dict[str, Any]) -> None:
    del schema["maxLength"]


class NotConfigured(Exception):
    """The tool has no endpoint, or its settings are wrong."""


class Settings(BaseSettings):
    """The tool's environment.

    Args:
        url: of the endpoint, without `/search`.
        ca: a file of certificates that are trusted instead of the usual ones, for https.
        allow_private: whether the endpoint may be in a private network.
        timeout_s: seconds for one request.
        keep_alive: whether connections outlive their call.
    """

    model_config = SettingsConfigDict(env_prefix="SEARCH_", env_ignore_empty=True, frozen=True)

    url: str = ""
    ca: Path | None = None
    allow_private: bool = False
    timeout_s: float = Field(default=10.0, gt=0, le=25)
    keep_alive: bool = True


class Result(msgspec.Struct):
    """One result of a search."""

    title: str
    url: str
    snippet: str


class Question(NamedTuple):
    """What the endpoint is asked: two calls with the same one get the same answer."""

    query: str
    site: str
    language: str


class Search(Tool):
    """Search the web. The result is a list of pages, each with its title, url and a snippet."""

    read_only = True

    class Args(BaseModel):
        query: Annotated[
            str, StringConstraints(strip_whitespace=True, min_length=1, max_length=600)
        ] = Field(description="what to search for")
        site: str = Field(
            default="",
            pattern=_HOST_NAME,
            max_length=253,
            # SGLang refuses a schema that bounds a text by a pattern and by its length.
            json_schema_extra=_without_length,
            description="search only this host, as `docs.python.org`; empty: everywhere",
        )
        language: str = Field(
            default="all",
            pattern=r"^[a-z]{2,4}(-[A-Za-z]{2,4}){0,2}$",
            description="language of the pages, as `en` or `de-CH`; `all`: any",
        )
        count: int = Field(default=5, ge=1, le=10, description="how many results to give")
        purpose: str = Field(
            "", max_length=500, description="what the results are for, in a sentence for the user"
        )

    def __init__(self) -> None:
        self._line: Line | None = None
        self._seen: dict[str, Any] = {}
        self._question: Question | None = None
        self._asking: asyncio.Task[list[Result]] | None = None
        self._requests: list[asyncio.Task[list[Result]]] = []

    async def open(self) -> None:
        self._settings = _settings()
        self._url = _endpoint(self._settings.url)
        self._line = _kept.take(self._settings) or Line(
            _tls(self._settings.ca),
            self._settings.timeout_s,
            allow_private=self._settings.allow_private,
        )
        await self._line.warm(self._url.join("/"), _WARM_LIMIT_S)

    async def on_argument(self, path: str, value: Any) -> None:
        if path not in Question._fields:
            return
        self._seen[path] = value
        try:
            args = self.Args.model_validate(self._seen)
        except ValidationError:
            # The query is still to come, or `finish` is never reached.
            self._cancel()
            return
        if len(self._requests) < MAX_EARLY_REQUESTS:
            self._ask(_question(args))

    async def finish(self) -> list[Result]:
        try:
            results = await self._ask(_question(self.args))
            return results[: self.args.count]
        finally:
            await self._release()

    async def abort(self, reason: str) -> None:
        await self._release()

    def _ask(self, question: Question) -> asyncio.Task[list[Result]]:
        """The request that asks this, in flight already or sent now."""
        if self._asking is None or self._question != question:
            self._cancel()
            self._question = question
            self._asking = asyncio.create_task(self._search(question))
            self._requests.append(self._asking)
        return self._asking

    def _cancel(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _search(self, question: Question) -> list[Result]:
        assert self._line is not None
        with self.span("search"):
            body = await self._line.get(_request(self._url, question))
            return parse_answer(body)

    async def _release(self) -> None:
        self._cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        line, self._line = self._line, None
        if line is not None and self._settings.keep_alive:
            await _kept.put(self._settings, line)
        elif line is not None:
            await line.close()


def parse_answer(body: bytes) -> list[Result]:
    """The results in an endpoint's answer, bounded in size.

    Raises:
        BadAnswer: it is no JSON, or has another shape.
    """
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.ValidationError as error:
        raise BadAnswer(f"the answer has not the shape of search results: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"the answer is no JSON: {error}") from None
    return [
        Result(
            title=_one_line(hit.title, MAX_TITLE_CHARS),
            url=hit.url,
            snippet=_one_line(hit.content, MAX_SNIPPET_CHARS),
        )
        for hit in answer.results
        if len(hit.url) <= MAX_URL_CHARS
    ]


class _Hit(msgspec.Struct):
    url: str
    title: str | None = None
    content: str | None = None


class _Answer(msgspec.Struct):
    results: list[_Hit]


#: The connections that the calls of this process have left open.
_kept = KeptLines()


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise NotConfigured(f"SEARCH_{name}: {first['msg']}") from None


def _endpoint(url: str) -> httpx.URL:
    if not url:
        raise NotConfigured(
            "set SEARCH_URL to the address of a SearXNG-style endpoint, "
            "under [search] in the server's --tools-config"
        )
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise NotConfigured(f"SEARCH_URL is no URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise NotConfigured("SEARCH_URL must begin with http:// or https:// and a host")
    if parsed.query or parsed.fragment:
        raise NotConfigured("SEARCH_URL must end with its path: no `?` and no `#`")
    return parsed


@functools.lru_cache(maxsize=4)
def _tls(ca: Path | None) -> ssl.SSLContext:
    if ca is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=str(ca.expanduser()))
    except (OSError, RuntimeError) as error:
        raise NotConfigured(f"SEARCH_CA: {ca} is no bundle of certificates: {error}") from None


def _question(args: Search.Args) -> Question:
    return Question(args.query, args.site, args.language)


def _request(endpoint: httpx.URL, question: Question) -> httpx.URL:
    # SearXNG has no parameter for the site, but its engines know the operator.
    query = f"site:{question.site} {question.query}" if question.site else question.query
    path = endpoint.path.rstrip("/") + "/search"
    parameters = {"q": query, "format": "json", "language": question.language}
    return endpoint.copy_with(path=path, params=parameters)


def _one_line(text: str | None, limit: int) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
