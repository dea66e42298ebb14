"""reward-kit's remote evaluator: POST evaluate, for `reward-kit preview --remote-url` and `RewardFunction`.

Written from its released code (0.4.1, `reward_kit/generic_server.py`): one sample a call, 30 s. Its own word for a
sample that cannot be scored is `is_score_valid: false`, but its `RewardFunction` reads the score alone: so without a
fallback such a sample is a 503 here too.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import AliasPath, BaseModel, ConfigDict, Field

from app import wire
from app.api.compat.foreign import Foreign
from app.api.compat.query import RewardQuery, asks, query_of
from app.api.compat.rewards import (
    Asker,
    components_of,
    error_of,
    reference_of,
    rewards,
    steps_of,
    task,
)
from app.api.deps import Received, json_response, takes
from app.api.direct import Direct
from app.results import Result
from app.tasks import Task

router = APIRouter(prefix="/compat/reward-kit", tags=["compat"], route_class=Direct)

PATIENCE_S = 27.0


class EvaluationRequest(Foreign):
    """A conversation to evaluate; its last message is the assistant's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "messages": [
                        {"role": "user", "content": "What is 6 times 7?"},
                        {"role": "assistant", "content": "It is \\boxed{42}."},
                    ],
                    "ground_truth": "42",
                }
            ]
        }
    )
    messages: list[dict[str, Any]] = Field(min_length=1, fail_fast=True)
    ground_truth: Any = Field(None, description="The reference; else one of the usual names in `kwargs`.")
    parameters: dict[str, Any] | None = Field(None, validation_alias=AliasPath("kwargs"))


class Metric(BaseModel):
    """One component of the verdict."""

    score: float
    is_score_valid: bool = True
    reason: str


class StepOutput(BaseModel):
    """The reward of one step."""

    step_index: int
    base_reward: float
    metrics: dict[str, Any] = Field(default_factory=dict)
    reason: str | None = None


class EvaluateResult(BaseModel):
    """The verdict in reward-kit's words."""

    score: float
    is_score_valid: bool = Field(description="False where the score is the fallback.")
    reason: str | None
    metrics: dict[str, Metric]
    step_outputs: list[StepOutput] | None
    error: str | None


@router.post("/{verifier}/evaluate", response_model=EvaluateResult, operation_id="reward_kit_evaluate")
@takes(EvaluationRequest)
@asks(RewardQuery)
async def evaluate(request: Request) -> Response:
    """Evaluate a conversation as a reward-kit server does. Its header `X-Api-Key` is accepted as the key."""
    query = query_of(request, RewardQuery)
    asker = await Asker.of(request, query, PATIENCE_S, "x-api-key")
    async with Received(request, EvaluationRequest) as body:
        (result,) = await asker.results(body, request.path_params["verifier"], [_task(body.value)])
        (reward,) = rewards([result], query.fallback)
        return json_response(wire.encode(_answer(result, reward)))


def _task(asked: EvaluationRequest) -> Task:
    last = asked.messages[-1]
    if last.get("role") != "assistant":
        return Task(None, fault="/messages: the last message must be the assistant's")
    given = asked.ground_truth
    return task(
        prompt=asked.messages[:-1] or None,
        completion=[last],
        reference=reference_of(asked.parameters or {}) if given is None else given,
    )


def _answer(result: Result, reward: float) -> dict[str, Any]:
    steps = steps_of(result)
    why = None
    if result.score is None:
        error = error_of(result)
        why = "the outcome is not known yet" if error is None else f"{error['type']}: {error['message']}"
    return {
        "score": reward,
        "is_score_valid": why is None,
        "reason": why or f"{result.verifier}: {result.outcome}",
        "metrics": {
            name: {"score": value, "is_score_valid": True, "reason": name}
            for name, value in components_of(result).items()
            if 0 <= value <= 1  # it refuses others
        },
        "step_outputs": None
        if steps is None
        else [{"step_index": place, "base_reward": step["score"]} for place, step in enumerate(steps)],
        "error": why,
    }
