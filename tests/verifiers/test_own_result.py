"""What a user's own verifier may answer, and that nothing else becomes a score."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given

from tests.verifiers.support import ANY_JSON, assert_sound
from verifiers.base import Outcome
from verifiers.own_result import BRIEF_SAID, MAX_SAID, OwnResultError, verdict_of


@pytest.mark.parametrize(
    ("value", "score", "outcome"),
    [
        (1, 1.0, Outcome.CORRECT),
        (1.0, 1.0, Outcome.CORRECT),
        (True, 1.0, Outcome.CORRECT),
        (0, 0.0, Outcome.INCORRECT),
        (-0.0, 0.0, Outcome.INCORRECT),
        (False, 0.0, Outcome.INCORRECT),
        (0.5, 0.5, Outcome.PARTIAL),
        (1e-300, 1e-300, Outcome.PARTIAL),
        (-1, -1.0, Outcome.SCORED),
        (2.5, 2.5, Outcome.SCORED),
        (10**300, 1e300, Outcome.SCORED),
        ({"score": 0.25}, 0.25, Outcome.PARTIAL),
        ({"score": True, "detail": None, "components": None, "outcome": None}, 1.0, Outcome.CORRECT),
        ({"score": 0, "outcome": "unparseable"}, 0.0, Outcome.UNPARSEABLE),
        ({"score": 1, "outcome": "scored"}, 1.0, Outcome.SCORED),
    ],
)
def test_results(value: Any, score: float, outcome: Outcome) -> None:
    verdict = verdict_of(value, "own")
    assert (verdict.score, verdict.outcome, verdict.detail) == (score, outcome, {"stage": "own"})
    assert_sound(verdict)


REFUSED: list[tuple[Any, str]] = [
    (None, "gave nothing (None), not a number"),
    ("1", "gave a value of type str, not a number"),
    ([], "gave a value of type list, not a number"),
    (1j, "gave a value of type complex, not a number"),
    (math.nan, "gave a number that is not finite"),
    (math.inf, "gave a number that is not finite"),
    (-math.inf, "gave a number that is not finite"),
    (10**400, "gave a number that is not finite"),
    ({}, "gave an object without 'score'"),
    ({"scores": 1}, "gave an object with 'scores', which is none of components, detail, outcome, score"),
    (
        {"score": 1, 5: 1},
        "gave an object with a value of type int, which is none of components, detail, outcome, score",
    ),
    ({"score": None}, "gave nothing (None) as score, not a number"),
    ({"score": "high"}, "gave a value of type str as score, not a number"),
    ({"score": math.nan}, "gave a number that is not finite as score"),
    ({"score": 1, "components": [1]}, "gave components that are no object of at most 64 numbers"),
    ({"score": 1, "components": {str(n): 1 for n in range(65)}}, "gave components that are no object of at most 64"),
    ({"score": 1, "components": {"a": "b"}}, "gave a value of type str as component 'a', not a number"),
    ({"score": 1, "components": {"a": math.inf}}, "gave a number that is not finite as component 'a'"),
    ({"score": 1, "components": {1: 1}}, "gave a component whose name is no text of at most 100 characters"),
    ({"score": 1, "components": {"x" * 101: 1}}, "gave a component whose name is no text of at most 100 characters"),
    ({"score": 1, "detail": {1, 2}}, "gave a detail that is not plain JSON"),
    ({"score": 1, "detail": [math.nan]}, "gave a detail that is not plain JSON"),
    ({"score": 1, "detail": 10**5000}, "gave a detail that is not plain JSON"),
    ({"score": 1, "detail": {(1, 2): 3}}, "gave a detail that is not plain JSON"),
    ({"score": 1, "outcome": "unscored"}, "gave an outcome that is none of "),
    ({"score": 1, "outcome": "pending"}, "gave an outcome that is none of "),
    ({"score": 1, "outcome": "great"}, "gave an outcome that is none of "),
    ({"score": 1, "outcome": ["correct"]}, "gave an outcome that is none of "),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=[str(index) for index in range(len(REFUSED))])
def test_what_is_no_result(value: Any, message: str) -> None:
    with pytest.raises(OwnResultError) as raised:
        verdict_of(value, "own")
    assert str(raised.value).startswith(message)
    assert len(str(raised.value)) < 300


def test_a_detail_that_nests_too_deeply() -> None:
    detail: Any = 1
    for _ in range(17):
        detail = [detail]
    with pytest.raises(OwnResultError, match="nests deeper than 16"):
        verdict_of({"score": 1, "detail": detail}, "own")


def test_details_small_and_large() -> None:
    small = verdict_of({"score": 1, "detail": {"a": (1, 2)}}, "own")
    assert (small.detail["said"], small.full) == ({"a": [1, 2]}, {})
    middle = verdict_of({"score": 1, "detail": ["x" * 600]}, "own")
    assert middle.full["said"] == ["x" * 600]
    assert len(middle.detail["said"]) == BRIEF_SAID
    assert middle.detail["said"].startswith('["xx')
    large = verdict_of({"score": 1, "detail": "y" * 100_000}, "own")
    assert len(large.full["said"]) == MAX_SAID
    assert len(large.detail["said"]) == BRIEF_SAID


@given(ANY_JSON)
def test_any_value_is_a_sound_verdict_or_refused(value: Any) -> None:
    for tried in (value, {"score": 1, "detail": value}, {"score": 1, "components": value}, {"score": value}):
        try:
            verdict = verdict_of(tried, "own")
        except OwnResultError as error:
            assert len(str(error)) < 400
        else:
            assert_sound(verdict)
