"""Search: the query goes out while the model still writes the other arguments.

python -m bench.workloads.search_service &
python -m sgl_conveyor.launch_server … --tools search --tools-config bench/tools.toml &
python -m programs.search [--url http://127.0.0.1:30000] [--free]
"""

from __future__ import annotations

from typing import Any

import sglang as sgl

from programs.compare import main
from sgl_conveyor import tool_region, tool_result

QUESTION = (
    "How can Python read a very large compressed file line by line, without unpacking it first? "
    "Search the documentation, and answer with the name of a function."
)

#: A call as a model writes it: the query first, what narrows the results after it.
RECORDED = """\
{
  "query": "open a gzip compressed file and read it line by line as text, without unpacking it \
to disk or holding all of it in memory",
  "site": "",
  "language": "all",
  "count": 4
}"""


@sgl.function  # type: ignore[untyped-decorator]
def search(s: Any, question: str, literal: str | None = RECORDED, partial: bool = True) -> None:
    """Answer a question with what a search finds; `literal` replays a recorded call."""
    s += sgl.user(question)
    region = tool_region("search", tool="search", max_tokens=256, literal=literal, partial=partial)
    s += sgl.assistant("```json\n" + region + "\n```")
    s += sgl.user("Results:\n" + tool_result("search"))


if __name__ == "__main__":
    main(
        "Search: a query that leaves before its region ends.",
        ["search"],
        lambda partial, free: search.run(
            question=QUESTION, literal=None if free else RECORDED, partial=partial
        ),
    )
