"""python -m sgl_conveyor.launch_server: SGLang's server, the dispatcher and the workers as one.

This process only starts the others, watches them and ends them; it imports neither SGLang nor
torch. All of SGLang's flags are passed on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from pathlib import Path

from sgl_conveyor import embedded_model
from sgl_conveyor.cgroup import take_over
from sgl_conveyor.channel import RunDirectory
from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.launcher.address import check_address
from sgl_conveyor.launcher.descendants import become_subreaper, kill_all
from sgl_conveyor.launcher.flags import Options, parse
from sgl_conveyor.launcher.launcher import READY, Launcher
from sgl_conveyor.processes import configure_logging, raise_descriptor_limit
from sgl_conveyor.runtime.refusals import check_environment
from sgl_conveyor.specs import ToolSpec
from sgl_conveyor.tools_config import (
    apply_overrides,
    check_sandbox,
    describe_tools,
    load_overrides,
)

__all__ = ["READY", "main"]

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Parse the flags, check what can be checked before SGLang loads, then serve."""
    try:
        options, flags = parse(argv)
        configure_logging("launcher", options.log_level)
        check_address(flags)
        check_environment(os.environ)
        tools = _tools(options)
        flags = _with_model(flags)
        cgroup = _cgroup() if any(tool.sandbox for tool in tools) else None
        directory = RunDirectory.create()
    except ConfigurationError as error:
        print(f"sgl_conveyor: {error}", file=sys.stderr)
        return 2
    # Each worker takes some of the dispatcher's descriptors; 1024 would be few.
    raise_descriptor_limit()
    become_subreaper()
    try:
        return asyncio.run(_serve(options, flags, tools, directory, cgroup))
    finally:
        kill_all()
        shutil.rmtree(directory.path, ignore_errors=True)


def _tools(options: Options) -> list[ToolSpec]:
    """The tools that our flags name, when they can be run here."""
    path = options.tools_config
    # Read first: a mistake in it is found before any tool is imported.
    overrides = {} if path is None else load_overrides(path)
    tools = describe_tools(options.tools)
    if path is not None:
        tools = apply_overrides(tools, overrides, path)
    if any(tool.sandbox for tool in tools):
        if options.unsafe:
            logger.warning(
                "--unsafe-no-sandbox: what a model wrote runs as this user, with all its files"
            )
        else:
            check_sandbox()
    return tools


def _cgroup() -> Path | None:
    """The cgroup whose children hold sandboxes, if one is delegated to us."""
    try:
        return take_over()
    except ConfigurationError as error:
        logger.info("no cgroup keeps the sandboxes' limits: %s", error)
        return None


def _with_model(flags: list[str]) -> list[str]:
    """SGLang's flags, with the embedded model unless they name another."""
    names = {flag.partition("=")[0] for flag in flags}
    if names & {"--model-path", "--model", "--config"}:
        return flags
    path = embedded_model.ensure()
    name = [] if "--served-model-name" in names else ["--served-model-name", embedded_model.NAME]
    return ["--model-path", str(path), *name, *flags]


async def _serve(
    options: Options,
    flags: list[str],
    tools: list[ToolSpec],
    directory: RunDirectory,
    cgroup: Path | None,
) -> int:
    return await Launcher(options, flags, tools, directory, cgroup).run()


if __name__ == "__main__":
    sys.exit(main())
