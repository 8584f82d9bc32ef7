"""SGL Conveyor: tools that run while the model is still writing their input.

Importing this package imports neither sglang nor torch; the names below come on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgl_conveyor.core import ToolError, ToolResult
    from sgl_conveyor.errors import ToolAbort
    from sgl_conveyor.frontend import ConveyorEndpoint, tool_region, tool_result
    from sgl_conveyor.tools import IncompleteResult, Tool, tool

_HOMES = {
    "ConveyorEndpoint": "sgl_conveyor.frontend",
    "Tool": "sgl_conveyor.tools",
    "ToolAbort": "sgl_conveyor.errors",
    "ToolError": "sgl_conveyor.core",
    "IncompleteResult": "sgl_conveyor.tools",
    "ToolResult": "sgl_conveyor.core",
    "tool": "sgl_conveyor.tools",
    "tool_region": "sgl_conveyor.frontend",
    "tool_result": "sgl_conveyor.frontend",
}

__all__ = [
    "ConveyorEndpoint",
    "IncompleteResult",
    "Tool",
    "ToolAbort",
    "ToolError",
    "ToolResult",
    "tool",
    "tool_region",
    "tool_result",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
