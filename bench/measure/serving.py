"""SGLang's own serving benchmark as the client of one server, in a process of its own.

The process stays from run to run, so that none pays for its imports; a run that does not come to
its end is ended with it.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

import httpx
import msgspec

from bench.analyse.results import ServingFigures
from bench.measure.sglang_client import ServingLoad, run_benchmark
from sgl_conveyor.errors import ConveyorError

#: For importing SGLang, and for one run (seconds).
START_LIMIT_S = 300.0
RUN_LIMIT_S = 300.0
_READ_LIMIT_S = 30.0


class Client:
    """SGLang's benchmark; a context manager, at whose end its process ends.

    Args:
        limit_s: what a run may take (seconds).
    """

    def __init__(self, limit_s: float = RUN_LIMIT_S) -> None:
        self._limit_s = limit_s
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._theirs,), daemon=True)

    def __enter__(self) -> Client:
        self._process.start()
        self._theirs.close()
        try:
            self._answer(START_LIMIT_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def run(
        self, url: str, load: ServingLoad, seed: int, tool: str | None = None
    ) -> ServingFigures:
        """Run it once, without a warm-up.

        Args:
            url: the server's.
            load: the requests.
            seed: of the prompts.
            tool: if given, each request is the region of a call of this tool, which is created
                first; that time is the run's too.

        Raises:
            ConveyorError: a request failed, a call did not get each token, or the benchmark did
                not end in time: its process is ended then, and no other run can follow.
            httpx.HTTPError: the server cannot be reached.
        """
        self._pipe.send((url, _tokenizer(url), load, seed, tool))
        details, calls = self._answer(self._limit_s)
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

    def _answer(self, limit_s: float) -> Any:
        if not self._pipe.poll(limit_s):
            self._process.kill()
            raise ConveyorError(f"bench_serving did not end within {limit_s:g} s")
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            raise ConveyorError(f"bench_serving's process ended with code {code}") from None
        if isinstance(answer, str):
            raise ConveyorError(f"bench_serving ended: {answer}")
        return answer


def _serve(pipe: Connection) -> None:
    """The process: runs what it is sent, until the other end is gone."""
    from sglang.benchmark import serving  # noqa: F401  (before the first run)

    pipe.send(())
    while True:
        try:
            arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer: object = run_benchmark(*arguments)
        except ConveyorError as error:
            answer = str(error)
        pipe.send(answer)


def _tokenizer(url: str) -> str:
    """Where the server's own tokenizer is, whatever model it serves."""
    answer = httpx.get(f"{url}/model_info", trust_env=False, timeout=_READ_LIMIT_S)
    answer.raise_for_status()
    return msgspec.convert(answer.json(), type=_ModelInfo).tokenizer_path


class _ModelInfo(msgspec.Struct):
    tokenizer_path: str


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
