"""The reward functions for TRL."""

from __future__ import annotations

import inspect
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from tests.trainer_client.faulty import FaultyService, answering, problem
from trainer_client import AuthError
from trainer_client.adapters.trl import async_reward_func, reward_func

BATCH: dict[str, Any] = {
    "prompts": ["p", "p", [{"role": "user", "content": "q"}], "q"],
    "completions": ["a", "hard", [{"role": "assistant", "content": "bb"}], "ccc"],
    "completion_ids": [[1], [1, 2], [3], [4, 5, 6]],
    "answer": ["1", "1", {"kept": ["as it is"]}, None],
}


async def call(function: Any, **extra: Any) -> list[float | None]:
    """As TRL does: a coroutine function is awaited."""
    answer = function(**BATCH, **extra)
    result: list[float | None] = await answer if inspect.isawaitable(answer) else answer
    return result


@pytest.mark.parametrize("make", [reward_func, async_reward_func])
async def test_an_unscored_completion_is_none_and_nothing_else_is(assay: FaultyService, make: Any) -> None:
    rewards = await call(make("math"))
    assert rewards[:2] + rewards[3:] == [1.0, None, 3.0]
    assert isinstance(rewards[2], float)
    items = assay.script.seen[0].items
    assert [item["reference"] for item in items] == BATCH["answer"]
    assert [item["tokens"] for item in items] == [1, 2, 1, 3]
    assert items[2]["completion"] == BATCH["completions"][2]


@pytest.mark.parametrize("make", [reward_func, async_reward_func])
async def test_components_and_outcomes_reach_the_trainers_own_logs(assay: FaultyService, make: Any) -> None:
    metrics: dict[str, float] = {}
    columns: dict[str, list[Any]] = {}
    await call(make("math"), log_metric=metrics.__setitem__, log_extra=columns.__setitem__)
    assert metrics == {"math/unscored": 0.25, "math/style": 0.5}
    assert columns == {"math_outcome": ["scored", "unscored", "scored", "scored"]}


@pytest.mark.parametrize("make", [reward_func, async_reward_func])
async def test_in_an_outage_every_reward_is_none(assay: FaultyService, make: Any) -> None:
    assay.script.faults = ["drop"] * 100
    metrics: dict[str, float] = {}
    assert await call(make("math", deadline_s=0.4), log_metric=metrics.__setitem__) == [None] * 4
    assert metrics == {"math/unscored": 1.0}


@pytest.mark.parametrize("make", [reward_func, async_reward_func])
async def test_what_no_waiting_mends_is_raised(assay: FaultyService, make: Any) -> None:
    assay.script.answer = answering((401, {}, problem("unauthorized", 401)))
    with pytest.raises(AuthError):
        await call(make("math"))
    with pytest.raises(KeyError, match="no column 'gold'"):
        await call(make("math", reference="gold"))


@pytest.mark.parametrize("make", [reward_func, async_reward_func])
async def test_it_pickles_has_a_name_and_says_where_training_is(assay: FaultyService, make: Any) -> None:
    function = make("math", reference="answer", run="run-7")
    assert function.__name__ == "math"
    assert make({"kind": "math"}, name="mine").__name__ == "mine"
    copy = pickle.loads(pickle.dumps(function))  # noqa: S301 - our own
    await call(copy, trainer_state=SimpleNamespace(global_step=12))
    assert b'"run":"run-7","step":12' in assay.script.seen[0].body
    assert inspect.iscoroutinefunction(copy.__call__) == (make is async_reward_func)
