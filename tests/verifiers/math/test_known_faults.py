"""Known faults of public graders, each in several spellings, right both ways.

Every row is a reference and an answer in a box; of `PLACES`, a whole completion and whether it must be accepted.
Issue 4 of the project lists the faults.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.verifiers.math.support import judged, judged_answer

ACCEPTED = {
    "set-builder against interval": [
        ("(2,\\infty)", "\\{x \\mid x > 2\\}"),
        ("(2,\\infty)", "\\{x : x > 2\\}"),
        ("(2,\\infty)", "\\{x \\in \\mathbb{R} : x>2\\}"),
        ("(2,\\infty)", "\\{x \\text{ such that } x>2\\}"),
        ("(0,5]", "\\{x | 0 < x \\le 5\\}"),
        ("\\{x \\mid x > 2\\}", "(2,\\infty)"),
        ("\\{x \\mid x > 2\\}", "x>2"),
        ("(-\\infty,2)\\cup(3,\\infty)", "\\{x \\mid x<2 \\text{ or } x>3\\}"),
        ("(-\\infty,2)\\cup(2,\\infty)", "\\{x \\mid x \\ne 2\\}"),
        ("(-\\infty,2)\\cup(2,\\infty)", "x \\ne 2"),
        ("(-\\infty,2)\\cup(2,\\infty)", "\\mathbb{R}\\setminus\\{2\\}"),
        ("(-\\infty,1)\\cup(1,2)\\cup(2,\\infty)", "\\mathbb{R}\\setminus\\{2, 1\\}"),
        ("(2,5)", "x>2 \\text{ and } x<5"),
        ("(1,3)", "(1,2]\\cup[2,3)"),
        ("\\mathbb{R}", "\\text{all real numbers}"),
    ],
    "Unicode": [
        ("(-\\infty,2)\\cup(3,\\infty)", "(−∞, 2) ∪ (3, ∞)"),
        ("(-\\infty,2)\\cup(3,\\infty)", "(-∞,2) U (3,∞)"),
        ("-\\frac{1}{2}", "−½"),
        ("2\\pi", "2π"),
        ("\\sqrt{2}", "√2"),
        ("3 \\times 10^{-2}", "3×10⁻²"),
        ("\\infty", "∞"),
    ],
    "degrees against radians": [
        ("90^\\circ", "\\frac{\\pi}{2}"),
        ("90^\\circ", "\\pi/2 \\text{ radians}"),
        ("\\pi", "180°"),
        ("\\frac{\\pi}{6}", "30 \\text{ degrees}"),
    ],
    "scientific notation": [("1500", "1.5e3"), ("1500", "1.5E3"), ("3 \\times 10^8", "3e8"), ("1500", "1.5*10^3")],
    "mixed numbers": [
        ("\\frac32", "1 1/2"),
        ("1.5", "1\\frac{1}{2}"),
        ("-1.5", "-1 1/2"),
        ("1\\frac45", "9/5"),
        ("137 \\frac{1}{2}", "137.5"),
    ],
    "powers of e": [
        ("-1", "e^{i\\pi}"),
        ("-1", "e^{\\pi i}"),
        ("-1", "\\exp(i\\pi)"),
        ("1", "e^{2\\pi i}"),
        ("i", "e^{i\\pi/2}"),
    ],
    "labelled tuples": [
        ("(16,3)", "w=16, d=3"),
        ("(16,3)", "w = 16 \\text{ and } d = 3"),
        ("(16,3)", "(w,d)=(16,3)"),
        ("(w,d)=(16,3)", "d=3, w=16"),
        ("w=16, d=3", "(16,3)"),
        ("w=16, d=3", "16, 3"),
        ("(1,2)", "\\begin{cases}x=1\\\\y=2\\end{cases}"),
    ],
    "vector against tuple": [
        ("(1,2,3)", "\\begin{bmatrix}1\\\\2\\\\3\\end{bmatrix}"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\langle 1, 2\\rangle"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "1, 2"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\vec{v}=(1,2)"),
    ],
    "thousands separators": [
        ("10080", "10,080"),
        ("10,\\!080", "10080"),
        ("10{,}080", "10 080"),
        ("1234567", "1,234,567"),
    ],
    "per cent": [("9", "9\\%"), ("9\\%", "9"), ("9\\%", "9 percent"), ("9", "9 \\text{ per cent}")],
    "bases": [
        ("52_8", "52_{8}"),
        ("52_8", "(52)_8"),
        ("52_8", "52₈"),
        ("52_8", "52_{\\text{eight}}"),
        ("52_8", "52 \\text{ base } 8"),
        ("52_8", "52 (base 8)"),
        ("52_8", "52_{(8)}"),
        ("1A_{16}", "\\text{1A}_{16}"),
        ("BAD_{16}", "\\text{BAD}_{16}"),
    ],
    "repeating decimals": [("1/3", "0.\\overline{3}"), ("1/3", "0.\\bar{3}"), ("\\frac16", "0.1\\dot{6}")],
    "worked out beside it": [("\\frac13", "\\int_0^1 x^2 dx = \\frac13"), ("5", "2+3=5")],
}

REFUSED = {
    "tiny values": [
        ("\\frac{1}{2^{98}}", "1/2^{99}"),
        ("2e-8", "3e-8"),
        ("2 \\cdot 10^{-8}", "3 \\cdot 10^{-8}"),
        ("\\sqrt2\\cdot 10^{-30}", "\\sqrt2\\cdot 10^{-31}"),
        ("e^{-80}", "e^{-81}"),
    ],
    "letters as units": [
        ("3", "3t"),
        ("3", "3 t"),
        ("3", "3a"),
        ("3", "3\\mathrm{t}"),
        ("3", "t3"),
        ("2mg", "2"),
        ("2", "2nm"),
        ("b^2-4ac", "b^2-4"),
    ],
    "other units": [
        ("100 \\text{ km}", "100 cm"),
        ("100 km", "100 \\mathrm{cm}"),
        ("5 \\text{ min}", "5 hours"),
        ("5 \\text{ cm}^2", "5 \\text{ cm}"),
        ("5 \\text{ dollars}", "5 \\text{ cents}"),
    ],
    "bases dropped": [
        ("52_8", "52"),
        ("52", "52_8"),
        ("42", "52_8"),
        ("52_8", "42"),
        ("52_8", "52_7"),
        ("ABD_{16}", "BAD_{16}"),
        ("1A_{16}", "A_{16}"),
        ("x_8", "52_8"),
    ],
    "order and multiplicity": [
        ("1,2", "1,1,2"),
        ("1,2", "1, 2, 2"),
        ("(1,2)", "(1,1,2)"),
        ("(1,2)", "(2,1)"),
        ("(w,d)=(16,3)", "d=16, w=3"),
        ("w=16, d=3", "d=16, w=3"),
        ("w=16, d=3", "(3,16)"),
        ("\\{1,2\\}", "(2,1)"),
    ],
    "equation chains": [
        ("5", "2+2=5"),
        ("5", "4=5"),
        ("5", "2 + 2 = 4 + 1 = 5"),
        ("10", "3 \\cdot 3 = 10"),
        ("5", "x = 5 = 6"),
    ],
    "restating the problem": [
        ("\\frac13", "\\int_0^1 x^2 dx"),
        ("\\frac13", "∫_0^1 x^2 dx"),
        ("\\frac13", "\\int_{0}^{1} x^2 \\, \\mathrm{d}x"),
        ("\\frac13", "\\left.\\frac{x^3}{3}\\right|_0^1"),
        ("55", "\\sum_{k=1}^{10} k"),
        ("55", "∑_{k=1}^{10} k"),
        ("55", "1+2+\\cdots+10"),
        ("120", "\\prod_{k=1}^5 k"),
        ("1", "\\lim_{x\\to0} \\frac{\\sin x}{x}"),
        ("1", "\\operatorname{lim}_{x\\to 0}(1)"),
        ("1", "2\\int_0^1 x dx"),
        ("(1, \\frac13)", "(1, \\int_0^1 x^2 dx)"),
        ("2x", "\\frac{d}{dx} x^2"),
        ("2x", "\\frac{\\mathrm{d}}{\\mathrm{d}x} x^2"),
        ("2x", "\\frac{\\partial}{\\partial x} x^2"),
        ("\\frac{y}{x}", "\\frac{dy}{dx}"),
        ("-2", "\\det\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
        ("-2", "\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}"),
    ],
    "per cent": [("0.09", "9\\%"), ("0.09", "9 percent"), ("9", "0.09\\%"), ("9\\%", "0.09")],
    "agreeing on a range": [
        ("x+10", "|x+10|"),
        ("x+1000", "|x+1000|"),
        ("x+10^6", "|x+10^6|"),
        ("x", "\\sqrt{x^2}"),
        ("x-7", "\\sqrt{(x-7)^2}"),
        ("x", "\\max(x,-100)"),
        ("x^2+y", "|x^2+y|"),
        ("\\frac{x}{1000}+50", "|\\frac{x}{1000}+50|"),
        ("x-y", "|x-y|"),
        ("xy", "\\sqrt{(xy)^2}"),
        ("xy+10", "|xy+10|"),
        ("(10-y)^2-|y|-5", "|(10-y)^2-|y|-5|"),
        ("(10-y)^2-|y|-5", "\\max((10-y)^2-|y|-5, -3)"),
        ("\\cos(\\lfloor x \\rfloor)", "|\\cos(\\lfloor x \\rfloor)|"),
        ("\\frac{7}{7-y}", "\\max(\\frac{7}{7-y}, 0)"),
        ("xy\\sqrt{y}", "\\sqrt{(xy)^2 y}"),
        ("0", "\\lfloor \\frac{1}{2+x^2} \\rfloor x + \\min(0, x+500)"),
    ],
    "infinity in calculations": [
        ("\\infty", "2\\infty"),
        ("\\infty", "\\infty+5"),
        ("\\infty", "x+\\infty"),
        ("\\infty", "\\infty^2"),
        ("\\infty", "-\\infty"),
        ("0", "\\frac{1}{\\infty}"),
        ("0", "e^{-\\infty}"),
        ("1", "\\infty^0"),
        ("(0,\\infty)", "(0,2\\infty)"),
    ],
    "other sets": [
        ("(2,\\infty)", "\\{x \\mid x \\ge 2\\}"),
        ("(2,\\infty)", "\\{x \\in \\mathbb{Z} \\mid x > 2\\}"),
        ("(2,\\infty)", "\\{x \\mid y > 2\\}"),
        ("\\{1,2\\}", "\\{x \\mid 1<x<2\\}"),
        ("(1,3)", "(1,2)\\cup(2,3)"),
        ("(-\\infty,2)\\cup(2,\\infty)", "\\mathbb{R}\\setminus\\{3\\}"),
        ("90^\\circ", "\\frac{\\pi}{3}"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "2, 1"),
    ],
}

PLACES = [
    ("42", "<answer>42</answer>", True),
    ("42", "Because ...\n<answer>\n42\n</answer>", True),
    ("42", "<answer>\\boxed{42}</answer>", True),
    ("42", "<answer>The answer is 42</answer>", True),
    ("42", "I put it into <answer> tags: <answer>42</answer>", True),
    ("42", "The answer is 42.</s>", True),
    ("42", "\\boxed{42}<|im_end|>", True),
    ("42", "42<|eot_id|>", True),
    ("42", "The answer is 42<|endoftext|>\n<|endoftext|>", True),
    ("C", "The answer is C", True),
    ("C", "The correct answer is **C**.", True),
    ("C", "Option C is correct.", True),
    ("12", "The answer is **12**.", True),
    ("12", "So she has **12 apples**.", True),
    ("12", "<think>\\boxed{12}</think>", False),
    ("12", "<think>\\boxed{12}</think> I am not sure.", False),
    ("12", "\\boxed{12} \\boxed{1", False),
    ("12", "<answer>12</answer> wait <answer>1", False),
    ("5", "maybe 3, or 4, or 5", False),
    ("5", "\\boxed{3, 4, 5}", False),
    ("5", "\\boxed{3 4 5}", False),
    ("5", "\\boxed{3} \\boxed{4} \\boxed{5}", False),
    ("4", "<answer>3</answer><answer>4</answer>", False),
    ("4", "<answer>3\n4</answer>", False),
    ("4", "<answer></answer> The answer is 4", False),
    ("4", "\\boxed{4} <answer>3</answer>", False),
    ("C", "Option C is not correct.", False),
    ("C", "The answer is B or C", False),
]


def rows(table: dict[str, list[tuple[str, str]]]) -> list[Any]:
    return [
        pytest.param(reference, answer, id=f"{fault}: {answer} for {reference}")
        for fault, pairs in table.items()
        for reference, answer in pairs
    ]


@pytest.mark.parametrize(("reference", "answer"), rows(ACCEPTED))
async def test_wrongly_rejected_elsewhere(reference: str, answer: str) -> None:
    verdict = await judged_answer(reference, answer)
    assert (verdict.score, verdict.outcome) == (1.0, "correct"), verdict


@pytest.mark.parametrize(("reference", "answer"), rows(REFUSED))
async def test_wrongly_accepted_elsewhere(reference: str, answer: str) -> None:
    verdict = await judged_answer(reference, answer)
    assert verdict.score == 0.0, verdict
    assert (await judged_answer(reference, reference)).score == 1.0


@pytest.mark.parametrize(("reference", "completion", "accepted"), PLACES)
async def test_where_the_answer_is(reference: str, completion: str, accepted: bool) -> None:
    verdict = await judged(reference, completion)
    assert verdict.score == float(accepted), verdict
