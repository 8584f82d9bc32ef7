"""The calculator: what it computes, at every cut, and what it refuses in time."""

from __future__ import annotations

import json
import math
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_conveyor.testing import check_every_cut, cuts, run_tool
from tool_workers import calculator
from tool_workers.calculator import Calculator

RECORDED = Path(__file__).parents[2] / "bench" / "recorded" / "calculator.json"


def value(text: str) -> object:
    result = run_tool(Calculator, text).result
    assert result.error is None, result.error
    return result.value


def error(text: str) -> str:
    result = run_tool(Calculator, text).result
    assert result.error is not None, result.value
    assert result.error.message
    return result.error.type


class TestValues:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2 + 3 * 4", 14),
            ("-2 ^ 2", -4),
            ("2 ^ 3 ** 2", 512),
            ("(1 + 2) * (3 + 4)", 21),
            ("8 / 2", 4),
            ("7 / 2", 3.5),
            ("-7 // 2", -4),
            ("-7 % 3", 2),
            ("2 ^ -1", 0.5),
            ("sqrt(16)", 4),
            ("sqrt (2) * pi", math.sqrt(2) * math.pi),
            ("max(1, min(5, 3), 2)", 3),
            ("round(2.567, 2) + floor(e) + ceil(1.2) + abs(-1)", 7.57),
            ("gcd(12, 18) + lcm(4, 6)", 18),
            ("log(1000, 10) + log2(8) + log10(100) + log(e)", 9),
            ("factorial(25)", math.factorial(25)),
            ("(2^127 - 1) % (3^40)", (2**127 - 1) % 3**40),
            ("1e3 + .5", 1000.5),
        ],
    )
    def test_an_expression_has_its_value(self, text: str, expected: float) -> None:
        got = value(text)
        assert got == expected
        assert type(got) is (int if isinstance(expected, int) and "log" not in text else float)

    def test_a_long_integer_is_exact(self) -> None:
        assert value("10^3999 + 1") == 10**3999 + 1

    def test_an_integer_longer_than_that_is_a_text_of_its_digits(self) -> None:
        assert value("10^4000 - 1") == 10**4000 - 1
        assert value("-10^4000 - 1") == "-1" + "0" * 3999 + "1"
        assert value("-10^9999 - 5") == "-1" + "0" * 9998 + "5"

    @pytest.mark.parametrize("text", ["-(1+2)*sqrt( 16 )^2/max(3,4 , 2)", "1+", "2*(3/(1-1))+5#"])
    def test_every_cut_gives_the_same(self, text: str) -> None:
        check_every_cut(Calculator, text)

    def test_a_part_is_computed_when_its_parenthesis_closes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        compute = Calculator._compute

        def recorded(self: Calculator, part: calculator._Open) -> calculator.Number:
            done.append(f"{part.function} of {''.join(part.text)}")
            return compute(self, part)

        monkeypatch.setattr(Calculator, "_compute", recorded)
        text = "1 + factorial(20) * (2 + 3) - 4"
        run = run_tool(Calculator, text, cuts=[text.index("* (")], end="length")
        assert done == ["factorial of 20"]
        assert run.result.error is not None
        run_tool(Calculator, text)
        assert [part.partition(" of ")[0] for part in done[1:]] == ["factorial", "None", "None"]

    def test_a_region_that_was_cut_has_no_value(self) -> None:
        result = run_tool(Calculator, "1 + 2", end="length").result
        assert result.error is not None
        assert result.error.type == "RegionCut"


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("10^10^10", "TooLarge"),
            ("9**9**9**9", "TooLarge"),
            ("factorial(10**6)", "TooLarge"),
            ("(10**5000)**5000", "TooLarge"),
            ("10^5000 * 10^5000", "TooLarge"),
            ("1e999", "TooLarge"),
            ("1e308 * 10", "TooLarge"),
            ("exp(1000)", "TooLarge"),
            ("10^400 * 1.5", "TooLarge"),
            ("1" * 4001, "TooLarge"),
            ("round(5, -10^9)", "OutOfDomain"),
            ("lcm(" + "*".join(["10"] * 5000) + ")", "TooLong"),
            ("1 / 0", "DivisionByZero"),
            ("1 % (2 - 2)", "DivisionByZero"),
            ("0 ^ -1", "DivisionByZero"),
            ("sqrt(-1)", "OutOfDomain"),
            ("(-8) ^ (1/3)", "OutOfDomain"),
            ("log(0)", "OutOfDomain"),
            ("factorial(2.5)", "OutOfDomain"),
            ("factorial(-1)", "OutOfDomain"),
            ("foo(1)", "UnknownName"),
            ("pi(2)", "UnknownName"),
            ("__import__(1)", "NotAnExpression"),
            ("exit", "UnknownName"),
            ("", "NotAnExpression"),
            ("1 +", "NotAnExpression"),
            ("(1 + 2", "NotAnExpression"),
            ("1)", "NotAnExpression"),
            ("()", "NotAnExpression"),
            ("1, 2", "NotAnExpression"),
            ("(1)(2)", "NotAnExpression"),
            ("max(*1)", "NotAnExpression"),
            ("max(**1)", "NotAnExpression"),
            ("sqrt(1, 2)", "NotAnExpression"),
            ("True", "NotAnExpression"),
            ("1j", "NotAnExpression"),
            ("1 if 2 else 3", "NotAnExpression"),
            ("1 .real", "NotAnExpression"),
            ("'a'", "NotAnExpression"),
            ("²", "NotAnExpression"),
            ("1" * 10_001, "TooLong"),
            ("(" * 101, "TooDeep"),
            ("-" * 101 + "1", "TooDeep"),
            ("-" * 9_999 + "1", "TooDeep"),
            ("2**" * 3_000 + "1", "TooDeep"),
            ("+".join(["1"] * 5_000), "TooDeep"),
        ],
        ids=lambda text: text[:20],
    )
    def test_what_has_no_value_is_an_error(self, text: str, expected: str) -> None:
        assert error(text) == expected

    def test_what_is_just_within_the_limits_has_a_value(self) -> None:
        assert value("(" * 100 + "7" + ")" * 100) == 7
        assert value("-" * 100 + "7") == 7
        assert value("+".join(["1"] * 2_000)) == 2_000
        assert value("round(factorial(3000) % 10^9, 0)") == 0

    @settings(max_examples=200, deadline=None)
    @given(st.text("0123456789+-*/%^(),. maxsqrtpielogfn", max_size=40))
    def test_any_text_gives_a_finite_number_or_an_error(self, text: str) -> None:
        result = run_tool(Calculator, text).result
        if result.error is None:
            assert isinstance(result.value, (int, str)) or math.isfinite(result.value)
        else:
            assert result.error.type in {
                "DivisionByZero", "NotAnExpression", "OutOfDomain", "TooDeep", "TooLarge",
                "TooLong", "UnknownName",
            }  # fmt: skip


def integers() -> st.SearchStrategy[tuple[str, int]]:
    """Expressions of whole numbers with their values, computed while they are made."""
    base = st.integers(0, 99).map(lambda n: (str(n), n))

    def larger(inner: st.SearchStrategy[tuple[str, int]]) -> st.SearchStrategy[tuple[str, int]]:
        two = st.tuples(inner, inner)
        return st.one_of(
            two.map(lambda p: (f"({p[0][0]} + {p[1][0]})", p[0][1] + p[1][1])),
            two.map(lambda p: (f"({p[0][0]}-{p[1][0]})", p[0][1] - p[1][1])),
            two.map(lambda p: (f"({p[0][0]})*({p[1][0]})", p[0][1] * p[1][1])).map(bracketed),
            two.filter(lambda p: p[1][1] != 0).map(
                lambda p: (f"({p[0][0]} // {p[1][0]})", math.floor(Fraction(p[0][1], p[1][1])))
            ),
            two.filter(lambda p: p[1][1] != 0).map(
                lambda p: (
                    f"({p[0][0]} % {p[1][0]})",
                    p[0][1] - p[1][1] * math.floor(Fraction(p[0][1], p[1][1])),
                )
            ),
            two.map(lambda p: (f"max({p[0][0]}, {p[1][0]})", max(p[0][1], p[1][1]))),
            two.map(lambda p: (f"gcd({p[0][0]},{p[1][0]})", math.gcd(p[0][1], p[1][1]))),
            inner.map(lambda p: (f"({p[0]} ^ 2)", p[1] * p[1])),
            inner.map(lambda p: (f"(-{p[0]})", -p[1])),
        )

    return st.recursive(base, larger, max_leaves=12)


def bracketed(pair: tuple[str, int]) -> tuple[str, int]:
    return f"({pair[0]})", pair[1]


class TestAgainstAnOracle:
    @settings(max_examples=100, deadline=None)
    @given(st.data(), integers())
    def test_whole_numbers_are_exact_at_any_cuts(
        self, data: st.DataObject, pair: tuple[str, int]
    ) -> None:
        text, expected = pair
        result = run_tool(Calculator, text, cuts=data.draw(cuts(text))).result
        assert result.error is None, result.error
        assert type(result.value) is int
        assert result.value == expected

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.data())
    def test_precedence_and_order_are_those_of_python(
        self, numbers: list[int], data: st.DataObject
    ) -> None:
        signs = st.sampled_from(["+", "-", "*", "//", "%", " - ", " * "])
        text = str(numbers[0]) + "".join(data.draw(signs) + str(n) for n in numbers[1:])
        try:
            expected = eval(text)
        except ZeroDivisionError:
            assert error(text) == "DivisionByZero"
            return
        assert run_tool(Calculator, text, cuts=data.draw(cuts(text))).result.value == expected

    @given(st.integers(-(10**30), 10**30), st.integers(-(10**12), 10**12))
    def test_a_quotient_is_whole_exactly_if_it_is(self, a: int, b: int) -> None:
        if b == 0:
            assert error(f"{a} / ({b})") == "DivisionByZero"
            return
        got, exact = value(f"{a} / ({b})"), Fraction(a, b)
        assert isinstance(got, int) == (exact.denominator == 1)
        assert math.isclose(got, exact, rel_tol=1e-15)  # type: ignore[arg-type]


def test_the_recorded_regions_have_values() -> None:
    texts = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert 20 <= len(set(texts)) == len(texts) <= 24
    for text in texts:
        value(text)
        assert re.fullmatch(str(Calculator.regex), text)


@pytest.mark.parametrize("text", ["", "foo(1)", "x", "1 # 2", "'a'"])
def test_the_grammar_admits_only_what_expressions_are_made_of(text: str) -> None:
    assert not re.fullmatch(str(Calculator.regex), text)
