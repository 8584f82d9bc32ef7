"""SGLang's own serving benchmark as the client of one server, in this process."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import msgspec

from sgl_conveyor import embedded_model
from sgl_conveyor.core import ConveyorError
from sgl_conveyor.frontend.expressions import literal_grammar

_READ_LIMIT_S = 30.0


class ServingLoad(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one run.

    Args:
        requests: how many.
        concurrency: how many at once.
        input_tokens: random ids, different for each seed.
        output_tokens: exactly so many, without a literal; at most so many with one.
        literal: a text that a grammar makes the model write, to its end.
    """

    requests: int = 4
    concurrency: int = 4
    input_tokens: int = 16
    output_tokens: int = 48
    literal: str | None = None


class ServingFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What SGLang's benchmark says of one run.

    Args:
        itl_ms: the median inter-token latency of all tokens.
        throughput: output tokens a second.
        tokens: output tokens.
    """

    itl_ms: float
    throughput: float
    tokens: int


def run(url: str, load: ServingLoad, seed: int, tool: str | None = None) -> ServingFigures:
    """Run it once, without a warm-up.

    Args:
        url: the server's.
        load: the requests.
        seed: of the prompts.
        tool: if given, each request is the region of a call of this tool, which is created
            first; that time is the run's too.

    Raises:
        ConveyorError: a request failed, or a call did not get each token.
    """
    calls: list[str] = []
    tapping = contextlib.nullcontext() if tool is None else _tapped(url, tool, calls)
    with tempfile.TemporaryDirectory() as directory, tapping:
        details = _run(url, load, seed, Path(directory) / "details.jsonl")
    failed = [error for error in details["errors"] if error]
    if failed or details["completed"] != load.requests:
        raise ConveyorError(f"{len(failed)} of {load.requests} requests failed: {failed[:1]}")
    if tool is not None:
        _check_calls(url, calls, sorted(details["output_lens"]))
    return ServingFigures(
        itl_ms=details["median_itl_ms"],
        throughput=details["output_throughput"],
        tokens=details["total_output_tokens"],
    )


def _run(url: str, load: ServingLoad, seed: int, details: Path) -> dict[str, Any]:
    from sglang.benchmark import serving

    model = str(embedded_model.ensure())
    flags = {
        "--backend": "sglang",
        "--base-url": url,
        "--model": model,
        "--tokenizer": model,
        "--dataset-name": "random-ids",
        "--random-input-len": load.input_tokens,
        "--random-output-len": load.output_tokens,
        "--random-range-ratio": 1.0,
        "--num-prompts": load.requests,
        "--max-concurrency": load.concurrency,
        "--warmup-requests": 0,
        "--seed": seed,
        "--output-file": details,
    }
    if load.literal is not None:
        # These take the place of SGLang's own, of which regions refuse `ignore_eos`.
        parameters = {
            "temperature": 0,
            "max_new_tokens": load.output_tokens,
            "ebnf": literal_grammar(load.literal),
        }
        flags["--extra-request-body"] = json.dumps({"sampling_params": parameters})
    argv = [text for flag, value in flags.items() for text in (flag, str(value))]
    argv += ["--output-details", "--disable-tqdm", "--tokenize-prompt"]
    said = io.StringIO()
    try:
        with patch("sys.argv", ["bench_serving", *argv]), contextlib.redirect_stdout(said):
            serving.cli_main()
    except SystemExit as ended:
        raise ConveyorError(f"bench_serving ended: {said.getvalue()[-1000:]}") from ended
    found: dict[str, Any] = json.loads(details.read_text())
    return found


@contextlib.contextmanager
def _tapped(url: str, tool: str, calls: list[str]) -> Iterator[None]:
    """Have SGLang's client create a call of ours before each request, and name it there."""
    from sglang.benchmark import serving

    plain = serving.ASYNC_REQUEST_FUNCS["sglang"]

    async def tapped(request_func_input: Any, pbar: Any = None) -> Any:
        async with serving._create_bench_client_session() as session:
            body = {"tool": tool, "region": "bench"}
            async with session.post(f"{url}/conveyor/calls", json=body) as response:
                response.raise_for_status()
                call = (await response.json())["call"]
        calls.append(call)
        extra = request_func_input.extra_request_body
        parameters = {**extra["sampling_params"], "custom_params": {"conveyor": {"call": call}}}
        request = dataclasses.replace(
            request_func_input, extra_request_body={**extra, "sampling_params": parameters}
        )
        return await plain(request_func_input=request, pbar=pbar)

    with patch.dict(serving.ASYNC_REQUEST_FUNCS, sglang=tapped):
        yield


def _check_calls(url: str, calls: list[str], tokens: list[int]) -> None:
    """The requests were tapped: each call got its tokens and ended well.

    Raises:
        ConveyorError: one did not.
    """
    got = []
    with httpx.Client(base_url=url, trust_env=False, timeout=2 * _READ_LIMIT_S) as client:
        for call in calls:
            view = client.get(f"/conveyor/calls/{call}", params={"wait": _READ_LIMIT_S}).json()
            result = view["result"]
            if result is None or result["error"] or result["aborted"]:
                raise ConveyorError(f"a call of the tool that does nothing failed: {result}")
            got.append(len(view["timings"]["tokens"]))
    if sorted(got) != tokens:
        raise ConveyorError(f"the calls got {sorted(got)} tokens, the requests {tokens}")
