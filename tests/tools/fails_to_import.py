"""A tool whose module raises when it is imported."""

from sgl_conveyor.tools import Tool


class Broken(Tool):
    """Never comes to be used."""


raise RuntimeError("the licence server does not answer")
