"""/project and /projects: policies, and who may make projects."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.app.api.support import Project, new_project, ok, problem, unique
from tests.service import Service


def test_a_project_is_made_with_an_admin_key_of_its_own(service: Service) -> None:
    name = unique("made")
    made = ok(service.post("/projects", {"name": name, "keep": "hash", "retention_days": 7}), 201)
    key = made.pop("key")
    assert (made["name"], made["keep"], made["retention_days"]) == (name, "hash", 7)
    assert sorted(key["scopes"]) == ["admin", "read", "register", "score"]
    assert ok(service.get("/project", key=key["key"])) == made
    assert [found["id"] for found in ok(service.get("/keys", key=key["key"]))["items"]] == [key["id"]]


def test_what_is_sent_is_kept_for_ever_unless_told_otherwise(service: Service) -> None:
    made = ok(service.post("/projects", {"name": unique("plain")}), 201)
    assert (made["keep"], made["retention_days"]) == ("full", None)


def test_a_name_is_taken_once(service: Service) -> None:
    name = unique("taken")
    ok(service.post("/projects", {"name": name}), 201)
    problem(service.post("/projects", {"name": name}), 409, "conflict", "/name")
    problem(service.post("/projects", {"name": "default"}), 409, "conflict", "/name")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "/name"),
        ({"name": None}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": ".builtin"}, "/name"),
        ({"name": "a b"}, "/name"),
        ({"name": "a\n"}, "/name"),
        ({"name": "\ud800"}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "x", "keep": "all"}, "/keep"),
        ({"name": "x", "keep": None}, "/keep"),
        ({"name": "x", "retention_days": 0}, "/retention_days"),
        ({"name": "x", "retention_days": -1}, "/retention_days"),
        ({"name": "x", "retention_days": 36_501}, "/retention_days"),
        ({"name": "x", "retention_days": 10**30}, "/retention_days"),
        ({"name": "x", "retention_days": 1.5}, "/retention_days"),
        ({"name": "x", "retention_days": "week"}, "/retention_days"),
        ({"name": "x", "id": "00000000-0000-0000-0000-000000000000"}, "/id"),
    ],
    ids=repr,
)
def test_a_project_that_is_not_acceptable_is_refused(service: Service, body: Any, where: str) -> None:
    problem(service.post("/projects", body), 422, "invalid-body", where)


def test_only_the_operator_sees_and_makes_projects(project: Project) -> None:
    problem(project.get("/projects"), 403, "forbidden")
    problem(project.post("/projects", {"name": unique("forbidden")}), 403, "forbidden")
    operator = Project(project.service, project.service.key)
    for scope in ("read", "score", "register"):
        problem(project.get("/projects", key=operator.new_key(scope)), 403, "forbidden")


def test_projects_are_listed_in_pages_and_the_built_in_one_is_not(service: Service, default_project: Project) -> None:
    made = [unique("listed") for _ in range(5)]
    for name in made:
        ok(service.post("/projects", {"name": name}), 201)
    everything = [project["name"] for project in default_project.pages("/projects")]
    assert everything[0] == "default"
    assert everything[-5:] == made
    assert ".builtin" not in everything
    assert [project["name"] for project in default_project.pages("/projects", limit=3)] == everything


def test_a_policy_is_changed_field_by_field(project: Project) -> None:
    before = ok(project.get("/project"))
    for change, keep, days in (
        ({"retention_days": 30}, "full", 30),
        ({"keep": "hash"}, "hash", 30),
        ({"retention_days": None}, "hash", None),
        ({"keep": "none", "retention_days": 1}, "none", 1),
    ):
        changed = ok(project.request("PATCH", "/project", change))
        assert changed == {**before, "keep": keep, "retention_days": days}
        assert ok(project.get("/project")) == changed


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"keep": "some"}, "/keep"),
        ({"keep": None}, "/keep"),
        ({"retention_days": 0}, "/retention_days"),
        ({"name": "renamed"}, "/name"),
    ],
    ids=repr,
)
def test_a_policy_that_is_not_acceptable_is_refused(project: Project, body: Any, where: str) -> None:
    before = ok(project.get("/project"))
    problem(project.request("PATCH", "/project", body), 422, "invalid-body", where)
    problem(project.request("PATCH", "/project", {}), 422, "invalid-body")
    problem(project.request("PATCH", "/project", []), 422, "invalid-body")
    assert ok(project.get("/project")) == before


def test_a_changed_policy_counts_for_what_is_scored_from_then_on(service: Service) -> None:
    project = new_project(service)
    [before] = project.score("text", {"completion": "a", "reference": "a"})["items"]
    ok(project.request("PATCH", "/project", {"keep": "none"}))
    limit = time.monotonic() + 5  # promised: within a second
    while True:
        [after] = project.score("text", {"completion": "a", "reference": "a"})["items"]
        if ok(project.get(f"/scores/{after['score_id']}"))["item"] is None:
            break
        assert time.monotonic() < limit
    assert ok(project.get(f"/scores/{before['score_id']}"))["item"]["completion"] == "a"
