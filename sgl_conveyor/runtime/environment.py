"""The variables by which our launcher marks SGLang's processes as its own."""

from __future__ import annotations

import os
from pathlib import Path

from sgl_conveyor.channel import RunDirectory

#: The run directory of the server that a process belongs to. SGLang warns of all that begins with
#: `SGL_`.
RUN_DIRECTORY = "CONVEYOR_RUN_DIRECTORY"
#: The names of our entry points.
PLUGIN = "sgl_conveyor"
CPU_PLATFORM = "sgl_conveyor_cpu"


def run_directory() -> RunDirectory | None:
    """The run directory of our launcher, or None in an SGLang that is none of ours."""
    path = os.environ.get(RUN_DIRECTORY)
    return RunDirectory(Path(path)) if path else None
