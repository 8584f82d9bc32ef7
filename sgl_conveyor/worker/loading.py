"""Finding a tool by the name or the `module:attribute` that the operator gave."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TypeGuard

from sgl_conveyor.describe import describe
from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.tools import Tool


def shipped_names() -> list[str]:
    """The names of the tools that come with this package; nothing is imported for it."""
    import tool_workers

    return sorted(m.name for m in pkgutil.iter_modules(tool_workers.__path__) if m.name[0] != "_")


def expand(source: str) -> list[str]:
    """The tools that a name stands for: itself, or with `module:*` each that the module defines.

    Raises:
        ConfigurationError: the module does not exist, or defines no tool.
        Exception: whatever the module raised while it was imported.
    """
    module_name, _, attribute = source.partition(":")
    if attribute != "*":
        return [source]
    module = _module(source, module_name)
    names = [
        name
        for name, value in vars(module).items()
        if _is_tool(value) and _defined_in(value, module)
    ]
    if not names:
        raise ConfigurationError(f"{source!r}: {module_name} defines no tool")
    return [f"{module_name}:{name}" for name in names]


def load_tool(source: str) -> type[Tool]:
    """Import a tool's class.

    Args:
        source: a shipped name (`python`) or `module:attribute`.

    Raises:
        ConfigurationError: there is no such tool, or it is none.
        Exception: whatever the module raised while it was imported.
    """
    if ":" not in source:
        if source not in shipped_names():
            raise ConfigurationError(
                f"unknown tool {source!r}: the shipped tools are {', '.join(shipped_names())}; "
                "name your own as module:attribute"
            )
        return _shipped(source)
    module_name, _, attribute = source.partition(":")
    found = getattr(_module(source, module_name), attribute, None)
    if not _is_tool(found):
        raise ConfigurationError(
            f"unknown tool {source!r}: {module_name} has no Tool called {attribute!r}"
        )
    return found


def _module(source: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name + ".").startswith(error.name + "."):
            raise ConfigurationError(
                f"unknown tool {source!r}: there is no module {error.name!r} on sys.path; "
                f"the shipped tools are {', '.join(shipped_names())}"
            ) from None
        raise


def _shipped(name: str) -> type[Tool]:
    module = importlib.import_module(f"tool_workers.{name}")
    for value in vars(module).values():
        if _is_tool(value) and _defined_in(value, module) and describe(value).name == name:
            return value
    raise ConfigurationError(f"tool_workers/{name}.py defines no tool called {name!r}")


def _is_tool(value: object) -> TypeGuard[type[Tool]]:
    return isinstance(value, type) and issubclass(value, Tool) and value is not Tool


def _defined_in(value: type, module: ModuleType) -> bool:
    return value.__module__ == module.__name__
