"""Verifiers made of others, over HTTP: what they need is checked before they are registered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api.support import Project, new_project, ok, problem
from tests.service import Service

LAYOUT = {"kind": "format", "config": {"sections": ["think", "answer"]}}
GOOD = "<think>6*7</think><answer>\\boxed{42}</answer>"


def parts(**more: Any) -> dict[str, Any]:
    return {"parts": {"layout": {"verifier": LAYOUT, "weight": 0.25, "gate": 1}, **more}}


def register(project: Project, name: str, config: dict[str, Any]) -> Any:
    return project.post("/verifiers", {"name": name, "kind": "composite", "config": config})


def test_a_registered_composite_of_a_registered_verifier(project: Project) -> None:
    ok(project.post("/verifiers", {"name": "short", "kind": "length", "config": {"max": 100}}), 201)
    ok(project.post("/verifiers", {"name": "strict", "kind": "math", "config": {"answer": "boxed"}}), 201)
    config = parts(answer={"verifier": "strict@1", "weight": 0.75})
    assert ok(register(project, "reward", config), 201)["version"] == 1
    answer = project.score("reward", *({"completion": text, "reference": "42"} for text in (GOOD, "\\boxed{42}", "")))
    assert [item["score"] for item in answer["items"]] == [1.0, 0.0, 0.0]
    assert answer["items"][0]["components"] == {
        "answer": 1.0, "answer:scored": 1.0, "layout": 1.0, "layout:scored": 1.0,
    }  # fmt: skip
    assert [score["verifier"] for score in project.scores()] == ["reward@1"] * 3


def test_a_composite_may_be_sent_with_the_request(project: Project) -> None:
    config = parts(answer={"verifier": {"kind": "math", "config": {}}, "weight": 0.75})
    answer = project.score({"kind": "composite", "config": config}, {"completion": GOOD, "reference": "42"})
    assert answer["items"][0]["score"] == 1.0
    assert answer["items"][0]["verifier"] == "composite@inline"


@pytest.mark.parametrize(
    ("verifier", "said"),
    [
        ("math", "name a version, which never changes: math@"),
        ("nothing@1", "no verifier 'nothing@1'"),
        ("math@999", "no verifier 'math@999'"),
        ("not a name", "no verifier 'not a name'"),
        ({"kind": "nothing"}, "no kind 'nothing'"),
        ({"kind": "regex", "config": {"pattern": "("}}, "pattern"),
        ({"kind": "composite", "config": parts()}, "the kind composite cannot be part of another"),
        ({"kind": "outcome", "config": {}}, "the kind outcome cannot be part of another"),
    ],
)
def test_a_part_that_cannot_work_is_refused(project: Project, verifier: Any, said: str) -> None:
    config = parts(other={"verifier": verifier})
    refused = problem(register(project, "reward", config), 422, "invalid-config")
    assert refused["pointer"].startswith("/config/parts/other/verifier")
    assert said in refused["detail"]
    inline = {"verifier": {"kind": "composite", "config": config}, "items": [{"completion": "x"}]}
    refused = problem(project.post("/score", inline), 422, "invalid-config")
    assert refused["pointer"].startswith("/verifier/config/parts/other/verifier")


def test_the_parts_of_another_project_do_not_exist(project: Project, service: Service) -> None:
    other = new_project(service)
    ok(other.post("/verifiers", {"name": "theirs", "kind": "text"}), 201)
    answer = register(project, "reward", parts(other={"verifier": "theirs@1"}))
    problem(answer, 422, "invalid-config", "/config/parts/other/verifier")


def test_an_archived_part_goes_on_for_those_who_named_its_version(project: Project) -> None:
    ok(project.post("/verifiers", {"name": "old", "kind": "text"}), 201)
    ok(register(project, "reward", {"parts": {"same": {"verifier": "old@1"}}}), 201)
    assert project.delete("/verifiers/old").status == 204
    answer = project.score("reward", {"completion": "a", "reference": "a"})
    assert answer["items"][0]["score"] == 1.0


def test_sending_code_that_judges_takes_the_scope_to_register(project: Project) -> None:
    """Also where it hides in a part."""
    python = {"kind": "python", "config": {"code": "def verify(completion): return 1"}}
    key = project.new_key("score")
    for verifier in (python, {"kind": "composite", "config": parts(own={"verifier": python})}):
        for body in (
            {"verifier": verifier, "items": [{"completion": "x"}]},
            {"verifier": "math", "items": [{"completion": "x", "reference": "1", "verifier": verifier}]},
        ):
            problem(project.post("/score", body, key=key), 403, "forbidden")
        problem(
            project.post("/golds", {"verifier": verifier, "golds": [{"completion": "x"}]}, key=key), 403, "forbidden"
        )
    assert project.scores() == []
