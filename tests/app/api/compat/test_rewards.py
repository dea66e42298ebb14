"""Protocols that ask for rewards, on a live service: what each sends and reads."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import BaseModel, ValidationError

from app.api.compat.azure import AzureRequest
from app.api.compat.nemo_gym import AggregateRequest
from app.api.compat.reward_kit import EvaluationRequest
from app.api.compat.roll import _answer as roll_answer
from app.api.compat.slime import SlimeRequest
from app.store.ids import uuid7
from tests.app.api.support import Project, new_project, ok, postgres_processes, postmaster, problem, unique
from tests.service import Service

RIGHT, WRONG = "So it is \\boxed{42}.", "So it is \\boxed{41}."
PROMPT = "What is 6 times 7?"
CHAT = [{"role": "user", "content": PROMPT}]


@dataclass(frozen=True)
class Protocol:
    """How a client asks for the reward of one completion, and where it reads it."""

    path: str
    body: Callable[[str, Any], Any]
    reward: Callable[[Any], float]
    masks: bool = False
    """Whether it has its own word for an item that cannot be scored, and needs no fallback."""


def _said(completion: str) -> list[dict[str, Any]]:
    return [*CHAT, {"role": "assistant", "content": completion}]


PROTOCOLS = {
    "openrlhf": Protocol(
        "/compat/openrlhf/{}",
        lambda text, label: {"query": [PROMPT + text + "<|im_end|>"], "prompts": [PROMPT], "labels": [label]},
        lambda answer: answer["rewards"][0],
    ),
    "slime": Protocol(
        "/compat/slime/{}",
        lambda text, label: {"prompt": PROMPT, "response": text, "label": label},
        lambda answer: answer,
    ),
    "nemo-gym": Protocol(
        "/compat/nemo-gym/{}/verify",
        lambda text, label: {
            "responses_create_params": {"input": CHAT},
            "response": {
                "output": [
                    {"type": "reasoning", "summary": []},
                    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]},
                ]
            },
            "expected_answer": label,
        },
        lambda answer: answer["reward"],
        masks=True,
    ),
    "azure": Protocol(
        "/compat/azure/{}",
        lambda text, label: {
            "sample": {"choices": [{"message": {"role": "assistant", "content": text}}], "output_text": text},
            "item": {"prompt": PROMPT, "reference_answer": label},
            "trace_id": "t",
        },
        lambda answer: answer["score"],
    ),
    "bedrock": Protocol(
        "/compat/bedrock/{}",
        lambda text, label: [{"id": "s", "messages": _said(text), "metadata": {"reference_answer": label}}],
        lambda answer: answer[0]["aggregate_reward_score"],
    ),
    "reward-kit": Protocol(
        "/compat/reward-kit/{}/evaluate",
        lambda text, label: {"messages": _said(text), "ground_truth": label},
        lambda answer: answer["score"],
    ),
    "batch": Protocol(
        "/compat/batch/{}",
        lambda text, label: {"items": [{"prompt": PROMPT, "response": text, "ground_truth": label}]},
        lambda answer: answer["rewards"][0]["reward"],
    ),
}


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return PROTOCOLS[request.param]


def needs_sandbox(project: Project) -> None:
    """Skip where the host has nothing that isolates: CI fails on that."""
    found = ok(project.get("/sandbox"))
    if not found["ready"]:
        pytest.skip(f"no sandbox: {found['reason']}")


def ask(
    project: Project, protocol: Protocol, text: str, label: Any, *, query: str = "", verifier: str = "math"
) -> Any:
    return project.post(protocol.path.format(verifier) + query, protocol.body(text, label))


def test_right_is_1_wrong_is_0_and_both_are_recorded(project: Project, protocol: Protocol) -> None:
    rewards = [protocol.reward(ok(ask(project, protocol, text, "42"))) for text in (RIGHT, WRONG)]
    assert rewards == [1.0, 0.0]
    recorded = project.scores()
    assert [(row["score"], row["verifier"]) for row in recorded] == [(0.0, "math@1"), (1.0, "math@1")]
    kept = ok(project.get(f"/scores/{recorded[1]['id']}"))["item"]
    assert (kept["reference"], _text(kept["completion"])) == ("42", RIGHT)
    assert _text(kept["prompt"]) == PROMPT


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else value[-1]["content"]


def test_a_key_in_the_url_is_enough(project: Project, protocol: Protocol) -> None:
    key = project.new_key("score")
    answer = project.post(protocol.path.format("math") + f"?key={key}", protocol.body(RIGHT, "42"), key=None)
    assert protocol.reward(ok(answer)) == 1.0


def test_a_key_without_the_scope_scores_nothing(project: Project, protocol: Protocol) -> None:
    key = project.new_key("read")
    answer = project.post(protocol.path.format("math"), protocol.body(RIGHT, "42"), key=key)
    problem(answer, 403, "forbidden")
    assert project.scores() == []


def test_an_unknown_verifier_is_a_404(project: Project, protocol: Protocol) -> None:
    problem(ask(project, protocol, RIGHT, "42", verifier="none"), 404, "unknown-verifier")


def test_another_projects_verifier_is_unknown(project: Project, protocol: Protocol, service: Service) -> None:
    name = unique("theirs")
    made = {"name": name, "kind": "math", "config": {}}
    ok(new_project(service).post("/verifiers", made), 201)
    problem(ask(project, protocol, RIGHT, "42", verifier=name), 404, "unknown-verifier")


def test_an_unscored_item_is_no_number_that_nobody_gave(project: Project, protocol: Protocol) -> None:
    answer = ask(project, protocol, RIGHT, {"answer": []})
    if protocol.masks:
        told = ok(answer)
        assert told["mask_sample"] is told["instance_config"]["mask_sample"] is True
        assert told["failure_kind"] == "verifier_error"
        assert "bad_item" in told["failure_reason"]
    else:
        problem(answer, 422, "invalid-body")
    (row,) = project.scores()
    assert (row["outcome"], row["score"]) == ("unscored", None)


def test_a_fallback_is_what_an_unscored_item_gets_and_no_other(project: Project, protocol: Protocol) -> None:
    labels: list[Any] = [{"answer": []}, "42"]
    answers = [ask(project, protocol, RIGHT, label, query="?fallback=-0.25") for label in labels]
    assert [protocol.reward(ok(answer)) for answer in answers] == [-0.25, 1.0]


@pytest.mark.parametrize("query", ["?fallback=NaN", "?fallback=inf", "?fallback=x", "?deadline_s=0", "?run=%00"])
def test_a_parameter_that_is_not_acceptable_is_named(project: Project, protocol: Protocol, query: str) -> None:
    pointer = "/" + query[1:].split("=")[0]
    problem(ask(project, protocol, RIGHT, "42", query=query), 422, "invalid-parameter", pointer)


def test_what_is_past_its_deadline_is_a_503(project: Project, protocol: Protocol) -> None:
    slow = unique("slow")
    code = (
        "def verify(completion, reference, prompt, metadata):\n    import time\n    time.sleep(30)\n    return 1.0\n"
    )
    needs_sandbox(project)
    ok(project.post("/verifiers", {"name": slow, "kind": "python", "config": {"code": code}}), 201)
    answer = ask(project, protocol, RIGHT, "42", query="?deadline_s=0.5", verifier=slow)
    if protocol.masks:
        assert ok(answer)["mask_sample"] is True
    else:
        problem(answer, 503, "not-scored")


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (SlimeRequest, lambda faults: {"response": "", "prompt": faults}),
        (EvaluationRequest, lambda faults: {"messages": faults}),
        (AzureRequest, lambda faults: {"sample": {"choices": faults}}),
        (AggregateRequest, lambda faults: {"verify_responses": faults}),
    ],
)
def test_of_many_faults_one_is_looked_for(model: type[BaseModel], body: Callable[[list[Any]], Any]) -> None:
    counts = []
    for faults in ([3], [3] * 1000):
        with pytest.raises(ValidationError) as caught:
            model.model_validate(body(faults))
        counts.append(caught.value.error_count())
    assert counts[0] == counts[1]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b'{"query": 3}', b"[[1]]", b'{"items": []}', b"\xff"])
def test_a_body_of_another_shape_is_refused(project: Project, protocol: Protocol, body: bytes) -> None:
    answer = project.post(protocol.path.format("math"), body)
    assert answer.status in (400, 422)
    assert answer.json()["detail"]


def test_surrogates_and_nul_are_scored_like_any_text(project: Project, protocol: Protocol) -> None:
    answer = ask(project, protocol, "\ud800\x00 \\boxed{42}", "42")
    assert math.isfinite(protocol.reward(ok(answer)))


def test_an_idempotency_key_repeats_the_recorded_answer(project: Project, protocol: Protocol) -> None:
    sent = protocol.body(RIGHT, "42")
    headers = {"Idempotency-Key": unique("k")}
    first, again = (project.post(protocol.path.format("math"), sent, headers=headers) for _ in range(2))
    assert ok(first) == ok(again)
    assert len(project.scores()) == 1


def test_the_run_is_recorded(project: Project, protocol: Protocol) -> None:
    ok(ask(project, protocol, RIGHT, "42", query="?run=r-1"))
    assert [row["run"] for row in project.scores()] == ["r-1"]


def test_a_flood_of_single_items_is_scored_each_as_its_own(project: Project, protocol: Protocol) -> None:
    def one(place: int) -> float:
        text = f"It is \\boxed{{{place}}}."
        return protocol.reward(ok(ask(project, protocol, text, str(place if place % 2 else place + 1))))

    with ThreadPoolExecutor(16) as threads:
        rewards = list(threads.map(one, range(200)))
    assert rewards == [float(place % 2) for place in range(200)]
    assert len(project.scores()) == 200


@pytest.mark.parametrize(
    ("path", "body", "reads"),
    [
        (
            "/compat/openrlhf/math",
            lambda labels: {"query": [RIGHT] * len(labels), "labels": labels},
            lambda answer: answer["rewards"],
        ),
        (
            "/compat/bedrock/math",
            lambda labels: [
                {"id": str(place), "messages": _said(RIGHT), "metadata": {"reference_answer": label}}
                for place, label in enumerate(labels)
            ],
            lambda answer: [entry["aggregate_reward_score"] for entry in answer],
        ),
        (
            "/compat/batch/math",
            lambda labels: {"items": [{"response": RIGHT, "ground_truth": label} for label in labels]},
            lambda answer: [entry["reward"] for entry in answer["rewards"]],
        ),
    ],
)
def test_of_1000_items_a_malformed_one_costs_no_other(
    project: Project, path: str, body: Callable[[list[Any]], Any], reads: Callable[[Any], list[float]]
) -> None:
    labels: list[Any] = ["42"] * 500 + [{"answer": []}] + ["41"] * 499
    told = problem(project.post(path, body(labels)), 422, "invalid-body")
    assert [item["index"] for item in told["items"]] == [500]
    recorded = project.scores()
    assert len(recorded) == 1000
    assert sum(row["outcome"] == "unscored" for row in recorded) == 1
    rewards = reads(ok(project.post(path + "?fallback=0.5", body(labels))))
    assert rewards == [1.0] * 500 + [0.5] + [0.0] * 499


def test_a_malformed_entry_of_a_batch_costs_no_other(project: Project) -> None:
    items = [{"response": RIGHT, "ground_truth": "42"}, {"response": 3}, "no", {"response": WRONG, "label": "42"}]
    rewards = ok(project.post("/compat/batch/math?fallback=-1", {"items": items}))["rewards"]
    assert rewards == [
        {"reward": 1.0, "unscored": False},
        {"reward": -1.0, "unscored": True},
        {"reward": -1.0, "unscored": True},
        {"reward": 0.0, "unscored": False},
    ]


def test_identical_requests_in_flight_are_one_score(project: Project) -> None:
    needs_sandbox(project)
    name = unique("slow")
    code = (
        "def verify(completion, reference, prompt, metadata):\n    import time\n    time.sleep(2)\n    return 0.5\n"
    )
    ok(project.post("/verifiers", {"name": name, "kind": "python", "config": {"code": code}}), 201)
    before = len(project.scores())
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(ask, project, PROTOCOLS["slime"], RIGHT, "42", verifier=name) for _ in range(6)]
        assert [ok(answer.result()) for answer in asked] == [0.5] * 6
    assert len(project.scores()) - before == 1


def test_a_retry_after_the_client_gave_up_scores_nothing_twice(project: Project) -> None:
    needs_sandbox(project)
    name = unique("slow")
    code = (
        "def verify(completion, reference, prompt, metadata):\n    import time\n    time.sleep(2)\n    return 0.5\n"
    )
    ok(project.post("/verifiers", {"name": name, "kind": "python", "config": {"code": code}}), 201)
    with pytest.raises(OSError, match="timed out"):
        project.post(f"/compat/slime/{name}", PROTOCOLS["slime"].body(RIGHT, "42"), timeout=0.5)
    limit = time.monotonic() + 30
    while not project.scores(verifier=name):
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert ok(ask(project, PROTOCOLS["slime"], RIGHT, "42", verifier=name)) == 0.5
    assert len(project.scores(verifier=name)) == 1


def test_a_label_may_name_its_verifier(project: Project) -> None:
    labels = [json.dumps({"verifier": "math", "reference": "42"}), {"verifier": "text", "reference": RIGHT}]
    answer = ok(project.post("/compat/openrlhf", {"query": [RIGHT, RIGHT], "labels": labels}))
    assert answer["rewards"] == [1.0, 1.0]
    assert [row["verifier"] for row in project.scores()] == ["text@1", "math@1"]
    assert ok(project.post("/compat/slime", {"response": RIGHT, "label": labels[0]})) == 1.0


@pytest.mark.parametrize("others", [0, 1])
def test_a_label_that_names_no_verifier_is_its_items_fault(project: Project, others: int) -> None:
    labels = [{"verifier": "none", "reference": "42"}, *["42"] * others]
    body = {"query": [RIGHT] * len(labels), "labels": labels}
    problem(project.post("/compat/openrlhf/math", body), 422, "invalid-body")
    assert ok(project.post("/compat/openrlhf/math?fallback=0.5", body))["rewards"] == [0.5, *[1.0] * others]
    assert [row["outcome"] for row in project.scores()].count("unscored") == 2


def test_an_outcome_that_is_not_known_yet_is_no_number(project: Project, protocol: Protocol) -> None:
    name = unique("later")
    ok(project.post("/verifiers", {"name": name, "kind": "outcome", "config": {}}), 201)
    answer = ask(project, protocol, RIGHT, {"key": "k"}, verifier=name)
    if protocol.masks:
        assert ok(answer)["mask_sample"] is True
    else:
        assert "outcome" in problem(answer, 503, "not-scored")["detail"]
    assert (
        protocol.reward(ok(ask(project, protocol, RIGHT, {"key": "k"}, query="?fallback=0.5", verifier=name))) == 0.5
    )


def test_without_a_verifier_anywhere_it_says_what_to_do(project: Project) -> None:
    told = problem(project.post("/compat/openrlhf", {"query": [RIGHT], "labels": ["42"]}), 422, "invalid-body")
    assert "verifier" in told["detail"]


def test_openrlhf_logs_what_it_may_need(project: Project) -> None:
    matched = ok(ask(project, PROTOCOLS["openrlhf"], RIGHT, "42"))
    assert matched["scores"] == [1.0]
    assert matched["extra_logs"] == {"unscored": [0.0], "prompt_matched": [1.0]}
    body = {"query": ["7? " + RIGHT], "prompts": [PROMPT], "labels": ["42"]}
    assert ok(project.post("/compat/openrlhf/math", body))["extra_logs"]["prompt_matched"] == [0.0]


def test_openrlhf_logs_the_same_names_for_every_item(project: Project) -> None:
    exact = {"verifier": {"kind": "text", "config": {"mode": "contains"}}, "weight": 1}
    ok(project.post("/verifiers", {"name": "both", "kind": "composite", "config": {"parts": {"exact": exact}}}), 201)
    query = "?fallback=0&component=exact&component=other"
    for label, value in (("42", 1.0), ({"reference": "42", "verifier": "math"}, 0.0), ({"answer": []}, 0.0)):
        logs = ok(ask(project, PROTOCOLS["openrlhf"], RIGHT, label, query=query, verifier="both"))["extra_logs"]
        assert (logs.keys(), logs["exact"]) == ({"unscored", "prompt_matched", "exact", "other"}, [value])


def test_scores_of_openrlhf_stay_within_0_and_1(project: Project) -> None:
    body = PROTOCOLS["openrlhf"].body(RIGHT, {"answer": []})
    answer = ok(project.post("/compat/openrlhf/math?fallback=-2", body))
    assert (answer["rewards"], answer["scores"]) == ([-2.0], [0.0])


def test_slime_answers_an_object_where_it_is_asked_for(project: Project) -> None:
    answer = ok(ask(project, PROTOCOLS["slime"], RIGHT, "42", query="?keys=true"))
    assert answer == {"reward": 1.0, "unscored": False, "components": {}}


def test_reward_kit_says_that_a_fallback_is_no_score(project: Project) -> None:
    answer = ok(ask(project, PROTOCOLS["reward-kit"], RIGHT, {"answer": []}, query="?fallback=0"))
    assert (answer["score"], answer["is_score_valid"]) == (0.0, False)
    assert "bad_item" in answer["error"]


def test_reward_kit_sends_its_key_in_a_header_of_its_own(project: Project) -> None:
    headers = {"X-Api-Key": project.key, "Authorization": ""}
    body = PROTOCOLS["reward-kit"].body(RIGHT, "42")
    answer = project.post("/compat/reward-kit/math/evaluate", body, key=None, headers=headers)
    assert ok(answer)["score"] == 1.0


def test_bedrock_wants_the_assistants_message_last(project: Project) -> None:
    samples = [{"id": "a", "messages": CHAT, "metadata": {"reference_answer": "42"}}]
    (answer,) = ok(project.post("/compat/bedrock/math?fallback=0", samples))
    assert answer["metrics_list"] == [{"name": "unscored", "value": 1.0, "type": "Metric"}]


def test_sagemaker_puts_the_reference_beside_the_messages(project: Project) -> None:
    right = {"messages": _said(RIGHT), "reference_answer": "42"}
    samples = [
        {"id": "a", **right},
        {"id": "b", **right, "metadata": {"reference_answer": "41", "my_key": 1}},
        {"id": "c", "messages": _said(RIGHT), "reference_answer": "41"},
    ]
    answers = ok(project.post("/compat/bedrock/math", samples))
    assert [(one["id"], one["aggregate_reward_score"]) for one in answers] == [("a", 1.0), ("b", 1.0), ("c", 0.0)]


def test_nemo_gym_repeats_the_request(project: Project) -> None:
    body = PROTOCOLS["nemo-gym"].body(RIGHT, "42") | {"row": {"x": [1]}, "instance_config": {"y": 2}}
    answer = ok(project.post("/compat/nemo-gym/math/verify", body))
    assert {name: answer[name] for name in body if name != "instance_config"} == {
        name: value for name, value in body.items() if name != "instance_config"
    }
    assert answer["instance_config"] == {"y": 2, "mask_sample": False}


def test_nemo_gym_repeats_no_verdict_of_before(project: Project) -> None:
    before = {"reward": 7, "mask_sample": True, "failure_kind": "judge_failed", "reward_components": {"a": 7.0}}
    answer = ok(project.post("/compat/nemo-gym/math/verify", PROTOCOLS["nemo-gym"].body(RIGHT, "42") | before))
    assert {name: answer[name] for name in before} == {
        "reward": 1.0,
        "mask_sample": False,
        "failure_kind": None,
        "reward_components": None,
    }


@pytest.mark.parametrize("response", [{}, {"output": [], "status": "failed", "error": {"message": "no memory"}}])
def test_nemo_gym_masks_a_rollout_without_an_answer_of_the_model(project: Project, response: Any) -> None:
    body = PROTOCOLS["nemo-gym"].body(RIGHT, "42") | {"response": response}
    answer = ok(project.post("/compat/nemo-gym/math/verify", body))
    assert answer["mask_sample"] is True
    assert "/response" in answer["failure_reason"]
    assert [row["outcome"] for row in project.scores()] == ["unscored"]


def test_azure_reads_the_message_where_the_text_is_empty(project: Project) -> None:
    body = PROTOCOLS["azure"].body(RIGHT, "42")
    body["sample"]["output_text"] = ""
    assert ok(project.post("/compat/azure/math", body))["score"] == 1.0


@pytest.mark.parametrize("choices", [[], [{"message": {"role": "assistant", "content": "Done.", "tool_calls": []}}]])
def test_azure_reads_the_tools_that_a_rollout_called(project: Project, choices: Any) -> None:
    tools = [
        {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {"n": {}}}}}
    ]
    name = unique("calls")
    ok(project.post("/verifiers", {"name": name, "kind": "tool_call", "config": {"tools": tools}}), 201)
    call = {"id": "1", "type": "function", "function": {"name": "book", "arguments": '{"n": 2}'}}
    sample = {"choices": choices, "output_text": "Done.", "output_tools": [call]}
    item = {"reference_answer": {"calls": [{"name": "book", "arguments": {"n": 2}}]}}
    assert ok(project.post(f"/compat/azure/{name}", {"sample": sample, "item": item}))["score"] == 1.0
    sample["output_tools"] = []
    assert ok(project.post(f"/compat/azure/{name}", {"sample": sample, "item": item}))["score"] == 0.0


def test_nemo_gym_scores_tool_calls(project: Project) -> None:
    tools = [
        {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {"n": {}}}}}
    ]
    name = unique("calls")
    ok(project.post("/verifiers", {"name": name, "kind": "tool_call", "config": {"tools": tools}}), 201)
    body = {
        "responses_create_params": {"input": "Book 2."},
        "response": {"output": [{"type": "function_call", "name": "book", "arguments": '{"n": 2}', "call_id": "c"}]},
        "ground_truth": {"calls": [{"name": "book", "arguments": {"n": 2}}]},
    }
    assert ok(project.post(f"/compat/nemo-gym/{name}/verify", body))["reward"] == 1.0


def test_nemo_gym_sessions_have_no_state(project: Project) -> None:
    seed, close = "/compat/nemo-gym/math/seed_session", "/compat/nemo-gym/math/close_session"
    assert ok(project.post(seed, {})) == {}
    session = {"resources_session_id": "s", "episode_id": "e", "task_id": "t", "task_data": {}}
    assert ok(project.post(seed, session)) == {"resources_session_id": "s"}
    assert ok(project.post(close, {"resources_session_id": "s", "episode_id": "e"})) == {"resources_session_id": "s"}
    assert ok(project.get("/compat/nemo-gym/math/reverify_mode")) == "stateless"


def test_nemo_gym_metrics_leave_masked_rollouts_out(project: Project) -> None:
    rollouts = [
        {"_ng_task_index": 0, "_ng_rollout_index": 0, "reward": 1.0},
        {"_ng_task_index": 0, "_ng_rollout_index": 1, "reward": 0.0},
        {"_ng_task_index": 1, "_ng_rollout_index": 0, "reward": 0.0, "mask_sample": True},
    ]
    answer = ok(project.post("/compat/nemo-gym/math/aggregate_metrics", {"verify_responses": rollouts}))
    assert answer["key_metrics"]["mean/reward"] == 0.5
    assert answer["key_metrics"]["coverage/masked_rollouts"] == 1
    assert answer["key_metrics"]["coverage/fully_masked_tasks"] == 1
    assert ok(project.post("/compat/nemo-gym/math/aggregate_metrics", {"verify_responses": rollouts[2:]}))[
        "key_metrics"
    ] == {
        "coverage/measured_rollouts": 0,
        "coverage/masked_rollouts": 1,
        "coverage/measured_tasks": 0,
        "coverage/fully_masked_tasks": 1,
    }


ROLL = {
    "priority": 1,
    "project_id": "p",
    "experiment_id": "e",
    "global_step": 3,
    "data_id": "d",
    "rollout_id": "r",
    "prompt": PROMPT,
    "response": RIGHT,
    "reward_info": {"reference": "42"},
    "reward_manager": [],
    "timeout": 300,
}


def roll_result(project: Project, id: str, query: str = "") -> Any:
    """The reward, polled as ROLL's client does: GET with a body."""
    limit = time.monotonic() + 60
    while True:
        answer = ok(project.request("GET", "/compat/roll/math/result" + query, {"reward_request_id": id}))
        if answer["errcode"] != 1:
            return answer
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_roll_submits_and_polls(project: Project) -> None:
    headers = {"XRL-Authorization": f"Bearer {project.key}"}
    submitted = ok(project.post("/compat/roll/math/submit", ROLL, key=None, headers=headers))
    assert submitted["errcode"] == 0
    answer = roll_result(project, submitted["reward_request_id"])
    assert (answer["errcode"], answer["reward_score"]) == (0, 1.0)
    (row,) = project.scores()
    assert (row["id"], row["run"], row["step"], row["item_id"]) == (submitted["reward_request_id"], "e", 3, "d/r")


@pytest.mark.parametrize("step", [2**63, 10**30, -1, "3"])
def test_a_step_that_is_none_costs_roll_no_reward(project: Project, step: Any) -> None:
    id = ok(project.post("/compat/roll/math/submit", ROLL | {"global_step": step}))["reward_request_id"]
    assert roll_result(project, id)["reward_score"] == 1.0
    assert [row["step"] for row in project.scores()] == [None]


def test_roll_is_told_what_cannot_be_scored(project: Project) -> None:
    body = ROLL | {"reward_info": {"reference": {"answer": []}}}
    id = ok(project.post("/compat/roll/math/submit", body))["reward_request_id"]
    answer = roll_result(project, id)
    assert (answer["errcode"], answer["reward_score"]) == (2, None)
    assert "bad_item" in answer["errmsg"]
    answer = roll_result(project, id, "?fallback=0.5")
    assert (answer["errcode"], answer["reward_score"]) == (0, 0.5)


async def test_roll_is_told_of_a_failure_that_left_no_verdict() -> None:
    merger = SimpleNamespace(under_way=lambda id: False, failure=lambda id: "no database")
    answer = await roll_answer(cast(Any, SimpleNamespace(merger=merger)), cast(Any, None), uuid7(), 0.5)
    assert (answer["errcode"], answer["reward_score"]) == (2, None)
    assert "no database" in answer["errmsg"]


def test_roll_knows_no_request_of_another_project(project: Project, service: Service) -> None:
    id = ok(project.post("/compat/roll/math/submit", ROLL))["reward_request_id"]
    roll_result(project, id)
    stranger = new_project(service)
    answer = ok(stranger.post("/compat/roll/math/result", {"reward_request_id": id}))
    assert (answer["errcode"], answer["reward_score"]) == (1, None)
    old = "0190f3a2-6b1c-7000-8000-000000000000"
    problem(project.post("/compat/roll/math/result", {"reward_request_id": old}), 404, "not-found")
    problem(project.post("/compat/roll/none/submit", ROLL), 404, "unknown-verifier")


def test_without_a_database_there_is_a_503_and_no_number(make_service: Callable[..., Service]) -> None:
    running = make_service()
    project = Project(running, running.key)
    body = PROTOCOLS["openrlhf"].body(RIGHT, "42")
    assert ok(project.post("/compat/openrlhf/math", body))["rewards"] == [1.0]
    server = postmaster(running).pid
    os.kill(server, signal.SIGSTOP)  # it is there, and says nothing
    try:
        for pid in postgres_processes(running):
            os.kill(pid, signal.SIGSTOP)
        problem(project.post("/compat/openrlhf/math?deadline_s=1", body), 503, "storage-unavailable")
    finally:
        for pid in postgres_processes(running):
            os.kill(pid, signal.SIGCONT)
        os.kill(server, signal.SIGCONT)
