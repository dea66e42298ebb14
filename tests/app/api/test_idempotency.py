"""Idempotency-Key: whatever is sent again, at once or after a restart, is done once."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any

import pytest

from app.services import maintain_once
from tests.app.api.support import CONTAINS, Project, new_project, ok, open_database, problem, unique
from tests.service import Answer, Service

ITEMS = [{"id": str(n), "completion": f"a{n}", "reference": "a1"} for n in range(8)]


def keyed(project: Project, path: str, body: Any, key: str, **options: Any) -> Answer:
    return project.post(path, body, headers={"Idempotency-Key": key}, **options)


def at_once(count: int, call: Callable[[], Answer]) -> list[Answer]:
    """`count` calls that begin together."""
    barrier = threading.Barrier(count)

    def one(_: int) -> Answer:
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def body(run: str, **fields: Any) -> dict[str, Any]:
    return {"verifier": "text", "items": ITEMS, "run": run, **fields}


def test_64_posts_at_once_with_one_key_record_one_batch(project: Project) -> None:
    for verifier in ("text", CONTAINS, "math"):
        run = unique("run")
        answers = at_once(64, lambda: keyed(project, "/score", body(run, verifier=verifier), run))  # noqa: B023
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1
        recorded = project.scores(run=run)
        assert len(recorded) == len(ITEMS)
        assert {score["batch_id"] for score in recorded} == {answers[0].json()["batch_id"]}


def test_several_processes_and_a_restart_record_one_batch(make_service: Callable[..., Service]) -> None:
    service = make_service(ASSAY_WORKERS="2")
    project = new_project(service)
    for number in range(3):
        run = f"run-{number}"
        answers = at_once(64, lambda: keyed(project, "/score", body(run), run))  # noqa: B023
        assert {answer.status for answer in answers} == {200}
        assert len({answer.json()["batch_id"] for answer in answers}) == 1
        assert len(project.scores(run=run)) == len(ITEMS)
    made = ok(keyed(project, "/keys", {"name": "once"}, "key"), 201)

    service.stop()
    service.start()
    assert json.loads(keyed(project, "/score", body("run-2"), "run-2").body) == answers[0].json()
    assert len(project.scores(run="run-2")) == len(ITEMS)
    problem(keyed(project, "/score", body("other"), "run-2"), 422, "idempotency-mismatch")
    assert ok(keyed(project, "/keys", {"name": "once"}, "key"), 201) == {**made, "key": None}


def test_a_request_cut_off_by_a_kill_is_done_once(make_service: Callable[..., Service]) -> None:
    service = make_service()
    project = new_project(service)

    def post(run: str) -> Answer | None:
        try:
            return keyed(project, "/score", body(run), run, timeout=10)
        except (OSError, HTTPException):
            return None

    for round_number in range(3):
        runs = [f"run-{round_number}-{number}" for number in range(48)]
        with ThreadPoolExecutor(16) as pool:
            posts = [pool.submit(post, run) for run in runs]
            posts[4 + 4 * round_number].result()
            service.kill()
            before = {run: posted.result() for run, posted in zip(runs, posts, strict=True)}
        service.start()
        after = {run: ok(keyed(project, "/score", body(run), run)) for run in runs}
        for run in runs:
            recorded = project.scores(run=run)
            assert [score["id"] for score in reversed(recorded)] == [i["score_id"] for i in after[run]["items"]]
            first = before[run]
            assert first is None or first.json() == after[run]


def test_the_answer_is_the_same_to_the_last_byte(project: Project) -> None:
    for detail in ("none", "brief", "full"):
        for on_error in ("null", "zero"):
            options = {"detail": detail, "on_error": on_error}
            items = [*ITEMS, {"id": "\ud800", "completion": 5}, {"completion": "a", "verifier": "\x00"}]
            sent = body("same", items=items, options=options, verifier="math")
            key = unique("same")
            first = keyed(project, "/score", sent, key)
            assert first.status == 200
            assert keyed(project, "/score", sent, key).body == first.body
    assert len(project.scores(run="same")) == 6 * (len(ITEMS) + 2)


def test_a_failed_batch_stays_failed(project: Project) -> None:
    sent = body("fail", items=[*ITEMS, None], options={"on_error": "fail"})
    first = keyed(project, "/score", sent, "fail")
    problem(first, 502, "items-unscored")
    assert keyed(project, "/score", sent, "fail").body == first.body
    assert len(project.scores(run="fail")) == len(ITEMS) + 1


@pytest.mark.parametrize("keep", ["hash", "none"])
def test_scores_are_repeated_also_where_no_text_is_kept(service: Service, keep: str) -> None:
    project = new_project(service, keep=keep)
    first, again = (ok(keyed(project, "/score", body("kept"), "kept")) for _ in range(2))
    assert (again["batch_id"], again["summary"]) == (first["batch_id"], first["summary"])
    for before, after in zip(first["items"], again["items"], strict=True):
        same = ("id", "score_id", "verifier", "score", "outcome")
        assert {name: before[name] for name in same} == {name: after[name] for name in same}


@pytest.mark.parametrize(
    "change",
    [
        {"run": "other"},
        {"options": {"cache": False}},
        {"verifier": "text@1"},
        {"items": ITEMS[:-1]},
        {"items": [*ITEMS[:-1], {**ITEMS[-1], "completion": "other"}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_request_is_refused(project: Project, change: dict[str, Any]) -> None:
    first = ok(keyed(project, "/score", body("first"), "key"))
    problem(keyed(project, "/score", {**body("first"), **change}, "key"), 422, "idempotency-mismatch")
    assert ok(keyed(project, "/score", body("first"), "key")) == first
    assert len(project.scores()) == len(ITEMS)


def test_a_changed_request_at_the_same_time_is_refused(project: Project) -> None:
    numbers = iter(range(64))
    answers = at_once(32, lambda: keyed(project, "/score", body(f"run-{next(numbers) % 2}"), "key"))
    done = [answer for answer in answers if answer.status == 200]
    assert len({answer.body for answer in done}) == 1
    assert len(done) == 16
    for answer in answers:
        if answer.status != 200:
            problem(answer, 422, "idempotency-mismatch")
    assert len(project.scores()) == len(ITEMS)


def test_a_key_belongs_to_one_path(project: Project) -> None:
    sent = body("path")
    [item, *_] = ok(keyed(project, "/score", sent, "key"))["items"]
    problem(keyed(project, "/verifiers", {"name": "a", "kind": "text"}, "key"), 422, "idempotency-mismatch")
    problem(keyed(project, "/keys", {"name": "a"}, "key"), 422, "idempotency-mismatch")
    problem(keyed(project, f"/scores/{item['score_id']}/replay", None, "key"), 422, "idempotency-mismatch")
    ok(keyed(project, "/keys", {"name": "a"}, "other"), 201)
    problem(keyed(project, "/score", sent, "other"), 422, "idempotency-mismatch")
    assert len(project.scores()) == len(ITEMS)


def test_the_same_key_in_another_project_is_another_key(service: Service) -> None:
    first, second = (new_project(service) for _ in range(2))
    answers = [ok(keyed(project, "/score", body("same"), "same")) for project in (first, second)]
    assert answers[0]["batch_id"] != answers[1]["batch_id"]
    assert len(first.scores()) == len(second.scores()) == len(ITEMS)
    ok(keyed(second, "/verifiers", {"name": "a", "kind": "text"}, "mine"), 201)
    ok(keyed(first, "/score", body("mine"), "mine"))


def test_a_refused_request_does_not_use_up_the_key(project: Project) -> None:
    problem(keyed(project, "/score", b"{", "key"), 400, "invalid-json")
    problem(keyed(project, "/score", body("x", items=[]), "key"), 422, "invalid-body")
    problem(keyed(project, "/score", body("x", verifier="nothing"), "key"), 404, "unknown-verifier")
    problem(keyed(project, "/verifiers", {"name": "text", "kind": "text"}, "key"), 409, "conflict")
    ok(keyed(project, "/score", body("x"), "key"))


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "x" * 256, "\xe9", '"a b"'], ids=repr)
@pytest.mark.parametrize("path", ["/score", "/verifiers", "/keys"])
def test_a_key_that_is_not_acceptable_is_refused(project: Project, path: str, key: str) -> None:
    sent = {"/score": body("x"), "/verifiers": {"name": "a", "kind": "text"}, "/keys": {"name": "a"}}[path]
    problem(keyed(project, path, sent, key), 400, "invalid-header")
    assert project.scores() == []


@pytest.mark.parametrize("key", ["a", "x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "!~%/\\'{}"])
def test_a_key_may_have_any_printable_characters(project: Project, key: str) -> None:
    assert ok(keyed(project, "/score", body("x"), key)) == ok(keyed(project, "/score", body("x"), key))


def test_a_registration_is_made_once(project: Project) -> None:
    sent = {"name": "once", "kind": "regex", "config": {"pattern": "a"}}
    answers = at_once(16, lambda: keyed(project, "/verifiers", sent, "key"))
    assert len({answer.body for answer in answers}) == 1
    assert {answer.status for answer in answers} == {201}
    ok(keyed(project, "/verifiers", {**sent, "config": {"pattern": "b"}}, "next"), 201)
    repeated = ok(keyed(project, "/verifiers", sent, "key"), 201)
    assert repeated == answers[0].json()
    assert [version["version"] for version in project.pages("/verifiers/once/versions")] == [2, 1]


def test_a_key_is_made_once_and_its_secret_shown_once(project: Project) -> None:
    answers = [ok(answer, 201) for answer in at_once(16, lambda: keyed(project, "/keys", {"name": "once"}, "key"))]
    secrets = [answer.pop("key") for answer in answers]
    [secret] = [secret for secret in secrets if secret is not None]
    assert all(answer == answers[0] for answer in answers)
    assert project.get("/project", key=secret).status == 200
    assert [key["name"] for key in project.pages("/keys")] == ["first", "once"]


def test_a_project_is_made_once_and_its_secret_shown_once(default_project: Project) -> None:
    name = unique("once")
    first = ok(keyed(default_project, "/projects", {"name": name}, name), 201)
    again = ok(keyed(default_project, "/projects", {"name": name}, name), 201)
    assert first["key"]["key"].startswith("assay_")
    assert again == {**first, "key": {**first["key"], "key": None}}
    problem(keyed(default_project, "/projects", {"name": name}, unique("new")), 409, "conflict")


def test_a_replay_is_repeated(project: Project) -> None:
    [item] = project.score("math", {"completion": r"\boxed{1}", "reference": "1"})["items"]
    path = f"/scores/{item['score_id']}/replay"
    answers = at_once(8, lambda: keyed(project, path, None, "key"))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    [other] = project.score("math", {"completion": r"\boxed{1}", "reference": "1"})["items"]
    problem(keyed(project, f"/scores/{other['score_id']}/replay", None, "key"), 422, "idempotency-mismatch")


async def test_a_key_is_forgotten_after_a_day(project: Project) -> None:
    first = ok(keyed(project, "/score", body("day"), "key"))
    async with open_database(project.service) as connection:
        await maintain_once(connection, datetime.now(UTC) + timedelta(hours=23))
    assert ok(keyed(project, "/score", body("day"), "key")) == first
    async with open_database(project.service) as connection:
        await maintain_once(connection, datetime.now(UTC) + timedelta(hours=25))
    second = ok(keyed(project, "/score", body("day"), "key"))
    assert uuid.UUID(second["batch_id"]) != uuid.UUID(first["batch_id"])
    assert len(project.scores()) == 2 * len(ITEMS)
