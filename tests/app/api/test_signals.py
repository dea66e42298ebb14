"""POST and GET /signals: pending verdicts, what settles them, and what is told of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal as signals
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.app.api.support import Project, database_of, new_project, ok, postmaster, problem, rows_with, unique
from tests.service import Service

EVENTS = {"kind": "outcome", "config": {"events": {"booked": 1, "moved": 0.5, "cancelled": 0}}}
SOON = {"kind": "outcome", "config": {"wait_s": 1, "default": 0.25}}


def pending(project: Project, *keys: str | None, verifier: Any = EVENTS, **fields: Any) -> list[str]:
    """Score an item for each key; the score ids."""
    items = [
        {"id": f"i{n}", "group": "g", "completion": "x", "reference": None if key is None else {"key": key}}
        for n, key in enumerate(keys)
    ]
    answer = project.score(verifier, *items, **fields)
    assert [(item["outcome"], item["score"], item["error"]) for item in answer["items"]] == [
        ("pending", None, None)
    ] * len(keys)
    return [item["score_id"] for item in answer["items"]]


def send(project: Project, *entries: Any, **options: Any) -> list[Any]:
    """What became of each signal."""
    answer = ok(project.post("/signals", {"signals": list(entries)}, **options))
    assert len(answer["items"]) == len(entries)
    counts = Counter(item["result"] for item in answer["items"])
    assert {result: count for result, count in answer["summary"].items() if count} == counts
    return list(answer["items"])


def results(project: Project, *entries: Any) -> list[str]:
    return [item["result"] for item in send(project, *entries)]


def test_from_pending_to_settled(project: Project) -> None:
    by_id, by_key = pending(project, None, "booking-17", run="r", step=3)
    recorded = ok(project.get(f"/scores/{by_id}"))
    assert (recorded["outcome"], recorded["score"]) == ("pending", None)
    assert recorded["detail"] == {"stage": "waiting", "wait_s": 604800.0}
    assert ok(project.get("/signals?run=r")) == {"items": [], "next_cursor": None}

    told = send(
        project,
        {"key": "booking-17", "event": "booked", "detail": {"table": 4}},
        {"score_id": by_id, "score": 0},
    )
    blank = {"settled": 1, "source": "signal", "message": None, "result": "settled"}
    assert told == [{**blank, "score_id": by_key, "score": 1.0}, {**blank, "score_id": by_id, "score": 0.0}]
    recorded = ok(project.get(f"/scores/{by_key}"))
    assert (recorded["outcome"], recorded["score"], recorded["error"]) == ("scored", 1.0, None)
    assert recorded["detail"] == {"stage": "signal", "event": "booked", "signal": {"table": 4}}
    assert [score["outcome"] for score in project.scores(run="r")] == ["scored", "scored"]

    page = ok(project.get("/signals?run=r&limit=1"))
    [first] = page["items"]
    assert page["next_cursor"] == first["cursor"]
    assert {**first, "settled_at": None, "cursor": None} == {
        "score_id": by_key, "item_id": "i1", "group": "g", "run": "r", "step": 3, "verifier": "outcome@inline",
        "score": 1.0, "outcome": "scored", "error": None, "source": "signal", "settled_at": None, "cursor": None,
    }  # fmt: skip
    rest = ok(project.get(f"/signals?run=r&cursor={first['cursor']}"))
    assert ([item["score_id"] for item in rest["items"]], rest["next_cursor"]) == ([by_id], None)
    last = rest["items"][0]["cursor"]
    assert ok(project.get(f"/signals?cursor={last}"))["items"] == []
    [third] = pending(project, "later", run="r")
    send(project, {"key": "later", "score": 0.5})
    assert [item["score_id"] for item in ok(project.get(f"/signals?cursor={last}"))["items"]] == [third]


def test_a_signal_may_come_before_its_item(project: Project) -> None:
    assert results(project, {"key": "k", "event": "moved"}, {"key": "k", "event": "moved"}) == ["kept", "repeated"]
    assert results(project, {"key": "k", "score": 0.5}) == [
        "conflict"
    ]  # whether it is the same, no verifier says yet
    [id] = pending(project, "k")
    assert ok(project.get(f"/scores/{id}"))["score"] == 0.5
    [other] = pending(project, "k")  # sent again without an Idempotency-Key, say
    assert [item["score_id"] for item in project.pages("/signals")] == [id, other]


def test_a_key_of_a_whole_group_settles_all_of_it(project: Project) -> None:
    ids = pending(project, *["conversation"] * 8)
    [told] = send(project, {"key": "conversation", "score": 1})
    assert (told["settled"], told["result"]) == (8, "settled")
    assert {item["score_id"] for item in project.pages("/signals")} == set(ids)


def test_a_registered_verifier_and_the_built_in_one(project: Project) -> None:
    body = {"name": "booking", "kind": "outcome", "config": {"maximum": 5, "wait_s": 60}}
    ok(project.post("/verifiers", body), 201)
    [own] = pending(project, "k", verifier="booking")
    [builtin] = pending(project, "k", verifier="outcome")
    [told] = send(project, {"key": "k", "score": 4})
    assert (told["settled"], told["score_id"]) == (1, own)
    assert results(project, {"score_id": builtin, "event": "booked"}) == ["refused"]
    assert results(project, {"key": "k", "score": 1}) == ["settled"]
    assert [item["verifier"] for item in project.pages("/signals", verifier="booking@1")] == ["booking@1"]
    assert [item["verifier"] for item in project.pages("/signals", verifier="outcome")] == ["outcome@1"]


def test_the_default_applies_in_time(project: Project) -> None:
    [id] = pending(project, "k", verifier=SOON)
    [undecided] = pending(project, None, verifier={"kind": "outcome", "config": {"wait_s": 1}})
    time.sleep(1.05)
    assert ok(project.get(f"/scores/{id}"))["detail"] == {"stage": "default"}
    [late] = send(project, {"key": "k", "score": 1})
    assert (late["result"], late["score"], late["source"], late["settled"]) == ("conflict", 0.25, "default", 0)
    assert "too late" in late["message"]
    found = {item["score_id"]: item for item in project.pages("/signals")}
    assert (found[id]["score"], found[id]["outcome"], found[id]["source"]) == (0.25, "scored", "default")
    assert (found[undecided]["score"], found[undecided]["outcome"]) == (None, "unscored")
    assert found[undecided]["error"]["type"] == "no_signal"


async def test_the_default_applies_although_nobody_asks(project: Project) -> None:
    [id] = pending(project, None, verifier=SOON)
    limit = time.monotonic() + 30
    async with database_of(project.service) as connection:
        while await connection.fetchval("SELECT score FROM scores WHERE id = $1", id) is None:
            assert time.monotonic() < limit
            await asyncio.sleep(0.2)


BAD = {
    "neither id nor key": ({"score": 1}, "needs either score_id or key"),
    "both": ({"score_id": str(uuid4()), "key": "k", "score": 1}, "needs either score_id or key"),
    "neither score nor event": ({"key": "k"}, "needs either score or event"),
    "null score": ({"key": "k", "score": None}, "needs either score or event"),
    "score and event": ({"key": "k", "score": 1, "event": "booked"}, "needs either score or event"),
    "no uuid": ({"score_id": "k", "score": 1}, "/score_id: "),
    "a number for an id": ({"score_id": 5, "score": 1}, "/score_id: "),
    "an empty key": ({"key": "", "score": 1}, "/key: Value error, must not be empty"),
    "a number for a key": ({"key": 17, "score": 1}, "/key: Input should be a valid string"),
    "a huge key": ({"key": "k" * 1001, "score": 1}, "/key: Value error, must have at most 1000 characters"),
    "a text for a score": ({"key": "k", "score": "1"}, "/score: Input should be a valid number"),
    "a truth value for a score": ({"key": "k", "score": True}, "/score: Input should be a valid number"),
    "a score beyond floats": ({"key": "k", "score": 10**400}, "/score: "),
    "an empty event": ({"key": "k", "event": ""}, "/event: Value error, must not be empty"),
    "a list for a detail": ({"key": "k", "score": 1, "detail": []}, "/detail: Input should be a valid dictionary"),
    "a huge detail": (
        {"key": "k", "score": 1, "detail": {"a": "x" * 10_000}},
        "/detail: Value error, must have at most 10,000 characters as JSON",
    ),
    "an unknown field": ({"key": "k", "score": 1, "socre": 1}, "/socre: Extra inputs are not permitted"),
    "many fields": ({str(n): n for n in range(200)}, "the signal has 200 fields, more than are known"),
    "a text": ("k", "the signal: Input should be a valid dictionary"),
    "null": (None, "the signal: Input should be a valid dictionary"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_signal_is_its_own_fault_and_no_neighbour_of_it(project: Project, name: str) -> None:
    entry, message = BAD[name]
    [id] = pending(project, "k")
    told = send(project, entry, {"key": "k", "score": 1}, entry)
    assert [item["result"] for item in told] == ["refused", "settled", "refused"]
    assert message in told[0]["message"]
    assert told[0]["score_id"] is told[0]["score"] is told[0]["source"] is None
    assert ok(project.get(f"/scores/{id}"))["score"] == 1.0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/signals"),
        ({"signals": []}, "/signals"),
        ({"signals": {}}, "/signals"),
        ({"signals": [{"key": "k", "score": 1}] * 1001}, "/signals"),
        ({"signals": [{"key": "k", "score": 1}], "run": "r"}, "/run"),
    ],
)
def test_a_bad_envelope_is_refused(project: Project, body: Any, pointer: str) -> None:
    problem(project.post("/signals", body), 422, "invalid-body", pointer)


def test_numbers_that_are_not_finite_are_refused(project: Project) -> None:
    for number in (b"NaN", b"Infinity", b"1e999"):
        body = b'{"signals": [{"key": "k", "score": ' + number + b"}]}"
        problem(project.post("/signals", body), 400, "invalid-json")


@pytest.mark.parametrize("query", ["cursor=x", "cursor=-1", "cursor=1e3", f"cursor={'9' * 30}", "cursor=%C2%B2"])
def test_a_cursor_that_is_not_ours_is_refused(project: Project, query: str) -> None:
    problem(project.get(f"/signals?{query}"), 422, "invalid-parameter", "/cursor")


def test_scopes(project: Project) -> None:
    [id] = pending(project, "k")
    entry = {"signals": [{"key": "k", "score": 1}]}
    problem(project.post("/signals", entry, key=project.new_key("read")), 403, "forbidden")
    problem(project.get("/signals", key=project.new_key("score")), 403, "forbidden")
    ok(project.post("/signals", entry, key=project.new_key("score")))
    assert [item["score_id"] for item in project.pages("/signals", limit=5)] == [id]


def test_another_project_sees_and_settles_nothing(service: Service, project: Project) -> None:
    theirs = new_project(service)
    [id] = pending(project, "k")
    assert results(theirs, {"score_id": id, "score": 1}, {"key": "k", "score": 1}) == ["unknown", "kept"]
    assert ok(project.get(f"/scores/{id}"))["outcome"] == "pending"
    send(project, {"key": "k", "score": 0})
    assert list(theirs.pages("/signals")) == []


def test_a_score_of_another_kind_waits_for_no_signal(project: Project) -> None:
    [item] = project.score("text", {"completion": "a", "reference": "a"})["items"]
    assert results(project, {"score_id": item["score_id"], "score": 0}) == ["unknown"]
    assert ok(project.get(f"/scores/{item['score_id']}"))["score"] == 1.0


@pytest.mark.parametrize("key", ["\x00", "\ud800", "a\x00\udfffb", "\U0001f600", "x" * 1000])
def test_keys_and_details_are_any_text(project: Project, key: str) -> None:
    [id] = pending(project, key)
    send(project, {"key": key, "score": 1, "detail": {key: key}})
    assert ok(project.get(f"/scores/{id}"))["detail"]["signal"] == {key: key}


def test_a_bad_reference_is_the_items_own_fault(project: Project) -> None:
    references = [{"key": ""}, {"key": 5}, {}, "k", 5, [], {"key": "k", "more": 1}, {"key": "k" * 1001}]
    answer = project.score("outcome", *[{"completion": "x", "reference": one} for one in references])
    assert {(item["outcome"], item["error"]["type"]) for item in answer["items"]} == {("unscored", "bad_item")}
    assert results(project, {"score_id": answer["items"][0]["score_id"], "score": 1}) == ["unknown"]


def test_a_pending_item_is_no_error_and_never_zero(project: Project) -> None:
    items = [{"completion": "x"}, {"completion": "x", "reference": 5}]
    answer = project.score("outcome", *items, options={"on_error": "zero"})
    assert [item["score"] for item in answer["items"]] == [None, 0.0]
    assert answer["summary"] == {"count": 2, "scored": 0, "unscored": 2, "mean": None}
    fails = {"verifier": "outcome", "options": {"on_error": "fail"}}
    ok(project.post("/score", {**fails, "items": items[:1]}))
    failed = problem(project.post("/score", {**fails, "items": items}), 502, "items-unscored")
    assert [item["index"] for item in failed["items"]] == [1]


def test_a_replay_does_not_pretend_to_know(project: Project) -> None:
    [id] = pending(project, "k")
    before = ok(project.post(f"/scores/{id}/replay"))
    assert (before["holds"], before["replayed"]["outcome"]) == (True, "pending")
    send(project, {"key": "k", "score": 1})
    after = ok(project.post(f"/scores/{id}/replay"))
    assert (after["holds"], after["recorded"]["score"], after["replayed"]["outcome"]) == (None, 1.0, "pending")
    assert len(project.scores()) == 1


def test_a_request_sent_again_gets_the_same_answer(project: Project) -> None:
    [id] = pending(project, "k")
    key = {"Idempotency-Key": unique("key")}
    body = {"signals": [{"key": "k", "score": 1}]}
    first, again = (project.post("/signals", body, headers=key) for _ in range(2))
    assert first.body == again.body
    assert ok(first)["items"][0]["result"] == "settled"
    problem(
        project.post("/signals", {"signals": [{"key": "k", "score": 0}]}, headers=key), 422, "idempotency-mismatch"
    )
    assert ok(project.get(f"/scores/{id}"))["score"] == 1.0


def test_scoring_sent_again_is_told_from_the_record(project: Project) -> None:
    key = {"Idempotency-Key": unique("key")}
    body = {"verifier": EVENTS, "items": [{"completion": "x", "reference": {"key": "k"}}]}
    [first] = ok(project.post("/score", body, headers=key))["items"]
    send(project, {"key": "k", "score": 0.5})
    [again] = ok(project.post("/score", body, headers=key))["items"]
    assert (again["score_id"], first["outcome"], again["outcome"], again["score"]) == (
        first["score_id"], "pending", "scored", 0.5,
    )  # fmt: skip


def test_50_signals_at_once_settle_once_in_several_processes(make_service: Callable[..., Service]) -> None:
    service = make_service(ASSAY_WORKERS="2")
    project = new_project(service)
    ids = pending(project, *[f"k{n}" for n in range(20)])

    def tell(n: int) -> list[Any]:
        # each request names all items, in an order of its own
        entries = [
            {"key": f"k{at}", "score": n / 50} if n % 2 else {"score_id": ids[at], "score": n / 50}
            for at in sorted(range(20), key=lambda at: (at * 7 + n * 3) % 20)
        ]
        told = send(project, *entries)
        return [(item["score_id"], item["result"], item["score"]) for item in told]

    with ThreadPoolExecutor(16) as pool:
        told = [entry for entries in pool.map(tell, range(50)) for entry in entries]
    won = {id: score for id, result, score in told if result == "settled"}
    assert Counter(result for _, result, _ in told) == {"settled": 20, "conflict": 980}
    assert all(score == won[id] for id, _, score in told)
    assert {score["id"]: score["score"] for score in project.scores()} == won
    listed = list(project.pages("/signals", limit=3))
    assert sorted(item["score_id"] for item in listed) == sorted(ids)
    assert len({item["cursor"] for item in listed}) == 20


def test_while_the_database_is_away_nothing_is_lost(make_service: Callable[..., Service]) -> None:
    service = make_service()
    project = new_project(service)
    ids = pending(project, *[f"k{n}" for n in range(30)])
    os.kill(postmaster(service).pid, signals.SIGKILL)
    answers = [project.post("/signals", {"signals": [{"key": f"k{n}", "score": 1}]}) for n in range(30)]
    assert 503 in {answer.status for answer in answers}
    for answer in answers:
        if answer.status != 200:
            problem(answer, 503, "storage-unavailable")
    limit = time.monotonic() + 60
    while service.get("/readyz", key=None).status != 200:
        assert time.monotonic() < limit
        time.sleep(0.05)
    for n, answer in enumerate(answers):
        recorded = ok(project.get(f"/scores/{ids[n]}"))
        assert (
            recorded["outcome"] == "scored" if answer.status == 200 else recorded["outcome"] in ("scored", "pending")
        )
    again = results(project, *({"key": f"k{n}", "score": 1} for n in range(30)))
    assert set(again) <= {"settled", "repeated"}
    assert sorted(item["score_id"] for item in project.pages("/signals")) == sorted(ids)


@pytest.mark.parametrize("keep", ["full", "hash", "none"])
async def test_what_is_told_is_kept_as_the_project_has_it(service: Service, keep: str) -> None:
    project = new_project(service, keep=keep)
    canary = unique("canary")
    verifier = {"kind": "outcome", "config": {"events": {"booked": 1}}}
    pending(project, f"{canary}-1", verifier=verifier)
    told = {"event": "booked", "detail": {"said": canary}}
    for headers in ({}, {"Idempotency-Key": canary.replace("canary", "key")}):
        send(
            project,
            *({"key": f"{canary}-{n}", **told} for n in (1, 2)),
            {"key": f"{canary}-3", "event": canary},
            {"score_id": canary, "score": 1},
            {canary: canary},
            headers=headers,
        )
    [second] = pending(project, f"{canary}-2", verifier=verifier)
    detail = ok(project.get(f"/scores/{second}"))["detail"]
    assert detail == {"stage": "signal"} | ({"event": "booked", "signal": {"said": canary}} if keep == "full" else {})
    async with database_of(service) as connection:
        tables = {table.split(".")[1].split("_")[0] for table in await rows_with(connection, canary.encode())}
    assert tables == ({"completions", "scores", "signals", "idempotency"} if keep == "full" else set())
    assert canary not in service.log.read_text()


def test_metrics_count_what_became_of_signals(project: Project) -> None:
    def counted() -> float:
        text = project.service.get("/metrics", key=None).body.decode()
        lines = [line for line in text.splitlines() if line.startswith('assay_signals_total{outcome="settled"}')]
        return sum(float(line.split()[-1]) for line in lines)

    before = counted()
    pending(project, "k")
    send(project, {"key": "k", "score": 1})
    assert counted() == before + 1


def test_the_kind_is_listed_with_what_it_needs(project: Project) -> None:
    [kind] = [kind for kind in ok(project.get("/kinds"))["items"] if kind["kind"] == "outcome"]
    assert kind["deterministic"] is False
    assert kind["config_schema"]["properties"].keys() == {"wait_s", "default", "events", "minimum", "maximum"}
    assert "key" in json.dumps(kind["reference_schema"])
