"""/scores: every verdict is on record, found by filters, page by page, and can be held against a new one."""

from __future__ import annotations

import hashlib
import itertools
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.app.api.support import CONTAINS, Project, database_of, new_project, ok, problem, unique
from tests.service import Service

NOBODY = "00000000-0000-0000-0000-000000000000"


def test_what_was_answered_is_what_is_recorded(project: Project) -> None:
    items: list[dict[str, Any]] = [
        {
            "id": "right",
            "group": "g1",
            "completion": "a",
            "reference": "a",
            "metadata": {"k": [1, None]},
            "tokens": 3,
        },
        {"id": "wrong", "group": "g1", "completion": "b", "reference": "a", "prompt": "?", "finish_reason": "stop"},
        {"id": "bad", "group": "g2", "completion": "c"},
        {"id": "unread", "completion": 5},
    ]
    answer = project.score("text", *items, run="r", step=7)
    listed = project.scores(run="r")
    assert [score["id"] for score in reversed(listed)] == [item["score_id"] for item in answer["items"]]
    for sent, result, score in zip(items, answer["items"], reversed(listed), strict=True):
        assert set(score) == {
            "id", "batch_id", "created_at", "item_id", "group", "run", "step", "verifier", "kind", "revision",
            "score", "outcome", "detail", "components", "steps", "error", "ms", "cached",
        }  # fmt: skip
        shared = ("verifier", "score", "outcome", "detail", "components", "steps", "error", "cached")
        assert {name: score[name] for name in shared} == {name: result[name] for name in shared}
        assert (score["batch_id"], score["item_id"]) == (answer["batch_id"], sent["id"])
        assert (score["run"], score["step"], score["kind"]) == ("r", 7, "text")
        assert score["revision"] >= 1
        assert abs(datetime.now(UTC) - datetime.fromisoformat(score["created_at"])) < timedelta(minutes=5)
        whole = ok(project.get(f"/scores/{score['id']}"))
        assert {name: whole[name] for name in score} == score
        if sent["id"] == "unread":
            assert (whole["item"], whole["completion_sha256"], whole["group"]) == (None, None, None)
            continue
        assert whole["group"] == sent["group"]
        empty: dict[str, Any] = {
            "prompt": None,
            "reference": None,
            "tokens": None,
            "finish_reason": None,
            "metadata": {},
        }
        assert whole["item"] == {**empty, **{k: v for k, v in sent.items() if k not in ("id", "group")}}
        assert whole["completion_sha256"] == hashlib.sha256(str(sent["completion"]).encode()).hexdigest()


def test_an_item_without_a_verifier_is_recorded_without_one(project: Project) -> None:
    ok(project.post("/score", {"items": [{"id": "x", "completion": "a"}]}))
    [score] = project.scores()
    assert (score["verifier"], score["kind"], score["outcome"]) == (None, None, "unscored")
    assert ok(project.get(f"/scores/{score['id']}"))["item"]["completion"] == "a"


class Recorded:
    """A project whose scores differ in everything that filters look at, in the order of their recording."""

    def __init__(self, service: Service) -> None:
        self.project = new_project(service)
        self.name = "seen"
        for pattern in ("a", "b"):
            body = {"name": self.name, "kind": "regex", "config": {"pattern": pattern}}
            ok(self.project.post("/verifiers", body), 201)
        similar = {"kind": "text", "config": {"mode": "levenshtein"}}
        verifiers: list[Any] = [f"{self.name}@1", self.name, "text", CONTAINS, similar]
        items: list[Any] = [
            {"completion": "abcd", "reference": "abcd"},
            {"completion": "abxx", "reference": "abcd"},
            {"completion": "zzzz", "reference": "abcd"},
            {"completion": 5},
        ]
        for (number, verifier), run in itertools.product(enumerate(verifiers), ("one", "two", None)):
            self.project.score(verifier, *items, run=run, step=number)
        self.all = self.project.scores()


@pytest.fixture(scope="module")
def recorded(service: Service) -> Recorded:
    return Recorded(service)


def test_the_recorded_scores_differ(recorded: Recorded) -> None:
    assert len(recorded.all) == 60
    assert len({score["outcome"] for score in recorded.all}) == 4
    assert len({score["score"] for score in recorded.all}) >= 4
    assert [score["id"] for score in recorded.all] == sorted((score["id"] for score in recorded.all), reverse=True)


def filters(recorded: Recorded) -> st.SearchStrategy[dict[str, Any]]:
    times = sorted({score["created_at"] for score in recorded.all})
    moments = st.sampled_from([*times, "2020-01-01T00:00:00Z", "2100-01-01"])
    bounds = st.sampled_from([-1, 0, 0.25, 0.5, 1, 1e308, -1e308, *(s["score"] for s in recorded.all if s["score"])])
    return st.fixed_dictionaries(
        {},
        optional={
            "verifier": st.sampled_from(
                [recorded.name, f"{recorded.name}@1", f"{recorded.name}@2", "text", "text@1", "no"]
            ),
            "run": st.sampled_from(["one", "two", "three"]),
            "outcome": st.sampled_from(["correct", "incorrect", "scored", "unscored", "pending"]),
            "since": moments,
            "until": moments,
            "min_score": bounds,
            "max_score": bounds,
        },
    )


def passes(score: dict[str, Any], wanted: dict[str, Any]) -> bool:
    def moment(text: str) -> datetime:
        parsed = datetime.fromisoformat(text)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)

    for name, value in wanted.items():
        if name == "verifier":
            holds = score["verifier"] == value or score["verifier"] in (f"{value}@1", f"{value}@2")
        elif name in ("run", "outcome"):
            holds = score[name] == value
        elif name == "since":
            holds = moment(score["created_at"]) >= moment(value)
        elif name == "until":
            holds = moment(score["created_at"]) < moment(value)
        elif name == "min_score":
            holds = score["score"] is not None and score["score"] >= value
        else:
            holds = score["score"] is not None and score["score"] <= value
        if not holds:
            return False
    return True


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_filters_together_select_what_passes_them_all(recorded: Recorded, data: st.DataObject) -> None:
    wanted = data.draw(filters(recorded))
    limit = data.draw(st.sampled_from([3, 7, 60, 1000]))
    found = recorded.project.scores(limit=limit, **wanted)
    assert found == [score for score in recorded.all if passes(score, wanted)]


def test_pages_are_as_long_as_asked_and_end_with_null(recorded: Recorded) -> None:
    for limit, lengths in ((60, [60]), (59, [59, 1]), (25, [25, 25, 10]), (1000, [60])):
        cursor, seen = None, []
        while True:
            page = ok(recorded.project.get(f"/scores?limit={limit}" + (f"&cursor={cursor}" if cursor else "")))
            seen.append(len(page["items"]))
            if (cursor := page["next_cursor"]) is None:
                break
        assert seen == lengths
    assert len(ok(recorded.project.get("/scores"))["items"]) == 60


def test_a_list_read_while_it_grows_has_nothing_twice_and_misses_nothing(project: Project) -> None:
    before = {
        item["score_id"] for item in project.score("text", *[{"completion": str(n)} for n in range(40)])["items"]
    }
    seen = []
    for score in project.pages("/scores", limit=7):
        seen.append(score["id"])
        project.score("text", {"completion": "new"})
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


def test_since_is_inclusive_and_until_exclusive_to_the_millisecond(project: Project) -> None:
    for _ in range(5):
        project.score("text", {"completion": "x"})
    for score in project.scores():
        moment = score["created_at"]
        ids = {found["id"] for found in project.scores(since=moment)}
        assert score["id"] in ids
        assert score["id"] not in {found["id"] for found in project.scores(until=moment)}
        naive = moment.removesuffix("+00:00")
        assert {found["id"] for found in project.scores(since=naive)} == ids
        shifted = datetime.fromisoformat(moment).astimezone(tz=None).isoformat()
        assert {found["id"] for found in project.scores(since=shifted)} == ids


@pytest.mark.parametrize(
    "id", [NOBODY, "2f1d7a52-6c0e-4b57-9a3e-8d1c5b90e4f7", "ffffffff-ffff-ffff-ffff-ffffffffffff"]
)
def test_a_score_that_does_not_exist_is_a_404(project: Project, id: str) -> None:
    problem(project.get(f"/scores/{id}"), 404, "not-found")
    problem(project.post(f"/scores/{id}/replay"), 404, "not-found")


@pytest.mark.parametrize("id", ["x", "1", "%20", "00000000-0000-0000-0000-00000000000g", "%00", "x" * 3000])
def test_an_id_that_is_none_is_a_422(project: Project, id: str) -> None:
    problem(project.get(f"/scores/{id}"), 422, "invalid-parameter", "/id")
    problem(project.post(f"/scores/{id}/replay"), 422, "invalid-parameter", "/id")


# Replay

REPLAYED: list[tuple[Any, dict[str, Any]]] = [
    ("text", {"completion": "a", "reference": "a"}),
    ("text", {"completion": "b", "reference": "a"}),
    (CONTAINS, {"completion": "\x00\ud800 a", "reference": "a"}),
    ({"kind": "regex", "config": {"pattern": "^a"}}, {"completion": "abc", "id": "\ud800", "group": "\x00"}),
    ("math", {"prompt": "?<think>", "completion": r"</think>\boxed{\frac12}", "reference": "0.5"}),
    ("format", {"prompt": [{"role": "user", "content": "x"}], "completion": "<think>a</think><answer>b</answer>"}),
    ("length", {"completion": [{"role": "assistant", "content": "x", "name": "y"}], "tokens": 70}),
    ("repetition", {"completion": "a b c " * 100}),
    ("json_schema", {"completion": '{"a": 1}', "reference": {"required": ["a"]}}),
]


@pytest.mark.parametrize(("verifier", "item"), REPLAYED, ids=lambda value: str(value)[:30])
def test_a_verdict_holds_when_it_is_scored_again(project: Project, verifier: Any, item: dict[str, Any]) -> None:
    [first] = project.score(verifier, item)["items"]
    replay = ok(project.post(f"/scores/{first['score_id']}/replay"))
    assert (replay["id"], replay["verifier"], replay["holds"]) == (first["score_id"], first["verifier"], True)
    shared = ("score", "outcome", "detail", "components", "steps", "error")
    assert {name: replay["recorded"][name] for name in shared} == {name: first[name] for name in shared}
    same = ("score", "outcome", "components", "steps", "revision")
    assert {name: replay["replayed"][name] for name in same} == {name: replay["recorded"][name] for name in same}
    assert replay["replayed"]["detail"].items() >= first["detail"].items()
    assert len(project.scores()) == 1


def test_a_replay_uses_the_version_that_scored(project: Project) -> None:
    name = unique("moved")
    body: dict[str, Any] = {"name": name, "kind": "regex", "config": {"pattern": "a"}}
    ok(project.post("/verifiers", body), 201)
    [first] = project.score(name, {"completion": "a"})["items"]
    ok(project.post("/verifiers", {**body, "config": {"pattern": "b"}}), 201)
    project.delete(f"/verifiers/{name}")
    replay = ok(project.post(f"/scores/{first['score_id']}/replay"))
    assert (replay["verifier"], replay["holds"], replay["replayed"]["score"]) == (f"{name}@1", True, 1.0)


async def test_a_verdict_that_no_longer_holds_is_told(project: Project) -> None:
    [first] = project.score("text", {"completion": "a", "reference": "a"})["items"]
    async with database_of(project.service) as connection:
        await connection.execute(
            "UPDATE scores SET score = 0, outcome = 'incorrect' WHERE id = $1", uuid.UUID(first["score_id"])
        )
    replay = ok(project.post(f"/scores/{first['score_id']}/replay"))
    assert replay["holds"] is False
    assert (replay["recorded"]["score"], replay["replayed"]["score"]) == (0.0, 1.0)


def test_a_replay_does_not_answer_from_the_cache(project: Project) -> None:
    item = {"completion": "Paris"}
    [first] = project.score({"kind": "regex", "config": {"pattern": "P"}}, item)["items"]
    before = project.service.get("/metrics", key=None).body
    ok(project.post(f"/scores/{first['score_id']}/replay"))
    after = project.service.get("/metrics", key=None).body
    count = b'assay_verify_seconds_count{kind="regex"} '
    assert int(float(after.split(count)[1].split()[0])) == int(float(before.split(count)[1].split()[0])) + 1


@pytest.mark.parametrize("keep", ["hash", "none"])
def test_an_item_that_was_not_kept_cannot_be_replayed(service: Service, keep: str) -> None:
    project = new_project(service, keep=keep)
    [first] = project.score("text", {"completion": "a", "reference": "a"})["items"]
    problem(project.post(f"/scores/{first['score_id']}/replay"), 409, "item-not-kept")


def test_what_had_no_verifier_or_could_not_be_read_cannot_be_replayed(project: Project) -> None:
    [nameless] = ok(project.post("/score", {"items": [{"completion": "a"}]}))["items"]
    problem(project.post(f"/scores/{nameless['score_id']}/replay"), 409, "conflict")
    [unread] = project.score("text", {"completion": 5})["items"]
    assert project.post(f"/scores/{unread['score_id']}/replay").status == 409


def test_a_large_item_comes_back_whole(project: Project) -> None:
    text = "\u4e16\x00\ud800" * 300_000
    [item] = project.score(CONTAINS, {"completion": text, "reference": "x"})["items"]
    assert json.dumps(ok(project.get(f"/scores/{item['score_id']}"))["item"]["completion"]) == json.dumps(text)
