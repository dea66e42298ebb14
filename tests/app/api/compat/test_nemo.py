"""OpenAI's Responses form as chat messages, and statistics over rollouts."""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.compat.nemo_messages import completion_of, fault_of, prompt_of
from app.api.compat.nemo_metrics import aggregated, aggregated_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
TYPES = st.sampled_from(["message", "function_call", "function_call_output", "reasoning", None, 3])


@pytest.mark.parametrize(
    ("params", "prompt"),
    [
        ({"input": "Hi"}, "Hi"),
        ({"input": [{"role": "user", "content": "Hi"}]}, [{"role": "user", "content": "Hi"}]),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "H"}, {"type": "input_image"}]}]},
            [{"role": "user", "content": "H"}],
        ),
        (
            {"input": "Hi", "instructions": "Be brief."},
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        ),
        ({}, None),
    ],
)
def test_prompts(params: dict[str, Any], prompt: Any) -> None:
    assert prompt_of(params) == prompt


def test_calls_and_what_tools_answered_keep_their_order() -> None:
    output = [
        {"type": "reasoning", "summary": [{"text": "hidden"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "c1"},
        {"type": "function_call_output", "call_id": "c1", "output": "seen"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]},
    ]
    assert completion_of({"output": output}) == [
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "seen", "tool_call_id": "c1"},
        {"role": "assistant", "content": "Done."},
    ]


@pytest.mark.parametrize("response", [{"output": []}, {"output": [{"type": "reasoning"}]}])
def test_a_rollout_that_says_nothing_is_the_empty_text(response: dict[str, Any]) -> None:
    assert fault_of(response) is None
    assert completion_of(response) == ""


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"output": None},
        {"output": "text"},
        {"output": ["text"]},
        {"output": [], "status": "failed"},
        {"output": [], "error": {"code": "server_error", "message": "out of memory"}},
    ],
)
def test_what_is_no_answer_of_the_model_is_a_fault(response: dict[str, Any]) -> None:
    assert fault_of(response) is not None


def test_a_response_cut_off_is_the_models_answer() -> None:
    assert fault_of({"output": [], "status": "incomplete", "error": None}) is None


def test_a_message_of_the_output_without_a_role_is_the_assistants() -> None:
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Yes."}]}]
    assert completion_of({"output": output}) == [{"role": "assistant", "content": "Yes."}]
    assert prompt_of({"input": [{"content": "Well?"}]}) == [{"role": "user", "content": "Well?"}]


@given(st.lists(st.dictionaries(st.sampled_from(["type", "role", "content", "output", "name"]), JSON | TYPES)))
def test_any_output_becomes_a_completion(output: list[dict[str, Any]]) -> None:
    completion = completion_of({"output": output})
    assert completion == "" or any(message["role"] == "assistant" for message in completion)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_mean_lies_between_least_and_greatest(rewards: list[float]) -> None:
    metrics = aggregated([{"reward": reward, "_ng_rollout_index": place} for place, reward in enumerate(rewards)])
    agent = metrics["agent_metrics"]
    assert agent["min/reward"] - 1e-9 <= agent["mean/reward"] <= agent["max/reward"] + 1e-9
    assert agent["num_repeats"] == len(rewards)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_the_deviation_is_that_of_the_standard_library(rewards: list[float]) -> None:
    metrics = aggregated([{"reward": reward} for reward in rewards])["agent_metrics"]
    assert metrics["std/reward"] == pytest.approx(statistics.stdev(rewards), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("value", [0.1, 1e149, -0.0])
def test_equal_values_have_no_deviation(value: float) -> None:
    assert aggregated([{"reward": value}] * 3)["agent_metrics"]["std/reward"] == 0.0


@given(st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=4), max_size=5))
def test_rollouts_of_any_form_have_metrics(rollouts: list[dict[str, Any]]) -> None:
    assert json.loads(aggregated_json(rollouts)) == json.loads(json.dumps(aggregated(rollouts)))
    assert aggregated(rollouts).keys() == {
        "group_level_metrics",
        "agent_metrics",
        "key_metrics",
        "perf_summary",
        "repeat_level_metrics",
    }
