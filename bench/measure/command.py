"""What the commands of the benches have in common: their flags and their files."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def command(description: str | None, json: str | None = None) -> argparse.ArgumentParser:
    """A parser with `--json`, where the figures go.

    Args:
        description: the module's docstring.
        json: the file unless the flag names one; None: none is written.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--json", type=result_file, default=json, metavar="FILE", help="where the figures go"
    )
    return parser


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--server-flags`; the arguments have a list of words."""
    parser.add_argument(
        "--server-flags", type=str.split, default=[], help="further flags of both servers"
    )


def result_file(text: str) -> Path:
    """An argparse `type`: a file that can be written, its folder made if it is not there.

    Raises:
        argparse.ArgumentTypeError: it cannot be, before anything is measured.
    """
    path = Path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"no folder for {text}: {error.strerror}") from None
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written")
    return path


def count(text: str) -> int:
    """An argparse `type`: a number from 1.

    Raises:
        argparse.ArgumentTypeError: it is less.
    """
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
