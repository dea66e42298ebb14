"""/runs: from a run's first event to its curves and the completions behind them, whatever breaks meanwhile."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.run_events import MAX_ALL_VALUES, MAX_EVENTS, MAX_METRICS
from app.api.runs import MAX_DIFFERENCES, differences
from app.services import maintain_once
from tests.app.api.support import Project, database_of, new_project, ok, open_database, problem, rows_with, unique
from tests.service import Service

RECORDS = ("", "/metrics", "/samples")
"""What can be read of a run, after its path."""


def begin(project: Project, name: str = "r", **fields: Any) -> str:
    """The path of a new run."""
    return f"/runs/{ok(project.post('/runs', {'name': name, **fields}), 201)['id']}"


def send(project: Project, run: str, *events: Any, **options: Any) -> Any:
    return ok(project.post(f"{run}/events", {"events": list(events)}, **options))


def metrics(step: int, attempt: int = 1, /, **values: float | None) -> dict[str, Any]:
    return {"type": "metrics", "step": step, "attempt": attempt, "values": values}


def sample(step: int, number: int, attempt: int = 1, /, **fields: Any) -> dict[str, Any]:
    return {"type": "sample", "step": step, "sample": number, "attempt": attempt, **fields}


def samples(project: Project, run: str, **parameters: Any) -> list[dict[str, Any]]:
    """Every sample that the parameters select."""
    return list(project.pages(f"{run}/samples", **parameters))


def columns(project: Project, run: str, **parameters: Any) -> dict[str, Any]:
    """The answer of /metrics; its pages joined."""
    joined: dict[str, Any] | None = None
    while True:
        page: dict[str, Any] = ok(project.get(f"{run}/metrics?{urlencode(parameters, doseq=True)}"))
        if joined is None:
            joined = page
        else:
            joined["next_cursor"] = page["next_cursor"]
            for part in ("steps", "times"):
                joined[part] += page[part]
            for name, column in page["values"].items():
                joined["values"][name] += column
            for name, steps in page["not_finite"].items():
                joined["not_finite"].setdefault(name, []).extend(steps)
        assert all(len(column) == len(joined["steps"]) for column in (joined["times"], *joined["values"].values()))
        if page["next_cursor"] is None:
            return joined
        parameters["cursor"] = page["next_cursor"]


# --- runs


def test_a_run_begins_once_for_each_name_and_configuration(project: Project) -> None:
    config = {"algorithm": "grpo", "model": {"layers": 4, "bf16": True}}
    body = {"name": "sort 7 \u4e16", "config": config, "metadata": {"host": "\x00\ud800"}}
    made = ok(project.post("/runs", body), 201)
    assert made["config"] == config
    assert made["metadata"] == {"host": "\x00\ud800"}
    assert (made["status"], made["message"], made["attempt"], made["last_step"]) == ("running", None, 1, None)
    assert made["counts"] == {"steps": 0, "samples": 0, "unscored": 0, "unscored_share": None, "alarms": 0}
    turned = {**body, "config": {"model": {"bf16": True, "layers": 4.0}, "algorithm": "grpo"}, "metadata": {}}
    assert ok(project.post("/runs", turned)) == made
    assert ok(project.get(f"/runs/{made['id']}")) == made
    assert ok(project.get(f"/runs/{quote(made['name'])}")) == made


def test_another_configuration_is_refused_and_the_fields_that_differ_are_named(project: Project) -> None:
    config = {"lr": 1e-6, "model": {"layers": 4, "bf16": True}, "stop": ["a", "b"], "same": 1}
    begin(project, config=config)
    other = {"lr": 1e-5, "model": {"layers": 4, "bf16": 1}, "stop": ["b", "a"], "same": 1, "a/b": None}
    refused = problem(project.post("/runs", {"name": "r", "config": other}), 409, "conflict", "/config")
    assert refused["differs"] == ["/a~1b", "/lr", "/model/bf16", "/stop"]
    for named in refused["differs"]:
        assert repr(named) in refused["detail"]
    many = {"name": "r", "config": {f"{n}\ud800\x00" * 50: n for n in range(200)}}
    assert len(problem(project.post("/runs", many), 409, "conflict")["differs"]) == MAX_DIFFERENCES
    assert ok(project.get("/runs/r"))["config"] == config


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(one=JSON, other=JSON)
def test_values_differ_somewhere_exactly_where_their_json_does(one: Any, other: Any) -> None:
    assert list(differences(one, one)) == []
    found = list(differences(one, other))
    assert bool(found) == (json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert sorted(found) == sorted(differences(other, one))
    for place in found:
        at_one, at_other = one, other
        for part in place:
            at_one, at_other = at_one.get(part, KeyError), at_other.get(part, KeyError)
        assert at_one is not at_other


def test_runs_are_listed_newest_first_by_status_and_name(project: Project) -> None:
    names = [f"a{n}" for n in range(5)] + [f"b%_{n}" for n in range(4)]
    for name in names:
        begin(project, name)
    for name in names[::2]:
        send(project, f"/runs/{quote(name)}", {"type": "status", "status": "finished"}, metrics(7, x=1))

    def listed(**parameters: Any) -> list[str]:
        return [run["name"] for run in project.pages("/runs", **parameters)]

    assert listed() == listed(limit=2) == names[::-1]
    assert listed(name="a") == names[4::-1]
    assert listed(name="b%") == names[:4:-1]
    assert listed(name="%") == listed(name="a1x") == []
    assert listed(status="finished", limit=1) == names[::2][::-1]
    assert {run["last_step"] for run in project.pages("/runs", status="finished")} == {7}
    assert {run["last_step"] for run in project.pages("/runs", status="running")} == {None}


def test_a_run_tells_what_it_amounts_to(project: Project) -> None:
    run = begin(project)
    told = send(
        project,
        run,
        metrics(0, loss=1.5, kl=0),
        metrics(1, loss=None),
        sample(1, 0, reward=1),
        sample(1, 1),
        sample(3, 0, reward=0),
        sample(3, 1, reward=-2.5),
        {"type": "alarm", "step": 1, "name": "kl", "message": "kl \ud800\x00", "values": {"kl": 3, "x": None}},
        {"type": "alarm", "step": 3, "name": "hacking", "time": "2026-01-31T12:00:00+02:00"},
        {"type": "status", "status": "paused", "message": "alarm \udfff"},
    )
    assert (told["events"], told["stale"]) == (9, 0)
    run_detail = ok(project.get(run))
    assert told["run_id"] == run_detail["id"]
    assert run_detail["counts"] == {"steps": 3, "samples": 4, "unscored": 1, "unscored_share": 0.25, "alarms": 2}
    assert (run_detail["status"], run_detail["message"], run_detail["last_step"]) == ("paused", "alarm \udfff", 3)
    assert run_detail["metrics"] == ["kl", "loss"]
    assert run_detail["updated_at"] > run_detail["created_at"]
    hacking, kl = run_detail["alarms"]
    assert (hacking["step"], hacking["name"], hacking["message"], hacking["values"]) == (3, "hacking", "", {})
    assert hacking["time"] == "2026-01-31T10:00:00+00:00"
    assert (kl["step"], kl["message"], kl["values"]) == (1, "kl \ud800\x00", {"kl": 3.0, "x": None})
    assert kl["time"] == run_detail["updated_at"]


def test_answers_are_as_the_document_says(project: Project) -> None:
    document = ok(project.service.get("/openapi.json", key=None))

    def check(answer: Any, method: str, path: str, status: str = "200") -> None:
        content = document["paths"][path][method]["responses"][status]["content"]["application/json"]
        schema = {**content["schema"], "components": document["components"]}
        jsonschema.validate(answer, schema, format_checker=jsonschema.FormatChecker())

    schemas = document["components"]["schemas"]
    [beginning], [logging] = schemas["CreateRun"]["examples"], schemas["EventsRequest"]["examples"]
    made = ok(project.post("/runs", beginning), 201)
    check(made, "post", "/runs", "201")
    check(ok(project.post("/runs", beginning)), "post", "/runs")
    run = f"/runs/{made['id']}"
    [score] = project.score("text", {"completion": "a"})["items"]
    send(project, run, {"type": "resume", "step": 1, "attempt": 2}, sample(12, 1, score_id=score["score_id"]))
    check(ok(project.post(f"{run}/events", logging)), "post", "/runs/{id}/events")
    check(ok(project.get("/runs")), "get", "/runs")
    for path in RECORDS:
        check(ok(project.get(run + path)), "get", "/runs/{id}" + path)


def test_the_page_of_the_api_tells_every_parameter_and_can_send_its_defaults(project: Project) -> None:
    document = ok(project.service.get("/openapi.json", key=None))
    seen = 0
    for path, methods in document["paths"].items():
        for parameter in (each for operation in methods.values() for each in operation.get("parameters", ())):
            default = parameter["schema"].get("default")
            # JavaScript's integers end there, and the page fills in the defaults
            assert not isinstance(default, int) or default < 2**53, (path, parameter)
            if path.startswith("/runs"):
                assert parameter.get("description"), (path, parameter)
                seen += 1
    assert seen > 20


# --- events


def test_a_resumed_run_shows_what_the_resumed_attempt_did(project: Project) -> None:
    run = begin(project)
    for step in range(1, 6):
        send(project, run, metrics(step, reward=step / 10), sample(step, 0, reward=0), sample(step, 1, reward=0))
    send(project, run, {"type": "status", "status": "failed", "message": "killed"})
    resumed = ok(project.post("/runs", {"name": "r"}))
    attempt = resumed["attempt"] + 1
    send(project, run, {"type": "resume", "step": 3, "attempt": attempt}, metrics(4, attempt, reward=0.9))
    send(project, run, sample(4, 0, attempt, reward=1))
    late = send(project, run, sample(4, 1), sample(5, 0), metrics(5, reward=9), metrics(2, reward=0.25, kl=1))
    assert late["stale"] == 3
    detail = ok(project.get(run))
    assert (detail["status"], detail["message"], detail["attempt"]) == ("running", None, 2)
    assert detail["resumes"] == [{"attempt": 2, "step": 3}]
    assert detail["counts"]["steps"] == detail["last_step"] == 4
    curve = columns(project, run)
    assert curve["steps"] == [1, 2, 3, 4]
    assert curve["values"] == {"kl": [None, 1, None, None], "reward": [0.1, 0.25, 0.3, 0.9]}
    assert [(s["step"], s["sample"], s["attempt"]) for s in samples(project, run, from_step=3)] == [
        (3, 0, 1),
        (3, 1, 1),
        (4, 0, 2),
    ]


def test_events_sent_again_count_once_with_and_without_a_key(project: Project) -> None:
    run = begin(project)
    events = [metrics(1, a=1, b=2), sample(1, 0, reward=1), {"type": "alarm", "step": 1, "name": "x"}]
    headers = {"Idempotency-Key": "once"}
    first = send(project, run, *events, headers=headers)
    before = ok(project.get(run))
    assert send(project, run, *events, headers=headers) == first
    assert ok(project.get(run)) == before
    problem(project.post(f"{run}/events", {"events": events[:1]}, headers=headers), 422, "idempotency-mismatch")
    assert send(project, run, *events) == first
    after = ok(project.get(run))
    assert after["updated_at"] > before["updated_at"]
    assert {**after, "updated_at": 0, "alarms": 0} == {**before, "updated_at": 0, "alarms": 0}
    assert len(samples(project, run)) == 1


def test_an_events_request_is_recorded_whole_or_not_at_all(project: Project) -> None:
    run = begin(project)
    many = [sample(1, n, completion=f"c{n}") for n in range(100)]
    problem(project.post(f"{run}/events", {"events": [*many, {"type": "metrics"}]}), 422, "invalid-body")
    assert ok(project.get(run))["counts"]["samples"] == 0


def test_as_many_events_as_are_allowed(project: Project) -> None:
    run = begin(project)
    events = [sample(n // 1024, n % 1024, completion="c" * 100, reward=n) for n in range(MAX_EVENTS)]
    assert send(project, run, *events)["stale"] == 0
    assert ok(project.get(run))["counts"]["samples"] == MAX_EVENTS
    assert [s["reward"] for s in samples(project, run)] == list(range(MAX_EVENTS))


def test_a_service_killed_while_events_come_loses_none_and_counts_each_once(
    make_service: Callable[..., Service],
) -> None:
    service = make_service()
    project = new_project(service)
    run = begin(project)
    batches = [[metrics(step, a=step), *(sample(step, n, completion="x" * 500, reward=n) for n in range(40))]
               for step in range(60)]  # fmt: skip
    left, lock = list(range(60)), threading.Lock()
    limit = time.monotonic() + 600

    def work() -> None:
        while True:
            with lock:
                if not left:
                    return
                step = left.pop()
            while True:
                assert time.monotonic() < limit
                try:
                    answer = project.post(f"{run}/events", {"events": batches[step]}, timeout=20)
                except (OSError, HTTPException):
                    time.sleep(0.05)
                    continue
                if answer.status == 503:
                    time.sleep(0.05)
                    continue
                ok(answer)
                break

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work) for _ in range(4)]
        for remaining in (40, 15):
            while len(left) > remaining and time.monotonic() < limit:
                time.sleep(0.01)
            service.kill()
            service.start(wait=180)
        for each in working:
            each.result()
    assert columns(project, run)["steps"] == list(range(60))
    assert [(s["step"], s["sample"], s["reward"]) for s in samples(project, run)] == [
        (step, n, float(n)) for step in range(60) for n in range(40)
    ]


def wait_for_bodies(service: Service, size: int) -> None:
    """Until the service holds so many bytes of requests."""
    limit = time.monotonic() + 300
    while time.monotonic() < limit:
        held = re.search(r"^assay_in_flight_bytes (.+)$", service.get("/metrics").body.decode(), re.MULTILINE)
        if held is not None and float(held[1]) >= size:
            return
        time.sleep(0.05)
    raise AssertionError("the bodies did not come")


async def test_requests_that_wait_for_a_run_take_no_connection_from_others(project: Project) -> None:
    run = begin(project)
    body = {"events": [sample(1, 0, completion="x" * 100_000)]}
    async with database_of(project.service) as connection:
        with ThreadPoolExecutor(24) as pool:
            async with connection.transaction():
                await connection.execute("SELECT id FROM runs WHERE id = $1 FOR UPDATE", UUID(run.rpartition("/")[2]))
                sent = [pool.submit(project.post, f"{run}/events", body) for _ in range(24)]
                wait_for_bodies(project.service, 24 * 100_000)
                assert project.get("/runs").status == 200
            for each in sent:
                ok(each.result())


# --- curves


def test_columns_have_a_value_for_each_step_and_say_what_was_not_finite(project: Project) -> None:
    run = begin(project)
    send(project, run, metrics(3, loss=0.5, kl=1e308), metrics(1, loss=None), metrics(2**63 - 1, loss=-1))
    send(project, run, {**metrics(2, held_out=1), "time": "2026-01-31T12:00:00"})
    answer = columns(project, run)
    assert answer["steps"] == [1, 2, 3, 2**63 - 1]
    assert answer["values"] == {
        "held_out": [None, 1, None, None],
        "kl": [None, None, 1e308, None],
        "loss": [None, None, 0.5, -1],
    }
    assert answer["not_finite"] == {"loss": [1]}
    assert answer["times"][1] == "2026-01-31T12:00:00+00:00"
    some = columns(project, run, name=["loss", "nothing", "loss"], from_step=1, to_step=2)
    assert (some["steps"], some["values"]) == ([1], {"loss": [None], "nothing": [None]})
    assert columns(project, run, from_step=4, to_step=9)["steps"] == []


@pytest.mark.parametrize("every", [1, 7, 10, 1000])
def test_pages_of_a_curve_are_the_whole_of_it(project: Project, every: int) -> None:
    run = begin(project)
    luck = random.Random(every)
    steps = sorted(luck.sample(range(500), 90))
    send(
        project,
        run,
        *(metrics(step, often=step) for step in steps),
        *(metrics(step, rare=-step) for step in steps[::9]),
    )
    whole = ok(project.get(f"{run}/metrics?every={every}"))
    assert whole["next_cursor"] is None
    last = {step // every: step for step in steps}
    assert whole["steps"] == whole["values"]["often"] == list(last.values())
    rare = {step // every: -step for step in steps[::9]}
    assert whole["values"]["rare"] == [rare.get(block) for block in last]
    for limit in (1, 13, len(last)):
        assert columns(project, run, every=every, limit=limit) == whole


def test_what_was_not_finite_is_told_by_the_steps_of_the_answer(project: Project) -> None:
    run = begin(project)
    send(project, run, metrics(3, kl=1, loss=None), metrics(4, kl=2), metrics(11, loss=None), metrics(15, loss=1))
    thinned = columns(project, run, every=5)
    assert thinned["steps"] == [4, 11, 15]
    assert thinned["values"] == {"kl": [2, None, None], "loss": [None, None, 1]}
    assert thinned["not_finite"] == {"loss": [4, 11]}


def test_what_is_told_of_a_run_stays_small_however_much_it_logs(project: Project) -> None:
    run = begin(project, config={"a": "x" * 200_000})
    wide = {f"{n:05}" + "\U0001f600" * 195: 0 for n in range(1000)}
    for step in range(3):
        send(project, run, {"type": "alarm", "step": step, "name": "kl", "message": "a" * 10_000, "values": wide})
    told = project.get(run)
    assert [alarm["step"] for alarm in ok(told)["alarms"]] == [2]
    assert ok(told)["counts"]["alarms"] == 3
    assert len(told.body) < 3_000_000
    assert len(project.get("/runs").body) < 1000


def test_a_run_of_very_many_metrics_is_answered_in_shorter_pages(project: Project) -> None:
    run = begin(project)
    names = [f"m{n:04}" for n in range(MAX_METRICS)]
    send(project, run, {**metrics(0), "values": dict.fromkeys(names, 0.0)})
    send(project, run, *(metrics(step, m0000=step) for step in range(1, 210)))
    page = ok(project.get(f"{run}/metrics?limit=10000"))
    assert (len(page["steps"]), page["next_cursor"]) == (200, "200")
    assert columns(project, run, name=names[0], limit=10000)["steps"] == list(range(210))
    body = {"events": [metrics(1, more=1)]}
    assert "1,001 metrics" in problem(project.post(f"{run}/events", body), 422, "invalid-body", "/events")["detail"]


# --- the completions behind them


def test_a_reward_is_traced_to_its_completion_and_verdict(project: Project) -> None:
    run = begin(project, "traced")
    items = [
        {"id": f"{n}", "prompt": "2+2?", "completion": c, "reference": "4"} for n, c in enumerate(["4", "5 \ud800"])
    ]
    verdicts = project.score("text", *items, run="traced", step=12)["items"]
    send(
        project,
        run,
        *(sample(12, n, score_id=v["score_id"], reward=v["score"], advantage=0.5 - n, tokens=3, finish_reason="stop")
          for n, v in enumerate(verdicts)),
        sample(12, 2, prompt=[{"role": "user", "content": "\x00"}],
               completion=[{"role": "assistant", "content": "own", "more": 1}], metadata={"a": [None]}),
    )  # fmt: skip
    right, wrong, own = samples(project, run)
    assert (right["prompt"], right["completion"], right["reward"], right["advantage"]) == ("2+2?", "4", 1.0, 0.5)
    assert (right["tokens"], right["finish_reason"], right["attempt"]) == (3, "stop", 1)
    recorded = ok(project.get(f"/scores/{right['score_id']}"))
    assert (recorded["run"], recorded["step"], recorded["item"]["completion"]) == ("traced", 12, "4")
    assert right["verdict"] == {part: recorded[part] for part in right["verdict"]}
    assert right["verdict"]["verifier"] == "text@1"
    assert (wrong["completion"], wrong["verdict"]["outcome"]) == ("5 \ud800", "incorrect")
    assert own["prompt"] == [{"role": "user", "content": "\x00"}]
    assert own["completion"] == [{"role": "assistant", "content": "own", "more": 1}]
    assert (own["metadata"], own["verdict"], own["reward"]) == ({"a": [None]}, None, None)


def test_samples_are_selected_by_step_outcome_and_score(project: Project) -> None:
    run = begin(project)
    for step in range(4):
        answer = project.score("text", *({"completion": c, "reference": "a"} for c in "abab"))
        send(project, run, *(sample(step, n, score_id=v["score_id"], reward=v["score"])
                             for n, v in enumerate(answer["items"])), sample(step, 4, reward=1))  # fmt: skip

    def selected(**parameters: Any) -> list[tuple[int, int]]:
        return [(s["step"], s["sample"]) for s in samples(project, run, **parameters)]

    assert selected(from_step=1, to_step=2) == [(step, n) for step in (1, 2) for n in range(5)]
    assert selected(outcome="incorrect", limit=3) == [(step, n) for step in range(4) for n in (1, 3)]
    assert selected(min_score=0.5, from_step=3) == [(3, 0), (3, 2)]
    assert selected(max_score=0.5, min_score=0, to_step=0) == [(0, 1), (0, 3)]
    assert selected(outcome="crashed") == selected(from_step=4) == selected(from_step=3, to_step=2) == []


def test_a_pending_verdict_is_shown_as_it_settled(project: Project) -> None:
    run = begin(project)
    verifier = {"kind": "outcome", "config": {"events": {"booked": 1}}}
    [item] = project.score(verifier, {"completion": "x", "reference": {"key": "k"}})["items"]
    send(project, run, sample(1, 0, score_id=item["score_id"]))
    assert samples(project, run)[0]["verdict"]["outcome"] == "pending"
    ok(project.post("/signals", {"signals": [{"key": "k", "event": "booked"}]}))
    [settled] = samples(project, run)
    assert (settled["verdict"]["outcome"], settled["verdict"]["score"], settled["reward"]) == ("scored", 1.0, None)
    assert samples(project, run, outcome="scored") == [settled]


# --- whose they are, and what is kept


def test_runs_of_another_project_do_not_exist(service: Service) -> None:
    ours, theirs = new_project(service), new_project(service)
    run, other = begin(ours, "same", config={"a": 1}), begin(theirs, "same", config={"a": 2})
    [score] = theirs.score("text", {"completion": "secret", "reference": "secret"})["items"]
    send(theirs, other, metrics(1, theirs=1), sample(1, 0, score_id=score["score_id"]))
    for path in RECORDS:
        problem(ours.get(other + path), 404, "not-found")
    problem(ours.post(f"{other}/events", {"events": [metrics(1, a=1)]}), 404, "not-found")
    assert [f"/runs/{listed['id']}" for listed in ours.pages("/runs")] == [run]
    assert ok(ours.get("/runs/same"))["config"] == {"a": 1}
    assert columns(ours, "/runs/same")["values"] == {}
    # a sample of ours that names their score says nothing of it
    send(ours, run, sample(1, 0, score_id=score["score_id"], reward=1))
    [mine] = samples(ours, run)
    assert (mine["verdict"], mine["prompt"], mine["completion"]) == (None, None, None)
    assert samples(ours, run, outcome="correct") == []
    assert samples(theirs, other)[0]["completion"] == "secret"


def test_what_each_scope_allows(project: Project) -> None:
    run = begin(project)
    scoring, reading = project.new_key("score"), project.new_key("read")
    body = {"events": [metrics(1, a=1)]}
    assert project.post("/runs", {"name": "r"}, key=scoring).status == 200
    assert project.post(f"{run}/events", body, key=scoring).status == 200
    problem(project.post("/runs", {"name": "r"}, key=reading), 403, "forbidden")
    problem(project.post(f"{run}/events", body, key=reading), 403, "forbidden")
    for path in ("/runs", *(run + path for path in RECORDS)):
        assert project.get(path, key=reading).status == 200
        problem(project.get(path, key=scoring), 403, "forbidden")


@pytest.mark.parametrize("keep", ["full", "hash", "none"])
async def test_the_text_of_samples_is_kept_only_where_completions_are(service: Service, keep: str) -> None:
    project = new_project(service, keep=keep)
    canary = unique("canary")
    run = begin(project)
    told = {"prompt": canary, "completion": f"{canary} {canary}", "metadata": {canary: canary}, "reward": 0.5}
    for _ in range(2):
        send(project, run, sample(1, 0, **told), metrics(1, a=1), headers={"Idempotency-Key": "k"})
    bad = {"events": [sample(1, 1, **told), {**sample(1, 2, **told), canary: canary}]}
    assert canary in problem(project.post(f"{run}/events", bad), 422, "invalid-body")["detail"]
    [kept] = samples(project, run)
    async with database_of(service) as connection:
        found = await rows_with(connection, canary.encode())
    if keep == "full":
        assert found == ["public.run_samples"]
        assert {part: kept[part] for part in told} == told
    else:
        assert found == []
        assert (kept["prompt"], kept["completion"], kept["metadata"], kept["reward"]) == (None, None, {}, 0.5)
    assert canary not in service.log.read_text()


async def test_the_text_of_samples_goes_with_its_projects_retention(project: Project) -> None:
    run = begin(project)
    send(project, run, sample(1, 0, completion="a", reward=1))
    ok(project.request("PATCH", "/project", {"retention_days": 1}))
    async with open_database(project.service) as connection:
        assert await maintain_once(connection, datetime.now(UTC) + timedelta(days=1, minutes=1)) >= 1
    [left] = samples(project, run)
    assert (left["completion"], left["reward"]) == (None, 1.0)


# --- bad input

METRIC = metrics(1, a=1)
SAMPLE = sample(1, 0)
BAD_EVENTS = [
    ("", []),
    ("", [METRIC] * (MAX_EVENTS + 1)),
    ("", {"0": METRIC}),
    ("/0", [None]),
    ("/0", [[METRIC]]),
    ("/0", ["metrics"]),
    ("/0", [{}]),
    ("/0", [{"type": "nothing"}]),
    ("/0", [{"type": ["metrics"]}]),
    ("/1", [METRIC, {**METRIC, "type": "metricS"}]),
    ("/0/step", [{**METRIC, "step": 2**63}]),
    ("/0/step", [{**METRIC, "step": -1}]),
    ("/0/step", [{**METRIC, "step": 1.5}]),
    ("/0/step", [{**METRIC, "step": True}]),
    ("/0/step", [{**METRIC, "step": "1"}]),
    ("/0/attempt", [{**METRIC, "attempt": 0}]),
    ("/0/attempt", [{**METRIC, "attempt": 2**31}]),
    ("/0/values", [{**METRIC, "values": {}}]),
    ("/0/values", [{**METRIC, "values": [1]}]),
    ("/0/values", [{**METRIC, "values": {f"{n}": 1 for n in range(1001)}}]),
    ("/0/values/a", [{**METRIC, "values": {"a": "NaN"}}]),
    ("/0/values/a", [{**METRIC, "values": {"a": True}}]),
    ("/0/values/a", [{**METRIC, "values": {"a": 10**400}}]),
    ("/0/values/", [{**METRIC, "values": {"": 1}}]),
    (None, [{**METRIC, "values": {"\x00": 1}}]),
    (None, [{**METRIC, "values": {"\ud800": 1}}]),
    (None, [{**METRIC, "values": {"a" * 201: 1}}]),
    ("", [metrics(n, **{f"{m}": 0 for m in range(1000)}) for n in range(MAX_ALL_VALUES // 1000 + 1)]),
    ("/0/time", [{**METRIC, "time": 5}]),
    ("/0/time", [{**METRIC, "time": "soon"}]),
    ("/0/time", [{**METRIC, "time": "0001-01-01T00:00:00+14:00"}]),
    ("/0/time", [{**METRIC, "time": "9999-12-31T23:59:59-14:00"}]),
    ("/0/sample", [{**SAMPLE, "sample": 2**31}]),
    ("/0/sample", [{**SAMPLE, "sample": None}]),
    ("/0/score_id", [{**SAMPLE, "score_id": "x"}]),
    ("/0/reward", [{**SAMPLE, "reward": "1"}]),
    ("/0/tokens", [{**SAMPLE, "tokens": -1}]),
    ("/0/finish_reason", [{**SAMPLE, "finish_reason": "a b"}]),
    ("/0/completion", [{**SAMPLE, "completion": [{"role": "user", "content": "x"}]}]),
    ("/0/metadata", [{**SAMPLE, "metadata": [1]}]),
    ("/0/unknown", [{**SAMPLE, "unknown": 1}]),
    ("/0/status", [{"type": "status", "status": "gone"}]),
    ("/0/message", [{"type": "status", "status": "failed", "message": "m" * 10_001}]),
    ("/0/name", [{"type": "alarm", "step": 1}]),
    ("/0/step", [{"type": "resume", "step": -2, "attempt": 2}]),
    ("/0/attempt", [{"type": "resume", "step": 1}]),
    ("", [{"type": "resume", "step": 1, "attempt": n + 1} for n in range(17)]),
]


@pytest.mark.parametrize(("where", "events"), BAD_EVENTS, ids=range(len(BAD_EVENTS)))
def test_an_event_that_cannot_be_recorded_is_named(project: Project, where: str | None, events: Any) -> None:
    run = begin(project)
    said = problem(project.post(f"{run}/events", {"events": events}), 422, "invalid-body")
    assert where is None or said["pointer"] == f"/events{where}", said
    assert ok(project.get(run))["counts"] == {
        "steps": 0, "samples": 0, "unscored": 0, "unscored_share": None, "alarms": 0,
    }  # fmt: skip


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_refused(project: Project, number: str) -> None:
    run = begin(project)
    body = json.dumps({"events": [metrics(1, a=7)]}).replace("7", number).encode()
    problem(project.post(f"{run}/events", body), 400, "invalid-json")


@pytest.mark.parametrize(
    ("where", "body"),
    [
        ("/name", {}),
        ("/name", {"name": ""}),
        ("/name", {"name": "a" * 201}),
        ("/name", {"name": "a\x00"}),
        ("/name", {"name": "\ud800"}),
        ("/name", {"name": 5}),
        ("/config", {"name": "a", "config": [1]}),
        ("/config", {"name": "a", "config": {"a": "x" * 2**18}}),
        ("/metadata", {"name": "a", "metadata": {"a": ["\u4e16" * 50_000]}}),
        ("/steps", {"name": "a", "steps": 1}),
        ("", [1]),
    ],
)
def test_a_run_that_cannot_begin_is_told_why(project: Project, where: str, body: Any) -> None:
    problem(project.post("/runs", body), 422, "invalid-body", where)
    assert list(project.pages("/runs")) == []


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/runs?status=gone", "/status"),
        ("/runs?name=%00", "/name"),
        ("/runs?cursor=x", "/cursor"),
        ("/runs?limit=1001", "/limit"),
        ("/runs/%00", "/id"),
        ("/runs/r/metrics?every=0", "/every"),
        ("/runs/r/metrics?limit=10001", "/limit"),
        ("/runs/r/metrics?from_step=-1", "/from_step"),
        (f"/runs/r/metrics?to_step={2**63}", "/to_step"),
        ("/runs/r/metrics?name=", "/name/0"),
        ("/runs/r/metrics?cursor=-1", "/cursor"),
        (f"/runs/r/metrics?cursor={2**63}", "/cursor"),
        ("/runs/r/samples?cursor=1", "/cursor"),
        (f"/runs/r/samples?cursor={2**63}-1", "/cursor"),
        (f"/runs/r/samples?cursor=1-{2**31}", "/cursor"),
        ("/runs/r/samples?min_score=nan", "/min_score"),
        ("/runs/r/samples?outcome=good", "/outcome"),
    ],
)
def test_a_parameter_out_of_range_is_named(project: Project, path: str, where: str) -> None:
    begin(project)
    problem(project.get(path), 422, "invalid-parameter", where)


def test_a_run_that_does_not_exist(project: Project) -> None:
    for id in ("01a21f8a-34b7-7c24-bc7d-454d22f71c56", "nobody", "\u4e16"):
        for path in RECORDS:
            said = problem(project.get(f"/runs/{quote(id)}{path}"), 404, "not-found")
            assert "POST /runs" in said["detail"]
        problem(project.post(f"/runs/{quote(id)}/events", {"events": [METRIC]}), 404, "not-found")


def test_a_name_with_a_slash_is_found_by_its_id(project: Project) -> None:
    run = begin(project, "team/run 1")
    send(project, run, {**METRIC, "values": {"eval/pass@1": 0.5}})
    assert columns(project, run, name="eval/pass@1")["values"] == {"eval/pass@1": [0.5]}
    assert [each["name"] for each in project.pages("/runs", name="team/")] == ["team/run 1"]
