"""The machine on which something is measured."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys

import psutil

from bench.runs import Machine

_PACKAGES = ("sglang", "torch", "xgrammar", "pyzmq", "msgspec")


def this_machine() -> Machine:
    """What can be said of it without naming it."""
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
        command=f"python -m {_module()} {' '.join(sys.argv[1:])}".strip(),
    )


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else os.path.basename(sys.argv[0])
