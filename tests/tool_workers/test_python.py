"""The python tool, in its sandbox: what it gives back."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import psutil
import pytest

from sgl_conveyor.testing import run_tool
from tests.dispatcher.harness import Harness, dispatcher
from tests.tool_workers.python_calls import MIB, run, value
from tool_workers.python import Python


class TestResults:
    def test_output_and_the_last_expressions_value(self, conveyor: Harness) -> None:
        source = "x = 20\nprint('héllo 👩‍👩‍👧')\nfor i in range(2):\n    print(i)\nx * 2 + 2"
        assert value(conveyor, source) == "héllo 👩‍👩‍👧\n0\n1\n42\n"

    def test_what_subprocesses_print_is_captured(self, conveyor: Harness) -> None:
        assert (
            value(conveyor, "import os\n_ = os.system('echo from a shell')\n") == "from a shell\n"
        )

    def test_an_event_loop_can_be_started_and_awaited(self, conveyor: Harness) -> None:
        source = "import asyncio\nasync def f():\n    return 5\nprint(asyncio.run(f()))\nawait f()"
        assert value(conveyor, source) == "5\n5\n"

    def test_the_first_failing_statement_ends_the_execution(self, conveyor: Harness) -> None:
        view = run(conveyor, "def f():\n    return 1 / 0\n\nprint('a')\nf()\nprint('b')\n")
        assert view.outcome.error.type == "ZeroDivisionError"
        assert view.outcome.value == (
            "a\nTraceback (most recent call last):\n"
            '  File "<statement 3>", line 1, in <module>\n    f()\n'
            '  File "<statement 1>", line 2, in f\n    return 1 / 0\n'
            "           ~~^~~\nZeroDivisionError: division by zero\n"
        )
        assert str(view.outcome) == view.outcome.value

    def test_text_that_is_no_python_is_a_syntax_error(self, conveyor: Harness) -> None:
        view = run(conveyor, "this is no Python\nprint('never')\n")
        assert view.outcome.error.type == "SyntaxError"
        assert "never" not in view.outcome.value

    def test_partial_and_sequential_give_the_same(self, conveyor: Harness) -> None:
        source = (
            "a = [1, 2]\nif a:\n    print(a)\nelse:\n    pass\nb = a * 2; print(b)\nlen(b)\n1/0"
        )
        partial, sequential = run(conveyor, source), run(conveyor, source, partial=False)
        assert partial.outcome.value == sequential.outcome.value
        assert partial.outcome.error == sequential.outcome.error

    def test_where_the_text_is_cut_changes_nothing(self) -> None:
        source = (
            "def f(n):\n    return n * 2\n\nx = f(2)\nprint('é', x)\nif x:\n    f(x)\nf(x) + x\n"
        )
        whole = run_tool(Python, source, partial=False).result
        assert whole.value == "é 4\n12\n"
        for cuts in (range(1, len(source)), [9, 28, 41], [40]):
            assert run_tool(Python, source, cuts=cuts).result.value == whole.value

    def test_long_output_is_cut(self, conveyor: Harness) -> None:
        text = value(conveyor, "print('x' * 3_000_000)\n")
        assert len(text) < 300_000
        assert "dropped" in text


#: The programs that the benchmark replays.
RECORDED = json.loads((Path(__file__).parents[2] / "bench/recorded/codegen.json").read_text())


class TestRecorded:
    def test_each_is_a_program_of_six_to_twelve_statements(self) -> None:
        assert 20 <= len(RECORDED) <= 24
        assert len(set(RECORDED)) == len(RECORDED)
        for source in RECORDED:
            assert 6 <= len(ast.parse(source).body) <= 12, source
            assert "```" not in source

    @pytest.mark.parametrize("number", [0, 2])
    def test_they_run(self, conveyor: Harness, number: int) -> None:
        assert value(conveyor, RECORDED[number])


def test_a_worker_is_small_before_its_tools_own_imports() -> None:
    with dispatcher(["tests.tools.puppet:Nothing"]) as conveyor:
        [worker] = conveyor.workers()
        assert psutil.Process(worker.pid).memory_info().rss <= 60 * MIB


def test_without_a_sandbox_each_call_still_has_a_process_of_its_own() -> None:
    with dispatcher(["python"], unsafe=True) as unsafe:
        source = "import os, builtins\nprint(hasattr(builtins, 'planted'), os.getpid())\n"
        plant = "builtins.planted = 1\n"
        outputs = [value(unsafe, source + plant).splitlines()[-1] for _ in range(3)]
        assert [output.split()[0] for output in outputs] == ["False"] * 3, outputs
        assert len(set(outputs)) == 3
