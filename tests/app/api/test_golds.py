"""POST /golds: references are held against their own answers before anything is trained against them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api.support import Project, ok, problem


def check(project: Project, verifier: Any, *golds: dict[str, Any]) -> Any:
    return ok(project.post("/golds", {"verifier": verifier, "golds": list(golds)}))


def test_each_reference_is_told_apart(project: Project) -> None:
    answer = check(
        project,
        "math",
        {"id": "good", "reference": "\\frac{1}{2}"},
        {"id": "brace", "reference": "\\frac{1}{2"},
        {"id": "wrong", "reference": "3", "completion": "The answer is 4."},
        {"id": "typed", "reference": {"answer": "x+1", "type": "integer"}},
        {"reference": 42},
    )
    assert [(item["id"], item["ok"]) for item in answer["items"]] == [
        ("good", True), ("brace", False), ("wrong", False), ("typed", False), (None, True),
    ]  # fmt: skip
    assert answer["verifier"] == "math@1" or answer["verifier"].startswith("math@")
    assert answer["summary"] == {"count": 5, "ok": 2, "failed": 3, "unknown": 0}
    assert answer["items"][0]["reason"] is None
    assert "braces" in answer["items"][1]["reason"]
    assert answer["items"][2]["reason"] == "its own answer scores 0.0 (incorrect, rational)"


def test_nothing_is_recorded(project: Project) -> None:
    check(project, "math", {"reference": "42"})
    assert project.scores() == []


def test_a_kind_that_cannot_write_an_answer_asks_for_one(project: Project) -> None:
    verifier = {"kind": "regex", "config": {"pattern": "a"}}
    answer = check(project, verifier, {"reference": None}, {"completion": "a"}, {"completion": "b"})
    assert [item["ok"] for item in answer["items"]] == [False, True, False]
    assert "send it as 'completion'" in answer["items"][0]["reason"]


def test_what_cannot_be_told_now_is_neither_good_nor_bad(project: Project) -> None:
    body = {"verifier": "math", "golds": [{"reference": "\\sqrt{2}+\\sqrt{3}"}] * 4096, "deadline_ms": 1}
    results = ok(project.post("/golds", body))["items"]
    assert {result["ok"] for result in results} <= {True, None}
    assert None in {result["ok"] for result in results}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/verifier"),
        ({"verifier": "math", "golds": []}, "/golds"),
        ({"verifier": "math", "golds": [{"reference": "1"}] * 4097}, "/golds"),
        ({"verifier": "math", "golds": [{"referense": "1"}]}, "/golds/0/referense"),
        ({"verifier": "math", "golds": "x"}, "/golds"),
        ({"verifier": "math", "golds": [{"reference": "1"}], "deadline_ms": 0}, "/deadline_ms"),
    ],
)
def test_a_malformed_request_is_refused(project: Project, body: Any, pointer: str) -> None:
    problem(project.post("/golds", body), 422, "invalid-body", pointer)


def test_an_unknown_verifier_is_refused(project: Project) -> None:
    problem(project.post("/golds", {"verifier": "nope", "golds": [{"reference": "1"}]}), 404, "unknown-verifier")


def test_a_registration_refuses_an_example_whose_reference_refuses_itself(project: Project) -> None:
    """Its completion may be wrong on purpose; its reference may not."""
    config = {"answer": "boxed"}
    wrong = {"completion": "\\boxed{3}", "reference": "4", "expect": 0}
    ok(project.post("/verifiers", {"name": "fine", "kind": "math", "config": config, "examples": [wrong]}), 201)
    bad = {"completion": "\\boxed{3}", "reference": {"answer": "1,2", "type": "integer"}, "expect": 0}
    answer = project.post("/verifiers", {"name": "bad", "kind": "math", "config": config, "examples": [bad]})
    problem(answer, 422, "example-failed", "/examples/0")
