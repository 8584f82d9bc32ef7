"""What the launcher refuses before SGLang is loaded: exit code 2 and one sentence."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sgl_conveyor.demo.server import free_port
from sgl_conveyor.launcher.address import check_address
from sgl_conveyor.runtime.environment import RUN_DIRECTORY


def launch(
    *flags: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Start a server, on a port that is free unless the flags name one."""
    port = [] if {"--port", "--host", "--config"} & set(flags) else ["--port", str(free_port())]
    return subprocess.run(
        [sys.executable, "-m", "sgl_conveyor.launch_server", *port, *flags],
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
    assert words in refusal("--tools", "python", "--tools-config", str(path))


def test_a_plugin_filter_that_keeps_our_hooks_out() -> None:
    message = refusal(environment={"SGLANG_PLUGINS": "other"})
    assert "SGLANG_PLUGINS=other" in message


def test_another_platform() -> None:
    message = refusal(environment={"SGLANG_PLATFORM": "other"})
    assert "SGLANG_PLATFORM=other" in message


def test_no_bubblewrap(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    message = refusal("--tools", "python", environment={"PATH": str(tmp_path)})
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


# --- what SGLang itself says only after it has loaded -----------------------------------------


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[int]:
    """The port of somebody else who listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as somebody:
        yield somebody.getsockname()[1]


def flags_of(style: str, port: int, folder: Path) -> list[str]:
    """The same port, in each of the ways that SGLang takes it."""
    if style == "file":
        (folder / "config.yaml").write_text(f"port: {port}\n")
        return ["--config", str(folder / "config.yaml")]
    return {
        "two words": ["--port", str(port)],
        "one word": [f"--port={port}"],
        "abbreviated": ["--por", str(port)],
        "the last one counts": ["--port", "1", "--port", str(port)],
        "all addresses": ["--host", "0.0.0.0", "--port", str(port)],
    }[style]


@pytest.mark.parametrize(
    "style",
    ["two words", "one word", "abbreviated", "the last one counts", "all addresses", "file"],
)
def test_a_port_in_use(tmp_path: Path, style: str) -> None:
    with listening() as port:
        message = refusal(*flags_of(style, port, tmp_path))
    host = "0.0.0.0" if style == "all addresses" else "127.0.0.1"
    assert message == (
        f"sgl_conveyor: port {port} of {host} is in use: end what listens there, "
        "or choose another --port\n"
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--port", "0"), "--port 0: SGLang calls itself"),
        (("--port", "many"), "--port many: a port is a number"),
        (("--port", "70000"), "--port 70000: a port is a number below 65536"),
        (("--host", "192.0.2.1"), "--host 192.0.2.1 --port 30000: "),
        (("--host", "no.such.host.invalid"), "--host no.such.host.invalid"),
    ],
)
def test_an_address_that_nobody_can_listen_on(flags: tuple[str, ...], words: str) -> None:
    message = refusal(*flags)
    assert words in message
    assert message.count("\n") == 1


def test_a_port_that_a_server_has_just_left_is_taken() -> None:
    with listening() as port:
        client = socket.create_connection(("127.0.0.1", port))
    # The system still holds the connection, as it does after a server was ended.
    check_address(["--port", str(port)])
    client.close()


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--tool", "--tools or --tools-config"),
        ("--tool=python", "--tools or --tools-config"),
        ("--tols", "--tools"),
        ("--tools-conf", "--tools-config"),
        ("--tools_config", "--tools-config"),
        ("--tool-config", "--tools-config"),
        ("--unsafe", "--unsafe-no-sandbox"),
        ("--unsafe-no-sanbox", "--unsafe-no-sandbox"),
        ("--conveyor-drian", "--conveyor-drain"),
        ("--conveyor-keep-call", "--conveyor-keep-calls"),
        ("--conveyor-restarts", "--conveyor-restart"),
    ],
)
def test_nearly_a_flag_of_ours(flag: str, meant: str) -> None:
    message = refusal(flag, "python")
    name = flag.partition("=")[0]
    assert message == f"sgl_conveyor: {name} is no flag: did you mean {meant}?\n"


def test_a_flag_that_looks_like_ours_and_is_none() -> None:
    assert "--conveyor-speed is no flag" in refusal("--conveyor-speed", "9")


def test_sglang_has_nothing_to_say_about_our_variables(tmp_path: Path) -> None:
    # The module alone, which reads the variables: the packages that it lies in take ten seconds.
    [folder] = importlib.util.find_spec("sglang").submodule_search_locations
    run = subprocess.run(
        [sys.executable, f"{folder}/srt/environ.py"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, RUN_DIRECTORY: str(tmp_path), "CONVEYOR_CACHE": str(tmp_path)},
    )
    assert "CONVEYOR" not in run.stderr
