"""Judges through the service: probed when they are registered, and comparing completions. The model is a script."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.app.api.json_server import JsonServer
from tests.app.api.support import Project, ok, problem, unique
from tests.service import Service

Says = Callable[[str], str]
RESPONSES = re.compile(
    r"Response A:\n<<<[^\n]*\n(.*?)\n[^\n]*>>>.*?Response B:\n<<<[^\n]*\n(.*?)\n[^\n]*>>>", re.DOTALL
)


def marked(prompt: str, verdict: str) -> str:
    """A verdict on each line that the prompt asks for."""
    keys = re.findall(r"^(VERDICT-[0-9a-f]{8}(?:-\w+)?): <", prompt, re.MULTILINE)
    return "\n".join(f"{key}: {verdict}" for key in keys)


def longer(prompt: str) -> str:
    """Prefers the longer response, and the first of two equally long ones: a bias that swapping shows."""
    found = RESPONSES.search(prompt)
    assert found is not None, prompt
    return marked(prompt, "A" if len(found[1]) >= len(found[2]) else "B")


def model_server(says: Says) -> JsonServer:
    """A chat model's server that says what a function of its prompt says."""

    def answer(body: Any) -> Any:
        message = {"role": "assistant", "content": says("\n".join(each["content"] for each in body["messages"]))}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}

    return JsonServer("/v1", answer)


@pytest.fixture
def chat_model(default_project: Project) -> Iterator[Callable[[Says], tuple[str, JsonServer]]]:
    """Makes a model and a backend that leads to it."""
    made: list[tuple[str, JsonServer]] = []

    def make(says: Says) -> tuple[str, JsonServer]:
        name, model = unique("model"), model_server(says)
        chat = {"model": "script", "json_schema": "no", "logprobs": "no"}
        asked = {"name": name, "type": "chat", "url": model.url, "allow_private": True, "chat": chat}
        ok(default_project.post("/backends", asked), 201)
        made.append((name, model))
        return name, model

    yield make
    for name, model in made:
        ok(default_project.delete(f"/backends/{name}"))
        model.close()


def test_a_judge_that_accepts_everything_is_shown_to(
    project: Project, chat_model: Callable[[Says], tuple[str, JsonServer]]
) -> None:
    name, model = chat_model(lambda prompt: marked(prompt, "yes"))
    config = {"backend": name, "mode": "principles", "principles": ["It answers the question."], "output": "marker"}
    made = ok(project.post("/verifiers", {"name": "easy", "kind": "judge", "config": config}), 201)
    probes = made["reports"]["probes"]
    assert probes["scored"] > 20
    assert probes["accepted"] == len(model.asked), "all that reached it; what says nothing never did"
    assert 0.5 < probes["share"] < 1
    assert ok(project.get("/verifiers/easy"))["reports"]["probes"] == probes
    asked = len(model.asked)
    assert ok(project.post("/verifiers", {"name": "easy", "kind": "judge", "config": config}), 200) == made
    assert len(model.asked) == asked, "what is known already is not probed again"
    assert project.scores() == []
    name, _ = chat_model(lambda prompt: marked(prompt, "no"))
    strict = ok(
        project.post("/verifiers", {"name": "hard", "kind": "judge", "config": {**config, "backend": name}}), 201
    )
    assert strict["reports"]["probes"]["share"] == 0


def test_completions_are_compared_by_a_judge(
    project: Project, chat_model: Callable[[Says], tuple[str, JsonServer]]
) -> None:
    name, model = chat_model(longer)
    config = {"backend": name, "mode": "pairwise", "output": "marker"}
    ok(project.post("/verifiers", {"name": "pairs", "kind": "judge", "config": config}), 201)
    before = len(model.asked)
    completions = ["A good deal of text here.", "Some text here.", "As much there."]
    completions[2] = completions[1].replace("here", "now!")
    body = {"verifier": "pairs", "items": [{"id": "q", "prompt": "Say much.", "completions": completions}]}
    first = ok(project.post("/compare", body, headers={"Idempotency-Key": "pairs-1"}))
    [item] = first["items"]
    assert item["scores"] == [1.0, 0.25, 0.25]
    assert item["ranking"] == [[0], [1, 2]]
    assert {(one["first"], one["second"]): one["preferred"] for one in item["outcomes"]} == {
        (0, 1): 1.0, (0, 2): 1.0, (1, 2): 0.5,
    }  # fmt: skip
    assert (item["pair"]["chosen"], item["pair"]["margin"]) == (completions[0], 0.75)
    assert len(model.asked) - before == 6, "three pairs, each in both orders"
    assert ok(project.post("/compare", body, headers={"Idempotency-Key": "pairs-1"})) == first
    assert len(model.asked) - before == 6
    assert [score["verifier"] for score in project.scores()] == ["pairs@1"] * 3


def test_the_same_completion_twice_makes_no_pair_to_learn_from(
    project: Project, chat_model: Callable[[Says], tuple[str, JsonServer]]
) -> None:
    """Not even by a judge that prefers whatever comes first, nor by one that scores at random."""
    name, model = chat_model(lambda prompt: marked(prompt, "A"))
    config = {"backend": name, "mode": "pairwise", "output": "marker", "swap": False}
    body = {"items": [{"prompt": "Say something.", "completions": ["The same.", "The same."]}]}
    [item] = ok(project.post("/compare", {"verifier": {"kind": "judge", "config": config}, **body}))["items"]
    assert (item["scores"], item["pair"], model.asked) == ([0.5, 0.5], None, [])
    numbers = iter(range(1, 1000))
    name, model = chat_model(lambda prompt: marked(prompt, str(next(numbers))))
    config = {"backend": name, "output": "marker", "scale": {"max": 1000}, "temperature": 1.0, "seed": None}
    [item] = ok(project.post("/compare", {"verifier": {"kind": "judge", "config": config}, **body}))["items"]
    assert item["pair"] is None
    body["items"][0]["completions"] = ["The same.", "Another.", "The same."]
    ranked = ok(project.post("/compare", {"verifier": {"kind": "judge", "config": config}, **body}))["items"][0]
    if ranked["pair"] is not None:
        assert ranked["pair"]["chosen"] != ranked["pair"]["rejected"]


def test_who_asked_a_model_is_counted_and_reused_verdicts_take_nothing(
    service: Service, chat_model: Callable[[Says], tuple[str, JsonServer]]
) -> None:
    operator = Project(service, service.key)
    name, model = chat_model(lambda prompt: marked(prompt, "7"))
    names = [unique("payer"), unique("payer")]
    payers = [Project(service, service.new_project(one)) for one in names]

    def used(project: str, verifier: str, what: str) -> float:
        text = operator.get("/metrics", key=None).body.decode()
        labels = f'backend="{name}",project="{project}",verifier="{verifier}"'
        found = re.search(rf"^assay_usage_{what}_total{{{re.escape(labels)}}} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    config = {"backend": name, "output": "marker"}
    item = {"prompt": "What is it?", "completion": "It is forty-two."}
    for payer in payers:
        ok(payer.post("/verifiers", {"name": "priced", "kind": "judge", "config": config}), 201)
    probed = [used(one, "priced@1", "calls") for one in names]
    assert probed[0] == probed[1] == len(model.asked) / 2, "probes are counted, for whoever registers"
    for cached in (False, True):
        [scored] = payers[0].score("priced", item)["items"]
        assert (scored["score"], scored["cached"]) == (pytest.approx(6 / 9), cached)
        took = {"calls": 1, "prompt_tokens": 10, "completion_tokens": 5}
        assert scored["detail"]["usage"] == (dict.fromkeys(took, 0) if cached else took)
        assert used(names[0], "priced@1", "calls") - probed[0] == 1
    assert used(names[0], "priced@1", "prompt_tokens") == 10 * (probed[0] + 1)
    assert used(names[0], "priced@1", "completion_tokens") == 5 * (probed[0] + 1)
    assert used(names[1], "priced@1", "calls") == probed[1]
    asked = len(model.asked)
    payers[1].score("priced", item)
    assert len(model.asked) - asked == 1, "a project's answers are its own"
    payers[1].score({"kind": "judge", "config": {**config, "max_tokens": 7}}, item)
    assert used(names[1], "judge@inline", "calls") == 1
    pairs = {"kind": "judge", "config": {**config, "mode": "pairwise"}}
    compared = {"verifier": pairs, "items": [{"prompt": "Which?", "completions": ["One way.", "Another way."]}]}
    ok(payers[1].post("/compare", compared))
    assert used(names[1], "judge@inline", "calls") == 3
    recorded = [score for score in payers[1].scores() if score["verifier"] == "judge@inline"]
    assert len(recorded) == 3
    assert sum(score["detail"].get("usage", {}).get("calls", 0) for score in recorded) == 3


def test_a_judge_whose_backend_was_down_is_probed_when_it_is_registered_again(
    project: Project, default_project: Project, chat_model: Callable[[Says], tuple[str, JsonServer]]
) -> None:
    name, model = chat_model(lambda prompt: marked(prompt, "7"))
    url = model.url
    model.close()
    body = {"name": "late", "kind": "judge", "config": {"backend": name, "output": "marker"}}
    report = ok(project.post("/verifiers", body), 201)["reports"]["probes"]
    assert (report["accepted"], report["share"]) == (0, None), "it has not withstood anything"
    assert report["probes"] - report["scored"] > 20
    ok(default_project.delete(f"/backends/{name}"))
    again = model_server(lambda prompt: marked(prompt, "7"))
    chat = {"model": "script", "json_schema": "no", "logprobs": "no"}
    made = {"name": name, "type": "chat", "url": again.url, "allow_private": True, "chat": chat}
    assert again.url != url
    ok(default_project.post("/backends", made), 201)
    report = ok(project.post("/verifiers", body), 200)["reports"]["probes"]
    assert report["scored"] == report["probes"]
    assert 0.5 < report["share"] < 1
    asked = len(again.asked)
    ok(project.post("/verifiers", body), 200)
    assert len(again.asked) == asked
    again.close()


def test_a_judge_needs_its_backend(project: Project) -> None:
    answer = project.post("/verifiers", {"name": "x", "kind": "judge", "config": {"backend": "nowhere"}})
    problem(answer, 422, "invalid-config", "/config/backend")
