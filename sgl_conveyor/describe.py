"""From a tool's class to the description that the other processes use."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import msgspec

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.specs import Grammar, Limits, ToolInfo, ToolSpec
from sgl_conveyor.tools import HOOKS, Tool

#: Memory of a sandboxed worker, unless the server's configuration gives it another limit (bytes).
SANDBOX_MEMORY_BYTES = 2 * 1024**3


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
    for attribute in ("timeout_s", "workers", "queue", "concurrency", "idle_s"):
        value = getattr(tool, attribute)
        if value is None and attribute in ("concurrency", "idle_s"):
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
    if stop is not None and "" in stop:
        raise ConfigurationError(f"{where} has an empty text in stop: name a text, or none at all")
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
            idle_s=tool.idle_s,
        ),
        sandbox=tool.sandbox,
        replayable=tool.replayable or tool.read_only,
        read_only=tool.read_only,
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


def info_of(spec: ToolSpec) -> ToolInfo:
    """What other tools may know of a tool."""
    return ToolInfo(spec.name, spec.description, spec.parameters, spec.read_only)


def openai_function(spec: ToolSpec) -> dict[str, Any]:
    """A tool in the OpenAI function format, with what is ours beside it."""
    nothing = '{"type": "object", "properties": {}}'
    return {
        "type": "function",
        "function": {
            "name": spec.name,
            "description": spec.description,
            "parameters": json.loads(spec.parameters or nothing),
        },
        "conveyor": {
            "hooks": [hook for hook in HOOKS if hook in spec.hooks],
            "grammar": msgspec.to_builtins(msgspec.structs.replace(spec.grammar, json_schema=None)),
            "limits": msgspec.to_builtins(spec.limits),
            "sandbox": spec.sandbox,
            "replayable": spec.replayable,
            "read_only": spec.read_only,
        },
    }
