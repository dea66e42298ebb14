"""What a review found: answers to refuse and to accept, faults of references, and how long judging takes.

Every row is a reference and an answer in a box, or a whole completion.
"""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import PropertyMock, patch

import pytest

from tests.verifiers.math.support import judged, judged_answer
from tests.verifiers.math.test_known_faults import ACCEPTED as KNOWN_ACCEPTED
from tests.verifiers.math.test_known_faults import REFUSED as KNOWN_REFUSED
from tests.verifiers.support import InProcessGuard, configured, score_all
from verifiers.base import Item
from verifiers.math import Math
from verifiers.math.case import Case
from verifiers.math.config import MathConfig
from verifiers.math.settle import Waiting

REFUSED = {
    "other units": [
        ("5", "5\\text{ M}"),
        ("5 \\text{ m}", "5 \\text{ M}"),
        ("5 \\text{ g}", "5 \\text{ G}"),
        ("5 \\text{ dollars}", "5 \\text{ yen}"),
        ("\\$5", "£5"),
        ("5 \\text{ km}", "5 \\text{ nautical miles}"),
        ("5 \\text{ cm}", "5 \\text{ light years}"),
    ],
    "other scales": [
        ("42", "42 \\text{ lakh}"),
        ("42", "42 \\text{ bn}"),
        ("42", "42 \\text{ quadrillion}"),
        ("42", "42 \\text{ eighths}"),
        ("42", "42 \\text{ sixteenths}"),
        ("42", "42 \\text{ point five}"),
    ],
    "functions in words": [
        ("42", "\\text{the complement of } 42"),
        ("42", "\\text{log of } 42"),
        ("42", "\\text{the square of } 42"),
        ("42", "\\text{a divisor of } 42"),
        ("7", "7\\text{th power}"),
    ],
    "hedges": [
        ("42", "\\text{perhaps } 42"),
        ("42", "\\text{could be } 42"),
        ("42", "\\text{e.g., } 42"),
        ("42", "\\text{for example } 42"),
        ("42", "42 \\text{ etc.}"),
        ("42", "42 \\text{ (false)}"),
        ("42", "42 \\text{ is too large}"),
    ],
    "cut-off numbers and lists": [("42", "42..."), ("1,2,3", "1,2,3..."), ("1,2,3", "1,2,3,..."), ("0.3", "0.3...")],
    "words beside symbols": [
        ("n \\text{ is even}", "n \\text{ is odd}"),
        ("\\text{all } n", "\\text{all even } n"),
        ("n", "n \\text{ is even}"),
    ],
    "alternatives about different names": [("x=1, y=2", "x=1 \\text{ or } y=2")],
    "conditions": [
        ("[-1,1]", "|x| < 1"),
        ("[-1,1]", "|x| \\ge 1"),
        ("[-1,1]", "|x| \\le -1"),
        ("[-1,1]", "|x-1| \\le 1"),
        ("[-1,1]", "|2x| \\le 1"),
        ("[-1,1]", "\\{x : |y| \\le 1\\}"),
        ("[-1,1]", "x^2 \\le 2"),
        ("[-1,1]", "x^3 \\le 1"),
        ("(-\\infty,-2)\\cup(2,\\infty)", "x^2 > 2"),
        ("(-\\infty,-2)\\cup(2,\\infty)", "|x| < 2"),
    ],
    "congruences": [
        ("x\\equiv 3 \\pmod 7", "x \\equiv 3 \\pmod{5}"),
        ("x\\equiv 3 \\pmod 7", "x \\equiv 4 \\pmod{7}"),
        ("x\\equiv 3 \\pmod 7", "x = 3"),
        ("x\\equiv 3 \\pmod 7", "y \\equiv 3 \\pmod 7"),
    ],
    "parameters": [
        ("x=2\\pi k, k\\in\\mathbb{Z}", "x=\\pi n, n\\in\\mathbb{Z}"),
        ("x=2\\pi k, k\\in\\mathbb{Z}", "x=2\\pi n, k\\in\\mathbb{Z}"),
        ("x=2\\pi k, k\\in\\mathbb{Z}", "x=2\\pi n, n\\in\\mathbb{N}"),
        ("x=2\\pi k, k\\in\\mathbb{Z}", "x=2\\pi n"),
    ],
    "functions": [
        ("y=2x+3", "f(x)=2x+4"),
        ("y=2x+3", "f(y)=2x+3"),
        ("y=2x+3", "f(2)=2x+3"),
        ("y=2x+3", "x(y)=2x+3"),
    ],
    "matrices": [
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\frac12\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
        ("\\begin{pmatrix}2&3\\\\4&5\\end{pmatrix}", "1+\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "-\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^T"),
    ],
    "others": [
        ("4:30 \\text{ p.m.}", "4:30 AM"),
        ("1.5:2:3", "15:2:3"),
        ("(1,2)", "A(2,1)"),
        ("\\frac34", "{4 \\over 3}"),
        ("\\text{no solution}", "0"),
        ("(-\\infty,1)\\cup(2,3)", "(-\\infty,1) \\text{ or } (2,4)"),
        ("\\bar z", "z"),
    ],
}

ACCEPTED = {
    "conditions": [
        ("[-1,1]", "|x| \\le 1"),
        ("[-1,1]", "\\{x : |x| \\le 1\\}"),
        ("\\{x : |x| \\le 1\\}", "[-1,1]"),
        ("|x|<1", "-1<x<1"),
        ("[1,5]", "|x-3| \\le 2"),
        ("(-2,2)", "\\{x \\mid x^2<4\\}"),
        ("(-\\infty,-2]\\cup[2,\\infty)", "4 \\le x^2"),
        ("x^2\\le 4", "2x^2\\le 8"),
    ],
    "congruences": [
        ("x\\equiv 3 \\pmod 7", "x \\equiv 3 \\pmod{7}"),
        ("x\\equiv 3 \\pmod 7", "x \\equiv 3 (\\bmod 7)"),
        ("x\\equiv 3 \\pmod 7", "x \\equiv 3 \\mod 7"),
    ],
    "parameters": [
        ("x=2\\pi k, k\\in\\mathbb{Z}", "x=2\\pi k \\text{ for } k\\in\\mathbb{Z}"),
        ("x=2\\pi k, k\\in\\mathbb{Z}", "x=2n\\pi, \\text{ where } n \\in \\mathbb{Z}"),
    ],
    "functions": [("y=2x+3", "f(x)=2x+3"), ("f(x)=2x+3", "y=2x+3"), ("f(x)=2x+3", "2x+3"), ("f(2)=4", "4")],
    "matrices": [
        ("\\begin{pmatrix}1/2&1\\\\3/2&2\\end{pmatrix}", "\\frac{1}{2}\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
        ("-\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}-1\\\\-2\\end{pmatrix}"),
        ("\\frac{1}{\\sqrt2}\\begin{pmatrix}1\\\\1\\end{pmatrix}", "(\\frac{\\sqrt2}{2}, \\frac{\\sqrt2}{2})"),
    ],
    "words": [
        ("\\text{no solution}", "\\text{No solutions}"),
        ("\\emptyset", "\\text{no solution}"),
        ("\\text{March 5}", "March 5"),
        ("4:30 \\text{ p.m.}", "4:30 PM"),
        ("42", "\\text{The answer is 42}"),
        ("(-\\infty,1)\\cup(2,3)", "(-\\infty,1) \\text{ or } (2,3)"),
    ],
    "LaTeX": [
        ("5", "\\textcolor{red}{5}"),
        ("5", "\\color{blue} 5"),
        ("5", "\\underline{5}"),
        ("5", "\\Large 5"),
        ("\\frac34", "{3 \\over 4}"),
        ("\\binom{10}{3}", "{10 \\choose 3}"),
        ("\\bar z", "\\overline{z}"),
        ("(3,-4)", "P(3,-4)"),
    ],
}

SENTENCES = [
    ("5", "The value of $x$ is $5$.", True),
    ("5", "The value of $x$ is not $5$.", False),
    ("5", "The value of $x$ exceeds $5$.", False),
    ("5", "Here $x$ times $5$.", False),
    ("5", "5? No.", False),
    ("5", "The answer exceeds 5", False),
    ("3", "The answer is the square of **3**.", False),
    ("3", "The answer is $3$ factorial", False),
    ("3", "The answer is twice **3**.", False),
    ("x^2", "The answer is the derivative of $x^2$.", False),
    ("\\pi", "The answer is half of $\\pi$", False),
]


def rows(table: dict[str, list[tuple[str, str]]]) -> list[Any]:
    return [
        pytest.param(reference, answer, id=f"{what}: {answer} for {reference}")
        for what, pairs in table.items()
        for reference, answer in pairs
    ]


@pytest.mark.parametrize(("reference", "answer"), rows(REFUSED))
async def test_refused(reference: str, answer: str) -> None:
    verdict = await judged_answer(reference, answer)
    assert verdict.score == 0.0, verdict
    assert (await judged_answer(reference, reference)).score == 1.0


@pytest.mark.parametrize(("reference", "answer"), rows(ACCEPTED))
async def test_accepted(reference: str, answer: str) -> None:
    verdict = await judged_answer(reference, answer)
    assert verdict.score == 1.0, verdict


@pytest.mark.parametrize(("reference", "completion", "accepted"), SENTENCES)
async def test_sentences(reference: str, completion: str, accepted: bool) -> None:
    verdict = await judged(reference, completion)
    assert verdict.score == float(accepted), verdict


@pytest.mark.parametrize(
    "reference",
    [
        "\\frac{1}{0}",
        "0^{-1}",
        "(1,\\frac10)",
        "x = \\frac10",
        "\\{x : x > 1/0\\}",
        "\\begin{pmatrix}1/0\\end{pmatrix}",
        "2\\infty",
        "\\infty-\\infty",
        "\\text{}",
        "x =",
        "e^{\\left(e^{28}\\right)^{-2}}",
    ],
)
@pytest.mark.parametrize("answer", ["5", "(1,2)", "\\sqrt5+x", "9^{9^{9^9}}", "\\frac{1}{0}+0"])
async def test_a_reference_at_fault_is_never_the_candidates(reference: str, answer: str) -> None:
    verdict = await judged_answer(reference, answer)
    assert verdict.error is not None
    assert verdict.error.type == "bad_item"


def repeated(part: str, count: int) -> str:
    return "+".join([part] * count)


ROOTS = [f"\\sqrt{{{n}}}+x" for n in range(2, 34)]
LONG = [
    pytest.param(", ".join(ROOTS), ", ".join(reversed(ROOTS)), id="a permutation of 32 expressions"),
    pytest.param(
        "\\{" + ", ".join(ROOTS) + "\\}", "\\{" + ", ".join(ROOTS[1:]) + ", 7\\}", id="sets of 32 expressions"
    ),
    pytest.param(", ".join("123456789" * 3), ", ".join("123456798" * 3), id="lists of 27 digits"),
    pytest.param(repeated("x^2y", 200), repeated("x^2y", 199) + "+1", id="200 powers"),
    pytest.param("5", repeated("e^{x^2}", 120), id="120 exponentials"),
    pytest.param("5", "½" * 140, id="fractions of Unicode"),
    pytest.param("5", repeated("\\pm x", 150), id="150 signs"),
]


@pytest.mark.parametrize(("reference", "answer"), LONG)
async def test_what_takes_long_never_holds_the_loop(reference: str, answer: str) -> None:
    item = Item(reference=reference, completion=f"\\boxed{{{answer}}}")
    math = Math(MathConfig())
    started = time.thread_time()
    begun = math._begin(item)
    assert time.thread_time() - started < 0.01
    assert isinstance(begun, Waiting)
    assert begun.attempt is None
    guard = InProcessGuard()
    [verdict] = await score_all(math, [item], guard)
    assert guard.payloads
    with patch.object(Case, "costly", new_callable=PropertyMock, return_value=False):
        assert [verdict] == await score_all(math, [item])


async def test_workers_and_the_loop_give_the_same_verdicts() -> None:
    tables = (ACCEPTED, REFUSED, KNOWN_ACCEPTED, KNOWN_REFUSED)
    pairs = [pair for table in tables for some in table.values() for pair in some]
    items = [Item(reference=r, completion=f"\\boxed{{{a}}}") for r, a in pairs]
    items += [Item(reference="\\frac{1}{0}", completion="\\boxed{1}"), Item(reference="5", completion="")]
    for config in ({}, {"form": "lowest_terms", "tolerance": 0.01, "several": "last"}):
        here = await score_all(configured("math", config), items)
        with patch.object(Case, "costly", new_callable=PropertyMock, return_value=True):
            assert here == await score_all(configured("math", config), items)


@pytest.mark.parametrize(
    ("reference", "answer"), [("42", "42"), ("\\frac{\\sqrt3}{2}", "\\sqrt3/2"), ("(1,2)", "1,2")]
)
async def test_what_is_plain_is_judged_on_the_loop(reference: str, answer: str) -> None:
    begun = Math(MathConfig())._begin(Item(reference=reference, completion=f"\\boxed{{{answer}}}"))
    assert not isinstance(begun, Waiting)
