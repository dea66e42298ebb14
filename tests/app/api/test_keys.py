"""/keys: made, shown once, listed without their secret, revoked."""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import Any

import pytest

from tests.app.api.support import Project, database_of, ok, problem, rows_with

NOBODY = "00000000-0000-0000-0000-000000000000"


def test_a_key_is_shown_once_and_works(project: Project) -> None:
    made = ok(project.post("/keys", {"name": "trainer \u4e16", "scopes": ["score"]}), 201)
    assert made["key"].startswith("assay_")
    assert len(made["key"]) >= 40
    assert made["hint"] == made["key"][-4:]
    assert (made["name"], made["scopes"], made["revoked_at"]) == ("trainer \u4e16", ["score"], None)
    answer = project.post("/score", {"verifier": "format", "items": [{"completion": "x"}]}, key=made["key"])
    assert answer.status == 200
    listing = project.get("/keys")
    assert made["key"].encode() not in listing.body
    [listed] = [key for key in ok(listing)["items"] if key["id"] == made["id"]]
    assert listed == {name: value for name, value in made.items() if name != "key"}


def test_keys_are_random(project: Project) -> None:
    assert len({project.new_key("read") for _ in range(20)}) == 20


def test_a_key_may_score_and_read_unless_told_otherwise(project: Project) -> None:
    assert set(ok(project.post("/keys", {"name": "plain"}), 201)["scopes"]) == {"score", "read"}
    twice = ok(project.post("/keys", {"name": "twice", "scopes": ["read", "read", "admin"]}), 201)
    assert sorted(twice["scopes"]) == ["admin", "read"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "/name"),
        ({"name": None}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\x00"}, "/name"),
        ({"name": "a\n"}, "/name"),
        ({"name": "\ud800"}, "/name"),
        ({"name": 5}, "/name"),
        ({"name": "x", "scopes": []}, "/scopes"),
        ({"name": "x", "scopes": None}, "/scopes"),
        ({"name": "x", "scopes": "read"}, "/scopes"),
        ({"name": "x", "scopes": ["root"]}, "/scopes/0"),
        ({"name": "x", "scopes": ["read", "READ"]}, "/scopes/1"),
        ({"name": "x", "scopes": ["read"] * 5}, "/scopes"),
        ({"name": "x", "key": "mine"}, "/key"),
        ({"name": "x", "project_id": NOBODY}, "/project_id"),
    ],
    ids=repr,
)
def test_a_key_that_is_not_acceptable_is_refused(project: Project, body: Any, where: str) -> None:
    problem(project.post("/keys", body), 422, "invalid-body", where)


def test_a_revoked_key_stops_working(project: Project) -> None:
    made = ok(project.post("/keys", {"name": "short", "scopes": ["read"]}), 201)
    assert project.get("/project", key=made["key"]).status == 200
    revoked = ok(project.delete(f"/keys/{made['id']}"))
    assert revoked["revoked_at"] is not None
    limit = time.monotonic() + 5  # promised: within a second, everywhere
    while project.get("/project", key=made["key"]).status == 200:
        assert time.monotonic() < limit
    problem(project.get("/project", key=made["key"]), 401, "unauthorized")
    [listed] = [key for key in ok(project.get("/keys"))["items"] if key["id"] == made["id"]]
    assert listed == revoked
    assert ok(project.delete(f"/keys/{made['id']}"))["revoked_at"] == revoked["revoked_at"]


async def test_a_key_revoked_behind_the_back_of_the_service_stops_working(project: Project) -> None:
    made = ok(project.post("/keys", {"name": "behind", "scopes": ["read"]}), 201)
    assert project.get("/project", key=made["key"]).status == 200
    async with database_of(project.service) as connection:
        await connection.execute("UPDATE keys SET revoked_at = now() WHERE id = $1", uuid.UUID(made["id"]))
    limit = time.monotonic() + 5
    while project.get("/project", key=made["key"]).status == 200:
        assert time.monotonic() < limit
    problem(project.get("/project", key=made["key"]), 401, "unauthorized")


def test_a_key_cannot_revoke_itself(project: Project) -> None:
    [own] = ok(project.get("/keys"))["items"]
    problem(project.delete(f"/keys/{own['id']}"), 409, "conflict")
    problem(project.delete(f"/keys/{own['id'].upper()}"), 409, "conflict")
    assert project.get("/keys").status == 200
    assert ok(project.delete(f"/keys/{own['id']}", key=project.new_key("admin")))["revoked_at"] is not None


@pytest.mark.parametrize("id", [NOBODY, "2f1d7a52-6c0e-4b57-9a3e-8d1c5b90e4f7"])
def test_a_key_that_does_not_exist_is_a_404(project: Project, id: str) -> None:
    problem(project.delete(f"/keys/{id}"), 404, "not-found")


def test_the_list_is_paged_oldest_first(project: Project) -> None:
    for number in range(6):
        ok(project.post("/keys", {"name": f"key {number}"}), 201)
    names = ["first", *[f"key {number}" for number in range(6)]]
    for limit in (1, 2, 3, 7, 100):
        assert [key["name"] for key in project.pages("/keys", limit=limit)] == names


async def test_the_database_holds_only_the_hash(project: Project) -> None:
    secret = project.new_key("read")
    headers = {"Idempotency-Key": "once"}
    repeated = ok(project.post("/keys", {"name": "repeated"}, headers=headers), 201)["key"]
    created = ok(
        project.service.post(
            "/projects",
            {"name": f"secret-{uuid.uuid4().hex}"},
            headers=headers | {"Idempotency-Key": uuid.uuid4().hex},
        ),
        201,
    )
    async with database_of(project.service) as connection:
        for hidden in (secret, repeated, created["key"]["key"]):
            assert await rows_with(connection, hidden.encode()) == []
            assert await rows_with(connection, hidden[len("assay_") : -4].encode()) == []
            digest = hashlib.sha256(hidden.encode()).digest()
            assert await rows_with(connection, digest) == ["public.keys"]


@pytest.mark.parametrize("name", ["first", "ASSAY_API_KEY"])
def test_the_names_of_the_services_own_keys_are_taken(project: Project, name: str) -> None:
    problem(project.post("/keys", {"name": name}), 409, "conflict", "/name")
