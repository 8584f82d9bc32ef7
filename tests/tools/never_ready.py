"""A tool whose module takes for ever to import, where its environment says so."""

import os
import time

from sgl_conveyor.tools import Tool


class NeverReady(Tool):
    """Its workers never say hello."""


if "NEVER_READY" in os.environ:
    time.sleep(600)
