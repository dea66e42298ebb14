"""Judges through the service: probed when they are registered, and comparing completions. The model is a script."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.app.api.json_server import JsonServer
from tests.app.api.support import Project, ok, problem, unique

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


def test_a_judge_needs_its_backend(project: Project) -> None:
    answer = project.post("/verifiers", {"name": "x", "kind": "judge", "config": {"backend": "nowhere"}})
    problem(answer, 422, "invalid-config", "/config/backend")
