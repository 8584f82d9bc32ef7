"""What the workloads are, plainly; and CodeGen's calls that sleep and that compute, apart."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from bench.calls import CallFigures, median_ratio
from bench.statistics import bootstrap, percents
from bench.summary import Summary
from bench.tables import NONE, table

_TEXTS = Path(__file__).parent / "recorded" / "codegen.json"
#: A call computes if it sleeps for less than this part of its tool time.
_SLEEPS_FROM = 0.9

TEXT = (
    "The texts of all calls are hand-written, recorded once, and replayed by a literal grammar: "
    "every mode decodes the same tokens, each in a real decode step, and no model chose them. The "
    "tool times were set to spread from far below to far above the decode time:",
    "",
    "- codegen: programs that sleep where a service would be waited for; half of them compute as "
    "well, for at most a quarter of their tool time (beneath, a call computes if its sleeps sum to "
    "less than nine tenths of it): none needs a core for most of its time;",
    "- search: a local service whose network takes 80 ms a round trip and whose search takes 0.6 "
    "to 6 s, depending on the query;",
    "- planning: the plan's steps wait as for services;",
    "- validation: every recorded call is invalid somewhere;",
    "- database and calculator: quick tools, where nothing can be won.",
    "",
    "What is won depends on the ratio of tool time to decode time, and so on these choices: the "
    "picture of reductions shows it call by call.",
)


def slept_s(program: str) -> float:
    """The seconds for which a program sleeps by its text, a loop over `range` counted.

    Args:
        program: Python.

    Raises:
        SyntaxError: it is not.
    """
    return _slept(ast.parse(program))


def codegen_kinds(summary: Summary) -> str:
    """CodeGen's sleeping and its computing calls in a row each; empty without CodeGen."""
    figures = summary.workloads.get("codegen")
    if figures is None:
        return ""
    texts: list[str] = json.loads(_TEXTS.read_text())
    kinds: dict[str, list[CallFigures]] = {"sleeps": [], "computes": []}
    for call in figures.calls:
        if call.tool_s is not None and call.call < len(texts):
            computes = slept_s(texts[call.call]) < _SLEEPS_FROM * call.tool_s
            kinds["computes" if computes else "sleeps"].append(call)
    header = (
        "codegen, a call that", "calls", "tool / decode", "vs stock", "vs sequential", "vs client",
        "above the bound",
    )  # fmt: skip
    return table(header, (_row(kind, calls) for kind, calls in kinds.items()))


def _row(kind: str, calls: list[CallFigures]) -> tuple[str, ...]:
    ratio = median_ratio(calls)
    against = [
        [call.reductions[mode] for call in calls if mode in call.reductions]
        for mode in ("stock", "sequential", "client")
    ]
    gaps = [call.gap for call in calls if call.gap is not None]
    return (
        kind,
        str(len(calls)),
        NONE if ratio is None else f"{ratio:.3f}",
        *(percents(bootstrap(values)) if values else NONE for values in (*against, gaps)),
    )


def _slept(node: ast.AST) -> float:
    match node:
        case ast.Call(func=ast.Attribute(attr="sleep"), args=[ast.Constant(value=int() | float())]):
            return float(ast.literal_eval(node.args[0]))
        case ast.For(iter=ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(n))])):
            return n * sum(_slept(child) for child in node.body)
    return sum(_slept(child) for child in ast.iter_child_nodes(node))
