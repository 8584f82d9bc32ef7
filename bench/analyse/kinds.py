"""CodeGen's calls that sleep and those that compute, apart."""

from __future__ import annotations

import ast

from bench.analyse.calls import CallFigures
from bench.workloads.recorded import texts

#: A call computes if it sleeps for less than this part of its tool time.
_SLEEPS_FROM = 0.9


def slept_s(program: str) -> float:
    """The seconds for which a program sleeps by its text, a loop over `range` counted.

    Raises:
        SyntaxError: it is no Python.
    """
    return _slept(ast.parse(program))


def codegen_kinds(calls: list[CallFigures]) -> dict[str, list[CallFigures]]:
    """CodeGen's calls by whether a call `sleeps` or `computes`."""
    programs = texts("codegen")
    kinds: dict[str, list[CallFigures]] = {"sleeps": [], "computes": []}
    for call in calls:
        if call.tool_s is not None and call.call < len(programs):
            computes = slept_s(programs[call.call]) < _SLEEPS_FROM * call.tool_s
            kinds["computes" if computes else "sleeps"].append(call)
    return kinds


def _slept(node: ast.AST) -> float:
    match node:
        case ast.Call(func=ast.Attribute(attr="sleep"), args=[ast.Constant(value=int() | float())]):
            return float(ast.literal_eval(node.args[0]))
        case ast.For(iter=ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(n))])):
            return n * sum(_slept(child) for child in node.body)
    return sum(_slept(child) for child in ast.iter_child_nodes(node))
