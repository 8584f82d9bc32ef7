"""What the documentation shows is what happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.servers import Server

ROOT = Path(__file__).parents[2]


def blocks(file: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    text = (ROOT / file).read_text()
    return re.findall(rf"```{language}\n(.*?)\n```", text, re.DOTALL)


def test_the_curl_examples_of_the_http_page(server: Server) -> None:
    create, generate, read, delete, tools = blocks("docs/http.md", "sh")
    variables = {"URL": server.url, "KEY": server.api_key}

    def curl(script: str) -> Any:
        run = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            env={**os.environ, **variables, "no_proxy": "127.0.0.1"},
        )
        return json.loads(run.stdout)

    created = curl(create)
    assert created["stop"] == ["```"]
    variables["CALL"] = created["call"]
    assert curl(generate)["text"] == "x = 6 * 7\nprint(x)\n"
    view = curl(read)
    assert (view["state"], view["result"]["value"]) == ("done", "42\n")
    page = (ROOT / "docs/http.md").read_text()
    assert all(f"`{name}`" in page for name in [*view, *view["timings"], *view["result"]])
    assert curl(delete)["state"] == "done"
    assert "python" in [t["function"]["name"] for t in curl(tools)["tools"]]


def test_the_program_of_the_readme(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    [program] = [b for b in blocks("README.md", "python") if "sgl.function" in b]
    endpoint = f'ConveyorEndpoint("{server.url}", api_key="{server.api_key}")'
    program = program.replace('ConveyorEndpoint("http://127.0.0.1:30000")', endpoint)
    assert len(program.splitlines()) <= 15
    # SGLang reads the source of its functions' signatures only: exec is as good as a file.
    scope: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), scope)
    state = scope["state"]
    printed = f"{state['code']} {state['code.result']} {state['answer']}\n"
    assert state["code.result"].outcome() is not None
    # Whatever the model wrote.
    assert capsys.readouterr().out == printed


def test_the_flags_of_the_readme_are_all_there_are() -> None:
    from sgl_conveyor.launcher.flags import build_parser

    readme = (ROOT / "README.md").read_text()
    flags = [f for a in build_parser()._actions for f in a.option_strings if f.startswith("--")]
    assert [f for f in flags if f"`{f}" not in readme and f != "--help"] == []
