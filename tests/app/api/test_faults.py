"""The database goes away and comes back, or refuses a row: no verdict is given that is not on record."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import asyncpg
import pytest

from app.store.faults import is_refused, may_pass
from tests.app.api.support import (
    Project,
    database_of,
    new_project,
    ok,
    postgres_processes,
    postmaster,
    problem,
    unique,
)
from tests.service import Answer, Service

CANARY = "refused-by-the-database"
ITEMS = [{"id": str(n), "completion": f"a{n}", "reference": "a1"} for n in range(16)]


class Traffic:
    """Posts small batches from several threads until stopped, each under a run and key of its own."""

    def __init__(self, project: Project, threads: int = 8) -> None:
        self._project = project
        self._numbers = count()
        self._stop = threading.Event()
        self.answers: dict[str, Answer] = {}
        self._pool = ThreadPoolExecutor(threads)
        self._posting = [self._pool.submit(self._post) for _ in range(threads)]

    def _post(self) -> None:
        while not self._stop.is_set():
            run = f"run-{next(self._numbers)}"
            self.answers[run] = self.once(run)
            if self.answers[run].status == 503:
                time.sleep(0.05)

    def once(self, run: str) -> Answer:
        body = {"verifier": "text", "items": ITEMS, "run": run}
        return self._project.post("/score", body, headers={"Idempotency-Key": run})

    def stop(self) -> None:
        self._stop.set()
        for posting in self._posting:
            posting.result()
        self._pool.shutdown()


def healed(service: Service) -> None:
    limit = time.monotonic() + 60
    while service.get("/readyz", key=None).status != 200:
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_postgresql_killed_in_the_middle_of_batches_and_back_again(make_service: Callable[..., Service]) -> None:
    service = make_service()
    project = new_project(service)
    traffic = Traffic(project)
    try:
        for _ in range(2):
            done = len(traffic.answers)
            while len(traffic.answers) < done + 40:
                time.sleep(0.01)
            os.kill(postmaster(service).pid, signal.SIGKILL)
            time.sleep(0.2)
            readers = [project.get(path) for path in ("/scores", "/verifiers", "/keys", "/project", "/readyz")]
            assert {answer.status for answer in readers} <= {200, 503}
            healed(service)
    finally:
        traffic.stop()

    recorded: dict[str, list[str]] = {}
    for score in project.scores():
        recorded.setdefault(score["run"], []).insert(0, score["id"])
    scored = {run for run, answer in traffic.answers.items() if answer.status == 200}
    assert len(scored) >= 80
    for run in scored:
        answer = ok(traffic.answers[run])
        assert [item["score_id"] for item in answer["items"]] == recorded[run]
        assert [item["score"] for item in answer["items"]] == [float(n == 1) for n in range(16)]
    for run in traffic.answers.keys() - scored:
        problem(traffic.answers[run], 503, "storage-unavailable")
        assert len(recorded.get(run, ITEMS)) == len(ITEMS)  # all of a batch or nothing of it
        again = ok(traffic.once(run))
        assert [item["score_id"] for item in again["items"]] == [s["id"] for s in reversed(project.scores(run=run))]


def test_a_connection_that_breaks_under_a_query_counts_as_a_database_that_is_away() -> None:
    """What asyncpg may raise in the kill above, while the server's last words are still unread."""
    broken = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    assert may_pass(broken)
    assert not is_refused(broken)


def test_while_postgresql_hangs_the_service_says_so_and_goes_on_afterwards(
    make_service: Callable[..., Service],
) -> None:
    service = make_service()
    project = new_project(service)
    project.score("text", *ITEMS)
    hanging = postgres_processes(service)
    with ThreadPoolExecutor(4) as pool:
        for pid in hanging:
            os.kill(pid, signal.SIGSTOP)
        try:
            posts = [pool.submit(project.post, "/score", {"verifier": "text@1", "items": ITEMS}) for _ in range(4)]
            ready = service.get("/readyz", key=None)
            assert (ready.status, ready.json()["database"]) == (503, False)
            assert service.get("/healthz", key=None).status == 200
            assert service.get("/metrics", key=None).status == 200
            assert not any(post.done() and post.result().status == 200 for post in posts)
        finally:
            for pid in hanging:
                os.kill(pid, signal.SIGCONT)
        answers = [post.result() for post in posts]
    healed(service)
    recorded = {score["batch_id"] for score in project.scores()}
    for answer in answers:
        if answer.status == 200:
            assert answer.json()["batch_id"] in recorded
        else:
            problem(answer, 503, "storage-unavailable")
    assert project.score("text", *ITEMS)["summary"]["scored"] == 16


CHECK = "ALTER TABLE {} ADD CONSTRAINT canary CHECK (position('" + CANARY + "'::bytea IN {}) = 0) NOT VALID"
REFUSALS = {
    "verdict": CHECK.format("scores", "verdict"),
    "id": CHECK.format("scores", "item_id"),
    "item": CHECK.format("completions", "item"),
    "trigger": (
        "CREATE FUNCTION canary() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF position('{CANARY}'::bytea IN NEW.item) > 0 THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$; "
        "CREATE TRIGGER canary BEFORE INSERT ON completions FOR EACH ROW EXECUTE FUNCTION canary()"
    ),
}
UNDO = (
    "ALTER TABLE scores DROP CONSTRAINT IF EXISTS canary; ALTER TABLE completions DROP CONSTRAINT IF EXISTS canary; "
    "DROP FUNCTION IF EXISTS canary() CASCADE"
)


@asynccontextmanager
async def refusing(service: Service, where: str) -> AsyncIterator[None]:
    """The database refuses rows that hold the canary there."""
    async with database_of(service) as connection:
        await connection.execute(REFUSALS[where])
        try:
            yield
        finally:
            await connection.execute(UNDO)


@pytest.mark.parametrize("where", list(REFUSALS))
async def test_a_row_that_the_database_refuses_takes_no_other_with_it(project: Project, where: str) -> None:
    # each verdict quotes the completion's JSON, so that the canary is in all four places
    good = [{"id": str(n), "completion": '"x"' if n % 2 else "1", "reference": {"type": "integer"}} for n in range(6)]
    refused = {"id": CANARY, "completion": f'"{CANARY}"', "reference": {"type": "integer"}}
    mixed = [*good[:3], refused, *good[3:]]

    def post(number: int) -> Any:
        return project.score("json_schema", *(mixed if number % 8 == 3 else good), run=f"{where}-{number}")

    async with refusing(project.service, where):
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(post, range(96)))

    for number, answer in enumerate(answers):
        recorded = project.scores(run=f"{where}-{number}")[::-1]
        assert [score["id"] for score in recorded] == [item["score_id"] for item in answer["items"]]
        expected = [float(n % 2 == 0) for n in range(6)]
        if number % 8 == 3:
            bad, record = answer["items"].pop(3), recorded.pop(3)
            assert bad["id"] == CANARY
            for told in (bad, record):
                assert (told["score"], told["outcome"], told["error"]["type"]) == (None, "unscored", "not_recorded")
            assert CANARY not in str(record)
            assert answer["summary"]["unscored"] == 1
        assert [item["score"] for item in answer["items"]] == expected
        assert [score["score"] for score in recorded] == expected
        assert all(ok(project.get(f"/scores/{score['id']}"))["item"] is not None for score in recorded[:1])


async def test_a_refused_row_is_an_unscored_item_to_on_error_and_to_a_repetition(project: Project) -> None:
    items = [ITEMS[1], {"id": CANARY, "completion": CANARY, "reference": CANARY}]
    async with refusing(project.service, "item"):
        for on_error in ("null", "zero", "fail"):
            body = {"verifier": "text", "items": items, "options": {"on_error": on_error}, "run": on_error}
            key = {"Idempotency-Key": on_error}
            first, again = (project.post("/score", body, headers=key) for _ in range(2))
            assert len(project.scores(run=on_error)) == 2
            if on_error == "fail":
                failed = problem(first, 502, "items-unscored")
                assert failed["items"] == [{"index": 1, "id": CANARY, "error": "not_recorded"}]
                problem(again, 502, "items-unscored")
                continue
            for answer in (ok(first), ok(again)):
                assert [item["score"] for item in answer["items"]] == [1.0, 0.0 if on_error == "zero" else None]
                assert answer["items"][1]["error"]["type"] == "not_recorded"


async def test_every_row_of_a_batch_may_be_refused(project: Project) -> None:
    item = {"completion": CANARY, "reference": CANARY}
    async with refusing(project.service, "item"):
        answer = project.score("text", *[item] * 50, run="all")
    assert answer["summary"] == {"count": 50, "scored": 0, "unscored": 50, "mean": None}
    assert {score["error"]["type"] for score in project.scores(run="all")} == {"not_recorded"}
    assert project.score("text", item)["items"][0]["score"] == 1.0


def test_more_bytes_than_the_service_will_hold_are_put_off(make_service: Callable[..., Service]) -> None:
    service = make_service(ASSAY_IN_FLIGHT_MB="64")
    project = new_project(service)
    slow = {"kind": "regex", "config": {"pattern": r"(?=.)(?:a|a)*(?:a|a)*(?:a|a)*b?$(?<=c)"}}
    item = {"completion": "a" * 300, "prompt": "x" * (30 * 2**20)}
    body = {"verifier": slow, "items": [item], "options": {"deadline_ms": 2000}}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: project.post("/score", body), range(4)))
    taken = [answer for answer in answers if answer.status == 200]
    assert 1 <= len(taken) <= 2
    for answer in answers:
        if answer not in taken:
            problem(answer, 503, "overloaded")
    assert project.score("text", *ITEMS)["summary"]["scored"] == 16

    # what is still on its way takes memory, too
    connections = [socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(4)]
    head = f"POST /score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {project.key}\r\n"
    head += f"Content-Length: {31 * 2**20}\r\n\r\n"
    try:
        for connection in connections:
            connection.sendall(head.encode() + b" " * (30 * 2**20))
        ready, _, _ = select.select(connections, [], [], 10)
        assert ready
        assert {connection.recv(12) for connection in ready} == {b"HTTP/1.1 503"}
    finally:
        for connection in connections:
            connection.close()
    assert project.score("text", *ITEMS)["summary"]["scored"] == 16


def test_many_readers_during_a_stop_get_an_answer_or_no_connection(make_service: Callable[..., Service]) -> None:
    service = make_service()
    project = new_project(service)
    answers: list[Answer] = []
    stop = threading.Event()

    def post() -> None:
        while not stop.is_set():
            try:
                answers.append(project.post("/score", {"verifier": "text", "items": ITEMS, "run": unique("run")}))
            except OSError:
                return

    with ThreadPoolExecutor(8) as pool:
        posting = [pool.submit(post) for _ in range(8)]
        while len(answers) < 40:
            time.sleep(0.01)
        service.stop()
        stop.set()
        for done in posting:
            done.result()
    assert {answer.status for answer in answers} == {200}
    service.start()
    recorded = {score["batch_id"] for score in project.scores()}
    assert {answer.json()["batch_id"] for answer in answers} <= recorded
