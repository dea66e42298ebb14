"""The plain shape that home-made reward servers have: POST items, get rewards."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app import wire
from app.api.compat.foreign import Foreign, at_most
from app.api.compat.query import RewardQuery, asks, query_of
from app.api.compat.rewards import (
    MAX_ITEMS,
    Asker,
    labelled,
    reference_of,
    rewards,
    task,
)
from app.api.deps import Received, json_response, takes
from app.api.direct import Direct
from app.api.one_by_one import OneByOne, Unreadable
from app.tasks import Task
from verifiers.base import Prompt

router = APIRouter(prefix="/compat/batch", tags=["compat"], route_class=Direct)

PATIENCE_S = 110.0


class BatchItem(Foreign):
    """A completion to reward."""

    prompt: Prompt | None = None
    response: Prompt
    ground_truth: Any = Field(None, description="The reference; or `{verifier, reference}`, also as JSON text.")
    reference: Any = None
    expected_answer: Any = None
    label: Any = None
    answer: Any = None


class BatchRequest(Foreign):
    """Completions to reward."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"items": [{"prompt": "What is 6 times 7?", "response": "It is \\boxed{42}.", "ground_truth": "42"}]}
            ]
        }
    )
    items: Annotated[
        list[Annotated[BatchItem, OneByOne("the item", "Anything else is answered by the fallback.")]],
        BeforeValidator(at_most(MAX_ITEMS, "items")),
    ] = Field(min_length=1)


class BatchReward(BaseModel):
    """One item's reward."""

    reward: float
    unscored: bool = Field(description="Whether the reward is the fallback.")


class BatchResponse(BaseModel):
    """Rewards, in the order of the items."""

    rewards: list[BatchReward]


@router.post("/{verifier}", response_model=BatchResponse, operation_id="batch_reward")
@takes(BatchRequest)
@asks(RewardQuery)
async def reward(request: Request) -> Response:
    """Reward completions in one call."""
    query = query_of(request, RewardQuery)
    asker = await Asker.of(request, query, PATIENCE_S)
    async with Received(request, BatchRequest) as body:
        results = await asker.results(
            body, request.path_params["verifier"], [_task(item) for item in body.value.items]
        )
        answer = {
            "rewards": [
                {"reward": given, "unscored": result.score is None}
                for result, given in zip(results, rewards(results, query.fallback), strict=True)
            ]
        }
        return json_response(wire.encode(answer))


def _task(item: BatchItem | Unreadable) -> Task:
    if isinstance(item, Unreadable):
        return Task(None, fault=item.fault, item_id=item.id)
    told = labelled(
        reference_of(item.model_dump(include={"reference", "expected_answer", "ground_truth", "label", "answer"}))
    )
    return task(told.verifier, prompt=item.prompt, completion=item.response, reference=told.reference)
