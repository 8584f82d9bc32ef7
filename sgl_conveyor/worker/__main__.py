"""python -m sgl_conveyor.worker: describe tools, or serve one."""

from __future__ import annotations

import argparse
import os
import resource
import socket
import sys
import traceback
from pathlib import Path

import msgspec

from sgl_conveyor.cgroup import enter
from sgl_conveyor.errors import ChannelClosed, ConfigurationError, ConveyorError
from sgl_conveyor.messages import WorkerConfig
from sgl_conveyor.processes import die_with, file_of


def main(argv: list[str]) -> int:
    """Run one of the two tasks of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sgl_conveyor.worker")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument(
        "--describe", nargs="+", metavar="TOOL", help="print the tools' descriptions as JSON"
    )
    task.add_argument(
        "--serve",
        metavar="TOOL",
        help="serve one tool, whose configuration comes on standard input; TOOL is for readers of "
        "process lists (started by the dispatcher)",
    )
    args = parser.parse_args(argv)
    try:
        if args.describe:
            return _describe(args.describe)
        return _serve(msgspec.json.decode(sys.stdin.buffer.read(), type=WorkerConfig))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2


def _describe(sources: list[str]) -> int:
    from sgl_conveyor.describe import describe
    from sgl_conveyor.worker.loading import expand, load_tool

    specs = []
    for source in sources:
        try:
            for name in expand(source):
                specs.append(describe(load_tool(name), name if ":" in name else None))
        except ConveyorError:
            raise
        except Exception:
            raise ConfigurationError(
                f"the tool {source!r} could not be imported:\n{traceback.format_exc().rstrip()}"
            ) from None
    sys.stdout.buffer.write(msgspec.json.encode(specs))
    return 0


def _serve(config: WorkerConfig) -> int:
    if not config.inside:
        die_with(config.parent)
        if config.cgroup is not None:
            enter(Path(config.cgroup))
    if config.sandboxed and not config.inside:
        _enter_sandbox(config)
    # The configuration has been read: a tool that reads finds nothing.
    _become_stdin(os.open(os.devnull, os.O_RDONLY))
    channel = socket.socket(fileno=config.channel)
    # A program that the tool starts has no business with it.
    channel.set_inheritable(False)
    from sgl_conveyor.worker.confinement import apply_limits, give_way
    from sgl_conveyor.worker.landlock import restrict_files
    from sgl_conveyor.worker.loading import load_tool
    from sgl_conveyor.worker.loop import Served, serve

    if config.sandboxed:
        # What the tool imports may start threads, and those would stay outside.
        restrict_files()
    tool = load_tool(config.spec.source)
    if config.sandboxed:
        give_way()
        apply_limits(config.spec.limits)
    elif config.spec.limits.memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (config.spec.limits.memory_bytes,) * 2)
    tool.start()
    registry = {info.name: info for info in config.registry}
    served = Served(tool, config.spec, config.once, registry, config.result_bytes)
    try:
        serve(channel, served)
    except ChannelClosed:
        return 1
    return 0


def _enter_sandbox(config: WorkerConfig) -> None:
    # Only what it takes: the process that is within imports the rest, and this one is gone then.
    from sgl_conveyor.worker.confinement import leave_keyring
    from sgl_conveyor.worker.sandbox import command

    leave_keyring()
    assert config.syscall_filter is not None
    within = msgspec.structs.replace(config, inside=True)
    argv = command(
        [sys.executable, "-m", "sgl_conveyor.worker", "--serve", config.spec.source],
        module=config.spec.source.partition(":")[0],
        syscall_filter=config.syscall_filter,
        environment=config.spec.environment,
    )
    _become_stdin(file_of("worker-config", msgspec.json.encode(within)))
    # Not even bubblewrap keeps our environment: its memory may be seen from inside.
    os.execve(argv[0], argv, {"PATH": os.environ.get("PATH", os.defpath)})


def _become_stdin(descriptor: int) -> None:
    os.dup2(descriptor, 0)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
