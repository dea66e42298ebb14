"""OpenAI's Responses form as chat messages, and statistics over rollouts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.compat.nemo_messages import completion_of, prompt_of
from app.api.compat.nemo_metrics import aggregated

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


@pytest.mark.parametrize("response", [{}, {"output": None}, {"output": []}, {"output": [{"type": "reasoning"}]}])
def test_a_rollout_that_says_nothing_is_the_empty_text(response: dict[str, Any]) -> None:
    assert completion_of(response) == ""


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


@given(st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=4), max_size=5))
def test_rollouts_of_any_form_have_metrics(rollouts: list[dict[str, Any]]) -> None:
    assert aggregated(rollouts).keys() == {
        "group_level_metrics",
        "agent_metrics",
        "key_metrics",
        "perf_summary",
        "repeat_level_metrics",
    }
