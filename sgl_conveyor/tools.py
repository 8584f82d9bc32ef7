"""What a tool author sees: `Tool`, its hooks, `@tool` for plain functions, and `ToolAbort`."""

from __future__ import annotations

import inspect
import time
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, overload

from sgl_conveyor.core import ToolResult
from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.specs import ToolInfo

#: The hooks that a tool may override, in the order in which a call can reach them.
HOOKS = (
    "open", "on_text", "on_line", "on_statement", "on_argument", "finish", "abort",
)  # fmt: skip


@dataclass(frozen=True)
class IncompleteResult:
    """Returned by `finish`: a value that is only a part of what was asked, and why.

    Args:
        value: what there is.
        type: the error's type, as `ToolResult.error.type` shows it.
        message: one sentence.
    """

    value: Any
    type: str
    message: str


@dataclass(frozen=True)
class CallInfo:
    """The call that a tool's instance serves: its id, the tool's name, the region's name."""

    id: str
    tool: str
    region: str


class Host(Protocol):
    """Who runs a tool's instance, and passes on what it says."""

    tools: Mapping[str, ToolInfo]

    def emit(self, text: str) -> None: ...

    def attach(self, name: str, media_type: str, data: bytes) -> None: ...

    def worked(self, label: str, started: float, ended: float) -> None: ...

    async def call_tool(self, name: str, text: str) -> ToolResult: ...


class Tool:
    """A tool: override the hooks that it can use; one instance serves one call.

    What a hook does before `finish` must be undone by `abort`, or have no outside effect.
    Hooks are plain functions or coroutines.

    Class attributes:
        name: what programs call it; by default the class's name in snake case.
        Args: a pydantic model; gives the region's JSON-schema grammar, and `self.args` in `finish`.
        regex, ebnf, stop: other grammars for the region's text.
        sandbox: True for a tool that runs what a model wrote.
        timeout_s: seconds for one hook, and from the region's end to the result.
        concurrency: calls at once in one worker; by default 64 if all hooks are coroutines,
            else 1, and always 1 in a sandbox.
        workers: processes that serve at once.
        queue: calls that may wait for a worker.
        idle_s: seconds without a call after which a worker ends, until one comes; None: never.
        replayable: True says that nothing before `finish` has an outside effect: a call whose
            worker dies or stalls gets its units again on a fresh one, once.
        read_only: True says that nothing at all has one, `finish` included.
    """

    name: ClassVar[str] = ""
    Args: ClassVar[Any] = None
    regex: ClassVar[str | None] = None
    ebnf: ClassVar[str | None] = None
    stop: ClassVar[str | list[str] | None] = None
    sandbox: ClassVar[bool] = False
    timeout_s: ClassVar[float] = 30.0
    concurrency: ClassVar[int | None] = None
    workers: ClassVar[int] = 1
    queue: ClassVar[int] = 256
    idle_s: ClassVar[float | None] = None
    replayable: ClassVar[bool] = False
    read_only: ClassVar[bool] = False

    #: The call that this instance serves.
    call: CallInfo
    #: The region's arguments, checked against `Args`: in `finish`, not before.
    args: Any = None
    _host: Host

    @classmethod
    def start(cls) -> None:
        """Once in each worker, before its first call: check the configuration, connect.

        Raises:
            ConfigurationError: this tool cannot be served so; the server does not start.
        """

    def open(self) -> Any:
        """The region has begun: connect, import, warm up; no side effect."""

    def on_text(self, delta: str) -> Any:
        """A piece of the region's text, as it is decoded."""

    def on_line(self, line: str) -> Any:
        """One line of the region's text, without its ending."""

    def on_statement(self, source: str) -> Any:
        """One complete top-level Python statement, exactly as it was written."""

    def on_argument(self, path: str, value: Any) -> Any:
        """One complete JSON value with its path: `a.b`, `values[2].name`, `["a.b"]`."""

    def finish(self) -> Any:
        """The region is complete: commit, and return the result (anything JSON can hold)."""

    def abort(self, reason: str) -> Any:
        """The region will never complete, or a hook raised: undo."""

    def emit(self, text: str) -> None:
        """Send output to the program while the call is still running.

        Raises:
            RuntimeError: called in another thread or process than the hooks run in.
        """
        self._host.emit(text)

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """Add a file to the result.

        Args:
            name: its file name.
            media_type: `image/png`, say.
            data: its bytes; at most 16 MiB for all of a call's files together.

        Raises:
            ValueError: the limit is passed.
        """
        self._host.attach(name, media_type, data)

    @contextmanager
    def span(self, label: str) -> Iterator[None]:
        """Say that work beside the hooks goes on here, in a task say, so that timings show it."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._host.worked(label, started, time.monotonic())

    @property
    def tools(self) -> Mapping[str, ToolInfo]:
        """The server's tools, by name; empty in a sandbox."""
        return self._host.tools

    async def call_tool(self, name: str, text: str) -> ToolResult:
        """Call another tool of the server, and wait for its result.

        What it does in `finish` cannot be undone by our `abort`: call a tool that is not
        `read_only` in our own `finish`.

        Args:
            name: the other tool's.
            text: its input, as a region would have it: JSON if it has `Args`.

        Raises:
            RuntimeError: called by a tool in a sandbox, or with plain hooks.
        """
        return await self._host.call_tool(name, text)


class FunctionTool(Tool):
    """What `@tool` makes: the function runs at `finish`, with the region's arguments."""

    #: The function itself.
    function: ClassVar[Callable[..., Any]]

    def _arguments(self) -> dict[str, Any]:
        return {name: getattr(self.args, name) for name in type(self.args).model_fields}


@overload
def tool(function: Callable[..., Any], /) -> type[FunctionTool]: ...


@overload
def tool(**attributes: Any) -> Callable[[Callable[..., Any]], type[FunctionTool]]: ...


def tool(function: Callable[..., Any] | None = None, /, **attributes: Any) -> Any:
    """Make a tool of a plain or `async` function: schema from its type hints, docstring as text.

    Args:
        function: the function; its parameters become `Args`.
        attributes: class attributes of `Tool`: `timeout_s=5`, `read_only=True`.

    Raises:
        ConfigurationError: a parameter has no type, or cannot be given by name.
    """
    if function is None:
        return lambda given: _function_tool(given, attributes)
    return _function_tool(function, attributes)


def _function_tool(function: Callable[..., Any], attributes: dict[str, Any]) -> type[FunctionTool]:
    # Only those who need pydantic pay for its import.
    from pydantic import PydanticUserError, create_model

    where = f"@tool on {function.__module__}:{function.__qualname__}"
    unknown = [name for name in attributes if not hasattr(Tool, name)]
    if unknown:
        raise ConfigurationError(f"{where}: a tool has no attribute {', '.join(unknown)}")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigurationError(f"{where}: its type hints cannot be read: {error}") from None
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigurationError(f"{where}: the parameter {name} cannot be given by name")
        if name.startswith(("_", "model_")):
            raise ConfigurationError(f"{where}: rename the parameter {name}: pydantic keeps it")
        if name not in hints:
            raise ConfigurationError(f"{where}: give the parameter {name} a type")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints[name], default)

    try:
        arguments = create_model(f"{function.__name__}_arguments", **fields)
        arguments.model_json_schema()
    except (PydanticUserError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"{where}: its parameters have no schema: {reason}") from None

    def finish(self: FunctionTool) -> Any:
        return function(**self._arguments())

    async def finish_async(self: FunctionTool) -> Any:
        return await function(**self._arguments())

    members = {
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "name": function.__name__,
        "function": staticmethod(function),
        "Args": arguments,
        "finish": finish_async if inspect.iscoroutinefunction(function) else finish,
        **attributes,
    }
    return type(function.__name__, (FunctionTool,), members)
