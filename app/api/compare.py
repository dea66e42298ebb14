"""POST /compare: completions of one prompt from best to worst, with a pair to learn from."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app import wire
from app.api.deps import Body, Received, authorized, json_response, services, takes
from app.api.one_by_one import OneByOne, Unreadable
from app.api.score import RUN, VerdictError
from app.auth import Principal
from app.comparing import Group, compare, games_of, games_of_scores, verdicts_of
from app.errors import Problem
from app.ranking import Game, best_against_worst, ranking
from app.registry import Resolved, inline_scope
from app.results import Result, ScoredBatch
from app.services import Services
from app.store.projects import Project
from app.store.writer import IdempotencyRow
from app.tasks import Options, Slot, Task
from verifiers.base import Completion, Item, Name, Prompt, Strict
from verifiers.lent import InlineVerifier, Pair, Prefers

router = APIRouter(tags=["compare"])

MAX_ITEMS = 1024
MAX_COMPLETIONS = 64
MAX_TOTAL = 4096
"""Completions of a request."""


class CompareItem(Strict):
    """A prompt and its completions."""

    id: Name | None = Field(None, description="Echoed in the result; yours to choose.")
    prompt: Prompt | None = None
    completions: list[Completion] = Field(min_length=2, max_length=MAX_COMPLETIONS)
    reference: Any = Field(None, description="For verifiers that need one; the same for every completion.")
    metadata: dict[str, Any] = Field(default_factory=dict)


class CompareOptions(Strict):
    """How groups are compared."""

    method: Literal["auto", "all", "tournament"] = Field(
        "auto",
        description="For verifiers that compare two at a time: every pair (`all`), or a Swiss tournament of about "
        "n log n comparisons; `auto` takes all pairs of up to 8 completions. Others score each completion once.",
    )
    deadline_ms: int = Field(30_000, ge=1, le=600_000, description="When verifying stops.")
    cache: bool = Field(True, description="Whether a verdict may be reused.")


class CompareRequest(Strict):
    """Groups of completions and what compares them."""

    verifier: str | InlineVerifier = Field(
        description="A judge in pairwise mode compares two at a time; any other verifier scores each completion.",
        examples=["math"],
    )
    items: list[Annotated[CompareItem, OneByOne("the item", "answered with an `error`")]] = Field(
        min_length=1, max_length=MAX_ITEMS
    )
    options: CompareOptions = Field(default_factory=CompareOptions)
    run: str | None = Field(None, pattern=RUN, description="The training run this belongs to.")
    step: int | None = Field(None, ge=0, le=2**63 - 1, description="The run's step.")


class PairOutcome(BaseModel):
    """How two completions compare."""

    first: int
    second: int
    preferred: float | None = Field(description="1: the first; 0: the second; 0.5: a tie; null: could not be told.")


class PreferencePair(BaseModel):
    """A pair for DPO: the best against the worst."""

    chosen: Any = Field(description="The completion, as it was sent.")
    rejected: Any
    chosen_index: int
    rejected_index: int
    margin: float = Field(description="The difference of their scores.")


class CompareResult(BaseModel):
    """One group's comparison."""

    id: str | None
    score_ids: list[UUID] = Field(description="Of the completions' recorded scores, in their order.")
    scores: list[float | None] = Field(description="Each one's score, or the share of its comparisons that it won.")
    ranking: list[list[int]] = Field(
        description="From best to worst, equals together, by index; without those that could not be scored."
    )
    outcomes: list[PairOutcome]
    pair: PreferencePair | None = Field(
        description="Null where no completion is better than another, or the two are the same."
    )
    error: VerdictError | None = Field(description="Of the first completion that could not be scored.")


class CompareResponse(BaseModel):
    """The comparisons, in the items' order; every completion's score is committed."""

    verifier: str
    batch_id: UUID | None = Field(description="Null where no item could be read.")
    items: list[CompareResult]


@router.post("/compare", response_model=CompareResponse, operation_id="compare")
@takes(CompareRequest)
async def compare_completions(request: Request) -> Response:
    """Rank the completions of each prompt, and pair the best with the worst for DPO."""
    state = services(request)
    who = await authorized(request, "score")
    async with Received(request, CompareRequest) as body:
        asked = body.value
        readable = [item for item in asked.items if isinstance(item, CompareItem)]
        total = sum(len(item.completions) for item in readable)
        if total > MAX_TOTAL:
            detail = f"/items: {total:,} completions, more than the {MAX_TOTAL:,} of a request"
            raise Problem("invalid-body", detail, pointer="/items")
        resolved = await _resolved(state, who, asked.verifier)
        groups = [Group(_items(item)) for item in readable]
        batch = await _recorded(state, who.project, resolved, groups, body) if groups else None
        left = iter(() if batch is None else batch.results)
        items = [
            _unreadable(item)
            if isinstance(item, Unreadable)
            else _result(item, [next(left) for _ in item.completions], compares=_compares(resolved))
            for item in asked.items
        ]
        answer = {
            "verifier": resolved.label,
            "batch_id": None if batch is None else str(batch.batch_id),
            "items": items,
        }
        return json_response(wire.encode(answer))


async def _resolved(state: Services, who: Principal, verifier: str | InlineVerifier) -> Resolved:
    if isinstance(verifier, str):
        return await state.registry.resolve(who.project.id, verifier)
    who.require(inline_scope(verifier.kind, verifier.config))
    return await state.registry.inline(who.project.id, verifier.kind, verifier.config)


def _items(asked: CompareItem) -> list[Item]:
    """Each completion as an item of one group."""
    return [
        Item(
            id=asked.id,
            prompt=asked.prompt,
            completion=completion,
            reference=asked.reference,
            group=asked.id,
            metadata=asked.metadata,
        )
        for completion in asked.completions
    ]


async def _recorded(
    state: Services, project: Project, resolved: Resolved, groups: Sequence[Group], body: Body[CompareRequest]
) -> ScoredBatch:
    """Every completion's score, recorded; that of the first time where the request's `Idempotency-Key` was used."""
    asked = body.value
    options = Options(
        deadline_s=asked.options.deadline_ms / 1000, cache=asked.options.cache, run=asked.run, step=asked.step
    )
    tasks = [Task(item) for group in groups for item in group.items]
    claim = None if body.key is None else IdempotencyRow(project.id, body.key, body.sha256)

    async def compute() -> ScoredBatch:
        if not _compares(resolved):
            return await state.engine.score(project, resolved.version_id, tasks, options, idempotency=claim)
        deadline = time.monotonic() + options.deadline_s

        async def prefer(pairs: Sequence[Pair]) -> list[Any]:
            return await state.engine.prefer(project, resolved, pairs, deadline)

        await compare(groups, asked.options.method, prefer)
        slots = [Slot(verdict, resolved) for group in groups for verdict in verdicts_of(group)]
        return await state.engine.record(project, tasks, slots, options, idempotency=claim)

    if claim is None:
        return await compute()
    return await state.flights.score_once(state.database, claim, options.detail, compute)


def _compares(resolved: Resolved) -> bool:
    return isinstance(resolved.verifier, Prefers) and resolved.verifier.compares


def _result(item: CompareItem, results: Sequence[Result], *, compares: bool) -> dict[str, Any]:
    scores = [result.score for result in results]
    bodies = [json.loads("{" + result.body + "}") for result in results]
    games = games_of([body["detail"] for body in bodies]) if compares else games_of_scores(scores)
    errors = [body["error"] for body in bodies if body["error"] is not None]
    return {
        "id": item.id,
        "score_ids": [str(result.score_id) for result in results],
        "scores": scores,
        "ranking": ranking(scores),
        "outcomes": [
            {"first": first, "second": second, "preferred": games[first, second]} for first, second in sorted(games)
        ],
        "pair": _pair(item, scores, games),
        "error": errors[0] if errors else None,
    }


def _pair(
    item: CompareItem, scores: Sequence[float | None], games: dict[Game, float | None]
) -> dict[str, Any] | None:
    found = best_against_worst(scores, games)
    if found is None:
        return None
    chosen, rejected = (_as_sent(item.completions[place]) for place in (found.chosen, found.rejected))
    if chosen == rejected:  # their scores differ by chance
        return None
    return {
        "chosen": chosen,
        "rejected": rejected,
        "chosen_index": found.chosen,
        "rejected_index": found.rejected,
        "margin": found.margin,
    }


def _as_sent(completion: Completion) -> Any:
    if isinstance(completion, str):
        return completion
    return [message.model_dump(exclude_unset=True) for message in completion]


def _unreadable(item: Unreadable) -> dict[str, Any]:
    return {
        "id": item.id,
        "score_ids": [],
        "scores": [],
        "ranking": [],
        "outcomes": [],
        "pair": None,
        "error": {"type": "bad_item", "message": item.fault, "retryable": False},
    }
