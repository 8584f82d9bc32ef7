"""What a program author sees; the one room that knows sglang.lang."""

from sgl_conveyor.frontend.endpoint import ConveyorEndpoint
from sgl_conveyor.frontend.execution import install
from sgl_conveyor.frontend.expressions import tool_region, tool_result

install()

__all__ = ["ConveyorEndpoint", "tool_region", "tool_result"]
