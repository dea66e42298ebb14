"""The grammar, exact values and costs of expressions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.math.cost import MAX_EXACT, check_written, exact, height
from verifiers.math.expression import CostlyError, UnreadableError, parse, symbols
from verifiers.math.tokens import tokenize


def value(text: str) -> Fraction | None:
    tree = parse(tokenize(text))
    assert height(tree) <= MAX_EXACT
    return exact(tree)


@pytest.mark.parametrize(
    ("written", "result"),
    [
        ("1/2", Fraction(1, 2)),
        ("\\frac12", Fraction(1, 2)),
        ("\\frac 59", Fraction(5, 9)),
        ("\\frac{270}7", Fraction(270, 7)),
        ("\\frac9{19}", Fraction(9, 19)),
        ("-\\frac{1}{-2}", Fraction(1, 2)),
        ("1 1/2", Fraction(3, 2)),
        ("-1\\frac{1}{2}", Fraction(-3, 2)),
        ("12\\frac35", Fraction(63, 5)),
        ("2\\frac{4}{3}", Fraction(8, 3)),
        (".5", Fraction(1, 2)),
        ("1.5e3", Fraction(1500)),
        ("1.5 \\times 10^{-3}", Fraction(15, 10**4)),
        ("0.1\\overline{6}", Fraction(1, 6)),
        ("-2^2", Fraction(-4)),
        ("(-2)^2", Fraction(4)),
        ("2^3^2", Fraction(512)),
        ("2^{-3}", Fraction(1, 8)),
        ("3(4+5)", Fraction(27)),
        ("5!", Fraction(120)),
        ("\\binom{5}{2}", Fraction(10)),
        ("\\sqrt{\\frac{4}{9}}", Fraction(2, 3)),
        ("\\sqrt4 \\cdot 3", Fraction(6)),
        ("\\sqrt[3]{-8}", Fraction(-2)),
        ("8^{2/3}", Fraction(4)),
        ("|-3|", Fraction(3)),
        ("\\lfloor -1.5 \\rfloor", Fraction(-2)),
        ("\\lceil 1.5 \\rceil", Fraction(2)),
        ("\\gcd(12, 18)", Fraction(6)),
        ("\\max\\{1, 7\\}", Fraction(7)),
        ("17 \\bmod 5", Fraction(2)),
        ("6/2*3", Fraction(9)),
        ("50\\%", Fraction(1, 2)),
        ("\\sqrt{2}", None),
        ("x", None),
        ("(-8)^{1/3}", Fraction(-2)),
        ("(-8)^{1/2}", None),
    ],
)
def test_exact_value(written: str, result: Fraction | None) -> None:
    assert value(written) == result


@pytest.mark.parametrize("written", ["1/0", "0^{-1}", "5 \\bmod 0", "\\frac{1}{2-2}"])
def test_no_value(written: str) -> None:
    with pytest.raises(ZeroDivisionError):
        value(written)


@pytest.mark.parametrize(
    "written",
    ["", "1 2", "(1", "x2", "5 apples", "\\int x", "1+", "\\frac{1}", "52_8", "{}", "\\unknown{2}", "^2", "a,b"],
)
def test_what_is_no_expression_is_not_guessed(written: str) -> None:
    with pytest.raises(UnreadableError):
        parse(tokenize(written, grouping=False))


@pytest.mark.parametrize(
    "written",
    [
        "(10^{10})!",
        "10^{10}!",
        "\\binom{10^9}{5\\cdot10^8}",
        "9^{9^{9^9}}",
        "9^9^9^9",
        "2^{100000}",
        "(2^{999})^{999}",
        "((9!)!)!",
        "1e99999",
        "1e999999999",
        "e^{e^{e^{e^{9}}}}",
        "(1+2^{-99999})",
        "\\exp(10^9)",
        "1" * 1001,
        "(" * 40 + "1" + ")" * 40,
        "\\sqrt" * 200 + "2",
        "2^" * 200 + "2",
        "\\sin " * 200 + "x",
        "1" + "/2" * 200,
        "3" + "!" * 50,
        "|" * 100,
        "*".join(["(7^{999})"] * 9),
    ],
)
def test_what_would_blow_up_is_refused_before_it_is_computed(written: str) -> None:
    with pytest.raises(CostlyError):
        height(parse(tokenize(written)))


@pytest.mark.parametrize(
    "written",
    ["2^{1000}", "100!", "\\binom{2023}{2}", "x^{2023}", "e^{x^2}", "\\frac{1}{(1+\\sqrt2)(1+\\sqrt3)}", "n!"],
)
def test_what_people_write_is_not_refused(written: str) -> None:
    height(parse(tokenize(written)))


@pytest.mark.parametrize(
    "written",
    ["\\int 9^{9^9}", "\\sum_{k=1}^{99999} k", "\\prod_{k=1}^{10^{9}} k!", "\\Gamma(" + "1" * 31 + ")", "x" * 401],
)
def test_written_costs_are_refused(written: str) -> None:
    with pytest.raises(CostlyError):
        check_written(written)


def test_symbols_have_indices_and_primes() -> None:
    assert symbols(parse(tokenize("x_1 + x_{12}y' - \\theta e^{i}"))) == {"x_1", "x_12", "y'", "\\theta"}


def test_nested_mixed_numbers_are_read_in_linear_time() -> None:
    """Twice as deep must not take twice as often: each level is read once."""
    assert value("1\\frac{" * 15 + "1" + "}{2}" * 15) is not None


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_arithmetic_is_exact(a: Fraction, b: Fraction) -> None:
    def written(number: Fraction) -> str:
        return f"(\\frac{{{number.numerator}}}{{{number.denominator}}})"

    assert value(f"{written(a)} + {written(b)}") == a + b
    assert value(f"{written(a)} - {written(b)}") == a - b
    assert value(f"{written(a)} {written(b)}") == a * b


@given(st.integers(0, 10**30), st.integers(2, 7))
def test_roots_are_exact_or_none(root: int, degree: int) -> None:
    power = root**degree
    assert value(f"\\sqrt[{degree}]{{{power}}}") == root
    if root > 1:
        assert value(f"\\sqrt[{degree}]{{{power + 1}}}") is None
