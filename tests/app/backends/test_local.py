"""Models that Assay serves itself, as backends: what their process says, as rewards and errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.backends.local import LocalOptions, LocalServer
from app.models.process import ModelSpec, ModelUnavailableError
from verifiers.base import ErrorType
from verifiers.lent import Reward, Solution, StepScores

CONVERSATION = [{"role": "assistant", "content": "A"}]
SOLUTION = Solution([{"role": "user", "content": "Q"}], ["one", "two"])


class Model:
    """Stands for a model's process, which has tests of its own."""

    def __init__(self, outputs: Sequence[dict[str, Any]] | ModelUnavailableError) -> None:
        self._outputs = outputs
        self.asked: list[Any] = []

    async def score(self, inputs: Sequence[dict[str, Any]], *, deadline: float) -> list[dict[str, Any]]:
        self.asked += inputs
        if isinstance(self._outputs, ModelUnavailableError):
            raise self._outputs
        return list(self._outputs)


def server(tmp_path: Path, outputs: Any, **options: Any) -> tuple[LocalServer, Model]:
    made = LocalServer("rm", LocalOptions(model="m", **options), tmp_path)
    model: Any = Model(outputs)
    made._model = model
    return made, model


async def test_rewards_and_each_error(tmp_path: Path) -> None:
    local, model = server(
        tmp_path,
        [
            {"score": 1.5, "tokens": 7, "truncated": True},
            {"score": None, "tokens": 7, "truncated": False},
            {"error": "input", "message": "no"},
            {"error": "overflow", "message": "long"},
            {"error": "busy", "message": "full"},
            {"error": "fault", "message": "oh"},
        ],
    )
    first, *others = await local.rewards([CONVERSATION] * 6, deadline=time.monotonic() + 9)
    assert first == Reward(1.5, None, 7, truncated=True)
    assert [(reward.error.type, reward.error.retryable) for reward in others if reward.error] == [
        (ErrorType.BACKEND_FAULT, False),
        (ErrorType.BAD_ITEM, False),
        (ErrorType.CONTEXT_OVERFLOW, False),
        (ErrorType.BACKEND_UNAVAILABLE, True),
        (ErrorType.BACKEND_FAULT, False),
    ]
    assert str(others[1].error) == "the backend rm: no"
    assert model.asked == [{"messages": CONVERSATION}] * 6
    assert local.running == 0


async def test_step_scores(tmp_path: Path) -> None:
    local, model = server(
        tmp_path,
        [
            {"steps": [0.5, 1.0], "tokens": 9, "truncated": False},
            {"steps": [0.5, None], "tokens": 9, "truncated": False},
        ],
        steps=True,
    )
    good, bad = await local.steps([SOLUTION] * 2, deadline=time.monotonic() + 9)
    assert good == StepScores((0.5, 1.0), None, 9)
    assert bad.scores is None
    assert model.asked[0] == {"messages": [{"role": "user", "content": "Q"}], "steps": ["one", "two"]}


async def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    local, _ = server(tmp_path, ModelUnavailableError("the model is still being loaded; ask again"))
    [reward] = await local.rewards([CONVERSATION], deadline=time.monotonic() + 9)
    assert reward.error is not None
    assert (reward.error.type, reward.error.retryable) == (ErrorType.BACKEND_UNAVAILABLE, True)
    assert str(reward.error) == "the backend rm: the model is still being loaded; ask again"


async def test_scores_of_the_other_sort_are_refused(tmp_path: Path) -> None:
    rewards, asked = server(tmp_path, [])
    steps, asked_too = server(tmp_path, [], steps=True)
    [scores] = await rewards.steps([SOLUTION], deadline=time.monotonic() + 9)
    [reward] = await steps.rewards([CONVERSATION], deadline=time.monotonic() + 9)
    assert scores.error is not None
    assert reward.error is not None
    assert asked.asked == asked_too.asked == []


async def test_a_model_that_is_no_model_is_unavailable_and_says_why(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="models take the extra: pip install -e '.[models]'")
    local = LocalServer("rm", LocalOptions(model=str(tmp_path / "none"), device="cpu"), tmp_path)
    try:
        [reward] = await local.rewards([CONVERSATION], deadline=time.monotonic() + 120)
    finally:
        await local.close()
    assert "there is no such folder" in str(reward.error)
    await asyncio.sleep(0)


def test_options_become_the_models_specification() -> None:
    assert LocalOptions(model="m").spec() == ModelSpec("m")
    given: dict[str, Any] = {
        "model": "m",
        "steps": True,
        "device": "cuda:1",
        "threads": 4,
        "max_tokens": 512,
        "latency_ms": 2.0,
    }
    assert LocalOptions.model_validate(given).spec() == ModelSpec(**given)


@pytest.mark.parametrize(
    "options",
    [{}, {"model": ""}, {"model": "m", "device": "gpu"}, {"model": "m", "threads": 0}, {"model": "m", "x": 1}],
)
def test_malformed_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LocalOptions.model_validate(options)
