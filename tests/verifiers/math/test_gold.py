"""References and declared types."""

from __future__ import annotations

from typing import Any

import pytest

from tests.verifiers.math.support import judged, judged_answer
from verifiers.base import ErrorType
from verifiers.math.gold import ANSWER_TYPES, REFERENCE, choice, literal


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (None, "a string, a finite number"),
        (True, "a string, a finite number"),
        (["42"], "a string, a finite number"),
        (float("nan"), "a string, a finite number"),
        (float("inf"), "a string, a finite number"),
        ("", "empty"),
        (" \n", "empty"),
        ("$$", "empty"),
        ("\\boxed{}", "empty"),
        ("nan", "no answer"),
        ("None", "no answer"),
        ("\\frac{1}{2", "not balanced"),
        pytest.param("1" * 131_073, "longer than", id="long"),
        pytest.param(10**5000, "as a string", id="many digits"),
        ({}, "/answer"),
        ({"answer": None}, "/answer"),
        ({"answer": True}, "/answer"),
        ({"answer": float("nan")}, "/answer"),
        ({"answer": "5", "type": "colour"}, "/type"),
        ({"answer": "5", "types": "auto"}, "/types"),
        ({"answer": "1/2", "type": "integer"}, "'integer'"),
        ({"answer": "x", "type": "number"}, "'number'"),
        ({"answer": "1,2", "type": "number"}, "'number'"),
        ({"answer": "x = 5 \\text{ or } 6", "type": "expression"}, "'expression'"),
        ({"answer": "5", "type": "equation"}, "'equation'"),
        ({"answer": "x < 5", "type": "equation"}, "'equation'"),
        ({"answer": "5", "type": "tuple"}, "'tuple'"),
        ({"answer": "\\text{red}", "type": "interval"}, "'interval'"),
        ({"answer": "(1,2,3)", "type": "interval"}, "'interval'"),
        ({"answer": "5", "type": "matrix"}, "'matrix'"),
        ({"answer": "42", "type": "choice"}, "one letter"),
    ],
)
async def test_a_reference_that_cannot_be_used(reference: Any, says: str) -> None:
    verdict = await judged(reference, "\\boxed{42}")
    assert verdict.score is None
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert not verdict.error.retryable
    assert says in verdict.error.message


@pytest.mark.parametrize("reference", ["9^{9^{9^9}}", "(10^{10})!", "1e999999999", "\\int 9^{9^9}", "x" * 1001])
async def test_a_reference_too_costly_to_evaluate_is_only_compared_as_written(reference: str) -> None:
    assert (await judged_answer(reference, reference)).score == 1.0
    other = await judged_answer(reference, "\\frac{1}{7}x")
    assert other.error is not None
    assert other.error.type is ErrorType.BAD_ITEM


@pytest.mark.parametrize("reference", ["\\frac{1}{x-x}", "\\parallel 3"])
async def test_a_reference_without_a_value_is_a_bad_item(reference: str) -> None:
    verdict = await judged_answer(reference, "y")
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (42, "42"),
        (-7, "-7.0"),
        (0.5, "\\frac12"),
        (1e-7, "10^{-7}"),
        (1e22, "10^{22}"),
        pytest.param(10**400, "10^{400}", id="400 digits"),
        ("$42$", "42"),
        ("\\boxed{42}", "42"),
        ("1,234", "1234"),
        ({"answer": 42}, "42"),
        ({"answer": "1/2", "type": "auto"}, "0.5"),
    ],
)
async def test_forms_of_a_reference(reference: Any, answer: str) -> None:
    assert (await judged_answer(reference, answer)).score == 1.0


@pytest.mark.parametrize(
    ("declared", "reference", "right", "wrong"),
    [
        ("integer", "42", ["42", "42.0", "x = 42", "42 \\text{ apples}"], ["41", "42, 43", "42.5", "x"]),
        ("number", "\\sqrt2", ["2^{1/2}", "x = \\sqrt{2}"], ["1.414", "\\{\\sqrt2, 1\\}", "x"]),
        ("expression", "2x+2", ["2(x+1)", "y = 2(x+1)"], ["2x", "2y+2"]),
        ("equation", "y = 2x", ["2x = y", "y - 2x = 0"], ["2x", "y = 3x"]),
        (
            "tuple",
            "(1,2)",
            ["1, 2", "(1, 2)", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "x=1, y=2"],
            ["(2,1)", "2, 1", "1"],
        ),
        ("tuple", "(1,234)", ["1,234"], ["1234"]),
        ("tuple", "(w,d)=(16,3)", ["d=3, w=16", "(16,3)"], ["d=16, w=3", "(3,16)"]),
        ("integer", "52_8", ["52_8"], ["52", "42"]),
        ("set", "x=1 \\text{ or } x=2", ["2,1", "\\{1,2\\}"], ["1", "3,2"]),
        ("set", "1,2", ["2,1", "\\{1,2\\}", "1,2,2", "x=1 or x=2"], ["1", "1,2,3"]),
        ("set", "5", ["\\{5\\}", "5", "x=5"], ["5,6"]),
        ("multiset", "1,2,2", ["2,1,2"], ["1,2", "1,1,2"]),
        ("interval", "(1,2)", ["(1,2)", "1<x<2", "x \\in (1,2)"], ["[1,2]", "(1,2]", "(2,1)", "1"]),
        ("interval", "(0,1)\\cup(2,3)", ["(2,3)\\cup(0,1)"], ["(0,3)"]),
        ("matrix", "\\begin{pmatrix}1&2\\end{pmatrix}", ["\\begin{bmatrix}1&2\\end{bmatrix}"], ["1", "(1,2)"]),
        ("choice", "b", ["B", "(b)", "\\text{(B) 12}"], ["C", "12", "B \\text{ or } C", "AB"]),
    ],
)
async def test_declared_types(declared: str, reference: str, right: list[str], wrong: list[str]) -> None:
    for answer in right:
        verdict = await judged_answer({"answer": reference, "type": declared}, answer)
        assert verdict.score == 1.0, (answer, verdict)
    for answer in wrong:
        verdict = await judged_answer({"answer": reference, "type": declared}, answer)
        assert verdict.score == 0.0, (answer, verdict)


def test_the_schema_names_every_type() -> None:
    schema = str(REFERENCE.json_schema())
    assert all(f"'{name}'" in schema for name in ANSWER_TYPES)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("42", (False, "42", 0)),
        ("-0.50", (True, "5", -1)),
        ("1,200", (False, "12", 2)),
        ("000", (False, "", 0)),
        ("-0.0", (False, "", 0)),
        (".5", (False, "5", -1)),
        ("5.", (False, "5", 0)),
        ("1.5e3", (False, "15", 2)),
        ("1,20", None),
        ("1 2", None),
        ("٣", None),
        ("x", None),
        ("1e9999999", None),
    ],
)
def test_literals_have_one_form(text: str, parts: tuple[bool, str, int] | None) -> None:
    assert literal(text) == parts


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("C", "C"),
        ("(c)", "C"),
        ("\\textbf{(C)}", "C"),
        ("**C**", "C"),
        ("C. 15", "C"),
        ("(C) 15", "C"),
        ("Option C", "C"),
        ("C or D", None),
        ("C. or D", None),
        ("(A) (B)", None),
        ("CD", None),
        ("15", None),
        ("", None),
    ],
)
def test_choices(text: str, letter: str | None) -> None:
    assert choice(text) == letter
