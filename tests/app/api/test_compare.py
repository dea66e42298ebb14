"""POST /compare: completions of one prompt, ranked and paired."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api.support import Project, ok, problem

LENGTH = {"kind": "regex", "config": {"pattern": "a", "mode": "search"}}


def compare(project: Project, verifier: Any, *items: dict[str, Any], **fields: Any) -> Any:
    return ok(project.post("/compare", {"verifier": verifier, "items": list(items), **fields}))


def test_by_scores(project: Project) -> None:
    answer = compare(
        project,
        "math",
        {"id": "q1", "prompt": "6*7?", "reference": "42", "completions": ["\\boxed{41}", "\\boxed{42}", "42", ""]},
        run="r1",
    )
    assert answer["verifier"].startswith("math@")
    [item] = answer["items"]
    assert item["scores"] == [0.0, 1.0, 1.0, 0.0]
    assert item["ranking"] == [[1, 2], [0, 3]]
    assert item["pair"] == {
        "chosen": "\\boxed{42}", "rejected": "\\boxed{41}", "chosen_index": 1, "rejected_index": 0, "margin": 1.0,
    }  # fmt: skip
    assert {(one["first"], one["second"]): one["preferred"] for one in item["outcomes"]} == {
        (0, 1): 0.0, (0, 2): 0.0, (0, 3): 0.5, (1, 2): 0.5, (1, 3): 1.0, (2, 3): 1.0,
    }  # fmt: skip
    recorded = {score["id"]: score for score in project.scores()}
    assert [recorded[id]["score"] for id in item["score_ids"]] == item["scores"]
    assert {score["run"] for score in recorded.values()} == {"r1"}
    assert {score["group"] for score in recorded.values()} == {"q1"}


def test_equals_make_no_pair(project: Project) -> None:
    [item] = compare(project, "math", {"reference": "1", "completions": ["1", "\\boxed{1}"]})["items"]
    assert (item["ranking"], item["pair"], item["error"]) == ([[0, 1]], None, None)


def test_one_that_cannot_be_scored_is_in_no_ranking(project: Project) -> None:
    [item] = compare(project, "math", {"reference": "", "completions": ["1", "2"]})["items"]
    assert (item["scores"], item["ranking"], item["outcomes"], item["pair"]) == ([None, None], [], [], None)
    assert item["error"]["type"] == "bad_item"


def test_messages_come_back_as_they_were_sent(project: Project) -> None:
    right = [{"role": "assistant", "content": "\\boxed{1}", "extra": True}]
    [item] = compare(project, "math", {"reference": "1", "completions": ["2", right]})["items"]
    assert item["pair"]["chosen"] == right


def test_a_bad_group_harms_no_other(project: Project) -> None:
    answer = compare(
        project,
        "math",
        {"id": "bad", "completions": ["only one"]},
        {"id": "good", "reference": "1", "completions": ["1", "2"]},
        {"id": 7, "completions": ["1", "2"]},
        {"id": "worse", "completions": ["1", {"no": "text"}]},
    )
    assert [item["error"] and item["error"]["type"] for item in answer["items"]] == [
        "bad_item", None, "bad_item", "bad_item",
    ]  # fmt: skip
    assert [item["id"] for item in answer["items"]] == ["bad", "good", None, "worse"]
    assert answer["items"][1]["ranking"] == [[0], [1]]
    assert len(project.scores()) == 2


def test_nothing_readable_records_nothing(project: Project) -> None:
    answer = compare(project, "math", {"completions": []})
    assert answer["batch_id"] is None
    assert project.scores() == []


def test_a_repeated_key_is_the_same_comparison(project: Project) -> None:
    body = {"verifier": "math", "items": [{"reference": "1", "completions": ["1", "2", "1"]}]}
    headers = {"Idempotency-Key": "compare-1"}
    first = ok(project.post("/compare", body, headers=headers))
    assert ok(project.post("/compare", body, headers=headers)) == first
    assert len(project.scores()) == 3
    other = {**body, "items": [{"reference": "2", "completions": ["1", "2"]}]}
    problem(project.post("/compare", other, headers=headers), 422, "idempotency-mismatch")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"items": [{"completions": ["1", "2"]}]}, "/verifier"),
        ({"verifier": "math", "items": []}, "/items"),
        ({"verifier": "math", "items": [{"completions": ["x"] * 64}] * 65}, "/items"),
        (
            {"verifier": "math", "items": [{"completions": ["1", "2"]}], "options": {"method": "best"}},
            "/options/method",
        ),
        ({"verifier": "math", "items": [{"completions": ["1", "2"]}], "more": 1}, "/more"),
    ],
)
def test_a_malformed_request_is_refused(project: Project, body: Any, pointer: str) -> None:
    problem(project.post("/compare", body), 422, "invalid-body", pointer)


def test_an_unknown_verifier_is_refused(project: Project) -> None:
    body = {"verifier": "nothing", "items": [{"completions": ["1", "2"]}]}
    problem(project.post("/compare", body), 404, "unknown-verifier")
