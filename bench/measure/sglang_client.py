"""One run of SGLang's `bench_serving`, in this process."""

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

import msgspec

from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.literal import literal_grammar


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


def run_benchmark(
    url: str, tokenizer: str, load: ServingLoad, seed: int, tool: str | None
) -> tuple[dict[str, Any], list[str]]:
    """Run it once, without a limit of its own.

    Args:
        url: the server's.
        tokenizer: the path or name of its tokenizer.
        load: the requests.
        seed: of the prompts.
        tool: if given, each request is the region of a call of this tool.

    Returns:
        The details that it wrote, and the ids of the calls.

    Raises:
        ConveyorError: it gave up.
    """
    from sglang.benchmark import serving

    calls: list[str] = []
    tapping = contextlib.nullcontext() if tool is None else _tapped(url, tool, calls)
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as directory, tapping:
        details = Path(directory) / "details.jsonl"
        argv = ["bench_serving", *_arguments(url, tokenizer, load, seed, details)]
        try:
            with patch("sys.argv", argv), contextlib.redirect_stdout(said):
                serving.cli_main()
        except (Exception, SystemExit) as ended:
            raise ConveyorError(f"{ended!r}: {said.getvalue()[-1000:]}") from ended
        found: dict[str, Any] = json.loads(details.read_text())
    return found, calls


def _arguments(url: str, tokenizer: str, load: ServingLoad, seed: int, details: Path) -> list[str]:
    flags = {
        "--backend": "sglang",
        "--base-url": url,
        "--model": tokenizer,
        "--tokenizer": tokenizer,
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
    return [*argv, "--output-details", "--disable-tqdm", "--tokenize-prompt"]


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
