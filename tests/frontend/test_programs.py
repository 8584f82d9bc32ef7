"""Programs whose regions are refused, without a server: which result belongs to whom, and how a
program that fails shows. (A backend that is no ConveyorEndpoint refuses a region in its result.)"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sglang as sgl
from sglang.lang.backend.base_backend import BaseBackend

from sgl_conveyor import tool_region, tool_result
from sgl_conveyor.errors import ConveyorError

#: Seconds after which something counts as waiting for ever.
_FOR_EVER_S = 30.0

Program = Callable[[Any], object]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """SGLang warns of each failing expression."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def in_time(work: Callable[[], Any]) -> Any:
    """What a piece of work returns; it fails when it seems to wait for ever."""
    done: list[Any] = []

    def target() -> None:
        try:
            done.append((work(), None))
        except BaseException as error:
            done.append((None, error))

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(_FOR_EVER_S)
    assert done, "it still waits"
    value, error = done[0]
    if error is not None:
        raise error
    return value


def run(program: Program, **options: Any) -> Any:
    """Run a program to its end, read all that it queued, and return its state."""

    def work() -> Any:
        state = sgl.function(program).run(backend=BaseBackend(), **options)
        state.sync()
        return state

    return in_time(work)


def tool_of(result: Any) -> str:
    """The tool of a refused region, by its result's error."""
    message: str = in_time(lambda: result.error).message
    return message.partition("tool='")[2].partition("'")[0]


class TestANameUsedTwice:
    """A loop appends a region of the same name again and again."""

    def test_each_held_result_is_that_of_its_own_region(self) -> None:
        held = []

        def loop(s: Any) -> None:
            for tool in "abc":
                s += tool_region("x", tool=tool)
                held.append(s["x.result"])

        state = run(loop)
        assert [tool_of(result) for result in held] == ["a", "b", "c"]
        assert tool_of(state["x.result"]) == "c"
        assert state.error() is None

    def test_each_appended_result_is_that_of_the_region_before_it(self) -> None:
        def loop(s: Any) -> None:
            for tool in "abc":
                s += tool_region("x", tool=tool) + tool_result("x")
                s += "\n"

        state = run(loop)
        lines = state.text().splitlines()
        assert [f"tool='{t}'" in line for t, line in zip("abc", lines, strict=True)] == [True] * 3
        assert state.error() is None

    def test_one_expression_appended_twice_has_two_results(self) -> None:
        region = tool_region("x", tool="a")
        held = []

        def twice(s: Any) -> None:
            for _ in range(2):
                s += region
                held.append(s["x.result"])

        run(twice)
        assert held[0] is not held[1]
        assert [tool_of(result) for result in held] == ["a", "a"]

    def test_one_expression_appended_by_many_programs(self) -> None:
        region = tool_region("x", tool="a")

        def program(s: Any) -> None:
            s += region + tool_result("x")

        with ThreadPoolExecutor(4) as pool:
            states = list(pool.map(lambda _: run(program), range(8)))
        assert len({id(state["x.result"]) for state in states}) == 8
        assert {tool_of(state["x.result"]) for state in states} == {"a"}

    def test_without_a_thread(self) -> None:
        held = []

        def loop(s: Any) -> None:
            for tool in "ab":
                s += "1" + tool_region("x", tool=tool) + tool_result("x")
                held.append(s["x.result"])

        run(loop, use_thread=False)
        assert [tool_of(result) for result in held] == ["a", "b"]

    def test_a_fork_has_its_parents_result_until_it_has_its_own(self) -> None:
        def program(s: Any) -> None:
            s += tool_region("x", tool="parent")
            one, two = s.fork(2)
            one += tool_region("x", tool="child")
            s["tools"] = [tool_of(fork["x.result"]) for fork in (one, two, s)]
            one.sync()

        assert run(program)["tools"] == ["child", "parent", "parent"]

    def test_a_copy_has_its_parents_result(self) -> None:
        def program(s: Any) -> None:
            s += tool_region("x", tool="parent")
            with s.copy() as copy:
                copy += tool_result("x")
                s["copied"] = copy.text()

        assert "tool='parent'" in run(program)["copied"]

    def test_traced_the_later_one_counts_too(self) -> None:
        def program(s: Any) -> None:
            s += "a" * 100
            for tool in "ab":
                s += tool_region("x", tool=tool) + tool_result("x")

        function = sgl.function(program)
        traced = function.trace(backend=BaseBackend())
        assert traced.variables["x"].source.tool == "b"
        states = in_time(lambda: function.run_batch([{}, {}], backend=BaseBackend()))
        assert [tool_of(state["x.result"]) for state in states] == ["b", "b"]


class TestAFailedProgram:
    """SGLang warns, keeps the error in the state, and drops what comes after."""

    @pytest.mark.parametrize(
        ("before", "regions"), [([], "none"), (["code", "query"], "'code', 'query'")]
    )
    def test_a_typo_in_tool_result_is_named_with_what_there_is(
        self, before: list[str], regions: str
    ) -> None:
        def program(s: Any) -> None:
            for name in before:
                s += tool_region(name, tool="a")
            s += "seen" + tool_result("cod") + "not seen"

        state = run(program)
        assert state.text() == "seen"
        error = state.error()
        assert isinstance(error, ConveyorError)
        assert "tool_result('cod'): the program has no tool region of this name" in str(error)
        assert f"its regions: {regions}" in str(error)

    def test_a_region_behind_the_failure_says_so_and_why(self) -> None:
        def program(s: Any) -> None:
            s += tool_result("cod")
            s += tool_region("code", tool="a")

        state = run(program)
        assert in_time(lambda: state["code"]) == ""
        error = in_time(lambda: state["code.result"].error)
        assert error.type == "RegionNotRun"
        assert error.message.startswith(
            "tool_region('code', tool='a') was not decoded: tool_result("
        )

    def test_reading_what_was_appended_after_the_failure_does_not_wait(self) -> None:
        def program(s: Any) -> None:
            s += tool_region("code", tool="a")
            s += tool_result("cod")
            s.stream_executor.worker.join(_FOR_EVER_S)
            s += tool_region("late", tool="b") + sgl.gen("text")
            held.append((s["late"], s["late.result"].error.type))

        held: list[Any] = []
        state = run(program)
        assert held == [("", "RegionNotRun")]
        assert "tool_result('cod')" in str(in_time(state.error))
        with pytest.raises(KeyError, match="text"):
            in_time(lambda: state["text"])

    def test_reading_what_was_appended_after_the_end_does_not_wait(self) -> None:
        state = run(lambda s: s.__iadd__("a"))
        state += tool_region("late", tool="b")
        assert in_time(lambda: (state["late"], state["late.result"].error.type)) == (
            "",
            "RegionNotRun",
        )
        assert "tool_region('late', tool='b') was appended" in str(in_time(state.error))

    def test_a_result_held_before_the_failure_of_its_own_expression(self) -> None:
        held = []

        def program(s: Any) -> None:
            with pytest.raises(ConveyorError, match="cod"):
                s += "a" + tool_result("cod") + tool_region("code", tool="a")
            held.append((s["code"], s["code.result"].error.type))

        run(program, use_thread=False)
        assert held == [("", "RegionNotRun")]

    def test_an_earlier_text_is_not_shown_with_a_later_result(self) -> None:
        """The name belongs to the later region, though it never ran."""

        def program(s: Any) -> None:
            s["x"] = "of an earlier one"
            s += tool_result("cod") + tool_region("x", tool="a")

        state = run(program)
        assert in_time(lambda: (state["x"], state["x.result"].error.type)) == ("", "RegionNotRun")

    def test_a_stream_of_it_ends(self) -> None:
        def program(s: Any) -> None:
            s += tool_result("cod")
            s.stream_executor.worker.join(_FOR_EVER_S)
            s += tool_region("late", tool="b")

        state = sgl.function(program).run(backend=BaseBackend(), stream=True)
        assert in_time(lambda: "".join(state.text_iter("late"))) == ""
        assert in_time(lambda: "".join(state.text_iter())) == ""

    def test_a_region_needs_our_endpoint_and_says_how(self) -> None:
        state = run(lambda s: s.__iadd__(tool_region("code", tool="a")))
        message = state["code.result"].error.message
        assert message == (
            "tool_region('code', tool='a') needs a ConveyorEndpoint, not a BaseBackend: call "
            "sgl.set_default_backend(ConveyorEndpoint(url))"
        )
        assert state.error() is None
