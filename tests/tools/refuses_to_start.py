"""A tool that cannot be served as it is configured."""

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.tools import Tool


class Refuses(Tool):
    """Says so before any call."""

    @classmethod
    def start(cls) -> None:
        raise ConfigurationError("it is configured badly: configure it well")
