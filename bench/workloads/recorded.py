"""The recorded calls of the six workloads: texts that are decoded again under a literal grammar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

#: The six workloads of the paper, in its order.
WORKLOADS = ("codegen", "search", "planning", "validation", "database", "calculator")
#: A list of texts each, by the workload's name; and the folder of recorded token streams.
RECORDED = Path(__file__).parents[1] / "recorded"
#: The tool of each workload that is not called as it.
_TOOLS = {"codegen": "python"}
_PROMPT = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Work:
    """One recorded call.

    Args:
        workload: its name.
        number: of the recorded text.
        tool: the tool's name.
        text: the region's.
        question: of the user, before it.
    """

    workload: str
    number: int
    tool: str
    text: str
    question: str

    @property
    def prompt(self) -> str:
        """What stands before the region."""
        return _PROMPT.format(question=self.question)


def texts(workload: str) -> list[str]:
    """A workload's recorded texts, in the order of their numbers."""
    return msgspec.json.decode((RECORDED / f"{workload}.json").read_bytes(), type=list[str])


def chosen(workload: str, count: int) -> list[Work]:
    """So many of a workload's calls, spread over all of them."""
    tool = _TOOLS.get(workload, workload)
    question = f"Use the tool {tool}."
    works = [Work(workload, n, tool, text, question) for n, text in enumerate(texts(workload))]
    count = min(count, len(works))
    return [works[i * len(works) // count] for i in range(count)]
