"""The one spelling of written answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT
from verifiers.math.expression import CostlyError, UnreadableError, parse
from verifiers.math.tokens import normal_form, tokenize

PIECES = st.sampled_from([
    "1", "23", "456", "0.5", "x", "ab", "\\pi", "\\frac", "{", "}", "(", ")", "^", "_", ",", " ", "-", "+",
    "=", "\\,", "e3", "|", "\\text{ cm}", "\\left", "\\{", "\\}", "\\infty", "sqrt", "\\%", "!", "\\\\", "&",
    "×", "²", "\\!",
])  # fmt: skip


def normal(text: str) -> str:
    return normal_form(tokenize(text))


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (" \\left( 3 ,\\, \\dfrac{1}{2} \\right) ", "(3, \\frac{1}{2})"),
        ("$x^{2}$", "x^2"),
        ("\\(x_{1}\\)", "x_1"),
        ("**42**", "42"),
        ("\\boxed{\\mathbf{42}}.", "{{42}}"),
        ("10,\\!080", "10080"),
        ("10{,}080", "10080"),
        ("1,234,567.5", "1234567.5"),
        ("1 234", "1234"),
        ("1,23", "1, 23"),
        ("(1,234)", "(1, 234)"),
        ("\\frac{1,234}{5}", "\\frac{1234}{5}"),
        ("1 1/2", "1 1/2"),
        ("−3", "-3"),
        ("3×10⁻²", "3*10^{-2}"),
        ("½", "\\frac{1}{2}"),
        ("√2 ≤ π", "\\sqrt2\\le\\pi"),
        ("90^{\\circ}", "90\\degree"),
        ("90°", "90\\degree"),
        ("5\\mbox{ cm}", "5\\text{cm}"),
        ("\\mathrm{e}", "e"),
        ("\\operatorname{lcm}(4,6)", "\\lcm(4, 6)"),
        ("\\$5", "\\$5"),
        ("50\\%", "50%"),
        ("４２", "42"),
        ("\\mathbb{R}", "\\reals"),
        ("2**3", "2^3"),
        ("", ""),
        ("...", ""),
    ],
)
def test_normal_form(written: str, form: str) -> None:
    assert normal(written) == form


def test_digits_group_only_outside_lists() -> None:
    assert normal_form(tokenize("1,234", grouping=False)) == "1, 234"


@given(st.lists(PIECES, min_size=1, max_size=9).map("".join))
@settings(max_examples=500)
def test_a_normal_form_is_read_as_what_it_was_made_of(text: str) -> None:
    """Workers get normal forms and read them again."""
    tokens = tokenize(text)
    try:
        tree = parse(tokens)
    except (UnreadableError, CostlyError):
        return
    assert parse(tokenize(normal_form(tokens))) == tree


@given(ANY_TEXT)
def test_any_text_has_tokens(text: str) -> None:
    normal(text)
