"""The calculator: each part of an expression is computed as soon as its parenthesis closes."""

from __future__ import annotations

import ast
import operator
import re
import warnings
from dataclasses import dataclass, field

from sgl_conveyor.tools import Tool
from tool_workers._calculator_arithmetic import (
    BINARY,
    CONSTANTS,
    FUNCTIONS,
    UNARY,
    CalculatorError,
    Number,
    TooLarge,
    apply,
)

#: Characters of an expression.
MAX_CHARS = 10_000
#: Levels of parentheses, and of signs and powers within one of them.
MAX_DEPTH = 100
#: A longer integer is given as a text of digits: JSON readers (Python's too) refuse long numbers.
MAX_NUMBER_DIGITS = 4_000


class NotAnExpression(CalculatorError):
    """The text is no arithmetic expression."""


class UnknownName(CalculatorError):
    """A name that is neither a function nor a constant here."""


class TooLong(CalculatorError):
    """The expression has too many characters."""


class TooDeep(CalculatorError):
    """The expression is nested too deeply."""


_WORDS = "|".join(sorted([*FUNCTIONS, *CONSTANTS]))
_CHARACTER = re.compile(r"[0-9A-Za-z+\-*/%^(),. \t\r\n]")
_LONG_LITERAL = re.compile(rf"[0-9]{{{MAX_NUMBER_DIGITS + 1}}}")


@dataclass
class _Open:
    """An open parenthesis, or the text as a whole; what closed within it is a name like `_1`."""

    function: str | None = None
    text: list[str] = field(default_factory=list)

    def take_name(self) -> str | None:
        """The name at the end, which the parenthesis that opens now makes a function's."""
        place = len(self.text)
        while place and self.text[place - 1].isspace():
            place -= 1
        end = place
        while place and self.text[place - 1].isalnum():
            place -= 1
        if not "".join(self.text[place : place + 1]).isalpha():
            return None
        name = "".join(self.text[place:end])
        del self.text[place:]
        return name


class Calculator(Tool):
    """Compute an arithmetic expression: + - * / // % ** ^ (a power), parentheses, pi, e, sqrt, abs,
    min, max, round, floor, ceil, factorial, gcd, lcm, log, log2, log10, exp, sin, cos, tan.

    Integers are exact, up to 10,000 digits; one of more than 4,000 is given as a text of digits.
    """

    regex = rf"(?:[0-9]|[-+*/%^(),. ]|{_WORDS})+"
    read_only = True

    def __init__(self) -> None:
        self._chars = 0
        self._open = [_Open()]
        self._values: dict[str, Number] = dict(CONSTANTS)

    def on_text(self, delta: str) -> None:
        for character in delta:
            self._take(character)

    def finish(self) -> Number | str:
        if len(self._open) > 1:
            raise NotAnExpression("a parenthesis is not closed")
        value = self._compute(self._open[0])
        if isinstance(value, int) and abs(value) >= 10**MAX_NUMBER_DIGITS:
            return _digits(value)
        return value

    def _take(self, character: str) -> None:
        self._chars += 1
        if self._chars > MAX_CHARS:
            raise TooLong(f"the expression is longer than {MAX_CHARS} characters")
        if not _CHARACTER.fullmatch(character):
            raise NotAnExpression(f"{character!r} is no part of an expression")
        inner = self._open[-1]
        if character == "(":
            if len(self._open) > MAX_DEPTH:
                raise TooDeep(f"there are more than {MAX_DEPTH} levels of parentheses")
            self._open.append(_Open(inner.take_name()))
        elif character == ")":
            if len(self._open) == 1:
                raise NotAnExpression("a parenthesis closes that was not opened")
            name = f"_{len(self._values)}"
            self._values[name] = self._compute(self._open.pop())
            # The spaces keep it apart from a number or a name beside it.
            self._open[-1].text += [" ", name, " "]
        else:
            inner.text.append("**" if character == "^" else character)

    def _compute(self, part: _Open) -> Number:
        """The value of what is in a parenthesis, or in all of the text."""
        name, text = part.function, "".join(part.text).strip()
        if name is not None and name not in FUNCTIONS:
            raise UnknownName(f"there is no function {name[:40]!r}")
        if not text:
            raise NotAnExpression("there is nothing to compute")
        if _LONG_LITERAL.search(text):
            raise TooLarge(f"a number has more than {MAX_NUMBER_DIGITS} digits")
        arguments = [self._value(node, 0) for node in _arguments(text)]
        if name is None:
            if len(arguments) != 1:
                raise NotAnExpression("a comma stands outside of a function's arguments")
            return arguments[0]
        function, least, most = FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            raise NotAnExpression(f"{name} cannot take {len(arguments)} arguments")
        return apply(name, function, *arguments)

    def _value(self, node: ast.expr, depth: int) -> Number:
        if depth > MAX_DEPTH:
            raise TooDeep(f"there are more than {MAX_DEPTH} levels of signs and powers")
        # A long sum is a tree that is deep on its left side: no recursion there.
        pending: list[tuple[ast.operator, ast.expr]] = []
        while isinstance(node, ast.BinOp):
            pending.append((node.op, node.right))
            node = node.left
        value = self._leaf(node, depth)
        for op, right in reversed(pending):
            operands = value, self._value(right, depth + 1)
            value = apply("the expression", BINARY[type(op)], *operands)
        return value

    def _leaf(self, node: ast.expr, depth: int) -> Number:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return apply("a number", operator.pos, value)
            case ast.Name(id=name):
                if name not in self._values:
                    raise UnknownName(f"there is no constant {name[:40]!r}")
                return self._values[name]
            case ast.UnaryOp(op=op) if type(op) in UNARY:
                return UNARY[type(op)](self._value(node.operand, depth + 1))
            case _:
                raise NotAnExpression("the text is more than numbers, operators and functions")


def _arguments(text: str) -> list[ast.expr]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(f"f({text})", mode="eval").body
    except SyntaxError as error:
        raise NotAnExpression(f"the text is no expression: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise TooDeep("too many operators stand beside each other: use parentheses") from None
    assert isinstance(tree, ast.Call)
    if tree.keywords:
        raise NotAnExpression("** has nothing on its left")
    return tree.args


def _digits(value: int) -> str:
    """An integer's digits, a part at a time: Python refuses to write a long one at once."""
    rest, part = divmod(abs(value), 10**MAX_NUMBER_DIGITS)
    text = _digits(rest) + str(part).zfill(MAX_NUMBER_DIGITS) if rest else str(part)
    return f"-{text}" if value < 0 else text
