"""A tool that needs a package which is not there."""

import a_package_that_nobody_has  # noqa: F401

from sgl_conveyor.tools import Tool


class Lacking(Tool):
    """Never comes to be used."""
