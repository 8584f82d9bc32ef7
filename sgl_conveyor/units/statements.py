"""Top-level Python statements of a region's text.

A simple statement is certain at the end of its last line. A compound one (`if`, `def`, a
decorated class …) is certain only when the next statement begins, since an `else` or a further
line of its body may still come. The standard library's `codeop` tells incomplete from invalid,
`ast` tells where statements begin and end.
"""

from __future__ import annotations

import ast
import codeop
import re
import warnings
from typing import Literal

from sgl_conveyor.units.lines import SourceLine, SourceLineSplitter

_COMPOUND = (
    ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.FunctionDef, ast.ClassDef,
    ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef, ast.TryStar,
)  # fmt: skip
#: A line that goes on with a compound statement although it is not indented.
_CLAUSE = re.compile(r"(else|elif|except|finally)\b")
#: What compiling a text raises when it is no Python, or nested too deeply for the parser.
_NO_PYTHON = (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError)
_BLANK = re.compile(r"\s*(#|$)")
#: A line with one of these can open a string, a bracket or a continuation that spans lines.
_CAN_SPAN = re.compile(r"[\"'()\[\]{}\\]")


class StatementSplitter:
    """Splits text into complete top-level statements, exactly as they were written.

    Text that is no Python is handed over too, as soon as that is certain: whoever runs it can
    say so better.
    """

    def __init__(self) -> None:
        self._lines = SourceLineSplitter()
        self._compiler = codeop.CommandCompiler()
        self._compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._pending: list[SourceLine] = []
        # The pending lines are a complete compound statement, which may go on.
        self._open_block = False

    def feed(self, text: str) -> list[str]:
        """The statements that `text` makes certain."""
        return [s for line in self._lines.feed(text) for s in self._add(line)]

    def close(self) -> list[str]:
        """The statements that are left at the region's end."""
        statements = [s for line in self._lines.close() for s in self._add(line)]
        return statements + self._flush()

    def _add(self, line: SourceLine) -> list[str]:
        text = line.text
        blank = _BLANK.match(text) is not None
        if not self._pending:
            return [] if blank else self._extend(line)
        if not self._open_block:
            return self._extend(line)
        if blank or (text[0].isspace() and _stands_alone(text)):
            self._pending.append(line)
            return []
        if text[0].isspace() or _CLAUSE.match(text) or self._completeness() == "incomplete":
            return self._extend(line)
        return self._flush() + self._extend(line)

    def _extend(self, line: SourceLine) -> list[str]:
        """Add a line, and hand over what is pending if that makes it certain."""
        self._pending.append(line)
        completeness = self._completeness()
        if completeness == "incomplete":
            self._open_block = False
            return []
        # Text that the compiler alone refuses, as a `return` outside of a function, has statements.
        body = _body(self._pending)
        complete = completeness == "complete"
        self._open_block = complete and bool(body and isinstance(body[-1], _COMPOUND))
        return [] if self._open_block else self._hand_over(body)

    def _completeness(self) -> Literal["complete", "incomplete", "invalid"]:
        source = _source(self._pending)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compiled = self._compiler(source, "<region>", "exec")
        except SyntaxError:
            # codeop tries again with an empty line behind, which a backslash does not survive.
            return "incomplete" if self._ends_in_backslash() else "invalid"
        except _NO_PYTHON:
            return "invalid"
        return "incomplete" if compiled is None else "complete"

    def _ends_in_backslash(self) -> bool:
        """Whether the last line is continued, and nothing before it is wrong."""
        if not self._pending[-1].text.endswith("\\"):
            return False
        try:
            compile(_source(self._pending), "<region>", "exec", ast.PyCF_ONLY_AST)
        except SyntaxError as error:
            return "unexpected EOF" in str(error)
        except _NO_PYTHON:
            return False
        return True

    def _flush(self) -> list[str]:
        return self._hand_over(_body(self._pending))

    def _hand_over(self, body: list[ast.stmt] | None) -> list[str]:
        """Give what is pending: the statements of its body, or all as it is if there is none."""
        lines, self._pending, self._open_block = self._pending, [], False
        if all(not line.text.strip() for line in lines):
            return []
        return [_written(lines)] if body is None else [_slice(lines, node) for node in body]


def _body(lines: list[SourceLine]) -> list[ast.stmt] | None:
    """The statements of some lines, or None if they are no Python."""
    try:
        return _parse(_source(lines)).body
    except _NO_PYTHON:
        return None


def _source(lines: list[SourceLine]) -> str:
    """What is compiled: with plain newlines, whatever ended the lines."""
    return "".join(f"{line.text}\n" for line in lines)


def _written(lines: list[SourceLine]) -> str:
    """The lines as they were written, without what ended the last one."""
    return "".join([*map("".join, lines[:-1]), lines[-1].text])


def _stands_alone(line: str) -> bool:
    """Whether an indented line opens nothing that goes on below it.

    Looked at alone, since compiling the whole block for each of its lines takes quadratic time.
    """
    if not _CAN_SPAN.search(line):
        return True
    try:
        _parse(f"if 1:\n{line}\n")
    except _NO_PYTHON:
        return False
    return True


def _slice(lines: list[SourceLine], node: ast.stmt) -> str:
    """A node's source; ast counts columns in bytes of UTF-8."""
    first = node.lineno - 1
    decorators = getattr(node, "decorator_list", [])
    if decorators:
        # ast knows where a decorator's expression begins; its `@` may stand on a line above.
        first = min(decorator.lineno for decorator in decorators) - 1
        while not lines[first].text.lstrip().startswith("@"):
            first -= 1
    assert node.end_lineno is not None
    part = lines[first : node.end_lineno]
    part[-1] = SourceLine(_columns(part[-1].text, 0, node.end_col_offset), "")
    if not decorators:
        part[0] = part[0]._replace(text=_columns(part[0].text, node.col_offset, None))
    return _written(part)


def _columns(line: str, begin: int, end: int | None) -> str:
    return line.encode()[begin:end].decode()


def _parse(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree: ast.Module = compile(
            source, "<region>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
    return tree
