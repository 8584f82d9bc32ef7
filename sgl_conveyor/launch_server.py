"""python -m sgl_conveyor.launch_server: SGLang's server, the dispatcher and the workers as one.

This process only starts the others, watches them and ends them; it imports neither SGLang nor
torch. All of SGLang's flags are passed on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import logging
import os
import secrets
import shutil
import signal
import sys
from pathlib import Path

import msgspec
import psutil

from sgl_conveyor import embedded_model
from sgl_conveyor.channel import RunDirectory
from sgl_conveyor.dispatcher.config import (
    DispatcherConfig,
    NotReady,
    Report,
    Retention,
    ServerReady,
    WorkersReady,
)
from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.processes import configure_logging, die_with_parent
from sgl_conveyor.runtime.environment import RUN_DIRECTORY
from sgl_conveyor.runtime.refusals import check_environment
from sgl_conveyor.specs import ToolSpec
from sgl_conveyor.tools_config import (
    apply_overrides,
    check_sandbox,
    describe_tools,
    load_overrides,
    worker_environment,
)

logger = logging.getLogger(__name__)

_PR_SET_CHILD_SUBREAPER = 36
#: Seconds on top of the drain before what has not ended is killed.
_KILL_AFTER_DRAIN_S = 2.0
_MAX_RESTART_PAUSE_S = 10.0
_REAP_INTERVAL_S = 1.0
#: The line that says that the server is ready; tests and scripts wait for it.
READY = "SGL Conveyor is ready"


def build_parser() -> argparse.ArgumentParser:
    """Our own flags; all others are SGLang's."""
    parser = argparse.ArgumentParser(
        prog="python -m sgl_conveyor.launch_server",
        description="Serve a model with SGLang, and run its tools while their calls are decoded.",
        epilog="All other flags are passed on to SGLang: see sglang serve --help.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--tools",
        nargs="+",
        default=[],
        metavar="TOOL",
        help="shipped names, module:attribute or module:* (default: all shipped tools)",
    )
    add(
        "--tools-config",
        type=Path,
        metavar="FILE.toml",
        help="for each tool: workers, timeout, memory, environment",
    )
    add(
        "--unsafe-no-sandbox",
        action="store_true",
        help="run what a model wrote without a sandbox, as this user",
    )
    add(
        "--conveyor-log-level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="of our own processes (default: info)",
    )
    add(
        "--conveyor-drain",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="that running requests get at SIGINT or SIGTERM (default: 5)",
    )
    add(
        "--conveyor-keep-seconds",
        type=_seconds,
        default=600.0,
        metavar="SECONDS",
        help="that a result is kept (default: 600)",
    )
    add(
        "--conveyor-keep-calls",
        type=_count,
        default=10_000,
        metavar="N",
        help="calls that are kept at most (default: 10000)",
    )
    add(
        "--conveyor-keep-mib",
        type=_count,
        default=256,
        metavar="MIB",
        help="of results that are kept at most (default: 256)",
    )
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


class Launcher:
    """The processes of one server.

    Args:
        options: our flags.
        sglang_flags: SGLang's.
        tools: what the server offers.
        directory: the run directory.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        sglang_flags: list[str],
        tools: list[ToolSpec],
        directory: RunDirectory,
    ) -> None:
        self._drain_s: float = options.conveyor_drain
        self._sglang_flags = sglang_flags
        self._directory = directory
        self._ready = False
        self._stopping = asyncio.Event()
        self._exit_code = 0
        self._dispatcher: asyncio.subprocess.Process | None = None
        self._config = DispatcherConfig(
            run_directory=str(directory.path),
            tools=tools,
            secret=secrets.token_hex(32),
            retention=Retention(
                seconds=options.conveyor_keep_seconds,
                calls=options.conveyor_keep_calls,
                bytes=options.conveyor_keep_mib * 1024**2,
            ),
            drain_s=self._drain_s,
            unsafe=options.unsafe_no_sandbox,
            log_level=options.conveyor_log_level,
        )
        directory.tools.write_bytes(msgspec.json.encode(tools))

    async def run(self) -> int:
        """Serve until a signal, or until SGLang ends; returns the exit code."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._stopping.set)
        dispatching = asyncio.ensure_future(self._keep_dispatcher())
        server = await self._start_server()
        serving = asyncio.ensure_future(server.wait())
        reaping = asyncio.ensure_future(self._reap_orphans({server.pid}))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait(
                {serving, stopping, dispatching}, return_when=asyncio.FIRST_COMPLETED
            )
            if dispatching.done() and (error := dispatching.exception()) is not None:
                logger.error("the dispatcher cannot be kept running", exc_info=error)
                self._exit_code = 1
            if serving.done():
                self._exit_code = self._exit_code or server.returncode or 1
                logger.error("SGLang's server ended with code %s", server.returncode)
            dispatching.cancel()
            await self._end([p for p in (server, self._dispatcher) if p is not None])
        finally:
            stopping.cancel()
            reaping.cancel()
        return self._exit_code if self._exit_code >= 0 else 1

    async def _start_server(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "sgl_conveyor.runtime.server", *self._sglang_flags),
            env={**os.environ, RUN_DIRECTORY: str(self._directory.path)},
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )

    async def _keep_dispatcher(self) -> None:
        """Run the dispatcher, and run it again when it ends; returns if it cannot serve at all."""
        pause = 0.1
        while True:
            began = asyncio.get_running_loop().time()
            process = self._dispatcher = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "sgl_conveyor.dispatcher"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=worker_environment(),
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(msgspec.json.encode(self._config) + b"\n")
            process.stdin.close()
            while line := await process.stdout.readline():
                if not self._heard(
                    msgspec.json.decode(line, type=WorkersReady | ServerReady | NotReady)
                ):
                    return
            code = await process.wait()
            if not self._ready:
                logger.error("the dispatcher ended with code %s during the start", code)
                self._exit_code = 2
                return
            if asyncio.get_running_loop().time() - began > 60:
                pause = 0.1
            logger.error(
                "the dispatcher ended with code %s; starting it again in %.1f s", code, pause
            )
            await asyncio.sleep(pause)
            pause = min(_MAX_RESTART_PAUSE_S, 2 * pause)

    def _heard(self, report: Report) -> bool:
        """Take a report of the dispatcher; False if the server cannot be made ready."""
        if isinstance(report, NotReady):
            logger.error("%s", report.reason)
            if not self._ready:
                self._exit_code = 2
                return False
        if isinstance(report, ServerReady) and not self._ready:
            self._ready = True
            names = ", ".join(tool.name for tool in self._config.tools)
            logger.info("%s: tools %s", READY, names)
        return True

    async def _reap_orphans(self, ours: set[int]) -> None:
        """Take the exit codes of processes whose parents died before them, as an init would.

        Args:
            ours: children that somebody here waits for already.
        """
        before: set[int] = set()
        while True:
            await asyncio.sleep(_REAP_INTERVAL_S)
            # A child of ours is waited for as it ends: who is still there later is an orphan.
            dead = {child.pid for child in psutil.Process().children() if _is_zombie(child)}
            for pid in (dead & before) - ours:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            before = dead

    async def _end(self, processes: list[asyncio.subprocess.Process]) -> None:
        """Let what runs drain, then end everything that we started."""
        alive = [process for process in processes if process.returncode is None]
        drain = self._drain_s if self._stopping.is_set() else 0.0
        for process in alive:
            process.terminate()
        waits = [asyncio.ensure_future(process.wait()) for process in alive]
        if waits:
            await asyncio.wait(waits, timeout=drain + _KILL_AFTER_DRAIN_S)
        _kill_descendants()


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _kill_descendants() -> None:
    """Kill and reap all that is left below this process; orphans come to us, the subreaper."""
    left = psutil.Process().children(recursive=True)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def _with_model(flags: list[str]) -> list[str]:
    """SGLang's flags, with the embedded model unless they name another."""
    names = {flag.partition("=")[0] for flag in flags}
    if names & {"--model-path", "--model", "--config", "--help", "-h"}:
        return flags
    path = embedded_model.ensure()
    name = [] if "--served-model-name" in names else ["--served-model-name", embedded_model.NAME]
    return ["--model-path", str(path), *name, *flags]


async def _serve(
    options: argparse.Namespace, flags: list[str], tools: list[ToolSpec], directory: RunDirectory
) -> int:
    return await Launcher(options, flags, tools, directory).run()


def main(argv: list[str] | None = None) -> int:
    """Parse the flags, check what can be checked before SGLang loads, then serve."""
    options, flags = build_parser().parse_known_args(argv)
    configure_logging("launcher", options.conveyor_log_level)
    try:
        check_environment(os.environ)
        tools = describe_tools(options.tools)
        if options.tools_config is not None:
            overrides = load_overrides(options.tools_config)
            tools = apply_overrides(tools, overrides, options.tools_config)
        if any(tool.sandbox for tool in tools):
            if options.unsafe_no_sandbox:
                logger.warning(
                    "--unsafe-no-sandbox: what a model wrote runs as this user, with all its files"
                )
            else:
                check_sandbox()
        flags = _with_model(flags)
        directory = RunDirectory.create()
    except ConfigurationError as error:
        print(f"sgl_conveyor: {error}", file=sys.stderr)
        return 2
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        return asyncio.run(_serve(options, flags, tools, directory))
    finally:
        _kill_descendants()
        shutil.rmtree(directory.path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
