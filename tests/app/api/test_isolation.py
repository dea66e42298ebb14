"""Nothing of one project is visible to another: in lists, by id, by name, by cache."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api.support import Project, new_project, ok, problem, unique
from tests.service import Service

CACHES = {"kind": "regex", "config": {"pattern": "ris$"}}


@pytest.fixture
def ours(service: Service) -> Project:
    return new_project(service)


@pytest.fixture
def theirs(service: Service) -> Project:
    return new_project(service)


def register(project: Project, name: str, pattern: str) -> Any:
    return ok(project.post("/verifiers", {"name": name, "kind": "regex", "config": {"pattern": pattern}}), 201)


def test_the_same_name_is_another_verifier_in_another_project(ours: Project, theirs: Project) -> None:
    register(ours, "same", "a")
    register(theirs, "same", "b")
    register(theirs, "same", "c")
    for project, scores in ((ours, (1.0, 0.0, 0.0)), (theirs, (0.0, 0.0, 1.0))):
        answer = project.score("same", *[{"completion": letter} for letter in "abc"])
        assert tuple(item["score"] for item in answer["items"]) == scores
    assert ok(ours.get("/verifiers/same"))["config"]["pattern"] == "a"
    problem(ours.get("/verifiers/same@2"), 404, "unknown-verifier")
    assert len(list(ours.pages("/verifiers/same/versions"))) == 1
    assert len(list(theirs.pages("/verifiers/same/versions"))) == 2
    assert theirs.delete("/verifiers/same").status == 204
    assert ours.score("same", {"completion": "a"})["items"][0]["score"] == 1.0


def test_a_verifier_of_another_project_does_not_exist(ours: Project, theirs: Project) -> None:
    name = unique("theirs")
    register(theirs, name, "a")
    theirs.score(name, {"completion": "a"})  # so that it is compiled and cached
    theirs.score(f"{name}@1", {"completion": "a"})
    for reference in (name, f"{name}@1"):
        body = {"verifier": reference, "items": [{"completion": "a"}]}
        problem(ours.post("/score", body), 404, "unknown-verifier")
        [item] = ours.score("text", {"completion": "a", "verifier": reference})["items"]
        assert item["error"]["type"] == "bad_item"
        problem(ours.get(f"/verifiers/{reference}"), 404, "unknown-verifier")
        assert ours.scores(verifier=reference) == []
    problem(ours.get(f"/verifiers/{name}/versions"), 404, "unknown-verifier")
    problem(ours.delete(f"/verifiers/{name}"), 404, "unknown-verifier")
    assert name not in [verifier["name"] for verifier in ours.pages("/verifiers")]
    assert name in [verifier["name"] for verifier in theirs.pages("/verifiers")]
    assert register(ours, name, "b")["version"] == 1


def test_scores_of_another_project_do_not_exist(ours: Project, theirs: Project) -> None:
    item = {"id": "same", "group": "same", "completion": "a", "reference": "a"}
    for project in (ours, theirs):
        register(project, "same", "a")
        project.score("text", item, run="same")
        project.score("same", item, run="same")
    mine = {score["id"] for score in ours.scores()}
    others = {score["id"] for score in theirs.scores()}
    assert len(mine) == len(others) == 2
    assert not mine & others
    for parameters in ({"run": "same"}, {"outcome": "correct"}, {"min_score": 0}, {"since": "2020-01-01"}):
        assert {score["id"] for score in ours.scores(**parameters)} == mine
    assert len(ours.scores(verifier="same")) == len(ours.scores(verifier="same@1")) == 1
    for id in others:
        problem(ours.get(f"/scores/{id}"), 404, "not-found")
        problem(ours.post(f"/scores/{id}/replay"), 404, "not-found")
        assert ours.scores(cursor=id) == [score for score in ours.scores() if score["id"] < id]


def test_an_inline_configuration_is_each_projects_own(ours: Project, theirs: Project) -> None:
    [mine] = ours.score(CACHES, {"completion": "Paris"})["items"]
    [other] = theirs.score(CACHES, {"completion": "Paris"})["items"]
    for project, item in ((ours, mine), (theirs, other)):
        assert ok(project.post(f"/scores/{item['score_id']}/replay"))["holds"] is True


@pytest.mark.parametrize("verifier", [CACHES, "math", "json_schema", "regex"], ids=str)
def test_a_verdict_cached_for_one_project_is_not_cached_for_another(
    ours: Project, theirs: Project, verifier: Any
) -> None:
    reference = {"json_schema": {"const": unique("x")}}.get(str(verifier), unique("4"))
    item = {"completion": "Paris", "reference": reference}
    assert [theirs.score(verifier, item)["items"][0]["cached"] for _ in range(2)] == [False, True]
    assert [ours.score(verifier, item)["items"][0]["cached"] for _ in range(2)] == [False, True]


def test_keys_of_another_project_do_not_exist(ours: Project, theirs: Project) -> None:
    their_keys = ok(theirs.get("/keys"))["items"]
    assert {key["id"] for key in their_keys}.isdisjoint({key["id"] for key in ours.pages("/keys")})
    for key in their_keys:
        problem(ours.delete(f"/keys/{key['id']}"), 404, "not-found")
        assert list(ours.pages("/keys", cursor=key["id"])) == [k for k in ours.pages("/keys") if k["id"] > key["id"]]
    assert theirs.get("/keys").status == 200


def test_a_policy_is_each_projects_own(ours: Project, theirs: Project) -> None:
    ok(ours.request("PATCH", "/project", {"keep": "none", "retention_days": 3}))
    policy = ok(theirs.get("/project"))
    assert (policy["keep"], policy["retention_days"]) == ("full", None)
    assert policy["id"] != ok(ours.get("/project"))["id"]


def test_the_operators_keys_see_nothing_inside_other_projects(ours: Project, default_project: Project) -> None:
    name = unique("private")
    register(ours, name, "a")
    [item] = ours.score(name, {"completion": "a"})["items"]
    problem(default_project.get(f"/scores/{item['score_id']}"), 404, "not-found")
    problem(default_project.get(f"/verifiers/{name}"), 404, "unknown-verifier")
    for key in ok(ours.get("/keys"))["items"]:
        problem(default_project.delete(f"/keys/{key['id']}"), 404, "not-found")


def test_the_project_of_the_built_in_verifiers_takes_no_names_from_ours(ours: Project) -> None:
    assert {verifier["name"] for verifier in ours.pages("/verifiers") if not verifier["builtin"]} == set()
    assert ours.scores(verifier="text") == []
