"""Calculator: the model writes an expression, each part of which is computed as it closes.

python -m programs.calculator [--url http://127.0.0.1:30000] [--free]
"""

from __future__ import annotations

from typing import Any

import sglang as sgl

from programs.compare import main
from sgl_conveyor import tool_region, tool_result

QUESTION = (
    "How likely is it, in percent, that two of the 23 children of a class share a birthday, and "
    "that somebody who plays 6 of 49 each week wins within a year? Write one expression."
)

#: Quotients of exact integers of hundreds of digits.
RECORDED = (
    "100 * (1 - (factorial(365) // factorial(365 - 23)) / (365 ^ 23))"
    " * (1 - (1 - factorial(6) * factorial(49 - 6) / factorial(49)) ^ 52)"
)


@sgl.function  # type: ignore[untyped-decorator]
def calculator(s: Any, question: str, literal: str | None = RECORDED, partial: bool = True) -> None:
    """Answer a question with an expression; `literal` replays a recorded one."""
    s += sgl.user(question)
    region = tool_region(
        "expression", tool="calculator", max_tokens=200, literal=literal, partial=partial
    )
    s += sgl.assistant(region)
    s += sgl.user("Result:\n" + tool_result("expression"))


if __name__ == "__main__":
    main(
        "Calculator: an expression whose parts are computed as they close.",
        ["expression"],
        lambda partial, free: calculator.run(
            question=QUESTION, literal=None if free else RECORDED, partial=partial
        ),
    )
