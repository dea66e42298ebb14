"""Malformed configurations and references, each with its message; and golds checked against themselves."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from pydantic import ValidationError

from tests.conftest import DATA
from tests.verifiers.math.support import judged
from tests.verifiers.support import configured, score_all
from verifiers.base import BadItemError, Item, explain, pointer
from verifiers.math import Math
from verifiers.math.config import MathConfig

SEND = 'reference: send the answer as a string, a finite number, or {"answer": ..., "type": ...}'
EMPTY = "reference: the answer is empty"


@pytest.mark.parametrize(
    ("config", "where", "message"),
    [
        ({"answer": "first"}, "/answer", "Input should be 'final', 'boxed' or 'whole'"),
        ({"answer": None}, "/answer", "Input should be 'final', 'boxed' or 'whole'"),
        ({"several": "any"}, "/several", "Input should be 'reject' or 'last'"),
        ({"tolerance": -1.0}, "/tolerance", "Input should be greater than or equal to 0"),
        ({"tolerance": 1.0}, "/tolerance", "Input should be less than 1"),
        ({"tolerance": "0.1"}, "/tolerance", "Input should be a valid number"),
        ({"tolerance": float("nan")}, "/tolerance", "Input should be a finite number"),
        ({"percent": 9}, "/percent", "Input should be 'sign' or 'value'"),
        ({"units": "convert "}, "/units", "Input should be 'match', 'convert' or 'ignore'"),
        ({"bases": True}, "/bases", "Input should be 'written' or 'value'"),
        ({"form": "simplest"}, "/form", "Input should be 'any', 'evaluated' or 'lowest_terms'"),
        ({"unit": "match"}, "/unit", "Extra inputs are not permitted"),
    ],
)
def test_a_malformed_configuration(config: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MathConfig.model_validate(config)
    location, said = explain(caught.value, config)
    assert (pointer(location), said) == (where, message)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, SEND),
        (True, SEND),
        (["42"], SEND),
        (float("nan"), SEND),
        (float("-inf"), SEND),
        ("", EMPTY),
        (" \n", EMPTY),
        ("$$", EMPTY),
        ("\\boxed{}", EMPTY),
        ("nan", "reference: 'nan' is no answer"),
        ("None", "reference: 'None' is no answer"),
        ("\\frac{1}{2", "reference: its braces are not balanced"),
        pytest.param("1" * 131_073, "reference: longer than 131072 characters", id="long"),
        pytest.param(10**5000, "reference: send a number of so many digits as a string", id="digits"),
        ({}, "reference/answer: Field required"),
        ({"answer": True}, "reference/answer: Input should be a valid string, or a valid integer, or a valid number"),
        ({"answer": "5", "types": "auto"}, "reference/types: Extra inputs are not permitted"),
        ({"answer": "1/2", "type": "integer"}, "reference: its answer is not of the type 'integer'"),
        ({"answer": "x", "type": "number"}, "reference: its answer is not of the type 'number'"),
        ({"answer": "5", "type": "equation"}, "reference: its answer is not of the type 'equation'"),
        ({"answer": "5", "type": "tuple"}, "reference: its answer is not of the type 'tuple'"),
        ({"answer": "52.1_8", "type": "integer"}, "reference: its answer is not of the type 'integer'"),
        ({"answer": "42", "type": "choice"}, "reference: a choice is one letter"),
    ],
)
async def test_a_malformed_reference(reference: Any, message: str) -> None:
    verdict = await judged(reference, "\\boxed{42}")
    assert verdict.score is None
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.message, verdict.error.retryable) == ("bad_item", message, False)
    with pytest.raises(BadItemError) as caught:
        Math(MathConfig()).gold(reference)
    assert str(caught.value) == message


@pytest.mark.parametrize("reference", ["5\\", "}5{", "<think>", "</answer>5<answer>"])
def test_a_reference_that_no_completion_can_give(reference: str) -> None:
    with pytest.raises(BadItemError) as caught:
        Math(MathConfig()).gold(reference)
    assert str(caught.value) == "reference: no completion can give it as its answer; check its braces and tags"


@pytest.mark.parametrize("reference", ["\\frac{1}{x-x}", "\\ln 0"])
async def test_a_gold_without_a_value_is_found_out_by_scoring_its_own_completion(reference: str) -> None:
    verdict = await judged(reference, Math(MathConfig()).gold(reference))
    assert verdict.error is not None
    assert verdict.error.message.startswith("reference: it has no value")


USABLE = [
    42, 0.5, "\\sqrt2", "\\ln x", "\\sin x + 2", "2 \\text{ cm}", "\\sqrt2 \\text{ cm}", "9\\%", "(1,2)", "2/4",
    "52_8", "x^{1998}",
    "\\infty", "\\text{Evelyn}", "C", "x=5", "\\int_0^1 x\\,dx", "9^{9^{9^9}}", "2mg", "x > 2",
    "\\{1\\pm\\sqrt5\\}", {"answer": "1,2", "type": "set"},
]  # fmt: skip


@pytest.mark.parametrize(
    "config", [{}, {"answer": "boxed"}, {"answer": "whole"}, {"form": "lowest_terms"}, {"units": "convert"}]
)
@pytest.mark.parametrize("reference", USABLE)
async def test_every_usable_gold_scores_1_against_itself(reference: Any, config: dict[str, Any]) -> None:
    completion = Math(MathConfig.model_validate(config)).gold(reference)
    verdict = await judged(reference, completion, **config)
    assert verdict.score == 1.0, (completion, verdict)


@pytest.mark.data
async def test_golds_of_math500_score_1_and_nothing_scores_0() -> None:
    with gzip.open(DATA / "math" / "math500.jsonl.gz", "rt") as file:
        golds = [json.loads(line)["answer"] for line in file]
    math = Math(MathConfig())
    for completions, score in (([math.gold(gold) for gold in golds], 1.0), ([""] * len(golds), 0.0)):
        items = [Item(reference=gold, completion=text) for gold, text in zip(golds, completions, strict=True)]
        verdicts = await score_all(configured("math"), items)
        assert [v.score for v in verdicts] == [score] * len(golds)
