"""python -m sgl_conveyor.runtime.server: SGLang's server with our routes and hooks; started by
the launcher, which passes SGLang's own flags on."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from typing import Any

from sgl_conveyor.core import shown_call
from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.runtime.environment import CPU_PLATFORM, run_directory
from sgl_conveyor.specs import ToolSpec

logger = logging.getLogger(__name__)

#: KV tokens on a CPU, unless the flags say otherwise: allocating more takes seconds.
_CPU_TOKENS = 32768
_CONNECT_LIMIT_S = 30.0
_ABORT_TRIES = 10
_ABORT_INTERVAL_S = 0.2
_CALL_IN_PATH = re.compile(r"(/conveyor/calls/)([^/? ]+)")


def cpu_flags(argv: list[str], cores: list[int]) -> tuple[list[str], dict[str, str]]:
    """The flags and variables that serve well on a machine without an accelerator.

    Args:
        argv: SGLang's flags as they were given; none of them is changed.
        cores: the cores that this process may use.

    Returns:
        Flags to add, and variables to set.
    """
    given = {argument.partition("=")[0] for argument in argv}
    flags: list[str] = []
    for name, value in (("--device", "cpu"), ("--max-total-tokens", str(_CPU_TOKENS))):
        if name not in given:
            flags += [name, value]
    if "--sleep-on-idle" not in given:
        flags.append("--sleep-on-idle")
    engine = cores[: max(1, len(cores) - 1)]
    return flags, {
        "SGLANG_PLATFORM": CPU_PLATFORM,
        # The first works where SGLang has its own CPU kernels, the second everywhere.
        "SGLANG_CPU_OMP_THREADS_BIND": ",".join(map(str, engine)),
        "OMP_NUM_THREADS": str(len(engine)),
    }


def main(argv: list[str]) -> int:
    """Serve until a signal; returns the exit code."""
    import torch

    if not torch.accelerator.is_available() and "SGLANG_USE_CPU_ENGINE" not in os.environ:
        flags, variables = cpu_flags(argv, sorted(os.sched_getaffinity(0)))
        argv = [*argv, *flags]
        for name, value in variables.items():
            os.environ.setdefault(name, value)
    try:
        _serve(argv)
    except ConfigurationError as error:
        print(f"sgl_conveyor: {error}", file=sys.stderr, flush=True)
        return 2
    finally:
        _end_children()
    return 0


def _serve(argv: list[str]) -> None:
    import msgspec

    from sgl_conveyor.runtime.admission import Admission
    from sgl_conveyor.runtime.refusals import check_server_args
    from sgl_conveyor.runtime.routes import make_router

    directory = run_directory()
    if directory is None:
        raise ConfigurationError(
            "this module is started by sgl_conveyor.launch_server, not by hand"
        )
    http = _HttpSide()
    Admission(http.control).register()

    from sglang.srt.plugins import load_plugins

    load_plugins()
    from sglang.srt.arg_groups.overrides import resolving_view
    from sglang.srt.entrypoints import http_server
    from sglang.srt.entrypoints.engine import init_tokenizer_manager
    from sglang.srt.server_args import prepare_server_args

    _check_hooks()
    server_args = prepare_server_args(argv)
    server_args.resolve_once()
    check_server_args(resolving_view(server_args))
    tools = msgspec.json.decode(directory.tools.read_bytes(), type=list[ToolSpec])
    http_server.app.include_router(make_router(http.control, tools))
    logging.getLogger("uvicorn.access").addFilter(_hide_calls)
    _put_outermost(http_server.app)

    def init_tokenizer(*args: Any, **kwargs: Any) -> Any:
        made = init_tokenizer_manager(*args, **kwargs)
        http.use(made[0])
        return made

    http_server.launch_server(
        server_args, init_tokenizer_manager_func=init_tokenizer, launch_callback=http.hello
    )


def _hide_calls(record: logging.LogRecord) -> bool:
    """Show no call's whole id in the access log: who knows it can read the call."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            _CALL_IN_PATH.sub(lambda found: found[1] + shown_call(found[2]), argument)
            if isinstance(argument, str)
            else argument
            for argument in record.args
        )
    return True


def _put_outermost(app: Any) -> None:
    """Have what is ours around all middleware: SGLang adds that of its API key later."""
    from sgl_conveyor.runtime.route_errors import OneForm
    from sgl_conveyor.runtime.route_guard import RouteGuard

    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: RouteGuard(OneForm(build()))


class _HttpSide:
    """The HTTP process's own part: its tokenizer manager, and the dispatcher's client."""

    def __init__(self) -> None:
        from sgl_conveyor.runtime.control import ControlClient

        self._make_client = ControlClient
        self._client: ControlClient | None = None
        self._manager: Any = None

    def use(self, manager: Any) -> None:
        """Take SGLang's tokenizer manager, and write its tokenizer for the dispatcher."""
        from sgl_conveyor.runtime.refusals import check_tokenizer

        directory = run_directory()
        assert directory is not None
        check_tokenizer(manager.tokenizer)
        directory.tokenizer.write_text(manager.tokenizer.backend_tokenizer.to_str())
        self._manager = manager

    def control(self) -> Any:
        """The client of the dispatcher, made in the event loop that first needs it."""
        if self._client is None:
            directory = run_directory()
            assert directory is not None
            self._client = self._make_client(directory, self._stop)
        return self._client

    def _stop(self, rid: str) -> None:
        """Have SGLang end a request."""
        self.control().supervisor.run(f"stopping request {rid}", self._stop_surely(rid))

    async def _stop_surely(self, rid: str) -> None:
        """Abort a request again until it is gone.

        SGLang forgets an abort that comes before its request has reached the scheduler, and
        ignores a second one; ours can come as early as that, from a tool's `open()`.
        """
        for _ in range(_ABORT_TRIES):
            state = self._manager.rid_to_state.get(rid)
            if state is not None:
                state.abort_sent = False
                self._manager.abort_request(rid)
            await asyncio.sleep(_ABORT_INTERVAL_S)

    def hello(self) -> None:
        """Say that the server answers; called in SGLang's warm-up thread."""
        try:
            future = asyncio.run_coroutine_threadsafe(self._hello(), self._manager.event_loop)
            future.result(timeout=2 * _CONNECT_LIMIT_S)
        except Exception:
            # Nobody looks at what this thread raises, and the launcher waits for the hello.
            logger.exception("the HTTP side could not say hello to the dispatcher")
            os._exit(2)

    async def _hello(self) -> None:
        from sgl_conveyor import messages as m

        directory = run_directory()
        assert directory is not None
        client = self.control()
        await client.connected(_CONNECT_LIMIT_S)
        client.tell(m.HttpHello(os.getpid(), str(directory.tokenizer)))


def _check_hooks() -> None:
    """Refuse to start when SGLang only logged that a hook could not be applied."""
    import pkgutil

    from sgl_conveyor.runtime.admission import GENERATE_REQUEST, SERVE_GENERATE

    for target in (GENERATE_REQUEST, SERVE_GENERATE):
        if not hasattr(pkgutil.resolve_name(target), "__wrapped__"):
            raise ConfigurationError(f"the hook on {target} is not in place: see the log above")


def _end_children() -> None:
    from sglang.srt.utils import kill_process_tree

    kill_process_tree(os.getpid(), include_parent=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
