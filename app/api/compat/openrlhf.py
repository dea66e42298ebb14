"""OpenRLHF's remote reward model: `--reward.remote_url` (`--remote_rm_url` before 0.10).

Written from its released code (0.11.2, `openrlhf/utils/agent.py`): one completion a call in practice, each on a
connection of its own, 180 s, five tries a second apart. Its `query` is the prompt and what the model wrote, special
tokens kept; the verifier gets what the model wrote alone (`response_of`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app import wire
from app.api.compat.foreign import Foreign, at_most, refused
from app.api.compat.query import RewardQuery, asks, query_of
from app.api.compat.rewards import (
    MAX_ITEMS,
    Asker,
    components_of,
    labelled,
    rewards,
    task,
)
from app.api.deps import Received, json_response, takes
from app.api.direct import Direct
from app.results import Result
from app.tasks import Task
from verifiers.base import GivingWay

router = APIRouter(prefix="/compat/openrlhf", tags=["compat"], route_class=Direct)

PATIENCE_S = 170.0
END_TOKENS = (
    "</s>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<eos>", "<end_of_turn>",
    "<turn|>", "<|end|>", "<|return|>", "<|end_of_turn|>", "<｜end▁of▁sentence｜>", "<|endofturn|>", "[EOS]",
    "[e~[", "<|user|>", "<|observation|>", "<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>",
    "<|vision_pad|>", "<｜▁pad▁｜>",
)  # fmt: skip
"""What known models end with, or are padded with."""
START_TOKENS = ("<s>", "<|begin_of_text|>", "<bos>", "<｜begin▁of▁sentence｜>", "<|endoftext|>", "[BOS]")
"""What a tokenizer may put before a prompt."""
MAX_ENDS = 100_000
"""End tokens stripped of one completion, more than any model writes."""


class OpenRLHFRequest(Foreign):
    """Completions to reward."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query": ["What is 6 times 7? It is \\boxed{42}.<|im_end|>"],
                    "prompts": ["What is 6 times 7?"],
                    "labels": ["42"],
                }
            ]
        }
    )
    query: Annotated[list[str], BeforeValidator(at_most(MAX_ITEMS, "texts"))] = Field(
        min_length=1, description="Prompt and response, special tokens kept."
    )
    prompts: Annotated[list[str] | None, BeforeValidator(at_most(MAX_ITEMS, "texts"))] = None
    labels: Annotated[list[Any] | None, BeforeValidator(at_most(MAX_ITEMS, "labels"))] = Field(
        None, description="References; or `{verifier, reference}`, also as JSON text."
    )


class OpenRLHFResponse(BaseModel):
    """Rewards, in the order of `query`."""

    rewards: list[float]
    scores: list[float] = Field(description="The rewards within 0 to 1, where its dynamic filter looks.")
    extra_logs: dict[str, list[float]] = Field(
        description="`unscored`: 1 where the reward is the fallback; `prompt_matched`: 0 where the whole query was "
        "scored; and the components asked for, 0 where a verdict has none of that name."
    )


class OpenRLHFQuery(RewardQuery):
    """How completions are scored, what they end with, and what is told beside the reward."""

    eos: tuple[str, ...] = Field(
        (), max_length=20, description="More end tokens to strip, for a model that has its own."
    )
    component: tuple[str, ...] = Field(
        (),
        max_length=100,
        description="Names of components that `extra_logs` has, for every item: OpenRLHF fails where samples of one "
        "batch have different names.",
    )


@router.post("", response_model=OpenRLHFResponse, operation_id="openrlhf_by_label")
@takes(OpenRLHFRequest)
@asks(OpenRLHFQuery)
async def by_label(request: Request) -> Response:
    """Reward completions whose labels name their verifiers: `{"verifier": "math", "reference": "42"}`."""
    return await _answered(request, None)


@router.post("/{verifier}", response_model=OpenRLHFResponse, operation_id="openrlhf")
@takes(OpenRLHFRequest)
@asks(OpenRLHFQuery)
async def by_path(request: Request) -> Response:
    """Reward completions as OpenRLHF's remote reward model does."""
    return await _answered(request, request.path_params["verifier"])


async def _answered(request: Request, verifier: str | None) -> Response:
    query = query_of(request, OpenRLHFQuery)
    asker = await Asker.of(request, query, PATIENCE_S)
    async with Received(request, OpenRLHFRequest) as body:
        tasks = await _tasks(body.value, (*END_TOKENS, *filter(None, query.eos)))
        results = await asker.results(body, verifier, tasks)
        given = rewards(results, query.fallback)
        answer = {
            "rewards": given,
            "scores": [min(1.0, max(0.0, reward)) for reward in given],
            "extra_logs": _extra_logs(tasks, results, query.component),
        }
        return json_response(wire.encode(answer))


async def _tasks(asked: OpenRLHFRequest, ends: Sequence[str]) -> list[Task]:
    count = len(asked.query)
    prompts: Sequence[str | None] = asked.prompts or [None] * count
    labels: Sequence[Any] = asked.labels or [None] * count
    for name, values in (("prompts", prompts), ("labels", labels)):
        if len(values) != count:
            raise refused(f"/{name}", f"has {len(values)} entries for a query of {count}")
    tasks = []
    turn = GivingWay()
    for query, prompt, label in zip(asked.query, prompts, labels, strict=True):
        await turn.over()
        response, matched = response_of(query, prompt, ends)
        told = labelled(label)
        tasks.append(
            task(
                told.verifier,
                prompt=prompt,
                completion=response,
                reference=told.reference,
                metadata={"prompt_matched": matched},
            )
        )
    return tasks


def response_of(query: str, prompt: str | None, ends: Sequence[str] = END_TOKENS) -> tuple[str, bool]:
    """What the model wrote, and whether the prompt was found in front of it.

    The prompt is cut off the front, whatever start tokens and space a tokenizer put before it or took away, and end
    tokens off the end. A prompt that OpenRLHF truncated on its left is no prefix of the query: then the whole query
    is the response.
    """
    response, matched = query, False
    if prompt:
        start, asked = _begin(query), prompt[_begin(prompt) :]
        if query.startswith(asked, start):
            response, matched = query[start + len(asked) :], True
    ended = _ending(tuple(ends)).match(response[::-1])
    return response[: len(response) - (ended.end() if ended else 0)], matched


_START = re.compile(f"(?:{'|'.join(map(re.escape, START_TOKENS))})*+ *+")


def _begin(text: str) -> int:
    """How much of a text is start tokens, and the space that sentencepiece puts behind them."""
    start = _START.match(text)
    return start.end() if start else 0


@lru_cache(maxsize=256)
def _ending(ends: tuple[str, ...]) -> re.Pattern[str]:
    """Matches the end tokens of a text that is written backwards."""
    backwards = sorted((re.escape(token[::-1]) for token in ends), key=len, reverse=True)
    return re.compile(f"(?:{'|'.join(backwards)}){{0,{MAX_ENDS}}}+")


def _extra_logs(
    tasks: Sequence[Task], results: Sequence[Result], components: Sequence[str]
) -> dict[str, list[float]]:
    found = [components_of(result) for result in results] if components else []
    return {
        **{name: [parts.get(name, 0.0) for parts in found] for name in components},
        "unscored": [float(result.score is None) for result in results],
        "prompt_matched": [float(task.item is not None and task.item.metadata["prompt_matched"]) for task in tasks],
    }
