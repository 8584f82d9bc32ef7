"""One line of a plan: `$3 = compute_ratio($1, 2)` → a step, and what its tool is called with."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sgl_conveyor.encodable import encodable
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.specs import ToolInfo

#: Characters of one line.
MAX_LINE_CHARS = 10_000
_MAX_SHOWN_CHARS = 200
#: Of an integer: about a thousand digits.
_MAX_INTEGER_BITS = 3500

_STEP = r"(?:0|[1-9][0-9]{0,5})"
_HEAD = re.compile(
    rf"\s*\$(?P<step>{_STEP})\s*=\s*(?P<tool>[A-Za-z_][A-Za-z0-9_-]{{0,63}})\s*(?P<call>\(.*)",
    re.DOTALL,
)
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    rf"|\$(?P<step>{_STEP})(?![\w$])|(?P<comment>\#.*)|(?P<word>\w+)|.",
    re.DOTALL,
)
#: What stands for `$` while Python's parser reads the call.
_MARK = "_step_"
_WORDS = {"true": True, "false": False, "null": None}
#: How Python's parser fails at text that is no Python, or is nested too deep.
_NO_PYTHON = (SyntaxError, ValueError, MemoryError, RecursionError)

#: The grammar of a plan's text: such lines and nothing else, comments left out.
GRAMMAR = r"""
root ::= line ("\n" line)* "\n"?
line ::= step " = " tool "(" (argument (", " argument)*)? ")"
step ::= "$" [1-9] [0-9]? [0-9]?
tool ::= [a-zA-Z_] [a-zA-Z0-9_-]*
argument ::= ([a-zA-Z_] [a-zA-Z0-9_]* "=")? value
value ::= step | string | number | list | object | "true" | "false" | "null"
string ::= "\"" ([^"\\\x00-\x1f] | "\\" ["\\nt])* "\""
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)?
list ::= "[" (value (", " value)*)? "]"
object ::= "{" (string ": " value (", " string ": " value)*)? "}"
"""


class PlanError(ConveyorError):
    """A plan that cannot be run; the message names the line."""


@dataclass(frozen=True)
class Line:
    """A line of the plan: its number, from 1, and its text."""

    number: int
    text: str

    def wrong(self, problem: str) -> PlanError:
        """The error that this line makes."""
        text = self.text.strip()
        shown = text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}…"
        return PlanError(f"line {self.number}: {problem}: {shown}")


@dataclass(frozen=True)
class Reference:
    """`$3` in an argument: the result of another step."""

    step: int


@dataclass(frozen=True)
class Step:
    """A step of the plan.

    Args:
        line: where it stands.
        number: of the step, as in `$3`.
        tool: the name of the tool that it calls.
        positional, keywords: its arguments, with `Reference`s in the place of results.
    """

    line: Line
    number: int
    tool: str
    positional: list[Any]
    keywords: dict[str, Any]
    #: The steps whose results it needs, each as often as it is written.
    needs: list[int] = field(init=False)

    def __post_init__(self) -> None:
        needs = [*_references(self.positional), *_references(self.keywords)]
        object.__setattr__(self, "needs", needs)

    def bind(self, tool: ToolInfo) -> Any:
        """What the tool takes: an object of its parameters, or one value if it has none.

        Raises:
            PlanError: the arguments are not those that the tool takes.
        """
        if tool.parameters is None:
            if self.keywords or len(self.positional) > 1:
                raise self.line.wrong(f"{self.tool} takes one text, without a name")
            return self.positional[0] if self.positional else ""
        schema = json.loads(tool.parameters)
        if "$ref" in schema:
            schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
        names = list(schema.get("properties", {}))
        takes = f"it takes {', '.join(names) or 'none'}"
        if len(self.positional) > len(names):
            raise self.line.wrong(f"{self.tool} has too many arguments, {takes}")
        arguments = dict(zip(names, self.positional, strict=False))
        for name, value in self.keywords.items():
            if name in arguments:
                raise self.line.wrong(f"{self.tool} has the argument {name} twice")
            if name not in names and not schema.get("additionalProperties"):
                raise self.line.wrong(f"{self.tool} has no parameter {name}, {takes}")
            arguments[name] = value
        for name in schema.get("required", []):
            if name not in arguments:
                raise self.line.wrong(f"{self.tool} needs the argument {name}, {takes}")
        return arguments


def parse_line(line: Line) -> Step | None:
    """Read a line; None if it is empty or a comment.

    Raises:
        PlanError: it is no step.
    """
    text = line.text.strip()
    if not text or text.startswith("#"):
        return None
    if len(text) > MAX_LINE_CHARS:
        raise line.wrong(f"it has more than {MAX_LINE_CHARS} characters")
    head = _HEAD.fullmatch(text)
    if head is None:
        raise line.wrong("it is no step like `$1 = tool($2, 3)`")
    call = _parse(line, head["call"])
    keywords: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise line.wrong("`**` is no argument")
        if keyword.arg in keywords:
            raise line.wrong(f"{head['tool']} has the argument {keyword.arg} twice")
        keywords[keyword.arg] = _value(line, keyword.value)
    positional = [_value(line, argument) for argument in call.args]
    return Step(line, int(head["step"]), head["tool"], positional, keywords)


def fill(template: Any, values: Mapping[int, Any]) -> Any:
    """An argument with the results in the place of its references."""
    match template:
        case Reference():
            return values[template.step]
        case list():
            return [fill(part, values) for part in template]
        case dict():
            return {key: fill(part, values) for key, part in template.items()}
    return template


def _references(template: Any) -> Iterator[int]:
    match template:
        case Reference():
            yield template.step
        case list():
            for part in template:
                yield from _references(part)
        case dict():
            yield from _references(list(template.values()))


def _parse(line: Line, call: str) -> ast.Call:
    """The call as Python's parser reads it; nothing of it is ever run."""

    def readable(token: re.Match[str]) -> str:
        if token["comment"]:
            return ""
        if token["step"]:
            return f" {_MARK}{token['step']} "
        word = token["word"] or ""
        if not word.isascii():
            # Python would read it in another form than we do.
            raise line.wrong(f"{word} is no word that a plan has outside of quotes")
        if token.group() == "$" or word.startswith(_MARK):
            raise line.wrong(f"{token.group()} is no step's result, which is written like $1")
        return token.group()

    source = "call" + _TOKEN.sub(readable, call)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node = ast.parse(source.strip(), mode="eval").body
    except _NO_PYTHON as error:
        why = error.msg if isinstance(error, SyntaxError) else "it is nested too deep"
        raise line.wrong(f"it is no call that can be read ({why})") from None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise line.wrong("a step is one call and nothing after it")
    return node


def _value(line: Line, node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str(text)):
            # JSON writes what lies beyond 16 bits as two escapes.
            return encodable(
                text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            )
        case ast.Constant(value=bool() | None):
            return node.value
        case ast.Constant(value=int(number)):
            if number.bit_length() > _MAX_INTEGER_BITS:
                raise line.wrong("a number is too large")
            return number
        case ast.Constant(value=float(number)) if math.isfinite(number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)) if (
            not isinstance(number, bool)
        ):
            return -_value(line, node.operand)
        case ast.Name(id=word) if word.startswith(_MARK):
            return Reference(int(word.removeprefix(_MARK)))
        case ast.Name(id=word) if word in _WORDS:
            return _WORDS[word]
        case ast.Name(id=word):
            raise line.wrong(f"{word} is no value: a text stands in quotes")
        case ast.List():
            return [_value(line, part) for part in node.elts]
        case ast.Dict():
            made: dict[str, Any] = {}
            for key, part in _items(node):
                if (name := _key(line, key)) in made:
                    raise line.wrong(f"an object has the key {name!r} twice")
                made[name] = _value(line, part)
            return made
    raise line.wrong(
        "an argument is a number, a string, true, false, null, a list, an object, or $n"
    )


def _items(node: ast.Dict) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    return zip(node.keys, node.values, strict=True)


def _key(line: Line, node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return str(_value(line, node))
    raise line.wrong("the keys of an object are strings")
