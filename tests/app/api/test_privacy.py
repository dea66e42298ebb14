"""What a project does not want kept is nowhere: in no table, in no log, and gone when its time is over."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.services import maintain_once
from tests.app.api.support import (
    CONTAINS,
    Project,
    database_of,
    new_project,
    ok,
    open_database,
    problem,
    rows_with,
    unique,
)
from tests.service import ROOT, Service

QUOTES = {
    "kind": "python",
    "config": {"code": "def verify(completion):\n    print(completion)\n    raise ValueError(completion)"},
}
EQUAL = {"kind": "json_schema", "config": {"schema": True, "equal": "all"}}


def telling_items(canary: str) -> list[tuple[Any, Any]]:
    """Verifiers and items that hold the canary in each place, and whose verdicts speak of it where one can."""
    messages = [{"role": "user", "content": canary, "name": canary}, {"role": "assistant", "content": canary}]
    whole = {"prompt": canary, "completion": canary, "reference": canary, "metadata": {canary: [canary]}}
    return [
        ("text", {**whole, "finish_reason": canary}),
        (CONTAINS, {"prompt": messages, "completion": messages, "reference": [canary, "x"]}),
        ("math", {"completion": rf"\boxed{{{canary}}}", "reference": canary}),
        ("math", {"completion": rf"\boxed{{{canary}}} or \boxed{{1}}", "reference": "2"}),
        ("math", {"completion": "1", "reference": {"answer": canary, "type": "number"}}),
        ("math", {"completion": "1", "reference": {canary: 1}}),
        ("regex", {"completion": canary, "reference": f"({canary}"}),
        ("regex", {"completion": canary, "reference": f"{canary}(?=a)"}),
        ("json_schema", {"completion": f'"{canary}"', "reference": {"type": "integer"}}),
        ("json_schema", {"completion": f'{{"{canary}": 1}}', "reference": {"additionalProperties": False}}),
        ("json_schema", {"completion": "{}", "reference": {"required": [canary]}}),
        ("json_schema", {"completion": "{}", "reference": {"type": canary}}),
        ("json_schema", {"completion": f"{{{canary}", "reference": {}}),
        (EQUAL, {"completion": f'{{"{canary}": 1}}', "reference": {canary: 1}}),
        (EQUAL, {"completion": "{}", "reference": {canary: 1}}),
        ("format", {"completion": f"<think>{canary}</think><answer>{canary}</answer>{canary}"}),
        ("length", {"completion": canary * 50}),
        ("repetition", {"completion": f"{canary} " * 50}),
        ("text", {**whole, canary: canary}),
        ("text", {**whole, "tokens": canary}),
        ("text", {**whole, "verifier": canary}),
        ("text", {**whole, "verifier": {"kind": canary[:90]}}),
        ("text", {**whole, "verifier": {"kind": "text", "config": {canary: canary}}}),
        ("text", {**whole, "reference": {canary: canary}}),
        (QUOTES, {"completion": canary}),
        ("text", canary),
        ("text", [canary]),
    ]


def send_all(project: Project, canary: str) -> int:
    """Every telling item, each with every detail and once more under an idempotency key; how many were recorded."""
    sent = 0
    for number, (verifier, item) in enumerate(telling_items(canary)):
        for detail in ("none", "brief", "full"):
            body = {"verifier": verifier, "items": [item, item], "options": {"detail": detail}}
            headers = {"Idempotency-Key": f"{number}-{detail}"}
            first, again = (ok(project.post("/score", body, headers=headers)) for _ in range(2))
            assert [i["score"] for i in first["items"]] == [i["score"] for i in again["items"]]
            sent += 2
    return sent


@pytest.mark.parametrize("keep", ["hash", "none"])
async def test_where_nothing_is_kept_no_table_holds_what_was_sent(service: Service, keep: str) -> None:
    project = new_project(service, keep=keep)
    canary = unique("canary")
    sent = send_all(project, canary)
    async with database_of(service) as connection:
        assert await rows_with(connection, canary.encode()) == []
        assert await rows_with(connection, canary.removeprefix("canary").encode()) == []
    recorded = project.scores()
    assert len(recorded) == sent
    assert len({score["outcome"] for score in recorded}) >= 3


async def test_where_everything_is_kept_the_same_search_finds_it(project: Project) -> None:
    canary = unique("canary")
    send_all(project, canary)
    async with database_of(project.service) as connection:
        tables = await rows_with(connection, canary.encode())
    assert {table.split(".")[1].split("_")[0] for table in tables} == {"completions", "scores"}


def test_a_hash_says_which_completion_it_was_and_none_says_nothing(service: Service) -> None:
    text = "\x00 \ud800 \u4e16"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    for keep, expected in (("hash", digest), ("none", None)):
        project = new_project(service, keep=keep)
        [item] = project.score("text", {"id": "a", "completion": text, "reference": "x"})["items"]
        recorded = ok(project.get(f"/scores/{item['score_id']}"))
        assert (recorded["completion_sha256"], recorded["item"]) == (expected, None)
        assert (recorded["score"], recorded["outcome"], recorded["item_id"]) == (0.0, "incorrect", "a")


async def test_completions_are_removed_after_their_days_and_verdicts_stay(service: Service) -> None:
    canary = unique("canary")
    short, long = new_project(service, retention_days=2), new_project(service)
    kept = {}
    for project in (short, long):
        [item] = project.score("text", {"completion": canary, "reference": canary})["items"]
        kept[project] = item["score_id"]
    for days, left in ((1.9, 2), (2.1, 1), (400, 1)):
        async with open_database(service) as connection:
            await maintain_once(connection, datetime.now(UTC) + timedelta(days=days))
            found = await connection.exec_driver_sql(
                "SELECT count(*) FROM completions WHERE position($1 IN item) > 0", (canary.encode(),)
            )
            assert found.scalar_one() == left
    gone = ok(short.get(f"/scores/{kept[short]}"))
    assert (gone["item"], gone["completion_sha256"]) == (None, None)
    assert (gone["score"], gone["outcome"]) == (1.0, "correct")
    problem(short.post(f"/scores/{kept[short]}/replay"), 409, "item-not-kept")
    assert ok(long.get(f"/scores/{kept[long]}"))["item"]["completion"] == canary


async def test_retention_counts_for_what_was_recorded_before_it_was_set(project: Project) -> None:
    [item] = project.score("text", {"completion": "a", "reference": "a"})["items"]
    ok(project.request("PATCH", "/project", {"retention_days": 1}))
    async with open_database(project.service) as connection:
        await maintain_once(connection, datetime.now(UTC) + timedelta(days=1, minutes=1))
    assert ok(project.get(f"/scores/{item['score_id']}"))["item"] is None


def test_nothing_that_a_caller_sent_is_logged(project: Project) -> None:
    canary = unique("canary")
    send_all(project, canary)
    project.post("/score", f'{{"items": [{{"{canary}": NaN}}]}}'.encode())
    project.post("/score", f'{{"{canary}": "{canary}"'.encode())
    project.post("/score", {canary: canary})
    project.get(f"/{canary}?{canary}={canary}")
    project.get(f"/verifiers/{canary}")
    project.get("/project", key=canary)
    log = project.service.log.read_text()
    assert canary not in log
    assert project.key not in log
    assert project.service.key not in log


RAISES = """
import structlog
from app.logs import configure
from app.settings import Settings

configure(Settings())

def verify(completion):
    raise RuntimeError("a fault of ours")

def handle(body):
    secret = body["completion"] + " in a local variable"
    try:
        verify(secret)
    except RuntimeError:
        structlog.get_logger().exception("verifier raised", kind="text")

handle({"completion": "canary"})
"""


@pytest.mark.parametrize("log_json", ["true", "false"])
def test_the_log_of_a_fault_of_ours_shows_no_variables(log_json: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", RAISES],
        cwd=ROOT, env={"ASSAY_LOG_JSON": log_json}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "RuntimeError" in ran.stderr
    assert "verify" in ran.stderr
    assert "canary" not in ran.stderr
