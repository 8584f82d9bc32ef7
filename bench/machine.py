"""The machine on which something is measured, and what is measured on it."""

from __future__ import annotations

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

from bench.runs import Machine
from sgl_conveyor import embedded_model

_PACKAGES = ("sglang", "torch", "xgrammar", "pyzmq", "msgspec")
_CHECKOUT = Path(__file__).parent.parent
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

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return Machine(
        date=datetime.date.today().isoformat(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / 1024**3, 1),
        gpu=gpu,
        versions={
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        command=shlex.join(["python", "-m", _module(), *sys.argv[1:]]),
        package=importlib.metadata.version("sgl-conveyor"),
        commit=commit_of(_CHECKOUT),
        model=model_of(server_flags),
    )


def commit_of(checkout: Path) -> str:
    """The commit that is checked out, `+changes` if files differ from it; empty without git.

    Args:
        checkout: the folder of a repository.
    """
    try:
        commit = _git(checkout, "rev-parse", "--short", "HEAD")
        changes = _git(checkout, "status", "--porcelain", "--", ".", *(f":!{w}" for w in _WRITTEN))
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}+changes" if changes else commit


def model_of(server_flags: Sequence[str]) -> str:
    """What a server with these flags serves; of a folder, only its name.

    Args:
        server_flags: SGLang's.
    """
    model = embedded_model.NAME
    words = list(server_flags)
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in ("--model-path", "--model"):
            model = value if equals else words[place + 1]
    return Path(model).name if Path(model).is_absolute() else model


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(checkout), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=_GIT_LIMIT_S,
    )
    return done.stdout.strip()


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else os.path.basename(sys.argv[0])
