"""Which tools a server has, and the file that changes their limits."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.specs import ToolSpec

_DESCRIBE_LIMIT_S = 120.0
_CHECK_LIMIT_S = 120.0


class ToolOverrides(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One table of the file: what it leaves out stays as the tool's class has it.

    Args:
        workers: processes that serve at once.
        timeout: seconds for one hook, and from the region's end to the result.
        memory: of one worker (MiB).
        concurrency: calls at once in one worker.
        queue: calls that may wait for a worker.
        idle: seconds without a call after which its workers end, until one comes.
        environment: variables of its workers.
    """

    workers: int | None = None
    timeout: float | None = None
    memory: int | None = None
    concurrency: int | None = None
    queue: int | None = None
    idle: float | None = None
    environment: dict[str, str] = {}


def load_overrides(path: Path) -> dict[str, ToolOverrides]:
    """Read a file of tables, one a tool.

    Raises:
        ConfigurationError: it cannot be read, or says what no tool understands.
    """
    where = f"--tools-config {path}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{where}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{where}: {error}") from None
    tables: dict[str, ToolOverrides] = {}
    for name, content in document.items():
        try:
            table = tables[name] = msgspec.convert(content, type=ToolOverrides, strict=True)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{where}: {name}: {error}") from None
        for field in ("workers", "timeout", "memory", "concurrency", "queue", "idle"):
            value = getattr(table, field)
            if value is not None and not 0 < value < math.inf:
                raise ConfigurationError(f"{where}: {name}.{field} must be more than 0")
    return tables


def apply_overrides(
    tools: list[ToolSpec], overrides: dict[str, ToolOverrides], path: Path
) -> list[ToolSpec]:
    """The tools with the file's limits.

    Raises:
        ConfigurationError: the file names a tool that the server does not have.
    """
    names = [tool.name for tool in tools]
    for name in overrides:
        if name not in names:
            raise ConfigurationError(
                f"--tools-config {path}: no tool {name!r}; this server has {', '.join(names)}"
            )
    return [_override(tool, overrides.get(tool.name, ToolOverrides())) for tool in tools]


def _override(tool: ToolSpec, table: ToolOverrides) -> ToolSpec:
    if (table.concurrency or 1) > 1 and tool.limits.concurrency == 1:
        raise ConfigurationError(
            f"{tool.name}.concurrency: this tool serves one call at a time in a worker: "
            "raise workers"
        )
    given = {
        "workers": table.workers,
        "timeout_s": table.timeout,
        "memory_bytes": None if table.memory is None else table.memory * 1024**2,
        "concurrency": table.concurrency,
        "queue": table.queue,
        "idle_s": table.idle,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    return msgspec.structs.replace(
        tool,
        limits=msgspec.structs.replace(tool.limits, **changes),
        environment={**tool.environment, **table.environment},
    )


def describe_tools(sources: list[str]) -> list[ToolSpec]:
    """Load the tools in a process of their own and return what they say of themselves.

    Args:
        sources: shipped names or `module:attribute`; empty for all shipped tools.

    Raises:
        ConfigurationError: one is unknown, or could not be imported (with its traceback).
    """
    from sgl_conveyor.worker.loading import shipped_names

    argv = [
        sys.executable,
        "-m",
        "sgl_conveyor.worker",
        "--describe",
        *(sources or shipped_names()),
    ]
    run = _run(argv, _DESCRIBE_LIMIT_S)
    tools = msgspec.json.decode(run, type=list[ToolSpec])
    names = [tool.name for tool in tools]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigurationError(f"--tools names {', '.join(sorted(twice))} more than once")
    return tools


def check_sandbox() -> None:
    """Make a sandbox once, and check what it keeps.

    Raises:
        ConfigurationError: it cannot be made, or keeps less than it should; the message says why.
    """
    _run([sys.executable, "-m", "sgl_conveyor.conformance"], _CHECK_LIMIT_S)


def worker_environment() -> dict[str, str]:
    """Our environment, with which a worker without a sandbox sees our `sys.path`."""
    paths = [os.path.abspath(entry) for entry in sys.path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _run(argv: list[str], limit_s: float) -> bytes:
    try:
        run = subprocess.run(
            argv, capture_output=True, timeout=limit_s, check=False, env=worker_environment()
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"{' '.join(argv[2:])} took longer than {limit_s:g} s") from None
    if run.returncode != 0:
        raise ConfigurationError(run.stderr.decode(errors="replace").strip())
    return run.stdout
