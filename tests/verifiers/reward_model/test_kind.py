"""The kind `reward_model` over a model that says what the test wants."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.verifiers.served import Messages, Served, judged_by
from tests.verifiers.support import ANY_TEXT, assert_sound, configured
from verifiers.base import ConfigError, ErrorType, Item, Message, Outcome, Verdict
from verifiers.conversation import MAX_CHARS
from verifiers.lent import BackendError, Reward
from verifiers.reward_model import BATCH, RewardModelConfig


def length(messages: Messages) -> float:
    return float(len(messages[-1]["content"]))


async def one(served: Served | None, config: dict[str, Any] | None = None, **item: Any) -> Verdict:
    [verdict] = await judged_by(served, "reward_model", {"backend": "rm", **(config or {})}, [Item(**item)])
    assert_sound(verdict)
    return verdict


async def test_the_raw_score_is_the_score_and_a_component() -> None:
    verdict = await one(Served(length), prompt="Say hello.", completion="hello")
    assert verdict == Verdict(Outcome.SCORED, 5.0, {"stage": "reward_model", "tokens": 7}, components={"raw": 5.0})


@pytest.mark.parametrize(
    ("config", "score"),
    [
        ({"normalise": "standard", "mean": 3, "deviation": 4}, 0.5),
        ({"normalise": "sigmoid", "mean": 5}, 0.5),
        ({"normalise": "sigmoid", "mean": 3, "deviation": 2}, math.e / (1 + math.e)),
        ({"clip": [-1, 2]}, 2.0),
        ({"normalise": "standard", "reference_scores": [1, 5]}, 1.0),
        ({"normalise": "sigmoid", "reference_scores": [1, 3, 2, 6]}, 1 / (1 + math.exp(-2 / math.sqrt(3.5)))),
        ({"normalise": "standard", "mean": 25, "deviation": 2, "clip": [-3, 3]}, -3.0),
    ],
)
async def test_normalises_and_clips(config: dict[str, Any], score: float) -> None:
    verdict = await one(Served(length), config, prompt="Say hello.", completion="hello")
    assert verdict.score == pytest.approx(score)
    assert verdict.components == {"raw": 5.0}


@pytest.mark.parametrize(
    ("config", "item", "messages"),
    [
        ({}, {"prompt": "Q", "completion": "A"}, [("user", "Q"), ("assistant", "A")]),
        ({}, {"completion": "A"}, [("assistant", "A")]),
        ({}, {"prompt": "Q", "completion": ""}, [("user", "Q"), ("assistant", "")]),
        ({"system": "S"}, {"prompt": "Q", "completion": "A"}, [("system", "S"), ("user", "Q"), ("assistant", "A")]),
        (
            {"system": "S"},
            {"prompt": [Message(role="system", content="own"), Message(role="user", content="Q")], "completion": "A"},
            [("system", "own"), ("user", "Q"), ("assistant", "A")],
        ),
        (
            {},
            {
                "prompt": "Q",
                "completion": [
                    Message(role="assistant", content="look it up"),
                    Message(role="tool", content="42"),
                    Message(role="assistant", content=[{"type": "text", "text": "It is 42."}]),
                ],
            },
            [("user", "Q"), ("assistant", "look it up"), ("tool", "42"), ("assistant", "It is 42.")],
        ),
        ({}, {"prompt": "Q", "completion": "<think>hm</think>A"}, [("user", "Q"), ("assistant", "A")]),
        ({}, {"prompt": "Q", "completion": "<think>hm"}, [("user", "Q"), ("assistant", "")]),
        (
            {"section": "whole"},
            {"prompt": "Q", "completion": "<think>hm</think>A"},
            [("user", "Q"), ("assistant", "<think>hm</think>A")],
        ),
        (
            {},
            {"prompt": "a\ud800b", "completion": "\ud83d\ude00\udfff"},
            [("user", "a\ufffdb"), ("assistant", "😀\ufffd")],
        ),
    ],
)
async def test_what_the_model_reads(config: dict[str, Any], item: dict[str, Any], messages: list[Any]) -> None:
    served = Served(length)
    verdict = await one(served, config, **item)
    assert verdict.score is not None
    [[asked]] = served.conversations
    assert [(message["role"], message["content"]) for message in asked] == messages


async def test_a_cut_conversation_says_so() -> None:
    verdict = await one(Served(lambda messages: Reward(1.0, None, 512, truncated=True)), completion="A")
    assert verdict.detail == {"stage": "reward_model", "tokens": 512, "truncated": True}
    served = Served(length)
    verdict = await one(served, prompt="Q", completion="x" * 3_000_000 + "end")
    assert verdict.score == MAX_CHARS
    assert verdict.detail["truncated"] is True
    [[[question, answer]]] = served.conversations
    assert question["content"] == ""
    assert answer["content"].endswith("xend")


@pytest.mark.parametrize("said", [math.nan, math.inf, -math.inf, Reward(None)])
async def test_what_is_no_finite_number_is_unscored(said: Any) -> None:
    verdict = await one(Served(lambda messages: said), completion="A")
    assert (verdict.score, verdict.outcome) == (None, Outcome.UNSCORED)
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BACKEND_FAULT
    assert verdict.error.message == "the backend rm gave a score that is not a finite number"


async def test_a_score_that_normalising_makes_infinite_is_unscored() -> None:
    verdict = await one(Served(lambda messages: 1e300), {"normalise": "standard", "deviation": 1e-9}, completion="A")
    assert verdict.score is None


async def test_one_error_leaves_its_neighbours_alone() -> None:
    def said(messages: Messages) -> float | BackendError:
        if messages[-1]["content"] == "3":
            return BackendError(ErrorType.CONTEXT_OVERFLOW, "too long", retryable=False)
        return float(messages[-1]["content"])

    items = [Item(completion=str(number)) for number in range(2 * BATCH + 5)]
    served = Served(said)
    verdicts = await judged_by(served, "reward_model", {"backend": "rm"}, items)
    assert [verdict.score for verdict in verdicts] == [None if n == 3 else float(n) for n in range(len(items))]
    assert verdicts[3].error is not None
    assert verdicts[3].error.type is ErrorType.CONTEXT_OVERFLOW
    sizes = [len(some) for some in served.conversations]
    assert (sum(sizes), max(sizes)) == (len(items), BATCH)


async def test_long_conversations_travel_apart() -> None:
    served = Served(length)
    await judged_by(served, "reward_model", {"backend": "rm"}, [Item(completion="x" * 900_000)] * 4)
    assert [len(some) for some in served.conversations] == [2, 2]


async def test_without_backends_or_time_nothing_is_scored() -> None:
    verdict = await one(None, completion="A")
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BACKEND_UNAVAILABLE
    served = Served(length)
    [late] = await judged_by(served, "reward_model", {"backend": "rm"}, [Item(completion="A")], seconds=-1)
    assert late.error is not None
    assert late.error.type is ErrorType.DEADLINE_EXCEEDED
    assert served.conversations == []


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(ANY_TEXT, max_size=8), data=st.data())
async def test_order_and_repetition_change_nothing(texts: list[str], data: st.DataObject) -> None:
    items = [Item(prompt=text, completion=text) for text in texts]
    order = data.draw(st.permutations(range(len(items))))
    straight = await judged_by(Served(length), "reward_model", {"backend": "rm"}, items)
    permuted = await judged_by(Served(length), "reward_model", {"backend": "rm"}, [items[i] for i in order])
    assert [straight[i] for i in order] == permuted
    for verdict in straight:
        assert_sound(verdict)
        assert verdict.score is not None


async def test_a_large_call_gives_way_to_others() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(others())
    items = [Item(completion="é" * 8_000)] * 2_000
    started = time.process_time()
    await judged_by(Served(lambda messages: 1.0), "reward_model", {"backend": "rm"}, items)
    used = time.process_time() - started
    other.cancel()
    assert turns > used / 0.1


@pytest.mark.parametrize(
    ("config", "where", "message"),
    [
        ({}, "backend", "Field required"),
        ({"backend": "../x"}, "backend", "String should match pattern"),
        ({"backend": "rm", "normalise": "softmax"}, "normalise", "Input should be 'none', 'standard' or 'sigmoid'"),
        ({"backend": "rm", "deviation": 0}, "deviation", "greater than or equal to"),
        ({"backend": "rm", "mean": math.nan}, "mean", "finite number"),
        ({"backend": "rm", "normalise": "standard", "reference_scores": [1, math.nan]}, "reference_scores", "finite"),
        ({"backend": "rm", "normalise": "standard", "reference_scores": [0.5] * 10_001}, "reference_scores", "10000"),
        ({"backend": "rm", "clip": [1]}, "clip", "Field required"),
        ({"backend": "rm", "clip": [1, 2, 3]}, "clip", "at most 2 items"),
        ({"backend": "rm", "other": 1}, "other", "Extra inputs"),
    ],
)
def test_malformed_configurations(config: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        configured("reward_model", config)
    [error, *_] = caught.value.errors()
    assert error["loc"][0] == where
    assert message in error["msg"]


@pytest.mark.parametrize(
    ("config", "pointer", "message"),
    [
        ({"clip": [2, 2]}, "/clip", "the first number must be below the second"),
        ({"mean": 3}, "/normalise", "mean and deviation mean nothing without it; set standard or sigmoid"),
        (
            {"reference_scores": [1, 2]},
            "/normalise",
            "mean and deviation mean nothing without it; set standard or sigmoid",
        ),
        (
            {"normalise": "standard", "mean": 3, "reference_scores": [1, 2]},
            "/reference_scores",
            "mean and deviation are taken from these scores; leave out one or the other",
        ),
        (
            {"normalise": "sigmoid", "reference_scores": [2, 2, 2]},
            "/reference_scores",
            "the scores are all the same; fit on completions that differ in quality",
        ),
        (
            {"normalise": "sigmoid", "reference_scores": [2]},
            "/reference_scores",
            "1 scores are too few to fit; score at least 2 completions, better hundreds",
        ),
    ],
)
def test_configurations_that_cannot_work(config: dict[str, Any], pointer: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured("reward_model", {"backend": "rm", **config})
    assert (caught.value.pointer, str(caught.value)) == (pointer, message)


def test_it_needs_its_backend() -> None:
    assert RewardModelConfig(backend="rm").needs().backends == {"/backend": "rm"}
