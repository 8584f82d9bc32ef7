"""Programs with regions, on the real server."""

from __future__ import annotations

import asyncio
import threading
import warnings
from typing import Any

import pytest
import sglang as sgl

from sgl_conveyor import tool_region, tool_result
from sgl_conveyor.errors import ConveyorError
from tests.runtime.servers import Server

CODE = "x = 6\nprint('hi 👩‍👩‍👧')\nx * 7\n"


pytestmark = pytest.mark.usefixtures("backend")


@sgl.function
def analyst(s: Any, question: str, **region: Any) -> None:
    given = {"tool": "python", "literal": CODE, **region}
    s += sgl.user(question)
    s += sgl.assistant("```python\n" + tool_region("code", **given) + "```")
    s += sgl.user("Output:\n" + tool_result("code"))
    s += sgl.assistant(sgl.gen("answer", max_tokens=4))


def run(**arguments: Any) -> Any:
    return analyst.run(question="compute", **arguments)


class TestResults:
    @pytest.mark.parametrize("partial", [True, False])
    def test_the_result_is_in_the_text_and_in_the_state(self, partial: bool) -> None:
        state = run(partial=partial)
        result = state["code.result"]
        assert state["code"] == CODE
        assert (str(result), result.error, result.aborted) == ("hi 👩‍👩‍👧\n42\n", None, None)
        assert "Output:\nhi 👩‍👩‍👧\n42\n" in state.text()
        assert state.error() is None

    def test_partial_overlaps_and_sequential_does_not(self) -> None:
        slow = "import time\ntime.sleep(0.4)\nprint('a long line to decode after it')\n"
        partial = run(literal=slow)["code.result"].timings
        sequential = run(literal=slow, partial=False)["code.result"].timings
        assert partial.hidden > sequential.hidden
        assert partial.units[0].started < partial.region_end
        assert sequential.units[0].started >= sequential.region_end
        assert sequential.exposed > 0.4

    def test_a_state_can_be_streamed(self) -> None:
        state = run(stream=True)
        assert "".join(state.text_iter("code")) == CODE
        assert str(state["code.result"]) == "hi 👩‍👩‍👧\n42\n"

    def test_a_state_can_be_streamed_to_a_coroutine(self) -> None:
        async def collect() -> str:
            state = run(stream=True)
            return "".join([piece async for piece in state.text_async_iter("code")])

        assert asyncio.run(collect()) == CODE

    def test_a_batch_with_its_tracing(self) -> None:
        long = "The same beginning of every question, long enough to be cached before. " * 2
        states = analyst.run_batch([{"question": long + c} for c in "abc"], num_threads=3)
        assert [str(s["code.result"]) for s in states] == ["hi 👩‍👩‍👧\n42\n"] * 3

    def test_without_a_thread_of_its_own(self) -> None:
        state = analyst.run(question="q", use_thread=False)
        assert state["code.result"].value == "hi 👩‍👩‍👧\n42\n"

    def test_forks_see_the_results_of_their_parents_regions(self) -> None:
        @sgl.function
        def forking(s: Any) -> None:
            s += "a" + tool_region("code", tool="python", literal="1 + 1\n")
            forks = s.fork(2)
            forks += lambda i: f"{i}: " + tool_result("code") + sgl.gen("g", max_tokens=2)
            s["texts"] = [f.text() for f in forks]
            s["values"] = [f["code.result"].value for f in forks]

        state = forking.run()
        assert state["values"] == ["2\n", "2\n"]
        assert all(f"{i}: 2\n" in text for i, text in enumerate(state["texts"]))

    def test_a_tools_own_grammar_holds_unless_the_region_gives_another(self) -> None:
        @sgl.function
        def asking(s: Any) -> None:
            s += "Yes or no? " + tool_region("own", tool="strict", max_tokens=8)
            s += " " + tool_region("other", tool="strict", regex="(maybe|perhaps)", max_tokens=8)

        state = asking.run(temperature=0)
        assert state["own.result"].value in ("yes", "no")
        assert state["other.result"].value in ("maybe", "perhaps")

    def test_free_text_ends_at_the_tools_stop(self) -> None:
        state = run(literal=None, max_tokens=64)
        assert "```" not in state["code"]
        assert state["code.result"].outcome() is not None


class TestErrors:
    def test_an_unknown_tool_is_a_result_with_an_error(self) -> None:
        state = run(tool="nope")
        result = state["code.result"]
        assert state["code"] == ""
        assert result.error.type == "Refused"
        assert "this server has" in str(result)
        assert "Output:\nError: Refused" in state.text()
        assert state.error() is None

    def test_a_region_that_is_cut_says_so(self) -> None:
        state = run(max_tokens=5)
        assert state["code.result"].error.type == "RegionCut"
        assert CODE.startswith(state["code"])

    def test_a_failing_program_keeps_its_text(self) -> None:
        state = run(literal="print('a')\n1 / 0\nprint('b')\n")
        result = state["code.result"]
        assert state["code"].endswith("print('b')\n")
        assert result.error.type == "ZeroDivisionError"
        assert str(result).startswith("a\nTraceback")

    def test_a_tool_abort_ends_the_decoding_and_the_program_goes_on(self) -> None:
        text = "stop\n" + "many more words that are not decoded " * 6
        state = run(tool="puppet", literal=text, max_tokens=200)
        assert state["code.result"].aborted == "as ordered"
        assert len(state["code"]) < len(text) / 2
        assert state["answer"] is not None

    def test_a_stock_backend_is_refused_in_the_result(self, server: Server) -> None:
        endpoint = sgl.RuntimeEndpoint(server.url, api_key=server.api_key)
        state = analyst.run(question="q", backend=endpoint)
        assert "ConveyorEndpoint" in state["code.result"].error.message

    def test_reading_after_a_failed_expression_never_hangs(self) -> None:
        @sgl.function
        def broken(s: Any) -> None:
            s += sgl.gen("first", max_tokens=1, regex=r"(?P<a>a)(?P=a)")
            s += tool_region("code", tool="python", literal="1\n")
            s["read"] = (s["code"], s["code.result"].error.type)

        done: list[Any] = []

        def target() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                done.append(broken.run()["read"])

        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        thread.join(60)
        assert done == [("", "RegionNotRun")]

    def test_a_result_of_no_region_is_an_error_that_names_it(self) -> None:
        @sgl.function
        def wrong(s: Any) -> None:
            s += "a" + tool_result("nowhere")

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = wrong.run()
        assert isinstance(state.error(), ConveyorError)
        assert "nowhere" in str(state.error())
