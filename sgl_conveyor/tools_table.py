"""What `sgl-conveyor tools` prints: tools with their hooks, schemas and limits."""

from __future__ import annotations

import json
from typing import Any

from rich.markup import escape
from rich.table import Table

from sgl_conveyor.specs import ToolSpec
from sgl_conveyor.tools import HOOKS


def table_of(specs: list[ToolSpec]) -> Table:
    """A row for each tool."""
    table = Table(show_lines=True)
    for title in ("tool", "input", "hooks", "limits"):
        table.add_column(title, overflow="fold")
    for spec in specs:
        hooks = ", ".join(hook for hook in HOOKS if hook in spec.hooks)
        name = f"[bold]{spec.name}[/]\n{escape(_first_line(spec))}"
        table.add_row(name, escape(_input(spec)), hooks, _limits(spec))
    return table


def _first_line(spec: ToolSpec) -> str:
    return spec.description.partition("\n\n")[0].replace("\n", " ")


def _input(spec: ToolSpec) -> str:
    """The arguments with their types, or what else the text must be."""
    if spec.parameters is not None:
        schema = json.loads(spec.parameters)
        required = schema.get("required", [])
        return "\n".join(
            f"{name}{'' if name in required else '?'}: {_type(value)}"
            for name, value in schema.get("properties", {}).items()
        )
    if spec.grammar.regex is not None:
        return "text by a regex"
    if spec.grammar.ebnf is not None:
        return "text by an EBNF grammar"
    if spec.grammar.stop:
        return "text up to " + " or ".join(map(repr, spec.grammar.stop))
    return "text"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _limits(spec: ToolSpec) -> str:
    limits = spec.limits
    lines = [
        f"workers {limits.workers} × {limits.concurrency} calls, queue {limits.queue}",
        f"timeout {limits.timeout_s:g} s",
    ]
    if limits.memory_bytes is not None:
        lines.append(f"memory {limits.memory_bytes // 1024**2} MiB")
    if limits.idle_s is not None:
        lines.append(f"idle {limits.idle_s:g} s")
    for name in ("sandbox", "replayable", "read_only"):
        if getattr(spec, name):
            lines.append(name)
    return "\n".join(lines)
