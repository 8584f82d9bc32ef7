"""Finding a tool by the name or the `module:attribute` that the operator gave."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TypeGuard

from sgl_conveyor.core import ConfigurationError
from sgl_conveyor.describe import describe
from sgl_conveyor.tools import Tool


def shipped_names() -> list[str]:
    """The names of the tools that come with this package; nothing is imported for it."""
    import tool_workers

    return sorted(m.name for m in pkgutil.iter_modules(tool_workers.__path__) if m.name[0] != "_")


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
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise ConfigurationError(
                f"unknown tool {source!r}: there is no module {error.name!r} on sys.path; "
                f"the shipped tools are {', '.join(shipped_names())}"
            ) from None
        raise
    found = getattr(module, attribute, None)
    if not _is_tool(found):
        raise ConfigurationError(
            f"unknown tool {source!r}: {module_name} has no Tool called {attribute!r}"
        )
    return found


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
