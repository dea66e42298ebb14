"""OpenAI's graders on a live service: its response shapes, its errors, and every verdict recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.api.compat.openai_graders import RunGraderResponse
from tests.app.api.json_server import JsonServer
from tests.app.api.support import Project, new_project, ok, problem, unique
from tests.service import Answer, Service
from tests.verifiers.grader.support import alike, check, multi
from verifiers.grader.faults import Fault

RUN = "/v1/fine_tuning/alpha/graders/run"
VALIDATE = "/v1/fine_tuning/alpha/graders/validate"
ITEM = {"answer": "Paris"}
FLAGS = (
    "formula_parse_error",
    "invalid_variable_error",
    "model_grader_parse_error",
    "model_grader_refusal_error",
    "model_grader_server_error",
    "other_error",
    "python_grader_runtime_error",
    "python_grader_server_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
)
DETAILS = (
    "model_grader_server_error_details",
    "python_grader_runtime_error_details",
    "python_grader_server_error_type",
)
"""What `GraderRunResponse` of the `openai` package 3.57 has in `metadata.errors`."""
PYTHON = {"type": "python", "name": "code", "source": "def grade(sample, item):\n    return 1 / item['n']"}


@pytest.fixture
def sandbox(service: Service) -> None:
    """Skips where the service has no sandbox."""
    found = ok(service.get("/sandbox"))
    if not found["ready"]:
        pytest.skip(found["reason"])


@pytest.fixture
def chat_model(default_project: Project) -> Iterator[Callable[..., str]]:
    """Makes a backend whose model answers with this message."""
    made: list[tuple[str, JsonServer]] = []

    def make(content: str, **message: Any) -> str:
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": content, **message},
        }
        server = JsonServer("/v1", lambda _: {"choices": [choice], "usage": usage})
        name = unique("model")
        chat = {"model": "script", "json_schema": "no", "logprobs": "no"}
        asked = {"name": name, "type": "chat", "url": server.url, "allow_private": True, "chat": chat}
        ok(default_project.post("/backends", asked), 201)
        made.append((name, server))
        return name

    yield make
    for name, server in made:
        ok(default_project.delete(f"/backends/{name}"))
        server.close()


def run(project: Project, grader: dict[str, Any], sample: Any = "Paris", item: Any = None, **options: Any) -> Any:
    """The answer of a run that gave a reward, which has OpenAI's shape and no more."""
    query = options.pop("query", "")
    body = {"grader": grader, "model_sample": sample, "item": ITEM if item is None else item}
    answer = ok(project.post(RUN + query, body, **options))
    assert RunGraderResponse.model_validate(answer).model_dump() == answer
    return answer


def error(answer: Answer, status: int, code: str, param: str | None = None) -> Any:
    """The answer's error, which has OpenAI's form."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json"), answer
    found = answer.json()["error"]
    assert found["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert (found["code"], found["param"]) == (code, param), found
    assert 0 < len(found["message"]) < 700
    return found


def flags(metadata: Any) -> set[str]:
    """What went wrong, by OpenAI's names."""
    return {name for name, value in metadata["errors"].items() if value is True}


def model_grader(model: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": "{{sample.output_text}}"}]
    return {"type": "score_model", "name": "asks", "model": model, "input": messages, "range": [0, 10]}


def test_a_reward_is_given_and_recorded(project: Project) -> None:
    answer = run(project, check())
    assert (answer["reward"], answer["sub_rewards"]) == (1.0, {})
    assert answer["metadata"].pop("execution_time") >= 0
    assert answer["metadata"].pop("errors") == {
        **dict.fromkeys(FLAGS, False),
        **dict.fromkeys(DETAILS),
    }
    assert answer["metadata"] == {
        "name": "check", "type": "string_check", "scores": {}, "token_usage": None, "sampled_model_name": None,
    }  # fmt: skip
    recorded = project.scores()
    assert {(row["verifier"], row["score"]) for row in recorded} == {("grader@inline", 1.0)}


def test_every_fault_is_a_flag_of_the_protocol() -> None:
    assert set(Fault) < set(FLAGS)


def test_a_multi_grader_tells_its_parts(project: Project) -> None:
    grader = multi("(a + b) / 2", a=alike("fuzzy_match"), b=check("ilike"))
    answer = run(project, grader, "Parts")
    assert answer["sub_rewards"] == answer["metadata"]["scores"] == {"a": 0.8, "b": 0.0}
    assert (answer["reward"], flags(answer["metadata"])) == (0.4, set())


def test_a_registered_grader_scores_what_a_run_does(project: Project) -> None:
    grader = multi("(a + b) / 2", a=alike("fuzzy_match"), b=check("ilike"))
    made = ok(project.post("/verifiers", {"name": "mine", "kind": "grader", "config": {"grader": grader}}), 201)
    assert made["config"]["grader"]["calculate_output"] == "(a + b) / 2"
    scored = project.score("mine@1", {"completion": "Parts", "reference": ITEM})["items"][0]
    assert (scored["score"], scored["components"]) == (0.4, {"a": 0.8, "b": 0.0})


def test_examples_of_a_registration_must_score(project: Project) -> None:
    body = {"name": "checked", "kind": "grader", "config": {"grader": check()}}
    good = {"completion": "Paris", "reference": ITEM, "expect": 1.0}
    ok(project.post("/verifiers", {**body, "examples": [good]}), 201)
    bad = {"completion": "Rome", "reference": ITEM, "expect": 1.0}
    problem(project.post("/verifiers", {**body, "name": "other", "examples": [bad]}), 422, "example-failed")


def test_an_unreadable_sample_scores_zero_and_says_so(project: Project) -> None:
    answer = run(project, check("eq", "{{sample.output_json.x}}"))
    assert (answer["reward"], flags(answer["metadata"])) == (0.0, {"sample_parse_error"})
    answer = run(project, multi("1 - a", a=check("eq", "{{sample.output_json.x}}")))
    assert (answer["reward"], flags(answer["metadata"])) == (0.0, {"sample_parse_error"})


def test_tool_calls_come_in_chat_messages(project: Project) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get_city", "arguments": "{}"}}
    sample = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    grader = check("eq", "{{sample.output_tools[0].function.name}}", "get_city")
    assert run(project, grader, sample)["reward"] == 1.0


def test_a_function_in_the_sandbox(project: Project, sandbox: None) -> None:
    assert run(project, PYTHON, item={"n": 4})["reward"] == 0.25
    refused = project.post(RUN, {"grader": PYTHON, "model_sample": "x", "item": {"n": 0}})
    found = error(refused, 503, "not-scored")
    assert refused.headers["x-should-retry"] == "false"
    assert int(refused.headers["retry-after"]) >= 1
    assert flags(found["metadata"]) == {"python_grader_runtime_error"}
    details = found["metadata"]["errors"]["python_grader_runtime_error_details"]
    assert details == found["message"] == "grade raised ZeroDivisionError: division by zero (line 2)"
    answer = run(project, PYTHON, item={"n": 0}, query="?fallback=-0.5")
    assert (answer["reward"], flags(answer["metadata"])) == (-0.5, {"python_grader_runtime_error"})


def test_a_model_grades_and_its_tokens_are_told(project: Project, chat_model: Callable[..., str]) -> None:
    name = chat_model('{"steps": [], "result": 12}')
    answer = run(project, model_grader(name))
    assert answer["reward"] == 10.0
    assert (answer["metadata"]["token_usage"], answer["metadata"]["sampled_model_name"]) == (15, name)
    usage = answer["model_grader_token_usage_per_model"]
    assert usage == {name: {"prompt_tokens": 10.0, "completion_tokens": 5.0, "total_tokens": 15.0}}


@pytest.mark.parametrize(
    ("content", "message", "flag"),
    [("I like it.", {}, "model_grader_parse_error"), ("", {"refusal": "no"}, "model_grader_refusal_error")],
)
def test_a_model_without_an_answer_is_no_reward(
    project: Project, chat_model: Callable[..., str], content: str, message: Any, flag: str
) -> None:
    name = chat_model(content, **message)
    refused = project.post(RUN, {"grader": model_grader(name), "model_sample": "x"})
    assert flags(error(refused, 503, "not-scored")["metadata"]) == {flag}
    assert [row["score"] for row in project.scores()] == [None]
    answer = run(project, model_grader(name), "x", query="?fallback=0")
    assert (answer["reward"], flags(answer["metadata"])) == (0.0, {flag})


def test_a_model_that_is_gone_may_be_asked_again(project: Project, default_project: Project) -> None:
    name = unique("gone")
    chat = {"model": "script", "json_schema": "no", "logprobs": "no"}
    asked = {"name": name, "type": "chat", "url": "http://127.0.0.1:9/v1", "allow_private": True, "chat": chat}
    ok(default_project.post("/backends", asked), 201)
    try:
        refused = project.post(f"{RUN}?deadline_s=2", {"grader": model_grader(name), "model_sample": "x"})
        found = error(refused, 503, "not-scored")
        assert flags(found["metadata"]) == {"model_grader_server_error"}
        assert found["metadata"]["errors"]["model_grader_server_error_details"]
        assert refused.headers["x-should-retry"] == "true"
    finally:
        ok(default_project.delete(f"/backends/{name}"))


def test_an_item_that_lacks_a_field(project: Project) -> None:
    found = error(project.post(RUN, {"grader": check(), "model_sample": "x", "item": {}}), 400, "invalid-body")
    assert found["message"] == "the item has no item.answer, which the grader names"
    assert flags(found["metadata"]) == {"invalid_variable_error"}


def test_a_valid_grader_comes_back_as_it_was_sent(project: Project) -> None:
    for grader in (check(), alike("meteor"), PYTHON, multi("a ^ 2", a=check())):
        assert ok(project.post(VALIDATE, {"grader": grader})) == {"grader": grader}
    assert project.scores() == []


@pytest.mark.parametrize("path", [RUN, VALIDATE])
@pytest.mark.parametrize(
    ("grader", "param", "message"),
    [
        ({"type": "x"}, "grader", "must be a grader whose type is"),
        ({**check(), "operation": "is"}, "grader.operation", "/grader/operation: Input should be 'eq'"),
        (check("eq", "{{sample.text}}"), "grader.input", "a sample has output_text"),
        (multi("a + b", a=check()), "grader.calculate_output", "no part is named 'b'"),
        (multi("a", a=check(), b=check()), "grader.graders.b", "does not use the grader 'b'"),
        ({**PYTHON, "source": "def grade("}, "grader.source", "code is not Python"),
        (alike("cosine"), "grader.model", "cosine compares embeddings"),
        (alike("cosine", model="no-such-model"), "grader.model", "no backend 'no-such-model'"),
        (model_grader("no-such-model"), "grader.model", "no backend 'no-such-model'"),
        (multi("a", a=model_grader("no-such-model")), "grader.graders.a.model", "no backend 'no-such-model'"),
    ],
)
def test_a_grader_that_cannot_work(project: Project, path: str, grader: Any, param: str, message: str) -> None:
    found = error(project.post(path, {"grader": grader, "model_sample": "x"}), 400, "invalid-config", param)
    assert message in found["message"]
    assert "/config" not in found["message"]
    assert project.scores() == []


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"", 400, "invalid-json", None),
        (b"{", 400, "invalid-json", None),
        (b'{"grader": NaN}', 400, "invalid-json", None),
        (b"[" * 5_000, 400, "invalid-json", None),
        ([], 400, "invalid-body", None),
        ({}, 400, "invalid-body", "grader"),
        ({"grader": []}, 400, "invalid-body", "grader"),
        ({"grader": check()}, 400, "invalid-body", "model_sample"),
        ({"grader": check(), "model_sample": 5}, 400, "invalid-body", "model_sample"),
        ({"grader": check(), "model_sample": []}, 400, "invalid-body", "model_sample"),
        ({"grader": check(), "model_sample": "x", "item": "row"}, 400, "invalid-body", "item"),
    ],
)
def test_what_is_no_request(project: Project, body: Any, status: int, code: str, param: str | None) -> None:
    error(project.post(RUN, body), status, code, param)


def test_parameters_that_are_none(project: Project) -> None:
    body = {"grader": check(), "model_sample": "x", "item": ITEM}
    error(project.post(f"{RUN}?fallback=nan", body), 400, "invalid-parameter", "fallback")
    error(project.post(f"{RUN}?deadline_s=0", body), 400, "invalid-parameter", "deadline_s")


def test_a_huge_sample(project: Project) -> None:
    text = "x" * 3_000_000
    answer = run(project, check("ne"), text)
    assert (answer["reward"], flags(answer["metadata"])) == (0.0, {"sample_parse_error"})
    refused = project.post(RUN, json.dumps({"grader": check(), "model_sample": text * 12}).encode())
    error(refused, 413, "body-too-large")


def test_text_of_any_sort(project: Project) -> None:
    assert (
        run(project, check(), "\x00\ud800{{item.answer}}", {"answer": "\x00\ud800{{item.answer}}"})["reward"] == 1.0
    )


def test_keys(project: Project, service: Service, sandbox: None) -> None:
    body = {"grader": check(), "model_sample": "x", "item": ITEM}
    code = {"grader": PYTHON, "model_sample": "x", "item": {"n": 1}}
    scores, reads, both = project.new_key("score"), project.new_key("read"), project.new_key("score", "register")
    error(project.post(RUN, body, key=None), 401, "unauthorized")
    error(project.post(RUN, body, key="assay_wrong"), 401, "unauthorized")
    error(project.post(RUN, body, key=reads), 403, "forbidden")
    error(project.post(VALIDATE, {"grader": check()}, key=reads), 403, "forbidden")
    ok(project.post(RUN, body, key=scores))
    ok(project.post(f"{RUN}?key={scores}", body, key=None))
    found = error(project.post(RUN, code, key=scores), 403, "forbidden")
    assert "'register'" in found["message"]
    ok(project.post(RUN, code, key=both))
    error(project.post(f"{RUN}?key={both}", code, key=None), 403, "forbidden")
    assert new_project(service).scores() == []


def test_a_request_that_is_sent_again_is_recorded_once(project: Project) -> None:
    body = {"grader": check(), "model_sample": "Rome", "item": ITEM}
    headers = {"Idempotency-Key": unique("key")}
    first = ok(project.post(RUN, body, headers=headers))
    assert ok(project.post(RUN, body, headers=headers))["reward"] == first["reward"] == 0.0
    assert len(project.scores()) == 1


def test_a_project_that_keeps_nothing_answers_the_same(service: Service) -> None:
    project = new_project(service, keep="none")
    answer = run(project, multi("a + b", a=check(), b=check("like")))
    assert (answer["reward"], answer["sub_rewards"]) == (2.0, {"a": 1.0, "b": 1.0})
