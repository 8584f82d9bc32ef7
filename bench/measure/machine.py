"""The machine on which something is measured, and what is measured on it."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.analyse.runs import Machine
from sgl_conveyor import embedded_model

_PACKAGES = ("sglang", "torch", "xgrammar", "pyzmq", "msgspec")
_CHECKOUT = Path(__file__).parents[2]
#: What the measurements themselves write into the checkout is no change of what is measured.
_WRITTEN = ("bench/REPORT.md", "bench/summary.json", "bench/figures")
_GIT_LIMIT_S = 30


def this_machine(server_flags: Sequence[str] = ()) -> Machine:
    """What can be said of it without naming it.

    Args:
        server_flags: what the servers were given; the embedded model is served unless they name
            another.
    """
    import torch

    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name if spec is not None else os.path.basename(sys.argv[0])
    return Machine(
        date=datetime.date.today().isoformat(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / 1024**3, 1),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        versions={
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        command=shlex.join(["python", "-m", module, *sys.argv[1:]]),
        package=importlib.metadata.version("sgl-conveyor"),
        commit=commit_of(_CHECKOUT),
        model=model_of(server_flags),
    )


def commit_of(checkout: Path) -> str:
    """The commit that is checked out, `+changes` if files differ from it; empty without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(checkout), *arguments]
        return subprocess.check_output(
            command, text=True, stderr=subprocess.DEVNULL, timeout=_GIT_LIMIT_S
        ).strip()

    try:
        commit = git("rev-parse", "--short", "HEAD")
        changes = git("status", "--porcelain", "--", ".", *(f":!{path}" for path in _WRITTEN))
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}+changes" if changes else commit


def model_of(server_flags: Sequence[str]) -> str:
    """What a server with these flags of SGLang serves; of a folder, only its name."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model-path", "--model", default=embedded_model.NAME)
    model = str(parser.parse_known_args(server_flags)[0].model_path)
    return Path(model).name if Path(model).is_absolute() else model
