"""The backend of programs with regions: SGLang's own, and the HTTP of docs/http.md."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
from sglang.lang.backend.runtime_endpoint import RuntimeEndpoint
from sglang.lang.chat_template import get_chat_template_by_model_path
from sglang.lang.interpreter import StreamExecutor

from sgl_conveyor.core import Outcome, ToolError
from sgl_conveyor.errors import CallRefused
from sgl_conveyor.specs import Grammar
from sgl_conveyor.timings import Timings

#: Seconds that the server may take beyond a wait that it was asked for.
_ANSWER_LIMIT_S = 30.0
#: Seconds before a server that was too busy to answer is asked again.
_RETRY_S = 0.5
#: Longest wait of one GET (seconds).
_POLL_S = 60.0


class OpenedCall(msgspec.Struct, frozen=True):
    """The server's answer to a new call."""

    call: str
    timeout_s: float
    regex: str | None = None
    ebnf: str | None = None
    json_schema: str | None = None
    stop: list[str] | None = None

    @property
    def grammar(self) -> Grammar:
        """What the tool says of its region's text."""
        return Grammar(
            regex=self.regex, ebnf=self.ebnf, json_schema=self.json_schema, stop=self.stop
        )


class _CallView(msgspec.Struct, frozen=True):
    """What we read of `GET /conveyor/calls/{call}`."""

    result: Outcome | None
    timings: Timings


class ConveyorEndpoint(RuntimeEndpoint):  # type: ignore[misc]
    """A server started by `sgl_conveyor.launch_server`; give it to `sgl.set_default_backend`.

    Args:
        base_url: of the server.
        api_key: its `--api-key`.
        verify: a CA bundle for https.
        chat_template_name: SGLang's name of a template; by default that of the served model.
        timeout_s: seconds that one request may take, decoding included.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        verify: str | None = None,
        chat_template_name: str | None = None,
        timeout_s: float = 600.0,
    ) -> None:
        base_url = base_url.rstrip("/")
        super().__init__(base_url, api_key, verify, chat_template_name)
        if chat_template_name is None:
            self.chat_template = template_of(self.model_info["model_path"])
        self._client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            verify=verify or True,
            timeout=httpx.Timeout(timeout_s, connect=10.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=False,
        )

    def open_call(self, tool: str, region: str, *, partial: bool) -> OpenedCall:
        """Create a call; its tool opens at once.

        Raises:
            CallRefused: the server refused.
            httpx.HTTPError: it cannot be reached.
        """
        body = {"tool": tool, "region": region, "partial": partial, "sent_at": time.monotonic()}
        answer = self._client.post("/conveyor/calls", json=body, timeout=_ANSWER_LIMIT_S)
        if answer.status_code == 404:
            raise CallRefused(
                404, "the server has no /conveyor routes: start it with sgl_conveyor.launch_server"
            )
        _check(answer)
        return msgspec.json.decode(answer.content, type=OpenedCall)

    def decode_region(
        self, executor: StreamExecutor, parameters: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Have SGLang decode a region to its end; returns its text and meta information.

        Args:
            executor: the program, whose text so far is the prompt.
            parameters: SGLang's sampling parameters; `custom_params` names the call.

        Raises:
            CallRefused: the server refused, or aborted the request with an error.
            httpx.HTTPError: it cannot be reached.
        """
        answer = self._client.post("/generate", json=self._body(executor, parameters))
        _check(answer)
        content = answer.json()
        return content["text"], content["meta_info"]

    def stream_region(
        self, executor: StreamExecutor, parameters: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Like `decode_region`, in pieces as they come."""
        body = {**self._body(executor, parameters), "stream": True}
        seen = 0
        with self._client.stream("POST", "/generate", json=body) as answer:
            if answer.status_code >= 400:
                answer.read()
                _check(answer)
            for line in answer.iter_lines():
                if not line.startswith("data:") or line == "data: [DONE]":
                    continue
                content = json.loads(line[5:])
                if "error" in content:
                    error = content["error"]
                    raise CallRefused(int(error.get("code") or 400), str(error["message"]))
                piece = content["text"][seen:]
                seen += len(piece)
                yield piece, content["meta_info"]

    def read_call(self, call: str, wait_s: float) -> Outcome:
        """Wait for a call's outcome, for at most so many seconds; whatever fails is its error."""
        deadline = time.monotonic() + wait_s
        try:
            while True:
                wait = max(0.0, min(_POLL_S, deadline - time.monotonic()))
                answer = self._client.get(
                    f"/conveyor/calls/{call}",
                    params={"wait": wait},
                    timeout=wait + _ANSWER_LIMIT_S,
                )
                if answer.status_code == 503 and time.monotonic() < deadline:
                    time.sleep(_RETRY_S)
                    continue
                _check(answer)
                view = msgspec.json.decode(answer.content, type=_CallView)
                if view.result is not None:
                    return msgspec.structs.replace(view.result, timings=view.timings)
                if time.monotonic() >= deadline:
                    message = f"no result within {wait_s:g} s after the region's end"
                    return Outcome(error=ToolError("ToolTimeout", message))
        except CallRefused as refused:
            return Outcome(error=refusal_error(refused))
        except httpx.HTTPError as error:
            return Outcome(error=connection_error(error))
        except (ValueError, RecursionError, msgspec.ValidationError) as error:
            message = f"the server's answer cannot be read: {type(error).__name__}"
            return Outcome(error=ToolError("ProtocolError", message))

    def delete_call(self, call: str) -> None:
        """Abort a call whose region will not be decoded.

        Raises:
            httpx.HTTPError: the server cannot be reached.
        """
        self._client.delete(f"/conveyor/calls/{call}", timeout=_ANSWER_LIMIT_S)

    def _body(self, executor: StreamExecutor, parameters: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"text": executor.text_, "sampling_params": parameters}
        self._add_images(executor, body)
        return body


def template_of(model_path: str) -> Any:
    """SGLang's chat template for a model, and ChatML for the embedded one."""
    if re.search(r"smollm2?", model_path, re.IGNORECASE):
        return get_chat_template_by_model_path("tinyllama")
    return get_chat_template_by_model_path(model_path)


def refusal_error(refused: CallRefused) -> ToolError:
    """A refusal as a program sees it."""
    kinds = {410: "CallExpired", 503: "Unavailable", 401: "Unauthorized"}
    return ToolError(kinds.get(refused.status, "Refused"), refused.message)


def connection_error(error: httpx.HTTPError) -> ToolError:
    """A broken connection as a program sees it."""
    return ToolError("ConnectionError", f"{type(error).__name__}: {error}")


def _check(answer: httpx.Response) -> None:
    if answer.status_code < 400:
        return
    try:
        content = answer.json()
        error = content.get("error", content)
        message = error if isinstance(error, str) else error.get("message") or str(content)
    except (ValueError, AttributeError):
        message = answer.text
    raise CallRefused(answer.status_code, str(message))
