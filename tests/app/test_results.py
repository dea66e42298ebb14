"""Verdicts as they are answered and as they are stored."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Row

from app import wire
from app.results import Detail, Result, ScoredBatch, from_row, label, verdict_body, without_text
from app.store.ids import uuid7
from verifiers.base import ErrorType, Outcome, Step, Verdict

RICH = Verdict(
    Outcome.PARTIAL,
    0.5,
    {"stage": "parts", "fault": "cpu", "found": "a \ud800 secret\x00"},
    {"tried": [1, 2, {"deep": None}]},
    {"style": 0.25, "facts": 0.75},
    (Step(1.0, 0, 3), Step(0.0, 3, 9)),
)


def body_of(verdict: Verdict, detail: Detail = "brief") -> Any:
    return json.loads("{" + verdict_body(verdict, detail) + "}")


def result(score: float | None = 1.0, *, item_id: str | None = "a", ms: float = 1.5) -> Result:
    outcome = Outcome.UNSCORED if score is None else Outcome.PARTIAL
    body = verdict_body(RICH, "brief")
    return Result(item_id, uuid7(), "math@3", "math", outcome, score, body, None, ms, False)


def test_a_body_tells_as_much_as_was_asked_for() -> None:
    steps = [{"score": 1.0, "start": 0, "end": 3}, {"score": 0.0, "start": 3, "end": 9}]
    others = {"components": {"style": 0.25, "facts": 0.75}, "steps": steps, "error": None}
    assert body_of(RICH, "none") == {"detail": {}, **others}
    assert body_of(RICH, "brief") == {"detail": RICH.detail, **others}
    assert body_of(RICH, "full") == {"detail": RICH.detail | RICH.full, **others}


def test_a_body_says_why_an_item_is_unscored() -> None:
    verdict = Verdict.unscored(ErrorType.WORKER_TIMEOUT, "busy\ud800", retryable=True)
    expected = {"type": "worker_timeout", "message": "busy\ud800", "retryable": True}
    assert body_of(verdict) == {"detail": {}, "components": {}, "steps": None, "error": expected}


def test_no_steps_and_steps_of_none_are_told_apart() -> None:
    assert body_of(Verdict(Outcome.SCORED, 0.0))["steps"] is None
    assert body_of(Verdict(Outcome.SCORED, 0.0, steps=()))["steps"] == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, {1, 2}, object(), b"x"])
def test_a_detail_that_is_not_json_is_refused(bad: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        verdict_body(Verdict(Outcome.SCORED, 1.0, {"found": bad}), "brief")
    with pytest.raises((ValueError, TypeError)):
        verdict_body(Verdict(Outcome.SCORED, 1.0, full={"found": bad}), "full")


def test_what_is_stored_without_text_holds_no_words_of_the_caller() -> None:
    stored = json.loads("{" + without_text(RICH) + "}")
    assert stored["detail"] == {"stage": "parts", "fault": "cpu"}
    assert stored["components"] == {}  # some kinds name them after what the caller sent
    assert stored["steps"] is None
    bad = json.loads("{" + without_text(Verdict.bad_item("reference/secret: no")) + "}")
    assert bad["error"] == {"type": "bad_item", "message": "not kept", "retryable": False}
    assert "secret" not in without_text(RICH) + without_text(Verdict.bad_item("reference/secret: no"))


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, st.none() | st.text(st.characters(codec=None, exclude_categories=())), st.floats(0, 1e9))
def test_an_answer_is_json_with_the_score_unchanged(score: float, item_id: str | None, ms: float) -> None:
    shown = json.loads(result(score, item_id=item_id, ms=ms).encoded())
    assert math.copysign(1, shown["score"]) == math.copysign(1, score)
    assert shown["score"] == score
    assert shown["ms"] == pytest.approx(ms, abs=0.001)
    assert wire.encode(shown["id"]) == wire.encode(item_id)
    assert shown["cached"] is False


class _Float(float):
    """A float of a library's own, such as numpy's, whose repr is no number."""

    def __repr__(self) -> str:
        return f"np.float64({float(self)})"


@pytest.mark.parametrize("score", [1, True, _Float(0.5)])
def test_a_number_of_another_type_is_answered_as_a_number(score: float) -> None:
    shown = json.loads(result(score).encoded())["score"]
    assert (shown, type(shown)) in ((float(score), float), (int(score), int))


def test_zero_stands_in_for_a_missing_score_only_where_asked() -> None:
    missing = result(None)
    assert json.loads(missing.encoded())["score"] is None
    assert json.loads(missing.encoded(zero=True))["score"] == 0.0
    assert json.loads(missing.encoded(zero=True))["outcome"] == "unscored"
    assert json.loads(result(0.7).encoded(zero=True))["score"] == 0.7


def test_a_batch_sums_up_its_scored_items_only() -> None:
    batch = ScoredBatch(uuid7(), [result(1.0), result(None), result(0.5), result(None)])
    assert batch.unscored == [1, 3]
    for zero in (False, True):
        shown = json.loads(batch.encoded(zero=zero))
        assert shown["summary"] == {"count": 4, "scored": 2, "unscored": 2, "mean": 0.75}
        assert [item["score"] for item in shown["items"]] == [1.0, 0.0 if zero else None, 0.5, 0.0 if zero else None]
    assert json.loads(ScoredBatch(uuid7(), [result(None)]).encoded())["summary"]["mean"] is None


@given(st.lists(finite, min_size=1, max_size=6))
def test_the_mean_of_finite_scores_is_finite(scores: list[float]) -> None:
    mean = json.loads(ScoredBatch(uuid7(), [result(score) for score in scores]).encoded())["summary"]["mean"]
    assert math.isfinite(mean)
    spread = max(map(abs, scores)) * 1e-9 + 1e-300
    assert min(scores) - spread <= mean <= max(scores) + spread


def row(**values: Any) -> Row[Any]:
    columns: dict[str, Any] = {
        "id": UUID(int=5), "item_id": b'"a\\ud800"', "kind": "math", "name": "sums", "version": 2,
        "outcome": "partial", "score": 0.5, "verdict": verdict_body(RICH, "full").encode(), "ms": 2.5, "cached": True,
    }  # fmt: skip
    return cast("Row[Any]", SimpleNamespace(**columns | values))


def test_a_stored_row_reads_as_the_answer_that_was_given() -> None:
    read = from_row(row())
    assert (read.item_id, read.score_id, read.verifier, read.kind) == ("a\ud800", UUID(int=5), "sums@2", "math")
    assert (read.outcome, read.score, read.error, read.ms, read.cached) == (Outcome.PARTIAL, 0.5, None, 2.5, True)
    shown = json.loads(read.encoded())
    assert shown["detail"] == RICH.detail | RICH.full
    assert json.loads(from_row(row(), "none").encoded()) == shown | {"detail": {}}


def test_a_stored_row_without_a_verifier_says_why() -> None:
    verdict = verdict_body(Verdict.bad_item("no verifier"), "brief").encode()
    nothing: dict[str, Any] = {"kind": None, "name": None, "version": None, "item_id": None, "score": None}
    read = from_row(row(outcome="unscored", verdict=verdict, **nothing))
    assert (read.item_id, read.verifier, read.score, read.error) == (None, None, None, ErrorType.BAD_ITEM)


def test_a_row_names_its_verifier() -> None:
    assert label(row()) == "sums@2"
    assert label(row(name=None, version=0)) == "math@inline"
    assert label(row(kind=None)) is None
