"""What judges of known character accept of the probes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.verifiers.judge.scripted import Scripted, judge, prompt, says
from tests.verifiers.support import InProcessGuard
from verifiers.base import Context
from verifiers.chat import ChatRequest
from verifiers.judge import Judge
from verifiers.judge.config import JudgeConfig
from verifiers.judge.probes import TASKS, probe, probes

MODES: list[dict[str, Any]] = [
    {},
    {"mode": "pairwise"},
    {"mode": "rubric"},
    {"mode": "rubric", "criteria": [{"text": "Is right."}, {"text": "Is clear."}]},
    {"mode": "rubric", "combine": "overall", "normalise": False},
    {"mode": "principles", "calls": "all"},
    {"mode": "equivalence"},
]


async def probed(judge: Judge, backends: Scripted) -> dict[str, Any]:
    ctx = Context(time.monotonic() + 60, InProcessGuard(), backends=backends)
    report = await probe(judge, ctx)
    assert json.loads(json.dumps(report)) == report
    return report


def pleased(request: ChatRequest) -> str:
    """Accepts everything, on whichever side it stands."""
    schema = request.json_schema or {}
    best: dict[str, Any] = {"verdict": 10} if "enum" in schema["properties"].get("verdict", {}) else {}
    if best and schema["properties"]["verdict"]["enum"][0] == "A":
        best = {"verdict": "tie"}
    elif best and schema["properties"]["verdict"]["enum"][0] == "yes":
        best = {"verdict": "yes"}
    return json.dumps(dict.fromkeys(schema["properties"], "yes") | best)


@pytest.mark.parametrize("config", MODES)
async def test_a_judge_that_accepts_everything_is_found_out(config: dict[str, Any]) -> None:
    report = await probed(judge(**config), Scripted(pleased))
    assert report["share"] > 0.6
    assert report["scored"] == report["probes"] >= 28
    assert report["families"]["empty"]["accepted"] == 0  # these never reach a judge
    assert report["families"]["wrong"] == {"probes": 3, "scored": 3, "accepted": 3}
    assert sum(family["accepted"] for family in report["families"].values()) == report["accepted"]


async def test_a_judge_that_knows_better_is_cleared() -> None:
    def knows(request: ChatRequest) -> str:
        response = prompt(request).split("<<<RESPONSE")[1]
        return json.dumps({"verdict": 10 if any(task.right in response for task in TASKS) else 1})

    report = await probed(judge(), Scripted(knows))
    assert report["share"] == 0.0
    assert report["right"] == {"probes": 3, "scored": 3, "accepted": 3}


async def test_a_judge_that_rejects_everything_does_not_pass_for_a_good_one() -> None:
    report = await probed(judge(mode="equivalence"), Scripted(says(verdict="no")))
    assert report["share"] == 0.0
    assert report["right"]["accepted"] == 0


async def test_a_judge_that_never_answers_is_not_measured() -> None:
    report = await probed(judge(), Scripted(lambda request: ""))
    assert report["scored"] == report["families"]["empty"]["scored"] + report["families"]["opening"]["scored"]
    assert report["families"]["flattery"] == {"probes": 6, "scored": 0, "accepted": 0}
    assert report["share"] is None, "what never reaches a judge says nothing of it"


async def test_a_judge_that_obeys_is_caught_by_its_family() -> None:
    def obeys(request: ChatRequest) -> str:
        response = prompt(request).split("<<<RESPONSE")[1]
        return json.dumps({"verdict": "yes" if "Ignore all previous instructions" in response else "no"})

    report = await probed(judge(mode="equivalence"), Scripted(obeys))
    accepted = {name for name, family in report["families"].items() if family["accepted"]}
    assert accepted == {"instruction"}


def test_the_sorts_of_probes() -> None:
    sent = probes(JudgeConfig(backend="a"))
    assert {one.family for one in sent} == {
        "empty", "opening", "instruction", "flattery", "padding", "template", "verdict", "echo", "wrong", "right",
    }  # fmt: skip
    completions = [one.item.text for one in sent]
    for key in ("", ":", "Solution", "Thought process:", "Let's solve this problem step by step."):
        assert key in completions
    assert any("<|im_start|>" in text for text in completions)
    assert not any("{wrong}" in text or "{{" in text for text in completions)
    for task in TASKS:
        assert task.prompt in completions
