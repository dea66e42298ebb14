"""Items of a foreign protocol that end without a score."""

from __future__ import annotations

import pytest

from app.api.compat.scoring import unscored
from app.results import Result, verdict_body
from app.store.ids import uuid7
from verifiers.base import ErrorType, Outcome, Pending, Verdict


@pytest.mark.parametrize(
    ("verdict", "name", "said"),
    [
        (Verdict.bad_item("reference: no"), "invalid-body", "reference: no"),
        (Verdict.unscored(ErrorType.SANDBOX_FAULT, "twice", retryable=True), "not-scored", "twice"),
        (Verdict(Outcome.PENDING, None, pending=Pending(60.0, None)), "not-scored", "not known yet"),
    ],
)
def test_what_has_no_score_is_a_problem_and_no_number(verdict: Verdict, name: str, said: str) -> None:
    error = None if verdict.error is None else verdict.error.type
    body = verdict_body(verdict, "full")
    result = Result("a", uuid7(), "v@1", "v", verdict.outcome, verdict.score, body, error, 1.0, cached=False)
    problem = unscored(result)
    assert problem.name == name
    assert said in problem.detail
    assert problem.extra["score_id"] == str(result.score_id)
