"""Reward models through the service: on somebody's server, and steps by any verifier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.api.json_server import JsonServer
from tests.app.api.support import Project, ok, problem, unique


def length(body: Any) -> Any:
    """An answer of vLLM's /classify: the score is the completion's length."""
    score = float(len(body["messages"][-1]["content"]))
    result = {"index": 0, "label": "LABEL_0", "probs": [score], "num_classes": 1}
    return {"data": [result], "usage": {"prompt_tokens": 7}}


@pytest.fixture
def classifier(default_project: Project) -> Iterator[tuple[str, JsonServer]]:
    """A backend of the type `reward`, and the server that it leads to."""
    name, server = unique("reward"), JsonServer("/classify", length)
    asked = {"name": name, "type": "reward", "url": server.url, "allow_private": True, "reward": {"api": "classify"}}
    made = ok(default_project.post("/backends", asked), 201)
    assert (made["reward"]["api"], made["chat"], made["local"]) == ("classify", None, None)
    yield name, server
    ok(default_project.delete(f"/backends/{name}"))
    server.close()


def test_scores_of_a_server(project: Project, classifier: tuple[str, JsonServer]) -> None:
    name, server = classifier
    config = {"backend": name, "normalise": "standard", "mean": 3.0, "deviation": 2.0}
    ok(project.post("/verifiers", {"name": "rm", "kind": "reward_model", "config": config}), 201)
    answer = project.score("rm", {"prompt": "Hi", "completion": "12345"}, {"prompt": "Hi", "completion": "1"})
    assert [item["score"] for item in answer["items"]] == [1.0, -1.0]
    assert [item["components"]["raw"] for item in answer["items"]] == [5.0, 1.0]
    assert {item["outcome"] for item in answer["items"]} == {"scored"}
    assert all(body["use_activation"] is False for body in server.asked)


def test_it_is_asked_by_test(default_project: Project, classifier: tuple[str, JsonServer]) -> None:
    said = ok(default_project.post(f"/backends/{classifier[0]}/test"))
    assert (said["ok"], said["message"]) == (True, "it gave the score 9")


def test_groups_are_ranked_by_it(project: Project, classifier: tuple[str, JsonServer]) -> None:
    verifier = {"kind": "reward_model", "config": {"backend": classifier[0]}}
    body = {"verifier": verifier, "items": [{"prompt": "Hi", "completions": ["1", "123", "12"]}]}
    [item] = ok(project.post("/compare", body))["items"]
    assert (item["ranking"], item["pair"]["chosen"], item["pair"]["rejected"]) == ([[1], [2], [0]], "123", "1")


def test_steps_scored_by_another_verifier(project: Project) -> None:
    config = {"scorer": {"kind": "regex", "config": {"pattern": "="}}, "aggregate": "mean"}
    ok(project.post("/verifiers", {"name": "steps", "kind": "process", "config": config}), 201)
    text = "1 + 1 = 2\n\nso there\n\n2 + 2 = 4"
    [item] = project.score("steps", {"completion": text})["items"]
    assert item["score"] == pytest.approx(2 / 3)
    assert [text[step["start"] : step["end"]] for step in item["steps"]] == ["1 + 1 = 2", "so there", "2 + 2 = 4"]
    assert [step["score"] for step in item["steps"]] == [1.0, 0.0, 1.0]
    assert item["detail"]["first_wrong"] == 1


def test_a_model_that_is_none_leaves_items_unscored(default_project: Project, tmp_path: Path) -> None:
    name = unique("local")
    asked = {"name": name, "type": "local", "local": {"model": str(tmp_path / "none"), "device": "cpu"}}
    made = ok(default_project.post("/backends", asked), 201)
    assert (made["url"], made["local"]["model"]) == (None, str(tmp_path / "none"))
    said = ok(default_project.post(f"/backends/{name}/test"))
    assert not said["ok"]
    verifier = {"kind": "reward_model", "config": {"backend": name}}
    [item] = default_project.score(verifier, {"completion": "a"})["items"]
    assert (item["score"], item["error"]["type"]) == (None, "backend_unavailable")
    ok(default_project.delete(f"/backends/{name}"))


LOCAL = {"model": "/models/m"}


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"type": "reward", "url": "https://example.com/classify"}, "/reward"),
        ({"type": "reward", "reward": {"api": "classify"}}, "/url"),
        ({"type": "reward", "url": "https://example.com", "reward": {"api": "grpc"}}, "/reward/api"),
        ({"type": "local"}, "/local"),
        ({"type": "local", "local": LOCAL, "url": "https://example.com"}, "/url"),
        ({"type": "local", "local": LOCAL, "key": "secret"}, "/key"),
        ({"type": "local", "local": {"model": "m", "device": "gpu"}}, "/local/device"),
        ({"type": "verifier", "url": "https://example.com", "local": LOCAL}, "/local"),
        ({"type": "chat", "url": "https://example.com/v1", "reward": {"api": "tei"}}, "/reward"),
        ({"type": "verifier"}, "/url"),
    ],
)
def test_what_does_not_belong_to_a_type_is_refused(
    default_project: Project, fields: dict[str, Any], pointer: str
) -> None:
    answer = default_project.post("/backends", {"name": unique("bad"), **fields})
    problem(answer, 422, "invalid-body", pointer)


def test_a_kind_asks_backends_of_its_own_type(project: Project, classifier: tuple[str, JsonServer]) -> None:
    for kind, config, pointer in (
        ("remote", {"backend": classifier[0]}, "/config/backend"),
        ("judge", {"backend": classifier[0]}, "/config/backend"),
        ("reward_model", {"backend": "nowhere"}, "/config/backend"),
        ("process", {"scorer": {"backend": "nowhere"}}, "/config/scorer/backend"),
    ):
        answer = project.post("/verifiers", {"name": "x", "kind": kind, "config": config})
        problem(answer, 422, "invalid-config", pointer)
