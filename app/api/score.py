"""POST /score: verdicts for a batch of completions."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app import wire
from app.api.deps import Body, Received, authorized, json_response, services, takes
from app.api.direct import Direct
from app.api.one_by_one import OneByOne, Unreadable
from app.auth import Principal
from app.errors import Problem
from app.registry import inline_scope
from app.results import Detail, ScoredBatch
from app.services import Services
from app.store.writer import IdempotencyRow
from app.tasks import Inline, Options, Reference, Task
from verifiers.base import ErrorType, Item, Outcome, Strict
from verifiers.lent import InlineVerifier

router = APIRouter(tags=["score"], route_class=Direct)

MAX_ITEMS = 4096
MAX_VERIFIERS = 256
"""Different verifiers that one request may use."""
BAD_ITEM = "Anything else is accepted and answered `unscored` with the error `bad_item`."
RUN = r"^[^\x00-\x1f\x7f]{1,200}$"


class ScoreItem(Item):
    """One completion to score."""

    verifier: str | InlineVerifier | None = Field(
        None, description="For this item only, instead of the request's.", examples=["math@1"]
    )


class ScoreOptions(Strict):
    """How the batch is scored."""

    on_error: Literal["null", "zero", "fail"] = Field(
        "null", description="What an unscored item's score is: null, 0.0, or a 502 for the whole request."
    )
    deadline_ms: int = Field(30_000, ge=1, le=600_000, description="When verifying stops.")
    cache: bool = Field(True, description="Whether a verdict may be reused.")
    detail: Detail = Field("brief", description="How much the verdicts tell.")


class ScoreRequest(Strict):
    """A batch of completions and what verifies them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "verifier": "math",
                    "items": [{"id": "a1", "completion": "So it is \\boxed{42}.", "reference": "42"}],
                }
            ]
        }
    )
    verifier: str | InlineVerifier | None = Field(
        None, description="`name` (latest version), `name@version`, or a kind with its configuration."
    )
    items: list[Annotated[ScoreItem, OneByOne("the item", BAD_ITEM)]] = Field(min_length=1, max_length=MAX_ITEMS)
    options: ScoreOptions = Field(default_factory=ScoreOptions)
    run: str | None = Field(None, pattern=RUN, description="The training run this belongs to.")
    step: int | None = Field(None, ge=0, le=2**63 - 1, description="The run's step.")


class VerdictError(BaseModel):
    """Why an item is unscored."""

    type: ErrorType
    message: str
    retryable: bool


class StepScore(BaseModel):
    """The score of characters `start` to `end` of the completion."""

    score: float
    start: int
    end: int


class ScoreResult(BaseModel):
    """One item's verdict."""

    id: str | None = Field(description="The item's id.")
    score_id: UUID = Field(description="For GET /scores/{id}.")
    verifier: str | None = Field(description="`name@version`, or `kind@inline`.", examples=["math@1"])
    score: float | None = Field(description="Null where the item could not be scored.")
    outcome: Outcome
    detail: dict[str, Any]
    components: dict[str, float]
    steps: list[StepScore] | None
    error: VerdictError | None
    ms: float = Field(description="The item's share of the time its batch took to verify.")
    cached: bool = Field(description="Whether the verdict was reused.")


class ScoreSummary(BaseModel):
    """Counts over the batch."""

    count: int
    scored: int
    unscored: int = Field(description="Items without a score, those that are pending included.")
    mean: float | None = Field(description="Mean over the scored items.")


class ScoreResponse(BaseModel):
    """The verdicts, in the items' order; all of them are committed."""

    batch_id: UUID
    items: list[ScoreResult]
    summary: ScoreSummary


class _References:
    """The engine's form of the verifiers that a request names or sends: one for each that differs."""

    def __init__(self) -> None:
        self._known: dict[str, Reference] = {}

    def of(self, verifier: str | InlineVerifier | None) -> Reference | None:
        if verifier is None:
            return None
        key = wire.encode([verifier.kind, verifier.config]) if isinstance(verifier, InlineVerifier) else verifier
        known = self._known.get(key)
        if known is None:
            if len(self._known) == MAX_VERIFIERS:
                raise Problem(
                    "invalid-body", f"a request uses at most {MAX_VERIFIERS} different verifiers", pointer="/items"
                )
            known = Inline(verifier.kind, verifier.config) if isinstance(verifier, InlineVerifier) else verifier
            self._known[key] = known
        return known

    def require_scopes(self, who: Principal) -> None:
        """Raise `Problem` (403) where a verifier that the request sends takes a scope that the key lacks."""
        for reference in self._known.values():
            if isinstance(reference, Inline):
                who.require(inline_scope(reference.kind, reference.config))

    def task(self, item: ScoreItem | Unreadable) -> Task:
        """The engine's form of an item."""
        if isinstance(item, Unreadable):
            return Task(None, fault=item.fault, item_id=item.id)
        return Task(item, self.of(item.verifier))


@router.post("/score", response_model=ScoreResponse, operation_id="score")
@takes(ScoreRequest)
async def score(request: Request) -> Response:
    """Score completions. A 200 means that every verdict is committed."""
    state = services(request)
    who = await authorized(request, "score")
    async with Received(request, ScoreRequest) as body:
        batch = await _score(state, who, body)
        on_error = body.value.options.on_error
        if on_error == "fail":
            _require_scored(batch)
        return json_response(batch.encoded(zero=on_error == "zero"))


async def _score(state: Services, who: Principal, body: Body[ScoreRequest]) -> ScoredBatch:
    request, project = body.value, who.project
    options = Options(
        deadline_s=request.options.deadline_ms / 1000,
        cache=request.options.cache,
        detail=request.options.detail,
        run=request.run,
        step=request.step,
    )
    references = _References()
    verifier = references.of(request.verifier)
    tasks = [references.task(item) for item in request.items]
    references.require_scopes(who)
    if body.key is None:
        return await state.engine.score(project, verifier, tasks, options)
    claim = IdempotencyRow(project.id, body.key, body.sha256)
    return await state.flights.score_once(
        state.database,
        claim,
        options.detail,
        lambda: state.engine.score(project, verifier, tasks, options, idempotency=claim),
    )


def _require_scored(batch: ScoredBatch) -> None:
    missing = batch.unscored
    if missing:
        items = [{"index": i, "id": batch.results[i].item_id, "error": batch.results[i].error} for i in missing[:100]]
        raise Problem(
            "items-unscored",
            f"{len(missing)} of {len(batch.results)} items could not be scored; all verdicts are recorded",
            batch_id=str(batch.batch_id),
            items=items,
        )
