"""What the dispatcher's process tells the launcher, and what it prints besides."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sgl_conveyor import messages as m
from sgl_conveyor.channel import RunDirectory
from sgl_conveyor.dispatcher.config import DispatcherConfig, NotReady, ServerReady, WorkersReady
from sgl_conveyor.launcher.dispatcher import AnyReport, DispatcherProcess
from sgl_conveyor.tools_config import describe_tools
from tests.dispatcher.harness import Harness

#: The folder whose `sitecustomize` makes the dispatcher print.
PRINTS = Path(__file__).parents[1] / "tools/prints"
LIMIT_S = 60.0


@pytest.fixture
def directory() -> Iterator[RunDirectory]:
    directory = RunDirectory.create()
    yield directory
    shutil.rmtree(directory.path)


def config(directory: RunDirectory, *tools: str, late: str = "") -> DispatcherConfig:
    """The configuration of a dispatcher with these tools; the workers of one are never ready."""
    environment = {"NEVER_READY": "1"}
    specs = [
        msgspec.structs.replace(spec, environment=environment) if spec.name == late else spec
        for spec in describe_tools(list(tools))
    ]
    return DispatcherConfig(
        run_directory=str(directory.path), tools=specs, secret="a test's", hello_limit_s=5.0
    )


def first_report(config: DispatcherConfig) -> AnyReport:
    """The first report that the launcher hears of a dispatcher, which ends with it."""

    async def hear() -> AnyReport:
        reports: asyncio.Queue[AnyReport] = asyncio.Queue()
        dispatcher = DispatcherProcess(config, reports.put_nowait)
        keeping = asyncio.ensure_future(dispatcher.keep(lambda: False))
        hearing = asyncio.ensure_future(reports.get())
        await asyncio.wait({keeping, hearing}, timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        assert hearing.done(), "the dispatcher said nothing"
        assert dispatcher.process is not None
        dispatcher.process.terminate()
        await asyncio.wait_for(keeping, LIMIT_S)
        return hearing.result()

    return asyncio.run(hear())


def test_a_worker_that_is_late_is_named(directory: RunDirectory) -> None:
    tools = ("tests.tools.puppet:Nothing", "tests.tools.never_ready:NeverReady")
    report = first_report(config(directory, *tools, late="never_ready"))
    assert report == NotReady("no hello from a worker of never_ready within 5 s")


def test_what_a_library_prints_is_logged_and_ends_nothing(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(PRINTS)
    report = first_report(config(directory, "tests.tools.puppet:Nothing"))
    assert report == WorkersReady()
    assert "printed what is no report: 'a stray line at the start" in caplog.text
    assert all(len(record.getMessage()) < 1000 for record in caplog.records)


@contextlib.contextmanager
def started(config: DispatcherConfig, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A dispatcher whose output we read; its workers are ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sgl_conveyor.dispatcher"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(config) + b"\n")
        process.stdin.flush()
        # What it prints before it takes its output for reports alone is none.
        while b"WorkersReady" not in (line := process.stdout.readline()):
            assert line, "the dispatcher ended"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LIMIT_S)


def next_report(process: subprocess.Popen[bytes]) -> AnyReport:
    assert process.stdout is not None
    return msgspec.json.decode(process.stdout.readline(), type=AnyReport)


def test_nothing_but_reports_is_on_the_dispatchers_output(directory: RunDirectory) -> None:
    told = config(directory, "tests.tools.puppet:Nothing")
    with started(told, PYTHONPATH=os.pathsep.join([str(PRINTS), *sys.path])) as dispatcher:
        dispatcher.terminate()
        output, errors = dispatcher.communicate(timeout=LIMIT_S)
    assert output == b""
    assert b"a stray line\n" in errors


def test_a_server_that_is_started_again_without_its_tap_is_not_ready(
    directory: RunDirectory,
) -> None:
    told = msgspec.structs.replace(config(directory, "tests.tools.puppet:Nothing"), tap_limit_s=1.0)
    with started(told) as dispatcher:
        server = Harness(dispatcher, directory)
        assert next_report(dispatcher) == ServerReady()
        server.restart_http()
        assert "no hello from the tap" in next_report(dispatcher).reason
        server.tap.send(m.encode(m.TapHello(-1)))
        server.restart_http()
        assert next_report(dispatcher) == ServerReady()


def test_a_tokenizer_that_cannot_be_read_is_named_and_the_one_before_is_kept(
    directory: RunDirectory,
) -> None:
    with started(config(directory, "tests.tools.puppet:Nothing")) as dispatcher:
        server = Harness(dispatcher, directory)
        assert next_report(dispatcher) == ServerReady()
        server.control.send(m.encode(m.HttpHello(os.getpid(), "/nowhere/tokenizer.json")))
        assert server.run("nothing", "x").outcome.error is None
        dispatcher.terminate()
        _, errors = dispatcher.communicate(timeout=LIMIT_S)
    assert b"tokenizer '/nowhere/tokenizer.json' cannot be read" in errors
    assert b"Traceback" not in errors
