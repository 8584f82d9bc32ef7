"""The shipped tools on the real server: their grammars, their results in both modes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sglang as sgl

from sgl_conveyor import ToolResult, tool_region

FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\n"
TEXTS = {
    "python": "print(6 * 7)\n",
    "search": json.dumps({"query": "gzip file", "site": "", "language": "all", "count": 1}),
    "planning": "$1 = mean([2, 4])\n$2 = compute_ratio($1, 4)\n",
    "validation": '{"place": "Paris", "date_from": "2024-06-01", "date_to": "2024-06-30", '
    '"topic": "sport"}',
    "database": json.dumps({"statements": ["SELECT COUNT(*) FROM products", "SELECT 1"]}),
    "calculator": "(1 + 2) * sqrt(16)",
}


pytestmark = pytest.mark.usefixtures("backend")


@sgl.function
def one_region(s: Any, **region: Any) -> None:
    s += sgl.user("Use the tool.")
    s += sgl.assistant(tool_region("call", **region))


def result_of(**region: Any) -> ToolResult:
    result = one_region.run(**region)["call.result"]
    result.outcome()
    return result


@pytest.mark.parametrize("tool", TEXTS)
def test_partial_and_sequential_give_the_same_result(tool: str) -> None:
    partial, sequential = (
        result_of(tool=tool, literal=TEXTS[tool], max_tokens=100, partial=partial)
        for partial in (True, False)
    )
    assert partial.error is None
    assert partial.value is not None
    assert partial.value == sequential.value
    assert len(partial.timings.units) == len(sequential.timings.units)


@pytest.mark.parametrize("tool", TEXTS)
def test_the_tools_own_grammar_is_one_that_sglang_takes(tool: str) -> None:
    result = result_of(tool=tool, max_tokens=3)
    ended = result.aborted or (result.error and result.error.type)
    assert ended is None or ended != "Refused", str(result)


def test_a_figure_comes_back_as_png() -> None:
    (figure,) = result_of(tool="python", literal=FIGURE, max_tokens=100).attachments
    assert (figure.name, figure.media_type) == ("figure-1.png", "image/png")
    assert figure.data.startswith(b"\x89PNG")


def test_a_bad_argument_stops_the_decoding() -> None:
    bad = TEXTS["validation"].replace("Paris", "Parsi")
    state = one_region.run(tool="validation", literal=bad, max_tokens=100)
    assert "did you mean 'Paris'?" in state["call.result"].aborted
    assert len(state["call"]) < len(bad) / 2
