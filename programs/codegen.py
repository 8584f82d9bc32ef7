"""CodeGen: the model writes a program, which runs while it is written.

python -m programs.codegen [--url http://127.0.0.1:30000] [--free]
"""

from __future__ import annotations

from typing import Any

import sglang as sgl

from programs.compare import main
from sgl_conveyor import tool_region, tool_result
from sgl_conveyor.demo.program import QUESTION, RECORDED


@sgl.function  # type: ignore[untyped-decorator]
def codegen(s: Any, question: str, literal: str | None = RECORDED, partial: bool = True) -> None:
    """Answer a question with a program; `literal` replays a recorded one."""
    s += sgl.user(question)
    region = tool_region("code", tool="python", max_tokens=400, literal=literal, partial=partial)
    s += sgl.assistant("```python\n" + region + "\n```")
    s += sgl.user("Output:\n" + tool_result("code"))


if __name__ == "__main__":
    main(
        "CodeGen: a program that runs while it is written.",
        ["code"],
        lambda partial, free: codegen.run(
            question=QUESTION, literal=None if free else RECORDED, partial=partial
        ),
    )
