"""What runs in the workers, called directly."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifiers.math import cas


def decide(relation: str, gold: str, answer: str, tolerance: str = "0") -> str:
    [result] = cas.compare({"questions": [[relation, gold, answer]], "tolerance": tolerance})
    return result


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("0", "\\sin(\\pi)"),
        ("0", "\\sqrt{3}-\\sqrt{3}"),
        ("-1", "e^{i\\pi}"),
        ("-2\\pi", "\\sqrt[3]{-8}\\pi"),
        ("\\frac{13}{4}", "\\lfloor \\log_{10} 1000 \\rfloor+\\frac14"),
        ("\\sin(2x)", "2\\sin x\\cos x"),
        ("x^7+x^6+x^5+x^4+x^3+x^2+x+1", "\\frac{x^8-1}{x-1}"),
        ("n!", "n(n-1)!"),
        ("\\binom{n}{2}", "\\frac{n(n-1)}{2}"),
        ("\\arctan 1", "\\frac{\\pi}{4}"),
        ("\\sin^{-1} x", "\\arcsin x"),
        ("\\log_3 7", "\\frac{\\ln 7}{\\ln 3}"),
        ("\\cosh x", "\\frac{e^x+e^{-x}}{2}"),
        ("\\gcd(12,18)\\pi", "6\\pi"),
        ("\\max(1,\\pi)", "\\pi"),
        ("17 \\bmod 5+\\pi", "2+\\pi"),
    ],
)
def test_equal(gold: str, answer: str) -> None:
    assert decide("equal", gold, answer) == "equal"


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("5", "\\ln 0"),
        ("5", "\\frac{x}{x-x}"),
        ("x", "|x|"),
        ("\\sqrt2", "\\sqrt2+10^{-300}"),
        ("\\sqrt2\\cdot 2^{-99}", "\\sqrt2\\cdot 2^{-98}"),
        ("e^{\\pi\\sqrt{163}}", "262537412640768744"),
        ("\\max(i,1)", "1"),
    ],
)
def test_unequal(gold: str, answer: str) -> None:
    assert decide("equal", gold, answer) in ("unequal", "bad_gold")


@pytest.mark.parametrize(
    ("relation", "gold", "answer", "same"),
    [
        ("proportional", "y-(2x)", "2y-(4x)", True),
        ("proportional", "y-(2x)", "-3y-(-6x)", True),
        ("proportional", "y-(2x)", "y-(3x)", False),
        ("proportional", "x-(5)", "x^2-(25)", False),
        ("proportional", "x-(5)", "0x", False),
        ("positive", "x-(2y)", "3x-(6y)", True),
        ("positive", "x-(2y)", "-x-(-2y)", False),
    ],
)
def test_equations(relation: str, gold: str, answer: str, same: bool) -> None:
    assert decide(relation, gold, answer) == ("equal" if same else "unequal")


def test_tolerance_is_relative_to_the_reference() -> None:
    assert decide("equal", "\\pi\\cdot 10^{-9}", "3.14\\cdot 10^{-9}", "1/1000") == "equal"
    assert decide("equal", "\\pi\\cdot 10^{-9}", "3.1\\cdot 10^{-9}", "1/1000") == "unequal"


def test_a_reference_without_a_value_is_told_apart() -> None:
    assert decide("equal", "\\frac{\\pi}{\\pi-\\pi}", "5") == "bad_gold"
    assert decide("proportional", "x-(x)", "y") == "bad_gold"
    assert decide("cas", "\\parallel 3", "5") == "bad_gold"


def test_questions_are_answered_in_order() -> None:
    questions = [["equal", "\\pi", "3"], ["equal", "\\pi", "\\frac{2\\pi}{2}"], ["cas", "\\int_0^1 x dx", "\\frac12"]]
    assert cas.compare({"questions": questions, "tolerance": "0"}) == ["unequal", "equal", "equal"]


def test_decimals_are_exact_in_sympy_too() -> None:
    assert decide("cas", "\\int_0^1 x\\,dx", "0.5") == "equal"
    assert decide("cas", "\\int_0^1 x\\,dx", "0.50000000000000000001") == "unequal"


@pytest.mark.parametrize("relation", ["equal", "proportional", "positive", "cas"])
def test_no_text_is_ever_executed(relation: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    call = f"open({str(proof)!r}, 'w')"
    imported = f"__import__('pathlib').Path({str(proof)!r}).touch()"
    for code in (call, imported):
        for answer in (
            code,
            f"\\text{{{code}}}",
            f"\\mathrm{{{code}}}",
            f"x_{{{code}}}",
            f"\\operatorname{{{code}}}",
            f"\\operatorname{{f}}({code})",
            f"\\frac{{{code}}}{{2}}",
            f"f({code})",
            f"\\begin{{pmatrix}}{code}\\end{{pmatrix}}",
            f"\\left.{code}\\right|_{{x=1}}",
            f"\\overline{{{code}}}",
            f'"{code}"',
            f"eval({code!r})",
        ):
            for gold in ("\\int_0^1 x\\,dx", "x", answer):
                try:
                    decide(relation, gold, answer)
                except ValueError:  # the grammar does not read it: such questions are never asked
                    assert relation != "cas"
                assert not proof.exists(), answer
