"""sgl-conveyor: the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sgl_conveyor.core import ConveyorError


def build_parser() -> argparse.ArgumentParser:
    """The commands and their flags."""
    parser = argparse.ArgumentParser(prog="sgl-conveyor", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="watch a tool run while its call is decoded, and compare"
    )
    demo.add_argument("--url", help="use this server instead of starting one")
    demo.add_argument("--repeat", type=int, default=5, help="runs of each mode (default: 5)")
    demo.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    demo.add_argument("--plain", action="store_true", help="no live view, a line for each run")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    args = build_parser().parse_args(argv)
    from sgl_conveyor.demo import run_demo

    try:
        return run_demo(args.url, repeat=args.repeat, json_file=args.json, plain=args.plain)
    except ConveyorError as error:
        print(f"sgl-conveyor: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
