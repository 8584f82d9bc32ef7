"""What the launcher refuses before SGLang is loaded: exit code 2 and one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def launch(
    *flags: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sgl_conveyor.launch_server", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def refusal(*flags: str, environment: dict[str, str] | None = None) -> str:
    run = launch(*flags, environment=environment)
    assert run.returncode == 2, run
    return run.stderr


def test_an_unknown_tool_with_the_known_names() -> None:
    message = refusal("--tools", "nope")
    assert "unknown tool 'nope'" in message
    assert "shipped tools are calculator, database, planning, python" in message


@pytest.mark.parametrize("source", ["no_such_module:Tool", "json:JSONDecoder", "json:nothing"])
def test_an_attribute_that_is_no_tool(source: str) -> None:
    assert f"unknown tool '{source}'" in refusal("--tools", source)


def test_a_tool_module_that_fails_to_import_with_its_traceback() -> None:
    message = refusal("--tools", "tests.tools.fails_to_import:Broken")
    assert "Traceback" in message
    assert "could not be imported" in message


def test_a_tool_named_twice() -> None:
    assert "more than once" in refusal("--tools", "python", "python")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[python]\nworkers = 0\n", "python.workers must be more than 0"),
        ("[nope]\nworkers = 1\n", "no tool 'nope'"),
        ("[python]\nworker = 1\n", "worker"),
        ("not toml", "--tools-config"),
    ],
)
def test_a_tools_config_that_nobody_understands(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "tools.toml"
    path.write_text(content)
    assert words in refusal("--tools-config", str(path))


def test_a_plugin_filter_that_keeps_our_hooks_out() -> None:
    message = refusal(environment={"SGLANG_PLUGINS": "other"})
    assert "SGLANG_PLUGINS=other" in message


def test_another_platform() -> None:
    message = refusal(environment={"SGLANG_PLATFORM": "other"})
    assert "SGLANG_PLATFORM=other" in message


def test_no_bubblewrap(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    message = refusal(environment={"PATH": str(tmp_path)})
    assert "apt-get install bubblewrap" in message
    assert "--unsafe-no-sandbox" in message


def test_flags_that_make_no_sense() -> None:
    assert "must not be negative" in refusal("--conveyor-drain", "-1")
    assert "at least 1" in refusal("--conveyor-keep-calls", "0")


def test_help_names_our_flags() -> None:
    run = launch("--help")
    assert run.returncode == 0
    for flag in ("--tools", "--tools-config", "--conveyor-log-level", "--unsafe-no-sandbox"):
        assert flag in run.stdout


@pytest.mark.server
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--tokenizer-worker-num", "2"), "--tokenizer-worker-num > 1"),
        (("--skip-tokenizer-init",), "--skip-tokenizer-init"),
    ],
)
def test_what_the_tap_cannot_serve_is_refused_by_the_server(
    flags: tuple[str, ...], words: str
) -> None:
    message = refusal("--tools", "tests.tools.puppet:Nothing", *flags)
    assert words in message
