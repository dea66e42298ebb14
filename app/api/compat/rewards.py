"""What protocols that ask for rewards have in common: what verifies an item, its one recorded verdict, the number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from app import wire
from app.api.compat.access import may_score
from app.api.compat.foreign import as_bytes
from app.api.compat.query import RewardQuery
from app.api.compat.scoring import unscored
from app.api.deps import Body, services
from app.errors import Problem
from app.results import Result
from app.services import Services
from app.store.projects import Project
from app.store.writer import IdempotencyRow
from app.tasks import Options, Task
from verifiers.base import Item, explain, pointer

M = TypeVar("M", bound=BaseModel)

MAX_ITEMS = 4096
REFERENCES = ("reference", "expected_answer", "ground_truth", "label", "answer")
"""Where a protocol has no field of its own for the reference: the first of these that is there."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a label says: the reference, and perhaps what verifies the item."""

    reference: Any
    verifier: str | None = None


def labelled(label: Any) -> Labelled:
    """A label as it is meant.

    An object with the member `reference`, or JSON text of one, is taken apart: it may name a `verifier` as well. Any
    other label is the reference itself.
    """
    value = label
    if isinstance(label, str) and label.lstrip()[:1] == "{" and '"reference"' in label:
        try:
            value = wire.decode(as_bytes(label))
        except Problem:
            return Labelled(label)
    if isinstance(value, dict) and "reference" in value and value.keys() <= {"reference", "verifier"}:
        verifier = value.get("verifier")
        if verifier is None or isinstance(verifier, str):
            return Labelled(value["reference"], verifier)
    return Labelled(label)


def reference_of(fields: Mapping[str, Any], *first: str) -> Any:
    """The reference among fields that hold anything: under the first of `first` and `REFERENCES` that is there."""
    return next((fields[name] for name in (*first, *REFERENCES) if fields.get(name) is not None), None)


def task(verifier: str | None = None, **fields: Any) -> Task:
    """An item from fields of a foreign body; one that cannot be read keeps its place, and says why."""
    try:
        return Task(Item.model_validate(fields), verifier)
    except ValidationError as error:
        location, message = explain(error, fields)
        id = fields.get("id")
        return Task(None, verifier, f"{pointer(location)}: {message}", id if isinstance(id, str) else None)


@dataclass(frozen=True, slots=True)
class Asker:
    """A request of a foreign protocol: who sent it, and how its items are scored."""

    request: Request
    state: Services
    project: Project
    options: Options

    @staticmethod
    async def of(request: Request, query: RewardQuery, patience_s: float, own_header: str | None = None) -> Asker:
        """`patience_s` is a little less than the client waits. Raises `Problem`: 401, 403."""
        who = await may_score(request, own_header)
        return Asker(request, services(request), who.project, _options(query.deadline_s or patience_s, query.run))

    async def results(self, body: Body[M], verifier: str | None, tasks: Sequence[Task]) -> list[Result]:
        """The items' recorded verdicts, in order; those of the first time where `Idempotency-Key` was used before.

        `verifier` serves the tasks that name none of their own. A single item is merged with those of other requests.
        Raises `Problem` as `Engine.score` does.
        """
        if body.key is not None:
            claim = IdempotencyRow(self.project.id, body.key, body.sha256)
            batch = await self.state.flights.score_once(
                self.state.database,
                claim,
                self.options.detail,
                lambda: self.state.engine.score(self.project, verifier, tasks, self.options, idempotency=claim),
            )
            return list(batch.results)
        if len(tasks) == 1:
            item, named = tasks[0].item, tasks[0].verifier or verifier
            if item is not None and named is not None:
                gone = self.request.is_disconnected
                try:
                    return [await self.state.merger.score(self.project, named, item, self.options, gone)]
                except Problem as problem:
                    if problem.status >= 500 or tasks[0].verifier is None:
                        raise
                # the item's own verifier does not exist: that is its fault, recorded and told as such
        return list((await self.state.engine.score(self.project, verifier, tasks, self.options)).results)


@lru_cache(maxsize=1024)  # equal ones are one, and the merger finds the batch for them sooner
def _options(deadline_s: float, run: str | None) -> Options:
    return Options(deadline_s=deadline_s, run=run)


def rewards(results: Sequence[Result], fallback: float | None) -> list[float]:
    """The items' rewards. Raises `Problem`, naming the items, where one is unscored and there is no fallback."""
    given = [fallback if result.score is None else result.score for result in results]
    missing = [place for place, reward in enumerate(given) if reward is None]
    if missing:
        raise unscored(results[0]) if len(results) == 1 else _several(results, missing)
    return [reward for reward in given if reward is not None]


def _several(results: Sequence[Result], missing: Sequence[int]) -> Problem:
    problems = {place: unscored(results[place]) for place in missing}
    items = [
        {"index": place, "score_id": str(results[place].score_id), "detail": problems[place].detail}
        for place in missing[:100]
    ]
    mended = all(problem.name == "invalid-body" for problem in problems.values())
    return Problem(
        "invalid-body" if mended else "not-scored",
        f"{len(missing)} of {len(results)} could not be scored; all verdicts are recorded. Send fallback=NUMBER "
        f"in the query to get that as their reward. The first, item {missing[0]}: {problems[missing[0]].detail}",
        items=items,
    )


def components_of(result: Result) -> dict[str, float]:
    """The verdict's components."""
    components: dict[str, float] = _body(result)["components"]
    return components


def steps_of(result: Result) -> list[dict[str, Any]] | None:
    """The verdict's steps: `score`, `start` and `end` of each."""
    steps: list[dict[str, Any]] | None = _body(result)["steps"]
    return steps


def error_of(result: Result) -> dict[str, Any] | None:
    """Why an item is unscored: `type`, `message` and `retryable`."""
    error: dict[str, Any] | None = _body(result)["error"]
    return error


def _body(result: Result) -> dict[str, Any]:
    body: dict[str, Any] = json.loads("{" + result.body + "}")
    return body
