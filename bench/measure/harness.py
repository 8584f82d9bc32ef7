"""The real dispatcher with real workers, and this process at the other ends of its sockets."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import psutil
import zmq

from sgl_conveyor import embedded_model
from sgl_conveyor import messages as m
from sgl_conveyor.channel import RunDirectory, configure
from sgl_conveyor.dispatcher.config import DispatcherConfig, Retention
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.specs import ToolSpec
from sgl_conveyor.tools_config import describe_tools, worker_environment

#: Nothing here waits longer than this (seconds).
LIMIT_S = 30.0
STOP = m.Finish("stop", None)
_NAMING_INTERVAL_S = 5.0


class Harness:
    """A running dispatcher, and what SGLang's processes would tell it.

    Args:
        process: the dispatcher's.
        directory: of its sockets.
        first: another one of the same dispatcher, which has said all hellos; None: this one does.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        directory: RunDirectory,
        first: Harness | None = None,
    ) -> None:
        self.process = process
        self.directory = directory
        context: zmq.Context[Any] = zmq.Context.instance()
        self.tap = configure(context.socket(zmq.PUSH))
        self.control = configure(context.socket(zmq.DEALER))
        self.control.setsockopt(zmq.RCVTIMEO, int(1000 * LIMIT_S))
        self.tap.connect(directory.tap)
        self.control.connect(directory.control)
        self._decoder = m.to_http()
        self._seq = 0
        #: Requests that the dispatcher wanted stopped.
        self.stopped: list[str] = []
        #: t = 0 of each call's timings (monotonic seconds).
        self.started: dict[str, float] = {}
        #: The request of each call that has one.
        self.rids: dict[str, str] = {}
        self._offsets: dict[str, int] = {}
        self._named_at = time.monotonic()
        if first is not None:
            self.tokenizer_file: str = first.tokenizer_file
            self.tokenizer: Any = first.tokenizer
            return
        self.tokenizer_file = str(embedded_model.ensure() / "tokenizer.json")
        self.tap.send(m.encode(m.TapHello(os.getpid())))
        self.control.send(m.encode(m.HttpHello(os.getpid(), self.tokenizer_file)))

        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(self.tokenizer_file)

    def ask(self, make: type, *arguments: object) -> m.ToHttp:
        """Ask as the HTTP process does, and return the answer.

        Raises:
            zmq.Again: there is none in time.
        """
        self._seq += 1
        self.name_requests()
        self.control.send(m.encode(make(self._seq, *arguments)))
        while True:
            answer = self._decoder.decode(self._receive())
            if isinstance(answer, m.StopRequest):
                self.stopped.append(answer.rid)
            elif answer.seq == self._seq:
                return answer

    def _receive(self) -> bytes:
        return bytes(self.control.recv())

    def create(self, tool: str, region: str = "r", *, partial: bool = True) -> str:
        """A new call's id.

        Raises:
            ConveyorError: it was refused.
        """
        sent_at = time.monotonic()
        created = self.ask(m.CreateCall, tool, region, partial, sent_at)
        if not isinstance(created, m.Created):
            raise ConveyorError(f"no call: {created}")
        self.started[created.call] = sent_at
        return created.call

    def attach(self, call: str, stop: list[str] | None = None) -> str:
        """Attach a request; returns its id.

        Raises:
            ConveyorError: it was refused.
        """
        rid = self.rids[call] = call[:32]
        self._offsets[call] = 0
        attached = self.ask(m.AttachRequest, call, rid, stop or [], False, True)
        if not isinstance(attached, m.Attached):
            raise ConveyorError(f"not attached: {attached}")
        return rid

    def decode(
        self, call: str, text: str, finish: m.Finish | None = None, per_step: int = 3
    ) -> None:
        """Commit a text's tokens as the tap would, a few a step."""
        tokens = self.tokenizer.encode(text).ids
        for start in range(0, max(1, len(tokens)), per_step):
            step = tokens[start : start + per_step]
            last = start + per_step >= len(tokens)
            offset = self._offsets[call]
            tail: list[int] | None = [] if offset == 0 else None
            record = m.TapRecord(self.rids[call], offset, step, tail, finish if last else None)
            self._offsets[call] += len(step)
            self.tap.send(m.encode(m.TapStep(time.monotonic(), [record])))

    def name_requests(self) -> None:
        """Say now and then that all requests live, as the HTTP process does."""
        if time.monotonic() - self._named_at > _NAMING_INTERVAL_S:
            self._named_at = time.monotonic()
            self.control.send(m.encode(m.LiveRequests(list(self.rids.values()))))

    def restart_http(self) -> None:
        """Say hello as the HTTP process of a server that was started again."""
        self.control.send(m.encode(m.HttpHello(-1, self.tokenizer_file)))

    def lose(self, call: str, tokens: int) -> None:
        """Commit tokens of which the dispatcher never hears."""
        self._offsets[call] += tokens

    def run(self, tool: str, text: str, region: str = "r", *, partial: bool = True) -> m.CallView:
        """One whole call."""
        call = self.create(tool, region, partial=partial)
        self.attach(call)
        self.decode(call, text, STOP)
        return self.read(call)

    def read(self, call: str, wait: float = LIMIT_S) -> m.CallView:
        """The call, when it has ended or the wait (seconds) is over.

        Raises:
            ConveyorError: there is no such call.
        """
        view = self.ask(m.ReadCall, call, wait)
        if not isinstance(view, m.CallView):
            raise ConveyorError(f"no call to read: {view}")
        view.outcome.value = msgspec.json.decode(view.outcome.value or b"null")
        return view

    def refusal(self, make: type, *arguments: object) -> tuple[int, str]:
        """The status and sentence of a question that must be refused.

        Raises:
            ConveyorError: it was not.
        """
        refused = self.ask(make, *arguments)
        if not isinstance(refused, m.Refused):
            raise ConveyorError(f"not refused: {refused}")
        return refused.status, refused.message

    def workers(self) -> list[psutil.Process]:
        """The processes that the dispatcher has started itself."""
        children: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return children


@contextlib.contextmanager
def dispatcher(
    sources: list[str],
    *,
    retention: Retention = Retention(),  # noqa: B008  (immutable)
    drain_s: float = 0.5,
    unsafe: bool = False,
    environment: Mapping[str, str] | None = None,
    limits: Mapping[str, object] | None = None,
    log: int | None = None,
) -> Iterator[Harness]:
    """Start a dispatcher with these tools; it is ended even when the body raises.

    Args:
        sources: of the tools.
        retention: how long it keeps what ended.
        drain_s: seconds that it waits for calls as it ends.
        unsafe: without sandboxes.
        environment: more variables for the workers.
        limits: what differs from each tool's own `Limits`.
        log: the descriptor that it logs to; None: this process's own.

    Raises:
        ConveyorError: it did not start.
    """
    directory = RunDirectory.create()
    tools = [_with(tool, environment or {}, limits or {}) for tool in describe_tools(sources)]
    config = DispatcherConfig(
        run_directory=str(directory.path),
        tools=tools,
        secret="a test's",
        retention=retention,
        drain_s=drain_s,
        unsafe=unsafe,
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "sgl_conveyor.dispatcher"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=worker_environment(),
    )
    try:
        _tell(process, msgspec.json.encode(config))
        _wait_for(process, b"WorkersReady")
        harness = Harness(process, directory)
        _wait_for(process, b"ServerReady")
        yield harness
    finally:
        process.terminate()
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(directory.path)


def wait_until(condition: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait until a function returns something true.

    Args:
        condition: the function.
        what: what is waited for, for the error.
        limit_s: seconds.

    Raises:
        TimeoutError: it did not within the limit.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {limit_s:g} s in vain: {what}")
        time.sleep(0.02)


def _with(tool: ToolSpec, environment: Mapping[str, str], limits: Mapping[str, object]) -> ToolSpec:
    return msgspec.structs.replace(
        tool,
        environment=dict(environment),
        limits=msgspec.structs.replace(tool.limits, **limits),
    )


def _tell(process: subprocess.Popen[bytes], line: bytes) -> None:
    if process.stdin is not None:
        process.stdin.write(line + b"\n")
        process.stdin.flush()


def _wait_for(process: subprocess.Popen[bytes], word: bytes) -> None:
    line = b"" if process.stdout is None else process.stdout.readline()
    if word not in line:
        raise ConveyorError(f"the dispatcher said {line!r}, not {word.decode()}")
