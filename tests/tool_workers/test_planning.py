"""The planning tool: what a plan comes to, when its steps start, and what is no plan."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programs import plan_tools
from sgl_conveyor.testing import ToolRun, check_every_cut, cuts, run_tool
from sgl_conveyor.timings import Span
from sgl_conveyor.tools import Tool, tool
from tool_workers.planning import MAX_STEPS, Planning

ROOT = Path(__file__).parents[2]


def recorded() -> str:
    """The plan of the program, which itself imports SGLang: too slow for here."""
    for node in ast.parse((ROOT / "programs/planning.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RECORDED":
            return str(ast.literal_eval(node.value))
    raise AssertionError("programs/planning.py has no RECORDED")


RECORDED = recorded()
#: What the tools with an outside effect did, in its order.
EFFECTS: list[Any] = []


@pytest.fixture(autouse=True)
def _no_effects() -> None:
    EFFECTS.clear()


@tool(read_only=True)
async def add(a: float, b: float = 1) -> float:
    """The sum."""
    return a + b


@tool(read_only=True)
async def echo(value: Any = None) -> Any:
    """What it is given."""
    return value


@tool(read_only=True)
async def divide(a: float, b: float) -> float:
    """The quotient."""
    return a / b


@tool(read_only=True)
async def slow(value: int, seconds: float = 0.05) -> int:
    """The value, later."""
    await asyncio.sleep(seconds)
    return value


@tool
async def store(value: Any, fails: bool = False) -> Any:
    """Has an outside effect."""
    if fails:
        raise OSError("the disk is full")
    EFFECTS.append(value)
    return value


class Shout(Tool):
    """Takes a plain text."""

    read_only = True

    async def on_text(self, delta: str) -> None:
        self.text = getattr(self, "text", "") + delta

    async def finish(self) -> str:
        return getattr(self, "text", "").upper()


class Picky(Tool):
    """Refuses everything."""

    read_only = True

    async def finish(self) -> None:
        from sgl_conveyor import ToolAbort

        raise ToolAbort("not this one")


TOOLS: list[type[Tool]] = [add, divide, echo, slow, store, Shout, Picky]


def plan(text: str, **how: Any) -> ToolRun:
    return run_tool(Planning, text, tools=TOOLS, **how)


def values(text: str) -> dict[str, Any]:
    result = plan(text, cuts=range(0, len(text), 3)).result
    assert result.error is None, result.error
    value: dict[str, Any] = result.value
    return value


def error(text: str) -> str:
    """The error: the same in sequence, in one piece, and character by character."""
    ways: list[dict[str, Any]] = [{"partial": False}, {}, {"cuts": range(len(text))}]
    errors = {str(plan(text, **how).result.error) for how in ways}
    assert len(errors) == 1, errors
    return errors.pop()


class TestResults:
    def test_every_steps_value_in_the_order_of_the_lines(self) -> None:
        text = "$2 = add(1, 2)\n\n# then\n$10 = add($2, b=$2) # twice\n$1 = add(a=$10)"
        run = check_every_cut(Planning, text, tools=TOOLS)
        assert list(run.result.value.items()) == [("$2", 3.0), ("$10", 6.0), ("$1", 7.0)]

    def test_a_step_may_refer_to_a_later_line(self) -> None:
        text = "$1 = add($2, $3)\n$2 = add($3, 1)\n$3 = add(1, 1)\n"
        assert values(text) == {"$1": 5.0, "$2": 3.0, "$3": 2.0}

    @pytest.mark.parametrize(
        ("written", "value"),
        [
            ("-1.5e2", -150.0),
            ("'it is $1, \\'so\\''", "it is $1, 'so'"),
            ('"# $1 \\u00e9 \\ud83c\\udf89 \\""', '# $1 é 🎉 "'),
            ('"\\ud83e \\ud83e\\udd80"', "\\ud83e 🦀"),
            ("[true, False, null, None, []]", [True, False, None, None, []]),
            ('{"a": [$1, {"$1": $1}], "b": {}}', {"a": ["x", {"$1": "x"}], "b": {}}),
        ],
    )
    def test_literals_lists_and_objects(self, written: str, value: Any) -> None:
        text = f"$1 = echo('x')\n$2 = echo({written})\n$3 = echo(value={written})\n"
        assert values(text) == {"$1": "x", "$2": value, "$3": value}

    def test_a_tool_without_parameters_takes_one_text(self) -> None:
        text = '$1 = shout("a b")\n$2 = shout([$1, "ç"])\n$3 = shout()\n$4 = shout($1)\n'
        expected = {"$1": "A B", "$2": '["A B","Ç"]', "$3": "", "$4": "A B"}
        assert values(text) == expected

    def test_a_value_too_long_for_the_result_is_left_out(self) -> None:
        text = '$1 = echo("' + "x" * 9000 + '")\n'
        for step in range(2, 13):
            text += f"${step} = echo([${step - 1}, ${step - 1}])\n"
        outcome = plan(text).result
        assert outcome.error is not None
        assert outcome.error.type == "StepFailed"
        assert "its arguments have more than 262144 characters" in outcome.error.message
        copies = [f"${step} = echo($5)" for step in range(6, 12)]
        result = values("\n".join([*text.splitlines()[:5], *copies, "$20 = echo(1)"]))
        assert result["$10"] == result["$5"]
        assert result["$11"] == "[left out: 144077 characters of JSON]"
        assert result["$20"] == 1

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("$1 = echo(_\uff53tep_2)", "no word that a plan has"),
            (f"$1 = echo(0x{'F' * 9000})", "a number is too large"),
            ('$1 = echo({"a": 1, "a": 2})', "the key 'a' twice"),
            ("$1 = echo(-True)", "an argument is a number"),
        ],
    )
    def test_what_python_reads_in_its_own_way_is_refused(self, line: str, says: str) -> None:
        error = plan(line + "\n").result.error
        assert error.type == "PlanError"
        assert error.message.startswith("line 1: ")
        assert says in error.message

    def test_recorded_plans_succeed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def at_once(seconds: float) -> None:
            pass

        monkeypatch.setattr(plan_tools, "service", at_once)
        texts = json.loads((ROOT / "bench/recorded/planning.json").read_text("utf-8"))
        assert len(set(texts)) >= 20
        for text in [*texts, RECORDED]:
            result = run_tool(Planning, text, cuts=range(len(text)), tools=shop()).result
            assert result.error is None, text
            assert len(result.value) == len(text.splitlines())


def shop() -> list[type[Tool]]:
    p = plan_tools
    read = [p.load_series, p.slow_lookup, p.forecast, p.mean, p.total]
    return [*read, p.compute_ratio, p.difference, p.append_note]


class TestWrongPlans:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "the plan has no steps"),
            ("# nothing\n\n", "the plan has no steps"),
            ("Sure:\n$1 = add(1)\n", "line 1: it is no step like"),
            ("$1 = add(1)\nDone.", "line 2: it is no step like"),
            ("$1 = add(1)\n$2 = ad(2)\n", "line 2: there is no tool ad, did you mean add?"),
            ("$1 = add(1)\n$1 = add(2)\n", "line 2: the step $1 is there already, in line 1"),
            ("$1 = add($9)\n$2 = add($8)\n", "line 1: there is no step $9 in the plan"),
            ("$1 = add($1)\n", "line 1: the steps wait for each other ($1 needs $1)"),
            (
                "$1 = add($2)\n$2 = add($3)\n$3 = echo([{'x': $1}])\n$4 = ad()",
                "line 3: the steps wait for each other ($3 needs $1 needs $2 needs $3)",
            ),
            ("$1 = planning('$1 = add(1)')\n", "line 1: a plan cannot be a step of a plan"),
            ("$1 = add(1, 2, 3)\n", "line 1: add has too many arguments, it takes a, b"),
            ("$1 = add(1, c=2)\n", "line 1: add has no parameter c, it takes a, b"),
            ("$1 = add(1, a=2)\n", "line 1: add has the argument a twice"),
            ("$1 = add(a=1, a=2)\n", "line 1: add has the argument a twice"),
            ("$1 = add(b=2)\n", "line 1: add needs the argument a, it takes a, b"),
            ("$1 = shout(text='x')\n", "line 1: shout takes one text"),
            ("$1 = add(1", "line 1: it is no call that can be read ('(' was never closed)"),
            ("$1 = add(1)) + add((2)\n", "line 1: it is no call that can be read"),
            ("$1 = add(1) + 2\n", "line 1: a step is one call and nothing after it"),
            ("$1 = add(1)(2)\n", "line 1: a step is one call and nothing after it"),
            ("$1 = add(__import__('os'))\n", "line 1: an argument is a number"),
            ("$1 = add(x)\n", "line 1: x is no value: a text stands in quotes"),
            ("$1 = add(f'{1}')\n", "line 1: an argument is a number"),
            ("$1 = add(b'x')\n", "line 1: an argument is a number"),
            ("$1 = add(-'x')\n", "line 1: an argument is a number"),
            ("$1 = add(1e999)\n", "line 1: an argument is a number"),
            ("$1 = add(*[1])\n", "line 1: an argument is a number"),
            ("$1 = add(**{'a': 1})\n", "line 1: `**` is no argument"),
            ("$1 = echo({1: 2})\n", "line 1: the keys of an object are strings"),
            ("$1 = echo({**{}})\n", "line 1: the keys of an object are strings"),
            ("$1 = add(1)\n$2 = add($01)\n", "line 2: $ is no step's result"),
            ("$1 = add(1)\n$2 = add(_step_1)\n", "line 2: _step_1 is no step's result"),
        ],
    )
    def test_the_first_wrong_line_is_named(self, text: str, problem: str) -> None:
        assert error(text).startswith(f"PlanError: {problem}")

    @pytest.mark.parametrize(
        "argument",
        [
            "[" * 5000, "-" * 9000 + "1", "1+" * 4000 + "1", "9" * 9000, "a." * 4000 + "b", "\0",
            "x" * 20000, "f" + "()" * 4000, "'\\N{nothing}'", '"""$1"""', "lambda: 1", "\udcff",
        ],
    )  # fmt: skip
    def test_hostile_arguments_are_errors(self, argument: str) -> None:
        result = plan(f"$1 = echo(1)\n$2 = echo({argument})\n").result
        assert result.error is not None or argument == '"""$1"""'
        if result.error is not None:
            assert result.error.type == "PlanError"
            assert result.error.message.startswith("line 2: ")
            assert len(result.error.message) < 500

    def test_a_plan_has_a_limit_of_steps(self) -> None:
        text = "".join(f"${n} = add({n})\n" for n in range(1, MAX_STEPS + 2))
        message = str(plan(text).result.error)
        assert message.startswith(f"PlanError: line {MAX_STEPS + 1}: a plan has at most")

    def test_a_wrong_line_ends_the_call_at_once(self) -> None:
        text = "$1 = add(1)\n$2 = nothing()\n$3 = add(2)\n$4 = add(3)\n"
        run = plan(text, cuts=range(len(text)))
        lines = [hook.arguments for hook in run.hooks if hook.name == "on_line"]
        assert lines == [("$1 = add(1)",), ("$2 = nothing()",)]


class TestFailingSteps:
    def test_the_line_and_the_tools_error_are_named(self) -> None:
        text = "$1 = add(1)\n$2 = divide($1, 0)\n$3 = add($2)\n"
        message = "StepFailed: line 2: $2 divide: ZeroDivisionError: float division by zero"
        assert error(text).startswith(message)

    def test_what_the_tool_refuses_is_named(self) -> None:
        assert error("$1 = add('x')\n").startswith("StepFailed: line 1: $1 add: InvalidArguments:")
        assert error("$1 = picky()\n") == "StepFailed: line 1: $1 picky: aborted: not this one"

    def test_of_several_the_first_line_counts_however_long_it_takes(self) -> None:
        text = "$1 = divide($4, 0)\n$2 = divide(2, 0)\n$3 = add($2)\n$4 = slow(1, 0.01)\n"
        assert error(text).startswith("StepFailed: line 1:")

    def test_a_wrong_line_after_it_counts_more(self) -> None:
        assert error("$1 = divide(1, 0)\n$2 = nothing()\n").startswith("PlanError: line 2:")

    def test_steps_that_run_are_cancelled(self) -> None:
        text = "$1 = divide(1, 0)\n$2 = slow(1, 100)\n$3 = slow(1, 100)\n$4 = add($2)\n"
        result = watched(text)
        assert str(result.error).startswith("StepFailed: line 1:")


class TestWhenStepsStart:
    def test_independent_steps_run_at_once_and_dependent_ones_after(self) -> None:
        text = "$1 = slow(1)\n$2 = slow(2)\n$3 = add($1, $2)\n$4 = slow(3)\n"
        spans = spans_of(plan(text))
        assert list(spans) == ["$1 slow", "$2 slow", "$3 add", "$4 slow"]
        parallel = [spans["$1 slow"], spans["$2 slow"], spans["$4 slow"]]
        assert max(s.started for s in parallel) < min(s.ended for s in parallel)
        assert spans["$3 add"].started >= max(spans["$1 slow"].ended, spans["$2 slow"].ended)

    def test_reading_steps_start_while_the_plan_is_written(self) -> None:
        text = "$1 = slow(1)\n$2 = add($3)\n$3 = slow(2)\n$4 = store($1)\n$5 = add($4)\n"
        run = plan(text, cuts=range(len(text)))
        end = run.result.timings.finish_started
        assert end is not None
        spans = spans_of(run)
        assert [label for label in spans if spans[label].started < end] == ["$1 slow", "$3 slow"]
        assert spans["$4 store"].started > max(spans[s].ended for s in ("$1 slow", "$2 add"))

    @pytest.mark.parametrize("end", ["length", "abort"])
    def test_a_plan_that_is_cut_has_no_effect_and_leaves_nothing_running(self, end: Any) -> None:
        text = "$1 = store(1)\n$2 = slow(2, 100)\n$3 = slow(2, 100)\n$4 = add($2)\n"
        result = watched(text, cuts=range(len(text)), end=end)
        assert result.error is not None or result.aborted is not None
        assert EFFECTS == []

    @pytest.mark.parametrize(
        "text",
        [
            "$1 = store(1)\n$2 = store(2)\n$3 = nothing()\n",
            "$1 = store(1)\n$2 = add($9)\n",
            "$1 = store(1)\n$2 = divide(1, 0)\n",
            "$1 = store(1)\n$2 = slow(0)\n$3 = divide(1, $2)\n",
        ],
    )
    def test_nothing_has_an_effect_before_all_else_is_good(self, text: str) -> None:
        assert plan(text, cuts=range(len(text))).result.error is not None
        assert EFFECTS == []

    def test_effects_come_in_the_plans_order_and_end_at_a_failure(self) -> None:
        text = "$1 = store(1)\n$2 = store($4)\n$3 = store(3)\n$4 = store($1)\n$5 = store('x')\n"
        assert plan(text).result.error is None
        assert EFFECTS == [1, 3, 1, 1, "x"] or EFFECTS == [1, 3, 1, "x", 1]
        EFFECTS.clear()
        text = "$1 = store(1)\n$2 = add($1)\n$3 = divide($1, 0)\n$4 = store(2)\n"
        assert error(text).startswith("StepFailed: line 3:")
        assert set(EFFECTS) == {1}

    def test_a_note_is_written_once_and_after_the_last_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notes = tmp_path / "notes.txt"
        monkeypatch.setenv("PLAN_TOOLS_NOTES", str(notes))
        text = '$1 = append_note("begun")\n$2 = mean([1, 2])\n$3 = append_note($2)\n'
        seen: list[bool] = []

        class Spied(Planning):
            name = "planning"

            async def on_line(self, line: str) -> None:
                await super().on_line(line)
                await asyncio.sleep(0.01)
                seen.append(notes.exists())

        result = run_tool(Spied, text, cuts=range(len(text)), tools=shop()).result
        assert result.value["$3"] == "noted in notes.txt"
        assert seen == [False, False, False]
        assert notes.read_text() == "begun\n1.5\n"


def spans_of(run: ToolRun) -> dict[str, Span]:
    assert run.result.error is None, run.result.error
    return {span.label: span for span in sorted(run.result.timings.spans, key=lambda s: s.label)}


def watched(text: str, **how: Any) -> Any:
    """The result of a call after whose abort none of its steps is left."""
    left: list[list[str]] = []

    class Watched(Planning):
        name = "planning"

        async def abort(self, reason: str) -> None:
            await super().abort(reason)
            coroutines = [getattr(task.get_coro(), "__qualname__", "") for task in all_tasks()]
            left.append([name for name in coroutines if name.startswith("Planning.")])

    all_tasks = asyncio.all_tasks
    result = run_tool(Watched, text, tools=TOOLS, **how).result
    assert left == [[]]
    return result


# --- any plan ---


@st.composite
def plans(draw: st.DrawFn, failing: bool = False) -> tuple[str, dict[str, Any], list[int]]:
    """A plan in any order of lines, its values, and what it stores."""
    numbers = draw(st.lists(st.integers(1, 99), min_size=1, max_size=8, unique=True))
    lines: list[str] = []
    expected: dict[str, Any] = {}
    stored: list[Any] = []
    numeric = set(numbers)
    for place, number in enumerate(numbers):
        before = [number for number in numbers[:place] if number in numeric]

        def operand(known: list[int] = before) -> tuple[str, float]:
            if known and draw(st.booleans()):
                chosen = draw(st.sampled_from(known))
                return f"${chosen}", expected[f"${chosen}"]
            literal = draw(st.integers(-5, 5))
            return str(literal), literal

        (a, a_value), (b, b_value) = operand(), operand()
        what = draw(st.sampled_from(["add", "store", "echo", *["divide"] * failing]))
        if what == "store":
            lines.append(f"${number} = store({a})")
            stored.append(a_value)
            expected[f"${number}"] = a_value
        elif what == "divide":
            lines.append(f"${number} = divide({a}, {b})")
            expected[f"${number}"] = a_value / b_value if b_value else 0.0
        elif what == "add":
            lines.append(f"${number} = add({a}, b={b})")
            expected[f"${number}"] = a_value + b_value
        else:
            lines.append(f"${number} = echo([{a}, {{'b': {b}}}])")
            expected[f"${number}"] = [a_value, {"b": b_value}]
            numeric.discard(number)
    return "\n".join(draw(st.permutations(lines))), expected, stored


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_plan_gives_what_its_steps_give_at_any_cuts(data: st.DataObject) -> None:
    text, expected, stored = data.draw(plans())
    EFFECTS.clear()
    result = plan(text, cuts=data.draw(cuts(text))).result
    assert result.error is None, result.error
    assert result.value == expected
    assert list(result.value) == re.findall(r"^\$\d+", text, re.MULTILINE)
    assert sorted(EFFECTS) == sorted(stored)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_plan_has_the_same_error_and_effects_as_in_one_piece(data: st.DataObject) -> None:
    text, _, _ = data.draw(plans(failing=True))
    seen = []
    for how in ({"partial": False}, {"cuts": data.draw(cuts(text))}):
        EFFECTS.clear()
        result = plan(text, **how).result
        seen.append((result.value, result.error, list(EFFECTS)))
    assert seen[0] == seen[1]
