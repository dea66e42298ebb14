"""POST /score: what comes back, and what is recorded of it."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.app.api.support import CONTAINS, Project, ok, problem, unique

MATCH = {"completion": "Paris", "reference": "Paris"}
MISS = {"completion": "Rome", "reference": "Paris"}
BAD = {"completion": 5}
# A search that backtracks without end: a guarded worker gives up after seconds of CPU time.
ENDLESS = {"kind": "regex", "config": {"pattern": r"(?=.)(?:a|a)*(?:a|a)*(?:a|a)*b?$(?<=c)"}}
ENDLESS_ITEM = {"completion": "a" * 300}


def outcomes(answer: Any) -> list[tuple[str | None, float | None, str]]:
    return [(item["id"], item["score"], item["outcome"]) for item in answer["items"]]


def test_a_single_item_is_answered_in_full(project: Project) -> None:
    answer = project.score("text", {"id": "a1", "prompt": "Capital of France?", **MATCH})
    [item] = answer["items"]
    assert UUID(answer["batch_id"]).version == UUID(item["score_id"]).version == 7
    assert item == {
        "id": "a1",
        "score_id": item["score_id"],
        "verifier": "text@1",
        "score": 1.0,
        "outcome": "correct",
        "detail": {"stage": "exact"},
        "components": {},
        "steps": None,
        "error": None,
        "ms": item["ms"],
        "cached": False,
    }
    assert item["ms"] >= 0
    assert answer["summary"] == {"count": 1, "scored": 1, "unscored": 0, "mean": 1.0}


def test_results_have_the_length_order_and_ids_of_the_items(project: Project) -> None:
    items = [
        {"id": f"i{n}" if n % 3 else None, "completion": str(n), "reference": str(n if n % 2 else -1)}
        for n in range(500)
    ]
    items[10]["id"] = items[11]["id"] = "twice"
    answer = project.score("text", *items)
    assert [item["id"] for item in answer["items"]] == [item["id"] for item in items]
    assert [item["score"] for item in answer["items"]] == [float(n % 2) for n in range(500)]
    assert answer["summary"] == {"count": 500, "scored": 500, "unscored": 0, "mean": 0.5}
    ids = [item["score_id"] for item in answer["items"]]
    assert len(set(ids)) == 500
    assert ids == sorted(ids)


def test_the_most_items_a_batch_may_have(project: Project) -> None:
    answer = project.score("text", *[{"id": str(n), **MATCH} for n in range(4096)], run="most")
    assert [item["id"] for item in answer["items"]] == [str(n) for n in range(4096)]
    assert {item["score"] for item in answer["items"]} == {1.0}
    assert len(project.scores(run="most")) == 4096


def test_each_item_may_name_its_own_verifier(project: Project) -> None:
    name = unique("digits")
    body = {"name": name, "kind": "regex", "config": {"pattern": "^[0-9]+$"}}
    ok(project.post("/verifiers", body), 201)
    answer = project.score(
        "text",
        {"id": "batch's", **MISS},
        {"id": "latest", "completion": "12", "verifier": name},
        {"id": "pinned", "completion": "x", "verifier": f"{name}@1"},
        {"id": "inline", "completion": "in Paris", "reference": "Paris", "verifier": CONTAINS},
        {"id": "null", **MATCH, "verifier": None},
    )
    assert [(i["id"], i["verifier"], i["score"]) for i in answer["items"]] == [
        ("batch's", "text@1", 0.0),
        ("latest", f"{name}@1", 1.0),
        ("pinned", f"{name}@1", 0.0),
        ("inline", "text@inline", 1.0),
        ("null", "text@1", 1.0),
    ]


def test_items_without_any_verifier_are_bad_items(project: Project) -> None:
    body = {"items": [MATCH, {**MATCH, "verifier": "text"}]}
    first, second = ok(project.post("/score", body))["items"]
    assert (first["score"], first["verifier"], first["error"]["type"]) == (None, None, "bad_item")
    assert "verifier" in first["error"]["message"]
    assert second["score"] == 1.0


def test_an_inline_verifier_needs_no_registration(project: Project) -> None:
    first = project.score(CONTAINS, {"completion": "in Paris, of course", "reference": "Paris"})
    again = project.score(CONTAINS, {"completion": "in Rome", "reference": "Paris"})
    assert [answer["items"][0]["score"] for answer in (first, again)] == [1.0, 0.0]
    assert first["items"][0]["verifier"] == "text@inline"
    names = [verifier["name"] for verifier in project.pages("/verifiers")]
    assert "text@inline" not in names
    assert None not in names


def test_a_bare_name_means_the_latest_version_at_once(project: Project) -> None:
    name = unique("word")
    for number, word in enumerate(("one", "two", "three"), 1):
        ok(project.post("/verifiers", {"name": name, "kind": "regex", "config": {"pattern": word}}), 201)
        [item] = project.score(name, {"completion": word})["items"]
        assert (item["verifier"], item["score"]) == (f"{name}@{number}", 1.0)
    [item] = project.score(f"{name}@1", {"completion": "three"})["items"]
    assert (item["verifier"], item["score"]) == (f"{name}@1", 0.0)


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        ([{"role": "assistant", "content": "Paris"}], 1.0),
        ([{"role": "user", "content": "Paris"}, {"role": "assistant", "content": "Rome"}], 0.0),
        ([{"role": "assistant", "content": "Rome"}, {"role": "assistant", "content": "Paris"}], 1.0),
        ([{"role": "assistant", "content": "Paris"}, {"role": "tool", "content": "Rome"}], 1.0),
        ([{"role": "assistant", "content": [{"type": "text", "text": "Pa"}, {"type": "text", "text": "ris"}]}], 1.0),
        ([{"role": "assistant", "content": [{"type": "image_url"}, {"type": "text", "text": "Paris"}]}], 1.0),
        ([{"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}], 0.0),
    ],
)
def test_a_chat_completion_is_its_last_assistant_message(
    project: Project, completion: list[Any], score: float
) -> None:
    prompt = [{"role": "system", "content": "Short."}, {"role": "user", "content": "Capital?", "name": "ann"}]
    [item] = project.score("text", {"prompt": prompt, "completion": completion, "reference": "Paris"})["items"]
    assert item["score"] == score
    kept = ok(project.get(f"/scores/{item['score_id']}"))["item"]
    assert (kept["prompt"], kept["completion"]) == (prompt, completion)


def test_detail_is_as_large_as_asked_for(project: Project) -> None:
    item = {"completion": r"So \boxed{\frac{1}{2}}", "reference": "0.5"}
    details = {}
    for detail in ("none", "brief", "full"):
        answer = project.score("math", item, options={"detail": detail, "cache": False})
        details[detail] = answer["items"][0]["detail"]
    assert details["none"] == {}
    assert details["brief"]["stage"]
    assert details["full"].items() > details["brief"].items()


def test_the_brief_detail_is_recorded_where_none_is_asked_for(project: Project) -> None:
    [item] = project.score("text", MATCH, options={"detail": "none"})["items"]
    assert item["detail"] == {}
    assert ok(project.get(f"/scores/{item['score_id']}"))["detail"] == {"stage": "exact"}


def test_on_error_null_leaves_no_score(project: Project) -> None:
    answer = project.score("text", {"id": "good", **MATCH}, {"id": "bad", **BAD})
    assert outcomes(answer) == [("good", 1.0, "correct"), ("bad", None, "unscored")]
    assert answer["summary"] == {"count": 2, "scored": 1, "unscored": 1, "mean": 1.0}


def test_on_error_zero_fills_in_zeros_that_are_not_recorded(project: Project) -> None:
    answer = project.score(
        "text", {"id": "good", **MATCH}, {"id": "bad", **BAD}, options={"on_error": "zero"}, run="zero"
    )
    assert outcomes(answer) == [("good", 1.0, "correct"), ("bad", 0.0, "unscored")]
    assert answer["items"][1]["error"]["type"] == "bad_item"
    assert answer["summary"] == {"count": 2, "scored": 1, "unscored": 1, "mean": 1.0}
    assert [score["score"] for score in project.scores(run="zero")] == [None, 1.0]


def test_on_error_fail_names_the_items_after_all_are_recorded(project: Project) -> None:
    items = [{"id": "good", **MATCH}, {"id": "bad", **BAD}, {"id": None, "completion": None}]
    body = {"verifier": "text", "items": items, "options": {"on_error": "fail"}, "run": "fail"}
    answer = problem(project.post("/score", body), 502, "items-unscored")
    assert answer["items"] == [
        {"index": 1, "id": "bad", "error": "bad_item"},
        {"index": 2, "id": None, "error": "bad_item"},
    ]
    recorded = project.scores(run="fail")
    assert [(score["item_id"], score["score"]) for score in recorded] == [(None, None), ("bad", None), ("good", 1.0)]
    assert {score["batch_id"] for score in recorded} == {answer["batch_id"]}


def test_on_error_fail_is_a_200_where_every_item_is_scored(project: Project) -> None:
    assert project.score("text", MATCH, MISS, options={"on_error": "fail"})["summary"]["unscored"] == 0


def test_a_mean_over_nothing_is_null(project: Project) -> None:
    assert project.score("text", BAD)["summary"] == {"count": 1, "scored": 0, "unscored": 1, "mean": None}


DEEP: Any = "x"
for _ in range(55):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (None, "item"),
        (5, "item"),
        ("Paris", "item"),
        (True, "item"),
        ([], "item"),
        ([MATCH], "item"),
        ({}, "/completion"),
        ({"reference": "Paris"}, "/completion"),
        ({"completion": None}, "/completion"),
        ({"completion": 5}, "/completion"),
        ({"completion": 1.5}, "/completion"),
        ({"completion": False}, "/completion"),
        ({"completion": {"role": "assistant", "content": "Paris"}}, "/completion"),
        ({"completion": DEEP}, "/completion"),
        ({"completion": ["Paris"]}, "/completion"),
        ({"completion": []}, "/completion"),
        ({"completion": [{"role": "user", "content": "Paris"}]}, "/completion"),
        ({"completion": [{"content": "no role"}]}, "/completion"),
        ({"completion": [{"role": "assistant", "content": 5}]}, "/completion"),
        ({"completion": "x", "prompt": 5}, "/prompt"),
        ({"completion": "x", "prompt": {"role": "user"}}, "/prompt"),
        ({"completion": "x", "id": 7}, "/id"),
        ({"completion": "x", "id": ["a"]}, "/id"),
        ({"completion": "x", "group": 7}, "/group"),
        ({"completion": "x", "tokens": -1}, "/tokens"),
        ({"completion": "x", "tokens": 1.5}, "/tokens"),
        ({"completion": "x", "tokens": "many"}, "/tokens"),
        ({"completion": "x", "tokens": 10**30}, "/tokens"),
        ({"completion": "x", "finish_reason": 1}, "/finish_reason"),
        ({"completion": "x", "metadata": None}, "/metadata"),
        ({"completion": "x", "metadata": [1]}, "/metadata"),
        ({"completion": "x", "metadata": "x"}, "/metadata"),
        ({"completion": "x", "answer": "y"}, "/answer"),
        ({"completion": "x", "Answer": "y"}, "/Answer"),
        ({"completion": "x", "": "y"}, "/"),
        ({"completion": "x", "a/b~c": "y"}, "/a~1b~0c"),
        ({"completion": "x", "reference": "x", "verifier": 5}, "/verifier"),
        ({"completion": "x", "reference": "x", "verifier": ["text"]}, "/verifier"),
        ({"completion": "x", "reference": "x", "verifier": {}}, "/verifier"),
        ({"completion": "x", "reference": "x", "verifier": {"kind": 5}}, "/verifier"),
        ({"completion": "x", "reference": "x", "verifier": "nothing-of-the-kind"}, "nothing-of-the-kind"),
        ({"completion": "x", "reference": "x", "verifier": "text@77"}, "text@77"),
        ({"completion": "x", "reference": "x", "verifier": "text@0"}, "text@0"),
        ({"completion": "x", "reference": "x", "verifier": "../text"}, "../text"),
        ({"completion": "x", "reference": "x", "verifier": ""}, "''"),
        ({"completion": "x", "reference": "x", "verifier": "\x00"}, "verifier"),
        ({"completion": "x", "reference": "x", "verifier": "\ud800"}, "verifier"),
        ({"completion": "x", "reference": "x", "verifier": {"kind": "nothing"}}, "nothing"),
        ({"completion": "x", "reference": "x", "verifier": {"kind": "regex", "config": {"pattern": "("}}}, "pattern"),
        ({"completion": "x", "reference": "x", "verifier": {"kind": "text", "config": {"mode": 5}}}, "/mode"),
        ({"completion": "x", "reference": 5}, "reference"),
        ({"completion": "x", "reference": None}, "reference"),
        ({"completion": "x", "reference": {"answer": "x"}}, "reference"),
        ({"completion": "x", "reference": 10**4000}, "reference"),
        ({"completion": "x", "reference": DEEP}, "reference"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_bad_item_is_its_own_fault_and_no_neighbour_of_it(project: Project, item: Any, field: str) -> None:
    answer = project.score("text", {"id": "before", **MATCH}, item, {"id": "after", **MISS}, run="bad")
    before, bad, after = answer["items"]
    assert (before["id"], before["score"]) == ("before", 1.0)
    assert (after["id"], after["score"]) == ("after", 0.0)
    assert (bad["score"], bad["outcome"]) == (None, "unscored")
    assert (bad["error"]["type"], bad["error"]["retryable"]) == ("bad_item", False)
    assert field in bad["error"]["message"]
    assert [score["outcome"] for score in project.scores(run="bad")] == ["incorrect", "unscored", "correct"]


def test_the_id_of_an_unreadable_item_is_echoed(project: Project) -> None:
    answer = project.score("text", {"id": "known", "completion": 5}, {"id": 5, "completion": "x"})
    assert [item["id"] for item in answer["items"]] == ["known", None]
    assert [score["item_id"] for score in project.scores()] == [None, "known"]


def test_what_is_said_of_a_bad_item_stays_short(project: Project) -> None:
    [item] = project.score("text", {"completion": "x", "k" * 1_000_000: 1})["items"]
    assert item["error"]["type"] == "bad_item"
    assert len(item["error"]["message"]) < 1000


EXACT = [
    "",
    "NUL \x00 inside",
    "\x00",
    "lone \ud800 and \udfff",
    "\udfff\ud800",
    "\ud83d",
    "emoji \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "controls " + "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029",
    "\ufeffbyte order mark",
    "e\u0301 is not \xe9",
    "\\u0000 \\ud800 \\ \" ' / \r\n",
    "\ufffd\uffff\U0010ffff",
    "x" * 1_000_000,
    "\ud800\x00" * 250_000,
]


@pytest.mark.parametrize("text", EXACT, ids=lambda text: ascii(text)[:40])
def test_text_comes_back_exactly_as_it_was_sent(project: Project, text: str) -> None:
    messages = [
        {"role": "user", "content": text, "name": text[:100]},
        {"role": text[:100], "content": text},
        {"role": "assistant", "content": [{"type": "text", "text": text}, {text[:100]: text}]},
    ]
    sent = {
        "prompt": messages,
        "completion": text,
        "reference": [text, {text[:100]: text}],
        "tokens": 3,
        "finish_reason": text[:100],
        "metadata": {text[:100]: [text]},
    }
    name = text[:1000]
    item = {"id": name, "group": name, **sent}
    [result] = project.score({"kind": "json_schema", "config": {"schema": True}}, item)["items"]
    recorded = ok(project.get(f"/scores/{result['score_id']}"))
    assert result["id"] == name
    assert (recorded["item_id"], recorded["group"]) == (name, name)
    assert recorded["item"] == sent
    assert recorded["completion_sha256"] == hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    [result] = project.score("text", {"completion": messages, "reference": "never"})["items"]
    assert ok(project.get(f"/scores/{result['score_id']}"))["item"]["completion"] == messages


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=()), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(completion=st.text(st.characters(exclude_categories=())), metadata=st.dictionaries(st.text(), JSON), gold=JSON)
def test_any_item_comes_back_as_it_was_sent(
    project: Project, completion: str, metadata: dict[str, Any], gold: Any
) -> None:
    item = {"completion": completion, "metadata": metadata, "reference": gold}
    [result] = project.score({"kind": "regex", "config": {"pattern": "."}}, item)["items"]
    kept = ok(project.get(f"/scores/{result['score_id']}"))["item"]
    # JSON writes a high and a low surrogate side by side as one character; so does every reader of it
    assert {name: kept[name] for name in item} == json.loads(json.dumps(item))


def test_a_verdict_is_reused_unless_asked_otherwise(project: Project) -> None:
    verifier = {"kind": "regex", "config": {"pattern": "ris$"}}
    item = {"completion": unique("Paris") + "ris"}
    first, twin = project.score(verifier, item, item)["items"]
    assert (first["cached"], twin["cached"]) == (False, True)
    [again] = project.score(verifier, item)["items"]
    [fresh] = project.score(verifier, item, options={"cache": False})["items"]
    assert (again["cached"], fresh["cached"]) == (True, False)
    assert {i["score"] for i in (first, twin, again, fresh)} == {1.0}
    assert len({i["score_id"] for i in (first, twin, again, fresh)}) == 4
    assert [score["cached"] for score in project.scores()] == [False, True, True, False]


@pytest.mark.parametrize(
    "change",
    [
        {"completion": "other"},
        {"prompt": "other"},
        {"reference": "other"},
        {"metadata": {"k": 1}},
        {"tokens": 2},
        {"finish_reason": "length"},
        {"completion": [{"role": "assistant", "content": "Paris"}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_item_is_not_the_cached_one(project: Project, change: dict[str, Any]) -> None:
    verifier = {"kind": "regex", "config": {"pattern": "ris$"}}
    project.score(verifier, {"completion": "Paris"})
    [item] = project.score(verifier, {"completion": "Paris", **change})["items"]
    assert item["cached"] is False


def test_another_version_does_not_share_cached_verdicts(project: Project) -> None:
    name = unique("word")
    for pattern, score in (("Par", 1.0), ("Rom", 0.0)):
        ok(project.post("/verifiers", {"name": name, "kind": "regex", "config": {"pattern": pattern}}), 201)
        [item] = project.score(name, {"completion": "Paris"})["items"]
        assert (item["score"], item["cached"]) == (score, False)


def test_the_same_item_in_flight_is_verified_once(project: Project) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: project.score(ENDLESS, ENDLESS_ITEM), range(8)))
    items = [answer["items"][0] for answer in answers]
    assert {(item["score"], item["outcome"]) for item in items} == {(0.0, "timeout")}
    assert [item["cached"] for item in items].count(False) == 1


def test_what_the_deadline_leaves_is_unscored_and_retryable(project: Project) -> None:
    easy = {"id": "easy", **MATCH, "verifier": "text"}
    answer = project.score(
        ENDLESS, {"id": "endless", **ENDLESS_ITEM}, easy, options={"deadline_ms": 1000, "cache": False}
    )
    endless, easy_result = answer["items"]
    assert (endless["score"], endless["outcome"]) == (None, "unscored")
    assert (endless["error"]["type"], endless["error"]["retryable"]) == ("deadline_exceeded", True)
    assert easy_result["score"] == 1.0


def test_a_verdict_that_failed_for_want_of_time_is_not_cached(project: Project) -> None:
    [late] = project.score(ENDLESS, ENDLESS_ITEM, options={"deadline_ms": 500})["items"]
    [again] = project.score(ENDLESS, ENDLESS_ITEM, options={"deadline_ms": 500})["items"]
    assert [late["outcome"], again["outcome"], again["cached"]] == ["unscored", "unscored", False]


def test_run_and_step_are_recorded(project: Project) -> None:
    project.score("text", MATCH, run="run with spaces and \xfc\u4e16", step=2**63 - 1)
    [score] = project.scores(run="run with spaces and \xfc\u4e16")
    assert (score["run"], score["step"]) == ("run with spaces and \xfc\u4e16", 2**63 - 1)


def test_a_request_may_use_many_verifiers_but_not_endlessly_many(project: Project) -> None:
    def items(count: int) -> list[dict[str, Any]]:
        config = [{"pattern": f"a{number % 300}"} for number in range(count)]
        return [{"completion": "a1", "verifier": {"kind": "regex", "config": one}} for one in config]

    few = ok(project.post("/score", {"items": items(50) * 20}))
    assert few["summary"]["count"] == few["summary"]["scored"] == 1000
    refused = project.post("/score", {"items": items(300)})
    assert (refused.status, refused.json()["pointer"]) == (422, "/items")


@pytest.mark.parametrize("field", ["id", "group"])
def test_a_name_without_end_is_a_bad_item(project: Project, field: str) -> None:
    items = [{"completion": "a", "reference": "a", field: "\ud800" * length} for length in (1000, 1001)]
    fits, too_long = ok(project.post("/score", {"verifier": "text", "items": items}))["items"]
    assert fits["score"] == 1
    assert (too_long["score"], too_long["error"]["type"]) == (None, "bad_item")
    assert "1000" in too_long["error"]["message"]
