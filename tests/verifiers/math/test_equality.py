"""Which answers are the reference, and which are not: both ways, in boxes."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.math.support import judged_answer
from tests.verifiers.support import NoGuard, score

SAME = [
    # numbers
    ("42", "42.0"),
    ("42", "+42"),
    ("0", "-0"),
    ("12", "12."),
    ("-3", "−3"),
    ("1/2", "0.5"),
    ("\\frac12", "\\dfrac{1}{2}"),
    ("0.5", "\\tfrac12"),
    ("-\\frac{1}{2}", "\\frac{-1}{2}"),
    ("-\\frac{35}{9}", "-35/9"),
    ("\\frac{3}{2}", "1 1/2"),
    ("\\frac{3}{2}", "1\\frac{1}{2}"),
    ("1.5", "1½"),
    ("\\frac{1}{6}", "0.1\\overline{6}"),
    ("10,080", "10080"),
    ("10080", "10,\\!080"),
    ("10080", "10{,}080"),
    ("1000000", "1 000 000"),
    ("1500", "1.5e3"),
    ("1500", "1.5 \\times 10^3"),
    (".0000672", "6.72\\times10^{-5}"),
    ("10000", "10^4"),
    ("1024", "2^{10}"),
    ("120", "5!"),
    ("10", "\\binom{5}{2}"),
    ("2", "\\sqrt{4}"),
    ("3", "\\log_2 8"),
    ("-1", "e^{i\\pi}"),
    ("\\frac{1}{2^{99}}", "2^{-99}"),
    ("1800000000", "1.8 billion"),
    ("3:4", "3 : 4"),
    ("\\frac34", "3:4"),
    # what stands around a number
    ("9", "9\\%"),
    ("9\\%", "9"),
    ("50\\%", "50 percent"),
    ("$5", "5"),
    ("\\$18.90", "18.9"),
    ("5.4 \\text{ cents}", "5.4"),
    ("864 \\mbox{ inches}^2", "864"),
    ("864 \\mbox{ inches}^2", "864 in^2"),
    ("15\\mbox{ cm}^2", "15 \\text{ square centimeters}"),
    ("10", "10 \\text{ m/s}"),
    ("5", "5\\ \\mathrm{cm}"),
    ("90^\\circ", "90"),
    ("90", "90°"),
    ("90^\\circ", "90 \\text{ degrees}"),
    ("25", "25^\\circ\\text{C}"),
    ("90^\\circ", "\\frac{\\pi}{2}"),
    ("\\frac{\\pi}{6}", "30^\\circ"),
    ("\\frac12", "\\sin 30^\\circ"),
    ("12", "12 apples"),
    ("12", "\\text{equal to }12"),
    ("12", "a total of 12 meters"),
    ("\\frac34", "3/4 of a mile"),
    ("\\frac12", "the probability is 1/2"),
    ("5 \\text{ kPa}", "5 \\text{ kilopascals}"),
    ("12", "\\text{12 apples}"),
    ("12", "12 dollars per week"),
    ("5", "5 min"),
    ("12.5", "\\text{approximately } 12.5"),
    ("5", "\\mathbf{5}"),
    ("5", "\\textbf{5}"),
    ("5", "\\boxed{5}"),
    ("3", "\\text{three }(3)"),
    ("70\\sqrt2", "70 \\sqrt{2} \\text{ feet}"),
    # expressions
    ("2\\pi", "2π"),
    ("\\pi", "pi"),
    ("\\sqrt{2}", "sqrt(2)"),
    ("x^2", "x**2"),
    ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}"),
    ("11\\sqrt2", "11 \\sqrt{2}"),
    ("\\sqrt{5+2\\sqrt6}", "\\sqrt2+\\sqrt3"),
    ("\\ln 4", "2\\ln 2"),
    ("(a+5)(b+2)", "ab+2a+5b+10"),
    ("p - q", "-q+p"),
    ("6-5i", "-5i+6"),
    ("\\cot x", "\\frac{1}{\\tan x}"),
    ("\\frac{11+9a}{20}", "\\frac{9a}{20}+\\frac{11}{20}"),
    ("\\frac{1}{1-x}", "-\\frac{1}{x-1}"),
    ("|x|", "\\sqrt{x^2}"),
    ("\\sqrt[3]{x}", "x^{1/3}"),
    ("x^{5/3}", "x\\sqrt[3]{x^2}"),
    ("\\sqrt[3]{2}", "2^{1/3}"),
    ("\\sqrt{51}", "\\sqrt{51} \\approx 7.14"),
    ("1/3", "\\frac{1}{3} \\approx 0.333"),
    # names and equations
    ("x=5", "5"),
    ("5", "x=5"),
    ("5", "5=x"),
    ("5", "|z|=5"),
    ("5", "P(3)=5"),
    ("5", "n = 5"),
    ("5", "x \\approx 5"),
    ("5", "x = 2+3 = 5"),
    ("5", "2+3=5"),
    ("5", "f(2)=5"),
    ("5", "|AB| = 5"),
    ("30", "m\\angle ABC = 30^\\circ"),
    ("\\frac12", "\\cos A = \\frac12"),
    ("25", "x^2+y^2=25"),
    ("2x+3", "y=2x+3"),
    ("2x+3", "f(x)=2x+3"),
    ("y=2x+3", "2x+3"),
    ("y=2x+3", "y-2x=3"),
    ("y = 7", "7 = y"),
    ("5x-7y+11z+4=0", "-5x+7y-11z=4"),
    ("x\\ne 2", "x \\neq 2"),
    # lists, tuples, sets
    ("1,-2", "-2 \\text{ and } 1"),
    ("3, 5, 7", "7,5,3"),
    ("3\\text{ and }4", "4, 3"),
    ("2,3", "x=2, x=3"),
    ("(16,3)", "w=16, d=3"),
    ("(3,4)", "(x,y) = (3,4)"),
    ("(1,2,3)", "1, 2, 3"),
    ("\\langle 1,2\\rangle", "(1,2)"),
    ("\\left(\\frac12, 3\\right)", "(0.5, 3)"),
    ("\\{2,3\\}", "\\{3,2\\}"),
    ("\\{2,3\\}", "\\{3,2,2\\}"),
    ("\\{1\\pm\\sqrt{5},-2\\}", "-2, 1+\\sqrt5, 1-\\sqrt5"),
    ("3 \\pm 2\\sqrt2", "3+2\\sqrt2, 3-2\\sqrt2"),
    ("1 \\pm \\sqrt{19}", "x = 1 \\pm \\sqrt{19}"),
    ("2", "\\{2\\}"),
    ("\\emptyset", "\\{\\}"),
    # intervals
    ("(-\\infty,2)\\cup(3,\\infty)", "(-∞, 2) ∪ (3, ∞)"),
    ("(-\\infty,2)\\cup(3,\\infty)", "(3,\\infty)\\cup(-\\infty,2)"),
    ("(-\\infty,2)\\cup(3,\\infty)", "x<2 \\text{ or } x>3"),
    ("x \\in [-2,7]", "[-2,7]"),
    ("[-2,7]", "-2 \\le x \\le 7"),
    ("(2,\\infty)", "x>2"),
    ("(2,\\infty)", "2<x"),
    ("x>2", "(2,\\infty)"),
    ("(0,5]", "0 < x \\leq 5"),
    ("y<2x", "2y<4x"),
    ("y \\ge 2x", "4x \\le 2y"),
    ("\\mathbb{R}", "(-\\infty,\\infty)"),
    # matrices and vectors
    ("\\begin{pmatrix}1\\\\2\\\\3\\end{pmatrix}", "(1,2,3)"),
    ("(1,2,3)", "\\begin{pmatrix}1\\\\2\\\\3\\end{pmatrix}"),
    ("\\begin{pmatrix}-1&0\\\\0&-1\\end{pmatrix}", "\\begin{bmatrix}-1 & 0 \\\\ 0 & -1\\end{bmatrix}"),
    ("\\begin{pmatrix}-1&0\\\\0&-1\\end{pmatrix}", "[[-1,0],[0,-1]]"),
    ("\\begin{pmatrix}1/2\\end{pmatrix}", "\\begin{bmatrix}0.5\\end{bmatrix}"),
    (
        "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
        "\\left[\\begin{array}{cc}1&2\\\\3&4\\end{array}\\right]",
    ),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "(\\begin{matrix}1&2\\\\3&4\\end{matrix})"),
    # words, choices, bases
    ("\\text{Evelyn}", "Evelyn"),
    ("\\text{even}", "Even"),
    ("\\text{ellipse}", "\\text{an ellipse}"),
    ("C", "(C)"),
    ("C", "c"),
    ("C", "\\text{C}"),
    ("C", "\\textbf{(C) } 15"),
    ("\\text{(C)}", "C"),
    ("\\text{(C)}", "\\text{option C}"),
    ("4:30", "4:30"),
    ("52_8", "52_{8}"),
    ("\\text{odd}", "Odd"),
    ("no", "\\text{No}"),
    ("yes", "Yes"),
    ("\\text{parabola}", "a parabola"),
    # beyond our own grammar
    ("\\int_0^1 x^2\\,dx", "\\frac13"),
    ("\\sum_{k=1}^{n} k", "\\frac{n(n+1)}{2}"),
    ("\\mathbb{R} \\setminus \\{0\\}", "(-\\infty,0)\\cup(0,\\infty)"),
]

DIFFERENT = [
    ("42", "41"),
    ("42", "-42"),
    ("1/2", "0.49"),
    ("1.0", "10"),
    ("12", "1 2"),
    ("1000", "1,00"),
    ("1234", "12,34"),
    ("3.5", "3,5"),
    ("10^{10}", "10^{11}"),
    ("10", "10!"),
    # tiny differences
    ("\\frac{1}{2^{98}}", "\\frac{1}{2^{99}}"),
    ("2e-8", "3e-8"),
    ("\\sqrt2\\cdot 10^{-30}", "\\sqrt2\\cdot 10^{-31}"),
    ("\\sqrt2", "\\sqrt2+10^{-300}"),
    ("2^{1000}\\sqrt3", "2^{1000}\\sqrt3+1"),
    ("\\sqrt2", "1.414"),
    ("\\sqrt{2}", "1.4142135623730951"),
    ("\\pi", "3.14159"),
    ("\\pi", "\\frac{22}{7}"),
    ("1/3", "0.3333333333333333"),
    # letters, units, bases, per cent
    ("3", "3t"),
    ("3t", "3"),
    ("3", "3\\text{t}"),
    ("2x", "2X"),
    ("5", "5i"),
    ("2\\pi", "2"),
    ("\\sqrt{5}", "\\sqrt{5}x"),
    ("100 \\text{ km}", "100 \\text{ cm}"),
    ("5 \\text{ minutes}", "5 \\text{ hours}"),
    ("5 \\text{ dollars}", "5 \\text{ cents}"),
    ("6", "6 \\text{ dozen}"),
    ("0.09", "9\\%"),
    ("52_8", "52"),
    ("52", "52_8"),
    ("52_8", "52_7"),
    ("52", "52_8+0"),
    ("A4_{16}", "A4"),
    ("2", "ab2"),
    ("2", "2 sec x"),
    ("2", "2 ft x"),
    ("90^\\circ", "90\\pi"),
    ("90^\\circ", "\\frac{\\pi}{3}"),
    ("4:30", "2:15"),
    ("4:30p..", "4:30"),
    ("2:3", "3:2"),
    # expressions
    ("x^2", "x"),
    ("x+1", "x+2"),
    ("\\sin x", "\\cos x"),
    ("x", "\\sqrt{x^2}"),
    ("1", "\\frac{x}{x^2}x+0.001"),
    ("\\frac{1}{2}", "\\frac{1}{0}"),
    ("28", "\\sqrt{34}+3\\sqrt{10}"),
    # equations
    ("5", "2+2=5"),
    ("5", "5 = 6"),
    ("5", "6 = 5"),
    ("5", "3t=5"),
    ("5", "2x=5"),
    ("5", "x^2=5"),
    ("5", "x = 5 = 6"),
    ("5", "x \\ne 5"),
    ("5", "x > 5"),
    ("x=5", "y=5"),
    ("x=5", "2x=5"),
    ("y=2x+3", "y=2x-3"),
    ("x+y=2", "x+y=3"),
    # problems restated
    ("\\frac13", "\\int_0^1 x^2\\,dx"),
    ("55", "\\sum_{k=1}^{10} k"),
    ("0", "\\lim_{x\\to 0} x"),
    # lists, tuples, sets
    ("1,2", "1,1,2"),
    ("1,2", "1"),
    ("1", "1,2"),
    ("3", "3 or 4"),
    ("3", "3, 4, 5"),
    ("3", "\\pm 3"),
    ("\\pm 3", "3"),
    ("5", "n = 5 or n = 6"),
    ("(1,2)", "(2,1)"),
    ("(1,2,3)", "(1,2)"),
    ("\\{1,2\\}", "(1,2)"),
    ("\\{1,2\\}", "\\{1,3\\}"),
    ("[1,2]", "\\{1,2\\}"),
    ("0", "\\emptyset"),
    ("\\emptyset", "0"),
    # intervals
    ("(2,4]", "(2,4)"),
    ("(2,4)", "[2,4]"),
    ("(2,4)", "(2,5)"),
    ("(5,\\infty)", "5"),
    ("(5,\\infty)", "x \\ge 5"),
    ("x<2", "x>2"),
    ("x<2", "x\\le 2"),
    ("x<2", "y<2"),
    ("y<2x", "y>2x"),
    ("y<2x", "2y \\le 4x"),
    ("y<2x", "-2y<-4x"),
    # matrices and vectors
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}2\\\\1\\end{pmatrix}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1 & 2\\end{pmatrix}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(2,1)"),
    # words and choices
    ("\\text{Evelyn}", "\\text{Navin}"),
    ("5", "five hundred"),
    ("12", "not 12"),
    ("12", "at least 12"),
    ("12", "12 or more"),
    ("12", "between 11 and 13"),
    ("C", "B"),
    ("C", "B or C"),
    ("C", "A, B, C, D"),
    ("C", "\\text{(B) C}"),
    ("C", "C" + " " * 300 + "or D"),
    ("C", "(C) or (d)"),
    ("C", "Carl"),
    ("5", "?"),
    ("C", "C. or maybe b"),
    ("no", "on"),
    ("\\text{no}", "on"),
    # words that make another number of it
    *[
        ("5", said)
        for said in (
            "negative 5",
            "\\text{negative }5",
            "5 squared",
            "5 \\text{ cubed}",
            "5 factorial",
            "double 5",
            "square root of 5",
            "\\text{square root of }5",
            "root 5",
            "a third of 5",
            "the reciprocal of 5",
            "any multiple of 5",
            "5 hundredths",
            "5 \\text{ tenths}",
            "5 halves",
            "anything but 5",
            "almost 5",
            "never 5",
            "5 is wrong",
            "5 rather than six",
            "any number, such as 5",
            "\\text{any number, e.g. }5",
            "\\text{not } $5$",
            "anything but **5**",
            "5 \\ldots",
            "5 \\not= 5",
            "6 \\not= 5",
        )
    ],
    ("0.3", "0.3..."),
    ("0.3", "0.3\\ldots"),
    ("0.3", "0.3 \\text{ repeating}"),
    # equations yet to be solved, and derivatives yet to be taken
    *[("5", f"{left} = 5") for left in ("\\sqrt{x}", "x(x+1)", "x \\cdot 3", "xx", "x!", "\\ln x", "\\log_2 x")],
    ("5", "5 = 2x"),
    ("5", "\\text{not } = 5"),
    ("5", "\\text{not 5} = 5"),
    ("5", "\\text{wrong} = 5"),
    ("6", "\\frac{d(6x)}{dx}"),
    ("\\lfloor x\\rfloor", "\\lceil x\\rceil-1"),
    ("6", "\\frac{d}{dx} 6x"),
    ("6x", "\\frac{d}{dx}(6x^2)"),
    ("5 \\text{ Pa}", "5 \\text{ kPa}"),
    ("5\\%", "5 \\text{ km}"),
]


@pytest.mark.parametrize(("reference", "answer"), SAME)
async def test_same(reference: str, answer: str) -> None:
    verdict = await judged_answer(reference, answer)
    assert (verdict.outcome, verdict.score) == ("correct", 1.0), verdict


@pytest.mark.parametrize(("reference", "answer"), DIFFERENT)
async def test_different(reference: str, answer: str) -> None:
    verdict = await judged_answer(reference, answer)
    assert verdict.outcome in ("incorrect", "rejected", "unparseable")
    assert verdict.score == 0.0, verdict


@pytest.mark.parametrize("reference", sorted({reference for pair in (*SAME, *DIFFERENT) for reference in pair[:1]}))
async def test_every_reference_accepts_itself(reference: str) -> None:
    verdict = await judged_answer(reference, reference)
    assert (verdict.score, verdict.detail["stage"]) == (1.0, "string")


def spellings(value: Fraction) -> list[str]:
    """Ways to write a rational number."""
    p, q, sign = abs(value.numerator), value.denominator, "-" if value < 0 else ""
    written = [
        f"{value.numerator}/{q}",
        f"{sign}\\frac{{{p}}}{{{q}}}",
        f"{sign}\\dfrac{{{3 * p}}}{{{3 * q}}}",
        f"\\left({sign}{p}\\right)/{q}",
        f"{sign}{p} : {q}" if not (q < 100 and p < 100) else f"{sign}{p}\\div {q}",
        f"x = \\frac{{{value.numerator}}}{{{q}}}",
        f"{sign}\\frac {{{p}}} {{{q}}} \\text{{ units}}",
        f"{sign}\\frac{{{100 * p}}}{{{q}}}\\cdot 10^{{-2}}",
    ]
    if q == 1:
        written += [
            f"{value}.0",
            f"{int(value):,}",
            f"{int(value):,}".replace(",", "{,}"),
            f"−{p}" if value < 0 else f"+{p}",
        ]
    if q > 1 and p > q:
        written.append(f"{sign}{p // q}\\frac{{{p % q}}}{{{q}}}")
    if 10**6 % q == 0:
        written.append(f"{sign}{p * 10**6 // q / 10**6:.6f}")
    return written


@settings(max_examples=60, deadline=None)
@given(st.fractions(-(10**6), 10**6, max_denominator=10**4), st.data())
async def test_spellings_of_a_rational_accept_each_other_and_no_neighbour(
    value: Fraction, data: st.DataObject
) -> None:
    reference = data.draw(st.sampled_from(spellings(value)))
    answer = data.draw(st.sampled_from(spellings(value)))
    boxed = f"\\boxed{{{answer}}}"
    assert (await score("math", guard=NoGuard(), reference=reference, completion=boxed)).score == 1.0
    difference = data.draw(st.fractions(max_denominator=10**4).filter(bool))
    other = data.draw(st.sampled_from(spellings(value + difference)))
    assert (await score("math", guard=NoGuard(), reference=reference, completion=f"\\boxed{{{other}}}")).score == 0.0
