"""The launcher's own flags; all others are SGLang's."""

from __future__ import annotations

import argparse
import difflib
from dataclasses import dataclass
from pathlib import Path

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.messages import MAX_FRAME_BYTES
from sgl_conveyor.specs import RESULT_BYTES

MIB = 1024 * 1024
#: A result, and what else there is to say of a call, is one frame.
MOST_RESULT_MIB = MAX_FRAME_BYTES // 2 // MIB

#: A beginning of ours that is as long as this is no abbreviation of a flag of SGLang.
_SURE_CHARS = len("--tool")
#: A flag of SGLang that is nearly ours when it is abbreviated.
_TOOL_SERVER = "--tool-server"
#: How alike two names are when one of them is a slip of the pen (0 to 1).
_ALIKE = 0.85


@dataclass(frozen=True)
class Options:
    """What our flags say.

    Args:
        tools: shipped names, `module:attribute` or `module:*`; empty for all shipped tools.
        tools_config: the file that changes the tools' limits.
        unsafe: whether what a model wrote runs without a sandbox.
        log_level: of our own processes.
        drain_s: seconds that running requests get at the end.
        keep_s: seconds that a result is kept.
        keep_calls: calls that are kept at most.
        keep_mib: MiB of results that are kept at most.
        result_mib: MiB that a call may return.
        restarts: how often SGLang is started again when a process of it died.
    """

    tools: list[str]
    tools_config: Path | None
    unsafe: bool
    log_level: str
    drain_s: float
    keep_s: float
    keep_calls: int
    keep_mib: int
    result_mib: int
    restarts: int


def parse(argv: list[str] | None) -> tuple[Options, list[str]]:
    """Our flags, and those that are SGLang's.

    Args:
        argv: the command line; None for that of this process.

    Raises:
        ConfigurationError: a flag is none of SGLang's, and nearly one of ours.
        SystemExit: a flag of ours has a value that makes no sense.
    """
    parser = build_parser()
    given, sglang_flags = parser.parse_known_args(argv)
    for flag in sglang_flags:
        if flag == "--":
            break
        check_flag(flag)
    return Options(**vars(given)), sglang_flags


def check_flag(flag: str) -> None:
    """Refuse what is nearly a flag of ours: SGLang would say so only after it has loaded.

    Args:
        flag: an argument that is none of our flags.

    Raises:
        ConfigurationError: naming the flags that may be meant.
    """
    name = flag.partition("=")[0]
    abbreviates = len(name) > len("--tool-") and _TOOL_SERVER.startswith(name)
    if not name.startswith("--") or abbreviates:
        return
    spelled = name.replace("_", "-")
    ours = [text for text in build_parser()._option_string_actions if text not in ("--help", "-h")]
    meant = [known for known in ours if known.startswith(spelled)]
    if not meant or len(spelled) < _SURE_CHARS:
        meant = difflib.get_close_matches(spelled, ours, n=1, cutoff=_ALIKE)
    if meant:
        raise ConfigurationError(f"{name} is no flag: did you mean {' or '.join(meant)}?")
    if spelled.startswith("--conveyor"):
        raise ConfigurationError(f"{name} is no flag: --help lists those that there are")


def build_parser() -> argparse.ArgumentParser:
    """Our own flags; the names of their values are the fields of `Options`."""
    parser = argparse.ArgumentParser(
        prog="python -m sgl_conveyor.launch_server",
        description="Serve a model with SGLang, and run its tools while their calls are decoded.",
        epilog="All other flags are passed on to SGLang: see sglang serve --help.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--tools",
        nargs="+",
        default=[],
        metavar="TOOL",
        help="shipped names, module:attribute or module:* (default: all shipped tools)",
    )
    add(
        "--tools-config",
        type=Path,
        metavar="FILE.toml",
        help="for each tool: workers, timeout, memory, environment",
    )
    add(
        "--unsafe-no-sandbox",
        dest="unsafe",
        action="store_true",
        help="run what a model wrote without a sandbox, as this user",
    )
    add(
        "--conveyor-log-level",
        dest="log_level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="of our own processes (default: info)",
    )
    add(
        "--conveyor-drain",
        dest="drain_s",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="that running requests get at SIGINT or SIGTERM (default: 5)",
    )
    add(
        "--conveyor-keep-seconds",
        dest="keep_s",
        type=_seconds,
        default=600.0,
        metavar="SECONDS",
        help="that a result is kept (default: 600)",
    )
    add(
        "--conveyor-keep-calls",
        dest="keep_calls",
        type=_at_least_1,
        default=10_000,
        metavar="N",
        help="calls that are kept at most (default: 10000)",
    )
    add(
        "--conveyor-keep-mib",
        dest="keep_mib",
        type=_at_least_1,
        default=256,
        metavar="MIB",
        help="of results that are kept at most (default: 256)",
    )
    add(
        "--conveyor-result-mib",
        dest="result_mib",
        type=_result_mib,
        default=RESULT_BYTES // MIB,
        metavar="MIB",
        help="that a call may return: value, files and output together "
        f"(default: {RESULT_BYTES // MIB}, at most {MOST_RESULT_MIB})",
    )
    add(
        "--conveyor-restart",
        dest="restarts",
        type=_not_negative,
        default=0,
        metavar="N",
        help="times that SGLang is started again when a process of it dies (default: 0)",
    )
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _result_mib(text: str) -> int:
    value = _at_least_1(text)
    if value > MOST_RESULT_MIB:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_RESULT_MIB}")
    return value


def _at_least_1(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
