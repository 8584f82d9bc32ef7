"""The command line, as a shell sees it."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def conveyor(*arguments):
    """Run a command; returns its exit code, output and errors."""
    argv = [sys.executable, "-m", "sgl_conveyor.cli", *arguments]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return run.returncode, run.stdout, run.stderr


def test_tools_are_listed_with_arguments_hooks_and_limits():
    code, output, _ = conveyor("tools", "--tools", "search", "python")
    assert code == 0
    for words in ("search", "query: string", "count?: integer", "on_argument", "on_statement",
                  "timeout 30 s", "sandbox", "text up to '```'"):  # fmt: skip
        assert words in output


def test_the_same_as_json_in_the_openai_format():
    code, output, _ = conveyor("tools", "--json", "--tools", "programs.plan_tools:mean")
    (tool,) = json.loads(output)["tools"]
    assert code == 0
    assert tool["function"]["name"] == "mean"
    assert tool["function"]["parameters"]["required"] == ["values"]
    assert tool["conveyor"]["read_only"] is True


def test_a_star_stands_for_all_tools_of_a_module():
    _, output, _ = conveyor("tools", "--json", "--tools", "programs.plan_tools:*")
    names = {tool["function"]["name"] for tool in json.loads(output)["tools"]}
    assert {"mean", "compute_ratio", "append_note"} <= names


def test_the_servers_configuration_is_shown(tmp_path):
    config = tmp_path / "tools.toml"
    config.write_text("[search]\nidle = 60\nconcurrency = 8\nqueue = 9\n")
    _, output, _ = conveyor("tools", "--json", "--tools", "search", "--tools-config", str(config))
    limits = json.loads(output)["tools"][0]["conveyor"]["limits"]
    assert (limits["idle_s"], limits["concurrency"], limits["queue"]) == (60, 8, 9)


def test_an_unknown_tool_is_named():
    code, _, errors = conveyor("tools", "--tools", "nonsense")
    assert code == 2
    assert "unknown tool 'nonsense'" in errors


def test_a_tool_of_one_call_at_a_time_cannot_be_configured_to_take_more(tmp_path):
    config = tmp_path / "tools.toml"
    config.write_text("[calculator]\nconcurrency = 8\n")
    code, _, errors = conveyor("tools", "--tools", "calculator", "--tools-config", str(config))
    assert code == 2
    assert "one call at a time" in errors


def test_the_installed_command_finds_modules_of_the_current_folder_as_the_server_does(tmp_path):
    (tmp_path / "mytools.py").write_text(
        "from sgl_conveyor import tool\n"
        "@tool\n"
        "def twice(x: int) -> int:\n"
        "    'Two times x.'\n"
        "    return 2 * x\n"
    )
    # The script has the environment's folder on its path, where `python -m` has the current one.
    run = subprocess.run(
        [Path(sys.executable).parent / "sgl-conveyor", "tools", "--tools", "mytools:twice"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr
    assert "x: integer" in run.stdout


def test_an_abbreviated_flag_is_refused():
    for command in (("tools", "--tool", "python"), ("demo", "--rep", "1")):
        code, _, errors = conveyor(*command)
        assert code == 2
        assert "unrecognized arguments" in errors
