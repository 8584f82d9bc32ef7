"""The embedded model's conversion, interrupted and taken up again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIMIT_S = 300.0
COMMAND = [sys.executable, "-m", "sgl_conveyor.embedded_model"]


@pytest.mark.server  # it starts none, but converts the model: half a minute of a core
def test_an_interrupted_conversion_is_not_used_and_does_not_block(tmp_path: Path) -> None:
    environment = {**os.environ, "CONVEYOR_CACHE": str(tmp_path)}
    first = subprocess.Popen(COMMAND, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + LIMIT_S
    while not list(tmp_path.glob("*.part-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait(LIMIT_S)
    assert not [p for p in tmp_path.iterdir() if p.is_dir() and ".part-" not in p.name]

    again = subprocess.run(
        COMMAND, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    folder = Path(again.stdout.strip())
    assert folder.parent == tmp_path
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(os.listdir(folder))
    assert "quantization_config" not in (folder / "config.json").read_text()
    assert list(tmp_path.glob("*.part-*")) == []

    third = subprocess.run(
        COMMAND, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert third.stdout == again.stdout
    assert "Converting" not in third.stderr


def test_a_cache_that_cannot_be_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    cache = tmp_path / "a file/cache"
    run = subprocess.run(
        [sys.executable, "-m", "sgl_conveyor.launch_server", "--tools", "calculator"],
        env={**os.environ, "CONVEYOR_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr == (
        f"sgl_conveyor: the embedded model cannot be kept in {cache} (Not a directory): "
        "set CONVEYOR_CACHE to a directory that can be written, or pass --model-path\n"
    )
