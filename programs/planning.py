"""Planning: the model writes a plan of tool calls, whose steps run while it is written.

The server needs the tools of the plan beside `planning`:

python -m sgl_conveyor.launch_server ... --tools planning programs.plan_tools:load_series \\
    programs.plan_tools:mean programs.plan_tools:total programs.plan_tools:compute_ratio \\
    programs.plan_tools:difference programs.plan_tools:forecast programs.plan_tools:slow_lookup \\
    programs.plan_tools:append_note
python -m programs.planning [--url http://127.0.0.1:30000] [--free]
"""

from __future__ import annotations

from typing import Any

import sglang as sgl

from programs.compare import main
from sgl_conveyor import tool_region, tool_result

QUESTION = """\
Which part of its mean revenue does the shop spend, and what will it sell? Write a plan, a step
a line: $1 = load_series("revenue"), $2 = mean($1). The tools: load_series(name, delay_s),
mean(values), total(values), compute_ratio(a, b), difference(a, b),
forecast(values, months, seconds)."""

#: Three slow loads at once, then what depends on them; a forecast beside the last steps.
RECORDED = """\
$1 = load_series("revenue", delay_s=1.5)
$2 = load_series("costs", delay_s=1.5)
$3 = load_series("orders", delay_s=1.0)
$4 = mean($1)
$5 = forecast($1, 3, seconds=1.5)
$6 = mean($2)
$7 = compute_ratio($6, $4)
$8 = total($3)
"""


@sgl.function  # type: ignore[untyped-decorator]
def planning(s: Any, question: str, literal: str | None = RECORDED, partial: bool = True) -> None:
    """Answer a question with a plan; `literal` replays a recorded one."""
    s += sgl.user(question)
    region = tool_region("plan", tool="planning", max_tokens=300, literal=literal, partial=partial)
    s += sgl.assistant(region)
    s += sgl.user("Results:\n" + tool_result("plan"))


if __name__ == "__main__":
    main(
        "Planning: a plan whose steps run while it is written.",
        ["plan"],
        lambda partial, free: planning.run(
            question=QUESTION, literal=None if free else RECORDED, partial=partial
        ),
    )
