"""A tool in a sandbox whose start takes more of a core than a program may before it gives way."""

import time

from sgl_conveyor.tools import Tool

while time.process_time() < 1.5:
    pass


class SlowToImport(Tool):
    """Waits for a moment."""

    sandbox = True

    def finish(self) -> str:
        time.sleep(1)
        return "waited"
