"""What decides without a worker: exact algebra modulo a prime, bounds in double precision, and the sample points."""

from __future__ import annotations

import itertools
import string
from fractions import Fraction

import mpmath  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.math.support import judged_answer
from verifiers.math import cas
from verifiers.math.algebra import PRIME, image, transcendental
from verifiers.math.expression import Tree, parse
from verifiers.math.intervals import bounds, disjoint
from verifiers.math.samples import FAR, MAX_FAR_BITS, MIDDLE, UNIT, WIDE, far_bits, sample
from verifiers.math.tokens import tokenize


def tree(written: str) -> Tree:
    return parse(tokenize(written))


def test_the_prime_is_one_and_has_the_roots_that_it_should() -> None:
    for witness in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):  # Miller and Rabin, with these bases
        odd, twos = PRIME - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        power = pow(witness, odd, PRIME)
        assert power in (1, PRIME - 1) or any(
            (power := power * power % PRIME) == PRIME - 1 for _ in range(twos - 1)
        ), witness
    for n in (-1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71):
        root = image(tree(f"\\sqrt{{{n}}}"))
        assert root is not None
        assert root * root % PRIME == n % PRIME


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("\\sqrt{12}", "2\\sqrt3"),
        ("\\frac{1}{\\sqrt2}", "\\frac{\\sqrt2}{2}"),
        ("\\sqrt2\\sqrt3", "\\sqrt6"),
        ("\\sqrt{-4}", "2i"),
        ("\\frac{1}{1+\\sqrt2}", "\\sqrt2-1"),
        ("(1+i)^2", "2i"),
        ("(x+1)^{2023}", "(1+x)^{2022}(x+1)"),
        ("\\frac{x^2-1}{x-1}", "x+1"),
        ("2^{1/2}", "\\sqrt2"),
        ("8^{-1/2}", "\\frac{\\sqrt2}{4}"),
        ("\\pi e+1", "1+e\\pi"),
        ("\\sqrt{\\frac{3}{4}}", "\\frac{\\sqrt3}{2}"),
        ("x \\cdot 5!", "120x"),
    ],
)
def test_equal_expressions_have_one_image(first: str, second: str) -> None:
    assert image(tree(first)) == image(tree(second)) is not None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("\\sqrt2", "-\\sqrt2"),
        ("\\sqrt2+\\sqrt3", "\\sqrt5"),
        ("i", "-i"),
        ("\\pi", "\\frac{22}{7}"),
        ("x", "y"),
        ("x^2", "x^3"),
        ("x^{2023}", "x^{2022}"),
        ("\\sqrt2 \\cdot 10^{-300}+1", "1"),
        ("e", "\\pi"),
    ],
)
def test_other_expressions_have_other_images(first: str, second: str) -> None:
    assert image(tree(first)) not in (None, image(tree(second)))


@pytest.mark.parametrize(
    "written",
    ["\\sqrt{x}", "\\sin x", "2^x", "|x|", "\\frac{1}{x-x}", "\\sqrt[3]{2}", "\\sqrt{1000003}", "\\infty", "\\ln 2"],
)
def test_what_is_no_such_function_has_no_image(written: str) -> None:
    assert image(tree(written)) is None


def test_which_transcendental_numbers_an_expression_mentions() -> None:
    assert transcendental(tree("\\pi+x\\sqrt2 i")) == {"pi"}
    assert transcendental(tree("\\pi+e^x")) == {"pi", "e"}


ATOMS = st.sampled_from(["2", "7", "1/3", "0.5", "\\pi", "e", "x", "y", "\\sqrt2", "12"])
FUNCTIONS = st.sampled_from(
    [
        "ln",
        "exp",
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arctan",
        "arcsin",
        "arccos",
        "sinh",
        "tanh",
        "log",
        "sqrt",
        "cbrt",
        "abs",
        "floor",
        "ceil",
    ]
)
WRITTEN = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "\\cdot "]), inner).map(lambda t: f"({t[0]}){t[1]}({t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"\\frac{{{t[0]}}}{{{t[1]}}}"),
        st.tuples(inner, st.sampled_from(["2", "3", "-1", "1/2", "1.5"])).map(lambda t: f"({t[0]})^{{{t[1]}}}"),
        st.tuples(FUNCTIONS, inner).map(lambda t: f"{t[0]}({t[1]})"),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(WRITTEN, st.sampled_from([0, 1, 6]))
def test_bounds_hold_the_value_that_precise_evaluation_gives(written: str, point: int) -> None:
    bits = far_bits(tree(written))
    found = bounds(tree(written), point, bits)
    if found is None:
        return
    value = cas._value(written, 60, point, bits)
    assert value is not None
    assert mpmath.mpf(found[0]) <= value.real <= mpmath.mpf(found[1])
    assert abs(value.imag) < 1e-40


@settings(max_examples=200, deadline=None)
@given(WRITTEN, WRITTEN)
def test_what_is_decided_here_is_what_a_worker_finds(first: str, second: str) -> None:
    """The image of an expression and its bounds never contradict precise evaluation."""
    one, other = tree(first), tree(second)
    verdict = cas.compare({"questions": [["equal", first, second]], "tolerance": "0"})[0]
    images = image(one), image(other)
    if None not in images and verdict != "bad_gold":
        assert (images[0] == images[1]) == (verdict == "equal")
    bits = far_bits(one, other)
    if any(disjoint(bounds(one, point, bits), bounds(other, point, bits)) for point in (0, 1, 6)):
        assert verdict != "equal"


@pytest.mark.parametrize(
    "written", ["\\sqrt{-2}", "\\ln(-1)", "\\frac{1}{2-2}", "\\exp(10000)", "i", "\\arcsin 2", "0^{-1}"]
)
def test_what_is_not_real_or_finite_has_no_bounds(written: str) -> None:
    assert bounds(tree(written), 0, 0) is None


def test_bounds_are_too_rough_for_close_values_and_say_so() -> None:
    assert not disjoint(bounds(tree("\\sqrt2"), 0, 0), bounds(tree("\\sqrt2+10^{-300}"), 0, 0))
    assert disjoint(bounds(tree("\\sqrt2"), 0, 0), bounds(tree("1.41421356237"), 0, 0))
    assert not disjoint(bounds(tree("\\pi"), 0, 0), bounds(tree("3.14"), 0, 0), Fraction(1, 1000))


def test_samples_show_both_orders_and_both_signs_of_every_pair_of_letters() -> None:
    points = (*UNIT, *MIDDLE, *FAR)
    for a, b in itertools.combinations(string.ascii_letters, 2):
        signs = {sample(a, point, 8) < sample(b, point, 8) for point in points}
        assert signs == {True, False}, (a, b)
    for letter in string.ascii_letters:
        assert {sample(letter, point, 8) > 0 for point in UNIT} == {True, False}
        assert all(abs(sample(letter, point, 8)) <= 2 for point in UNIT)


def test_wide_points_give_each_symbol_every_size_with_both_signs() -> None:
    for name in (*string.ascii_letters, "\\theta", "x_1"):
        values = {sample(name, point, 8) for point in WIDE}
        assert len(values) == len(WIDE)
        assert values == {-value for value in values}
    signs = {(sample("x", point, 8) > 0, sample("y", point, 8) > 0) for point in WIDE}
    assert len(signs) == 4


def test_far_points_lie_beyond_every_quotient_of_the_numbers_and_are_bounded() -> None:
    assert 2 ** far_bits(tree("\\frac{x}{1000}+50")) > 50_000
    assert far_bits(tree("x+" + "9" * 900)) == MAX_FAR_BITS


@pytest.mark.parametrize(("threshold", "written"), [(t, w) for t in (3, 45, 10**4, 10**9) for w in ("+", "-")])
async def test_absolute_values_are_told_apart_wherever_they_turn(threshold: int, written: str) -> None:
    inner = f"x{written}{threshold}"
    for other in (f"|{inner}|", f"\\sqrt{{({inner})^2}}", f"\\max({inner}, 0)", f"-({inner})"):
        assert (await judged_answer(inner, other)).score == 0.0, other
    assert (await judged_answer(f"|{inner}|", f"\\sqrt{{({inner})^2}}")).score == 1.0
