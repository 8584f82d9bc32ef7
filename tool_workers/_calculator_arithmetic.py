"""The calculator's numbers and functions: exact for integers, and never larger than a limit."""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable

#: Digits of an integer, in between and at the end.
MAX_DIGITS = 10_000

_LIMIT = 10**MAX_DIGITS
_LIMIT_BITS = _LIMIT.bit_length()
_MAX_FACTORIAL = 3_300  # its factorial has more than MAX_DIGITS digits

Number = int | float


class CalculatorError(Exception):
    """An expression without a value; the kinds below say why."""


class TooLarge(CalculatorError):
    """A number is too large to be computed."""


class OutOfDomain(CalculatorError):
    """A function or power has no real value there."""


class DivisionByZero(CalculatorError):
    """A division by zero."""


def apply(what: str, function: Callable[..., Number], *operands: Number) -> Number:
    """Compute one step; the result is an integer in range or a finite float.

    Args:
        what: is computed, for the error's sentence.
        function: computes it.
        operands: of the function.

    Raises:
        CalculatorError: there is no such result.
    """
    try:
        value = function(*operands)
        if isinstance(value, int):
            return _in_range(value)
    except ZeroDivisionError:
        raise DivisionByZero(f"{what} divides by zero") from None
    except OverflowError:
        raise TooLarge(f"{what} gets too large") from None
    except ValueError:
        raise OutOfDomain(f"{what} has no value there") from None
    except TypeError:
        raise OutOfDomain(f"{what} needs whole numbers") from None
    if isinstance(value, complex) or math.isnan(value):
        raise OutOfDomain(f"{what} has no real value")
    if math.isinf(value):
        raise TooLarge(f"{what} gets too large")
    return value


def _power(base: Number, exponent: Number) -> Number:
    whole = isinstance(base, int) and isinstance(exponent, int)
    # |base| is at least 2 ** (its bits - 1): what is too large is not even begun.
    if whole and (int(base).bit_length() - 1) * exponent > _LIMIT_BITS:
        raise OverflowError
    return base**exponent


def _divide(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int) and b != 0 and a % b == 0:
        return a // b
    return a / b


def _sqrt(x: Number) -> Number:
    if isinstance(x, int) and x >= 0 and (root := math.isqrt(x)) ** 2 == x:
        return root
    return math.sqrt(x)


def _round(x: Number, digits: Number = 0) -> Number:
    if not isinstance(digits, int) or abs(digits) > MAX_DIGITS:
        raise ValueError
    return round(x, digits) if digits else round(x)


def _factorial(n: int) -> int:
    if isinstance(n, int) and n > _MAX_FACTORIAL:
        raise OverflowError
    return math.factorial(n)


def _lcm(*numbers: int) -> int:
    return functools.reduce(lambda a, b: _in_range(math.lcm(a, b)), numbers, 1)


def _log(x: Number, base: Number = math.e) -> float:
    exact = {2: math.log2, 10: math.log10, math.e: math.log}.get(base)
    return exact(x) if exact else math.log(x, base)


def _in_range(value: int) -> int:
    if abs(value) >= _LIMIT:
        raise OverflowError
    return value


#: More arguments than an expression has room for.
_ANY = 1_000_000

#: What can be called: how it is computed, and the least and the most arguments it takes.
FUNCTIONS: dict[str, tuple[Callable[..., Number], int, int]] = {
    "sqrt": (_sqrt, 1, 1),
    "abs": (abs, 1, 1),
    "min": (lambda *numbers: min(numbers), 1, _ANY),
    "max": (lambda *numbers: max(numbers), 1, _ANY),
    "round": (_round, 1, 2),
    "floor": (math.floor, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "factorial": (_factorial, 1, 1),
    "gcd": (math.gcd, 1, _ANY),
    "lcm": (_lcm, 1, _ANY),
    "log": (_log, 1, 2),
    "log2": (math.log2, 1, 1),
    "log10": (math.log10, 1, 1),
    "exp": (math.exp, 1, 1),
    "sin": (math.sin, 1, 1),
    "cos": (math.cos, 1, 1),
    "tan": (math.tan, 1, 1),
}
CONSTANTS = {"pi": math.pi, "e": math.e}
BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
