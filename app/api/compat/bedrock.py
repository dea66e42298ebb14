"""Reinforcement fine-tuning on Amazon Bedrock and SageMaker: what the reward Lambda is sent, and answers.

Written from their documentation, which differ in where the reference stands. A Lambda that forwards its event here
and returns the answer is all it takes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel

from app import wire
from app.api.compat.foreign import Foreign, at_most
from app.api.compat.query import RewardQuery, asks, query_of
from app.api.compat.rewards import (
    MAX_ITEMS,
    Asker,
    components_of,
    reference_of,
    rewards,
    task,
)
from app.api.deps import Received, json_response, takes
from app.api.direct import Direct
from app.api.one_by_one import OneByOne, Unreadable
from app.tasks import Task

router = APIRouter(prefix="/compat/bedrock", tags=["compat"], route_class=Direct)

PATIENCE_S = 55.0


class BedrockSample(Foreign):
    """A conversation whose last message is the assistant's."""

    id: str
    messages: list[dict[str, Any]] = Field(min_length=1, fail_fast=True)
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Its `reference_answer` is the reference, or one of the usual names."
    )
    reference_answer: Any = Field(None, description="The reference where SageMaker puts it, beside the messages.")


class BedrockRequest(
    RootModel[
        Annotated[
            list[Annotated[BedrockSample, OneByOne("the sample", "Anything else is answered by the fallback.")]],
            BeforeValidator(at_most(MAX_ITEMS, "samples")),
            Field(min_length=1),
        ]
    ]
):
    """Samples to reward."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                [
                    {
                        "id": "s1",
                        "messages": [
                            {"role": "user", "content": "What is 6 times 7?"},
                            {"role": "assistant", "content": "It is \\boxed{42}."},
                        ],
                        "metadata": {"reference_answer": "42"},
                    }
                ]
            ]
        }
    )


class BedrockMetric(BaseModel):
    """A number beside the reward."""

    name: str
    value: float
    type: Literal["Reward", "Metric"]


class BedrockReward(BaseModel):
    """A sample's reward."""

    id: str | None
    aggregate_reward_score: float
    metrics_list: list[BedrockMetric]


@router.post("/{verifier}", response_model=list[BedrockReward], operation_id="bedrock")
@takes(BedrockRequest)
@asks(RewardQuery)
async def reward(request: Request) -> Response:
    """Reward samples as a reward Lambda does."""
    query = query_of(request, RewardQuery)
    asker = await Asker.of(request, query, PATIENCE_S)
    async with Received(request, BedrockRequest) as body:
        results = await asker.results(
            body, request.path_params["verifier"], [_task(sample) for sample in body.value.root]
        )
        answer = [
            {
                "id": result.item_id,
                "aggregate_reward_score": score,
                "metrics_list": [
                    {"name": name, "value": value, "type": "Metric"}
                    for name, value in {
                        **components_of(result),
                        "unscored": float(result.score is None),
                    }.items()
                ],
            }
            for result, score in zip(results, rewards(results, query.fallback), strict=True)
        ]
        return json_response(wire.encode(answer))


def _task(sample: BedrockSample | Unreadable) -> Task:
    if isinstance(sample, Unreadable):
        return Task(None, fault=sample.fault, item_id=sample.id)
    last = sample.messages[-1]
    if last.get("role") != "assistant":
        return Task(None, fault="/messages: the last message must be the assistant's", item_id=sample.id)
    return task(
        id=sample.id,
        prompt=sample.messages[:-1] or None,
        completion=[last],
        reference=reference_of(sample.metadata, "reference_answer")
        if sample.reference_answer is None
        else sample.reference_answer,
    )
