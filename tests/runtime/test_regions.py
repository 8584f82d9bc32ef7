"""Programs with regions, on the real server."""

from __future__ import annotations

import asyncio
import re
import threading
import warnings
from typing import Any

import pytest
import sglang as sgl

from sgl_conveyor import tool_region, tool_result
from sgl_conveyor.errors import ConveyorError
from tests.runtime.servers import Server

#: A schema of a region's own, for the tool `mean`.
NUMBERS = {
    "type": "object",
    "properties": {"values": {"type": "array", "items": {"type": "number"}, "minItems": 2}},
    "required": ["values"],
}
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

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("partial", [True, False])
    def test_a_loop_uses_one_name_again_and_again(self, partial: bool, stream: bool) -> None:
        held = []

        @sgl.function
        def loop(s: Any) -> None:
            s += "# start\n"
            for n in range(3):
                region = tool_region("code", tool="python", literal=f"{n} + 10\n", partial=partial)
                s += region + "# " + tool_result("code")
                held.append(s["code.result"])

        state = loop.run(stream=stream)
        assert state.text() == "# start\n0 + 10\n# 10\n1 + 10\n# 11\n2 + 10\n# 12\n"
        assert state.error() is None
        assert [str(result) for result in held] == ["10\n", "11\n", "12\n"]
        assert (state["code"], str(state["code.result"])) == ("2 + 10\n", "12\n")
        assert state["code.result"] is held[2]
        assert state.get_meta_info("code")["finish_reason"]["type"] == "stop"

    def test_texts_and_results_read_between_are_each_regions_own(self) -> None:
        @sgl.function
        def loop(s: Any) -> None:
            s["read"] = []
            s += "# start\n"
            for n in range(2):
                s += tool_region("code", tool="python", literal=f"{n} + 10\n")
                s["read"].append((s["code"], s["code.result"].value))

        assert loop.run()["read"] == [("0 + 10\n", "10\n"), ("1 + 10\n", "11\n")]

    def test_one_expression_decoded_twice_is_two_calls(self) -> None:
        region = tool_region("code", tool="python", literal="1 + 1\n")

        @sgl.function
        def twice(s: Any) -> None:
            s["calls"] = []
            s += "# start\n"
            for _ in range(2):
                s += region
                s["calls"].append(s.get_meta_info("code")["call"])

        state = twice.run()
        assert len(set(state["calls"])) == 2
        assert state.text() == "# start\n" + "1 + 1\n" * 2

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

    @pytest.mark.parametrize("given", [None, NUMBERS], ids=["the tool's", "the region's"])
    def test_a_region_with_a_schema_has_no_white_space_but_behind_its_separators(
        self, given: dict[str, Any] | None
    ) -> None:
        """Whatever the model writes: it is cut, or it reads and is written as `json.dumps` does."""

        @sgl.function
        def free(s: Any) -> None:
            s += "[\n\n\n" + tool_region(
                "numbers", tool="mean", json_schema=given, temperature=1.5, max_tokens=64
            )

        for _ in range(4):
            text = free.run()["numbers"]
            outside = "".join(text.split('"')[::2])
            assert not re.search(r"[\n\r\t]|\s\s|[^,:]\s|\s$", outside.removesuffix(" ")), text

    def test_a_region_may_ask_for_any_white_space(self) -> None:
        """A grammar that admits but one text with a line break shows that it is admitted."""
        spaced = {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "minItems": 2}

        @sgl.function
        def free(s: Any, any_whitespace: bool) -> None:
            s += "[\n  1,\n  2\n]\n[\n  1,\n  2\n]\n[\n  1,\n  2\n]\n" + tool_region(
                "numbers",
                tool="nothing",
                json_schema=spaced,
                any_whitespace=any_whitespace,
                temperature=0,
                max_tokens=24,
            )

        assert free.run(any_whitespace=False)["numbers"] == "[1, 2]"
        assert "\n" in free.run(any_whitespace=True)["numbers"]

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
        assert "tool_result('nowhere'): the program has no tool region" in str(state.error())
        assert state.text() == "a"
