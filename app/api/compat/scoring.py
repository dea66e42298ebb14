"""One item of a foreign protocol through the one scoring path: recorded, and never a number that nobody gave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Query
from pydantic import BaseModel

from app.api.deps import Body
from app.errors import Problem
from app.results import Result, ScoredBatch
from app.services import Services
from app.settings import Settings
from app.store.projects import Project
from app.store.writer import IdempotencyRow
from app.tasks import Inline, Options, Task
from verifiers.base import ErrorType, Item, Outcome

M = TypeVar("M", bound=BaseModel)

MAX_DEADLINE_S = 600.0
MAX_MEMORY_MB = 16_384
"""What the kind `code` allows."""

Fallback = Annotated[
    float | None,
    Query(
        ge=0, le=1, allow_inf_nan=False, description="What to answer instead of 503 where an item cannot be scored."
    ),
]


async def scored(
    state: Services, project: Project, body: Body[M], verifier: Inline, item: Item, deadline_s: float
) -> Result:
    """The item's recorded verdict; that of the first time where the request's `Idempotency-Key` was used before."""
    options = Options(deadline_s=min(deadline_s, MAX_DEADLINE_S), detail="full")
    tasks = [Task(item)]
    if body.key is None:
        batch = await state.engine.score(project, verifier, tasks, options)
    else:
        batch = await _scored_once(state, project, verifier, tasks, options, body.key, body.sha256)
    return batch.results[0]


async def _scored_once(
    state: Services,
    project: Project,
    verifier: Inline,
    tasks: list[Task],
    options: Options,
    key: str,
    sha256: bytes,
) -> ScoredBatch:
    claim = IdempotencyRow(project.id, key, sha256)
    return await state.flights.score_once(
        state.database,
        claim,
        options.detail,
        lambda: state.engine.score(project, verifier, tasks, options, idempotency=claim),
    )


def limits(settings: Settings, seconds: float) -> dict[str, Any]:
    """The kind's limits of a test that may take so many seconds by the clock, in all the memory there is."""
    return {"cpu_s": seconds, "wall_s": seconds, "memory_mb": min(settings.sandbox_memory_mb, MAX_MEMORY_MB)}


@dataclass(frozen=True, slots=True)
class TestMark:
    """What became of one test. `fault` is empty where it passed, else the kind's word for why not."""

    fault: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.fault


NOT_TOLD = "not told"
"""The fault of a test that was not run, or that the verdict does not list."""


def detail_of(result: Result) -> dict[str, Any]:
    """The verdict's detail, as much of it as there is."""
    detail: dict[str, Any] = json.loads("{" + result.body + "}")["detail"]
    return detail


def tests_of(result: Result, count: int) -> list[TestMark]:
    """What became of each of an item's tests, in order.

    Raises `Problem` (409) where that was not kept: for a repeated `Idempotency-Key` in a project that keeps no
    completions.
    """
    detail = detail_of(result)
    if "tests" not in detail and result.score not in (0, 1):
        raise Problem("item-not-kept", "this project keeps no details of verdicts, so this one cannot be told again")
    listed = ["" if word == "passed" else word for word in detail.get("tests", ())]
    times = detail.get("ms", ())
    marks = [
        TestMark(fault, times[place] / 1000 if place < len(times) else 0.0) for place, fault in enumerate(listed)
    ]
    first_failed = count if result.score == 1 else detail.get("index", 0)
    rest = range(len(marks), count)
    return marks + [TestMark("" if place < first_failed else NOT_TOLD) for place in rest]


def unscored(result: Result) -> Problem:
    """The problem of an item without a score: 422 where it cannot be used as sent, else 503. It is recorded."""
    if result.outcome is Outcome.PENDING:
        why = "the outcome is not known yet, and this protocol has no word for that; use POST /score and GET /signals"
        return Problem("not-scored", why, error=None, score_id=str(result.score_id))
    error = json.loads("{" + result.body + "}")["error"]
    if error["type"] == ErrorType.BAD_ITEM:
        return Problem("invalid-body", error["message"], score_id=str(result.score_id))
    return Problem("not-scored", error["message"], error=error, score_id=str(result.score_id))
