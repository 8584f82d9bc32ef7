"""sgl-conveyor: the command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from sgl_conveyor.errors import ConveyorError


def build_parser() -> argparse.ArgumentParser:
    """The commands and their flags."""
    parser = argparse.ArgumentParser(prog="sgl-conveyor", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="watch a tool run while its call is decoded, and compare",
        allow_abbrev=False,
    )
    demo.add_argument("--url", help="use this server instead of starting one")
    demo.add_argument("--repeat", type=int, default=5, help="runs of each mode (default: 5)")
    demo.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    demo.add_argument("--plain", action="store_true", help="no live view, a line for each run")
    tools = commands.add_parser(
        "tools", help="list tools: names, hooks, schemas, limits", allow_abbrev=False
    )
    tools.add_argument(
        "--tools",
        nargs="+",
        default=[],
        metavar="TOOL",
        help="as the server's: names, module:attribute or module:* (default: all shipped tools)",
    )
    tools.add_argument("--tools-config", type=Path, metavar="FILE.toml", help="as the server's")
    tools.add_argument("--json", action="store_true", help="in the OpenAI function format")
    commands.add_parser(
        "doctor",
        help="check what the sandbox keeps on this machine; exit code 1: less than it should, "
        "2: none can be made",
        allow_abbrev=False,
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    args = build_parser().parse_args(argv)
    try:
        if args.command == "tools":
            return _tools(args.tools, args.tools_config, as_json=args.json)
        if args.command == "doctor":
            from rich.console import Console

            from sgl_conveyor.conformance.doctor import run_doctor

            return run_doctor(Console())
        from sgl_conveyor.demo import run_demo

        return run_demo(args.url, repeat=args.repeat, json_file=args.json, plain=args.plain)
    except ConveyorError as error:
        print(f"sgl-conveyor: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _tools(sources: list[str], config: Path | None, *, as_json: bool) -> int:
    # What `python -m` gives the server: modules of the current folder are found.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    from rich.console import Console

    from sgl_conveyor.describe import openai_function
    from sgl_conveyor.tools_config import apply_overrides, describe_tools, load_overrides
    from sgl_conveyor.tools_table import table_of

    specs = describe_tools(sources)
    if config is not None:
        specs = apply_overrides(specs, load_overrides(config), config)
    if as_json:
        print(json.dumps({"tools": [openai_function(spec) for spec in specs]}, indent=2))
    else:
        Console().print(table_of(specs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
