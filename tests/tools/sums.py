"""Tools of an operator's own."""

from sgl_conveyor.tools import Tool


class SumLines(Tool):
    """Add the numbers of the lines."""

    timeout_s = 3.0

    def on_line(self, line):
        pass


class SameName(Tool):
    """Has the name of another tool."""

    name = "sum_lines"


class Unservable(Tool):
    """Has no worker."""

    workers = 0


not_a_tool = SumLines.on_line
