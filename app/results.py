"""One item's recorded verdict, as it is stored and as it is answered."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from app import wire
from app.store.database import Record
from verifiers.base import ErrorType, Outcome, Verdict

Detail = Literal["none", "brief", "full"]


def verdict_body(verdict: Verdict, detail: Detail) -> str:
    """`detail`, `components`, `steps` and `error` of a verdict as the members of a JSON object, without braces."""
    error = verdict.error
    return (
        '"detail":'
        + _detail(verdict, detail)
        + ',"components":'
        + (wire.encode(verdict.components) if verdict.components else "{}")
        + ',"steps":'
        + ("null" if verdict.steps is None else wire.encode([_step(s.score, s.start, s.end) for s in verdict.steps]))
        + ',"error":'
        + ("null" if error is None else wire.encode(_error(error.type, error.message, error.retryable)))
    )


def _detail(verdict: Verdict, detail: Detail) -> str:
    if detail == "none":
        return "{}"
    return wire.encode(verdict.detail | verdict.full if detail == "full" else verdict.detail)


def _step(score: float, start: int, end: int) -> dict[str, Any]:
    return {"score": score, "start": start, "end": end}


def _error(type: str, message: str, retryable: bool) -> dict[str, Any]:
    return {"type": str(type), "message": message, "retryable": retryable}


def without_text(verdict: Verdict) -> str:
    """The stored body under a policy that keeps no completions: stages and error types, nothing a caller wrote."""
    stage = {key: verdict.detail[key] for key in ("stage", "fault") if key in verdict.detail}
    error = verdict.error
    return f'"detail":{wire.encode(stage)},"components":{{}},"steps":null,"error":' + (
        "null" if error is None else wire.encode(_error(error.type, "not kept", error.retryable))
    )


@dataclass(frozen=True, slots=True)
class Result:
    """One item's answer. `body` is `verdict_body`; `item_id` is the caller's id or None."""

    item_id: str | None
    score_id: UUID
    verifier: str | None
    kind: str | None
    outcome: Outcome
    score: float | None
    body: str
    error: ErrorType | None
    ms: float
    cached: bool

    def encoded(self, *, zero: bool = False) -> str:
        """The item of a /score answer. `zero` writes 0.0 where it is unscored (`on_error: zero`)."""
        score = 0.0 if zero and self.outcome is Outcome.UNSCORED else self.score
        return (
            f'{{"id":{wire.encode(self.item_id)},"score_id":"{self.score_id}","verifier":{wire.encode(self.verifier)},'
            f'"score":{"null" if score is None else repr(float(score))},"outcome":"{self.outcome}",{self.body},'
            f'"ms":{self.ms:.3f},"cached":{"true" if self.cached else "false"}}}'
        )


def from_row(row: Record, detail: Detail = "full") -> Result:
    """The result that a row of `scores` (with its verifier's kind, name and version) holds."""
    body = row.verdict.decode()
    error = json.loads("{" + body + "}")["error"]
    if detail == "none":
        members = json.loads("{" + body + "}") | {"detail": {}}
        body = wire.encode(members)[1:-1]
    return Result(
        item_id=None if row.item_id is None else json.loads(row.item_id),
        score_id=row.id,
        verifier=label(row),
        kind=row.kind,
        outcome=Outcome(row.outcome),
        score=row.score,
        body=body,
        error=None if error is None else ErrorType(error["type"]),
        ms=row.ms,
        cached=row.cached,
    )


def label(row: Record) -> str | None:
    """How a row names its verifier: `name@version`, `kind@inline`, or None where it had none."""
    if row.kind is None:
        return None
    return f"{row.name}@{row.version}" if row.name is not None else f"{row.kind}@inline"


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """The answer to one request, every item recorded."""

    batch_id: UUID
    results: Sequence[Result]

    @property
    def unscored(self) -> list[int]:
        """The positions of the items that could not be scored; those that are pending are not among them."""
        return [position for position, result in enumerate(self.results) if result.outcome is Outcome.UNSCORED]

    def encoded(self, *, zero: bool = False) -> str:
        """The /score answer as JSON. The summary's mean is over scored items only, null where there are none."""
        scored = [result.score for result in self.results if result.score is not None]
        mean = math.fsum(score / len(scored) for score in scored) if scored else None
        summary = {
            "count": len(self.results),
            "scored": len(scored),
            "unscored": len(self.results) - len(scored),
            "mean": mean,
        }
        items = ",".join([result.encoded(zero=zero) for result in self.results])
        return f'{{"batch_id":"{self.batch_id}","items":[{items}],"summary":{wire.encode(summary)}}}'
