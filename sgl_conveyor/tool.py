"""What a tool author sees: `Tool`, its hooks, and `ToolAbort`."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from sgl_conveyor.core import ConfigurationError, ConveyorError, Grammar, Limits, ToolSpec

#: The hooks that a tool may override, in the order in which a call can reach them.
HOOKS = ("open", "on_text", "on_line", "on_statement", "finish", "abort")

#: Memory of a sandboxed worker, unless the server's configuration gives it another limit (bytes).
SANDBOX_MEMORY_BYTES = 2 * 1024**3


class ToolAbort(ConveyorError):
    """Raised by a hook: decoding of the region stops at once, and `abort(reason)` runs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ToolFailure:
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


class Tool:
    """A tool: override the hooks that it can use; one instance serves one call.

    What a hook does before `finish` must be undone by `abort`, or have no outside effect.
    Hooks are plain functions or coroutines.

    Class attributes:
        name: what programs call it; by default the class's name in snake case.
        Args: a pydantic model; gives the region's JSON-schema grammar.
        regex, ebnf, stop: other grammars for the region's text.
        sandbox: True for a tool that runs what a model wrote.
        timeout_s: seconds for one hook, and from the region's end to the result.
        concurrency: calls at once in one worker; by default 64 if all hooks are coroutines,
            else 1, and always 1 in a sandbox.
        workers: processes that serve at once.
        queue: calls that may wait for a worker.
        replayable: True says that nothing before `finish` has an outside effect.
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
    replayable: ClassVar[bool] = False

    call: CallInfo
    _emit: Callable[[str], None]

    def open(self) -> Any:
        """The region has begun: connect, import, warm up; no side effect."""

    def on_text(self, delta: str) -> Any:
        """A piece of the region's text, as it is decoded."""

    def on_line(self, line: str) -> Any:
        """One line of the region's text, without its ending."""

    def on_statement(self, source: str) -> Any:
        """One complete top-level Python statement, exactly as it was written."""

    def finish(self) -> Any:
        """The region is complete: commit, and return the result (anything JSON can hold)."""

    def abort(self, reason: str) -> Any:
        """The region will never complete, or a hook raised: undo."""

    def emit(self, text: str) -> None:
        """Send output to the program while the call is still running.

        Raises:
            RuntimeError: called in another thread or process than the hooks run in.
        """
        self._emit(text)


def describe(tool: type[Tool], source: str | None = None) -> ToolSpec:
    """Read a tool's class into the description that the other processes use.

    Args:
        tool: the class.
        source: where a worker finds it, `module:attribute`; by default where it was defined.

    Raises:
        ConfigurationError: an attribute has a value that cannot be served.
    """
    name = tool.name or snake_case(tool.__name__)
    where = f"the tool {name!r} ({tool.__module__}:{tool.__qualname__})"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name):
        raise ConfigurationError(f"{where} has a name that is no identifier: rename it")
    for attribute in ("timeout_s", "workers", "queue", "concurrency"):
        value = getattr(tool, attribute)
        if value is None and attribute == "concurrency":
            continue
        if not isinstance(value, (int, float)) or not value > 0:
            raise ConfigurationError(
                f"{where} has {attribute} = {getattr(tool, attribute)}: give more than 0"
            )
    schema = _schema(tool, where)
    given = [n for n in ("regex", "ebnf") if getattr(tool, n) is not None]
    if len(given) > 1:
        raise ConfigurationError(f"{where} has both regex and ebnf: give one grammar")
    hooks = frozenset(h for h in HOOKS if getattr(tool, h) is not getattr(Tool, h))
    stop = [tool.stop] if isinstance(tool.stop, str) else tool.stop
    return ToolSpec(
        name=name,
        source=source or f"{tool.__module__}:{tool.__qualname__}",
        description=inspect.cleandoc(tool.__doc__ or ""),
        parameters=schema,
        hooks=hooks,
        grammar=Grammar(
            regex=tool.regex,
            ebnf=tool.ebnf,
            json_schema=None if given else schema,
            stop=stop,
        ),
        limits=Limits(
            timeout_s=tool.timeout_s,
            concurrency=_concurrency(tool, hooks),
            workers=tool.workers,
            queue=tool.queue,
            memory_bytes=SANDBOX_MEMORY_BYTES if tool.sandbox else None,
        ),
        sandbox=tool.sandbox,
        replayable=tool.replayable,
    )


def is_async(tool: type[Tool]) -> bool:
    """Whether any hook that the tool overrides is a coroutine."""
    return any(inspect.iscoroutinefunction(getattr(tool, hook)) for hook in HOOKS)


def snake_case(name: str) -> str:
    """`SlowLines` → `slow_lines`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _concurrency(tool: type[Tool], hooks: frozenset[str]) -> int:
    if tool.sandbox:
        return 1
    if tool.concurrency is not None:
        if tool.concurrency > 1 and not is_async(tool):
            raise ConfigurationError(
                f"the tool {tool.__name__} has concurrency = {tool.concurrency} and plain hooks: "
                "make them coroutines, or raise workers"
            )
        return tool.concurrency
    all_async = bool(hooks) and all(inspect.iscoroutinefunction(getattr(tool, h)) for h in hooks)
    return 64 if all_async else 1


def _schema(tool: type[Tool], where: str) -> str | None:
    if tool.Args is None:
        return None
    try:
        return json.dumps(tool.Args.model_json_schema())
    except AttributeError:
        raise ConfigurationError(
            f"{where} has Args that is no pydantic model: derive it from BaseModel"
        ) from None
