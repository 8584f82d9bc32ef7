"""The program that the demo replays."""

from __future__ import annotations

from typing import Any

import sglang as sgl

from sgl_conveyor.frontend import tool_region, tool_result

QUESTION = "Load the log of readings, compute some figures of it in Python, and print them."

#: A program of a dozen statements that load, compute, wait (as on a slow disk) and print.
RECORDED = """\
import json, time
log = json.dumps(list(range(1200000)))
values = json.loads(log)
time.sleep(1.2)
mean = sum(values) / len(values)
last = sorted(values, key=str)[-3:]
time.sleep(1.2)
sevens = sum(v % 7 == 3 for v in values)
time.sleep(1.2)
size = len(str(values))
time.sleep(0.6)
print(mean, last, sevens, size)
"""


@sgl.function  # type: ignore[untyped-decorator]
def codegen(s: Any, question: str, literal: str | None = RECORDED, partial: bool = True) -> None:
    """Answer a question with a program; `literal` replays a recorded one."""
    s += sgl.user(question)
    region = tool_region("code", tool="python", max_tokens=400, literal=literal, partial=partial)
    s += sgl.assistant("```python\n" + region + "\n```")
    s += sgl.user("Output:\n" + tool_result("code"))
