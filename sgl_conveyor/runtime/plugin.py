"""The entry points that SGLang loads in each of its processes, on the whole machine."""

from __future__ import annotations

import os

from sgl_conveyor.runtime.environment import CPU_PLATFORM, run_directory


def register() -> None:
    """Register the scheduler's hooks, if our launcher started this process; else do nothing."""
    directory = run_directory()
    if directory is None:
        return
    from sgl_conveyor.runtime.compact_json import missing_hook, register_compact_json
    from sgl_conveyor.runtime.tap import register_tap

    register_compact_json()
    register_tap(directory, missing_hook)


def activate() -> str | None:
    """Name our CPU platform, or None unless `SGLANG_PLATFORM` asks for it."""
    if os.environ.get("SGLANG_PLATFORM") != CPU_PLATFORM:
        return None
    return "sgl_conveyor.runtime.cpu_platform.ConveyorCpuPlatform"
