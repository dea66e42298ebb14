"""Formulas over the scores of parts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.composite.formula import MAX_CHARS, MAX_DEPTH, FormulaError, parse

SCORES = {"a": 0.5, "b": 2.0, "zero": 0.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", 0.5),
        ("1", 1.0),
        (" 1.5e2 ", 150.0),
        (".5", 0.5),
        ("a + b * 2", 4.5),
        ("(a + b) * 2", 5.0),
        ("1 - 2 - 3", -4.0),
        ("8 / 2 / 2", 2.0),
        ("2 * 3 / 4 * 2", 3.0),
        ("-a", -0.5),
        ("1 - -a", 1.5),
        ("- - a", 0.5),
        ("-a * b", -1.0),
        ("2 * -b", -4.0),
        ("b ^ 3", 8.0),
        ("b ^ 3 ^ 2", 512.0),
        ("-b ^ 2", -4.0),
        ("b ^ -1", 0.5),
        ("3 * b ^ 2 / 4", 3.0),
        ("(a + b) ^ zero", 1.0),
        ("min(a, b)", 0.5),
        ("max(a, b, 3)", 3.0),
        ("abs(a - b)", 1.5),
        ("clip(b, 0, 1)", 1.0),
        ("clip(-b, 0, 1)", 0.0),
        ("clip(a - 0.2 * zero, 0, 1) * b", 1.0),
        ("min(max(a, b), clip(3, 0, 1.5))", 1.5),
    ],
)
def test_value(text: str, value: float) -> None:
    assert parse(text, SCORES)(SCORES) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a number, a part or a parenthesis was expected at the end"),
        ("   ", "a number, a part or a parenthesis was expected at the end"),
        ("a +", "a number, a part or a parenthesis was expected at the end"),
        ("a b", "'b' was not expected at character 2"),
        ("* a", "'*' was not expected at character 0"),
        ("+a", "'+' was not expected at character 0"),
        ("(a", "')' was expected at the end"),
        ("a)", "')' was not expected at character 1"),
        ("c", "no part is named 'c'; there are a, b, zero"),
        ("a.b", "'.' at character 1 is no part of a formula"),
        ("a ** b", "'*' was not expected at character 3"),
        ("^ a", "'^' was not expected at character 0"),
        ("a ^", "a number, a part or a parenthesis was expected at the end"),
        ("9" + "^9" * MAX_DEPTH, f"nested deeper than {MAX_DEPTH}"),
        ("a; b", "';' at character 1 is no part of a formula"),
        ("__import__('os')", '"\'" at character 11 is no part of a formula'),
        ("__import__(a)", "no part is named '__import__'; there are a, b, zero"),
        ("min", "'(' was expected at the end"),
        ("min(a)", "min takes 2 to 16 arguments"),
        ("abs(a, b)", "abs takes 1 argument"),
        ("clip(a, 1)", "clip takes 3 arguments"),
        ("max()", "')' was not expected at character 4"),
        ("1e999", "a number is too large"),
        ("a\x00", "'\\x00' at character 1 is no part of a formula"),
        ("(" * (MAX_DEPTH + 1) + "a", f"nested deeper than {MAX_DEPTH}"),
        ("-" * (MAX_DEPTH + 1) + "a", f"nested deeper than {MAX_DEPTH}"),
        ("abs(" * (MAX_DEPTH + 1) + "a", f"nested deeper than {MAX_DEPTH}"),
        ("a" * (MAX_CHARS + 1), f"longer than {MAX_CHARS} characters"),
    ],
)
def test_what_is_no_formula_is_refused(text: str, message: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse(text, SCORES)
    assert str(caught.value) == message


def test_the_longest_formula_is_evaluated() -> None:
    text = "a" + "+a" * ((MAX_CHARS - 1) // 2)
    assert parse(text, SCORES)(SCORES) == 0.5 * text.count("a")
    text = "a" + "*1" * ((MAX_CHARS - 1) // 2)
    assert parse(text, SCORES)(SCORES) == 0.5


def test_a_division_by_zero_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        parse("a / zero", SCORES)(SCORES)


@pytest.mark.parametrize(
    "text", ["9 ^ 9 ^ 9 ^ 9", "zero ^ -1", "(-b) ^ a", "clip(9 ^ 9 ^ 9, 0, 1)", "min(1, (-b) ^ a)"]
)
def test_a_power_without_a_real_and_finite_value_raises(text: str) -> None:
    with pytest.raises(ArithmeticError):
        parse(text, SCORES)(SCORES)


numbers = st.floats(0, 100).map(lambda x: round(x, 3))
trees = st.recursive(
    numbers.map(lambda x: (repr(x), x)) | st.sampled_from(sorted(SCORES)).map(lambda n: (n, SCORES[n])),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
        lambda t: (
            f"({t[0][0]} {t[1]} {t[2][0]})",
            {"+": t[0][1] + t[2][1], "-": t[0][1] - t[2][1], "*": t[0][1] * t[2][1]}[t[1]],
        )
    ),
    max_leaves=20,
)


@given(trees)
def test_it_agrees_with_arithmetic(tree: tuple[str, float]) -> None:
    text, value = tree
    if len(text) <= MAX_CHARS and text.count("(") < MAX_DEPTH:
        assert math.isclose(parse(text, SCORES)(SCORES), value, rel_tol=1e-9, abs_tol=1e-9)


@given(st.text(max_size=60) | st.text("ab()+-*/^,. 1e", max_size=60))
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    try:
        formula = parse(text, SCORES)
    except FormulaError:
        return
    try:
        formula(SCORES)
    except ArithmeticError:
        return
