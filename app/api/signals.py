"""/signals: what tells of outcomes that came later, and the list of the verdicts that are settled by now."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app import settling, wire
from app.api.deps import (
    Cursor,
    Limit,
    Page,
    Received,
    answered,
    authorized,
    bad_cursor,
    json_response,
    services,
    takes,
)
from app.api.one_by_one import OneByOne, Unreadable
from app.api.score import VerdictError
from app.api.scores import verifier_filter
from app.idempotency import Answer, answer_once
from app.results import label
from app.settling import Result, Taken
from app.store import outcomes as store
from app.store.database import Connection, Record
from verifiers.base import Outcome, Strict
from verifiers.outcome import SignalName, Told, event_sha256

router = APIRouter(tags=["signals"])

MAX_SIGNALS = 1000
MAX_DETAIL_CHARS = 10_000
"""Of a signal's detail, written as JSON."""
OTHERWISE = "Anything else is accepted and answered `refused`."

_CURSOR = re.compile("[0-9]{1,18}")


def _small(detail: dict[str, Any] | None) -> dict[str, Any] | None:
    if detail is not None and len(wire.encode(detail)) > MAX_DETAIL_CHARS:
        raise ValueError(f"must have at most {MAX_DETAIL_CHARS:,} characters as JSON")
    return detail


class Signal(Strict):
    """What happened to one item, named by the score's id or by its own key; told by a score or an event's name."""

    score_id: UUID | None = Field(None, strict=False, description="The `score_id` of a pending verdict.")
    key: SignalName | None = Field(
        None, description="The key in the items' reference, scored already or not.", examples=["booking-17"]
    )
    score: float | None = Field(None, description="The score, within the verifier's minimum and maximum.")
    event: SignalName | None = Field(None, description="One of the verifier's events, instead of a score.")
    detail: Annotated[dict[str, Any] | None, AfterValidator(_small)] = Field(
        None, description="Anything; it becomes part of the verdict's detail, where the project keeps completions."
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Signal:
        if (self.score_id is None) == (self.key is None):
            raise ValueError("needs either score_id or key")
        if (self.score is None) == (self.event is None):
            raise ValueError("needs either score or event")
        return self

    def read(self) -> settling.Signal:
        """The form in which it settles."""
        told = Told(self.score, None if self.event is None else event_sha256(self.event))
        return settling.Signal(self.score_id, self.key, told, self.detail)


class SignalsRequest(Strict):
    """Signals, in the order in which they count."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"signals": [{"key": "booking-17", "score": 1}]}]})
    signals: list[Annotated[Signal, OneByOne("the signal", OTHERWISE)]] = Field(min_length=1, max_length=MAX_SIGNALS)


class TakenSignal(BaseModel):
    """What became of a signal."""

    result: Result = Field(
        description="settled: it settled the item, or the items that have the key. repeated: they were settled so "
        "before. conflict: they were settled otherwise. kept: no item has the key yet. unknown: no such score. "
        "refused: it cannot be used as sent."
    )
    score_id: UUID | None = Field(description="The item's score; of a key's items, the first.")
    settled: int = Field(description="How many items it settled.")
    score: float | None = Field(description="The score that the item has now.")
    source: Literal["signal", "default"] | None = Field(description="What settled the item.")
    message: str | None = Field(description="Why the signal did not count, where it did not.")


class SignalsSummary(BaseModel):
    """How many signals had each result."""

    settled: int
    repeated: int
    conflict: int
    kept: int
    unknown: int
    refused: int


class SignalsResponse(BaseModel):
    """What became of the signals, in their order; all of it is committed."""

    items: list[TakenSignal]
    summary: SignalsSummary


class SettledScore(BaseModel):
    """A verdict that a signal, or the end of its time, has settled."""

    score_id: UUID
    item_id: str | None
    group: str | None
    run: str | None
    step: int | None
    verifier: str | None
    score: float | None
    outcome: Outcome
    error: VerdictError | None
    source: Literal["signal", "default"]
    settled_at: datetime
    cursor: str = Field(description="Send it as `cursor` for what was settled after this one, now or later.")


@router.post("/signals", response_model=SignalsResponse, operation_id="send_signals")
@takes(SignalsRequest)
async def send_signals(request: Request) -> Response:
    """Settle pending verdicts of the kind `outcome`. Each is settled once; the first signal in time counts."""
    state = services(request)
    who = await authorized(request, "score")
    async with Received(request, SignalsRequest) as body:
        signals: list[Signal | Unreadable] = list(body.value.signals)

        async def produce(connection: Connection) -> Answer:
            readable = [signal.read() for signal in signals if isinstance(signal, Signal)]
            taken = iter(await state.settling.take(connection, who.project, readable) if readable else ())
            told = [
                next(taken) if isinstance(signal, Signal) else Taken("refused", signal.fault) for signal in signals
            ]
            return Answer(200, _told(told), recorded=None if who.project.keep == "full" else _told(_unquoting(told)))

        return answered(await answer_once(state.database, who.project.id, body.key, body.sha256, produce))


def _unquoting(taken: Sequence[Taken]) -> list[Taken]:
    """What is recorded where a project keeps no text of a caller's: what is wrong with a signal may quote it."""
    return [replace(each, message="not kept") if each.result == "refused" else each for each in taken]


def _told(taken: Sequence[Taken]) -> str:
    counts = Counter(each.result for each in taken)
    summary = {result: counts[result] for result in SignalsSummary.model_fields}  # type: ignore[index]
    return wire.encode({"items": [_taken(each) for each in taken], "summary": summary})


def _taken(taken: Taken) -> dict[str, Any]:
    return {
        "result": taken.result,
        "score_id": None if taken.score_id is None else str(taken.score_id),
        "settled": taken.settled,
        "score": taken.score,
        "source": None if taken.by_default is None else _source(taken.by_default),
        "message": taken.message,
    }


def _source(by_default: bool) -> str:
    return "default" if by_default else "signal"


@router.get("/signals", response_model=Page[SettledScore], operation_id="list_signals")
async def list_signals(
    request: Request,
    run: Annotated[
        str | None, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", description="The run of the scores.")
    ] = None,
    verifier: Annotated[str | None, Query(description="`name`, `name@version` or `kind@inline`.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Settled verdicts of the kind `outcome`, in the order of settling: since a cursor, none is ever left out."""
    state = services(request)
    who = await authorized(request, "read")
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        bad_cursor()
    after = 0 if cursor is None else int(cursor)
    wanted = None if verifier is None else verifier_filter(verifier)
    async with state.database.begin() as connection:
        await state.settling.catch_up(connection, who.project)
        rows = await store.list_page(connection, who.project.id, run, wanted, after, limit + 1)
    next_cursor = str(rows[limit - 1].seq) if len(rows) > limit else None
    items = [_settled(row) for row in rows[:limit]]
    return json_response(wire.encode({"items": items, "next_cursor": next_cursor}))


def _settled(row: Record) -> dict[str, Any]:
    return {
        "score_id": str(row.id),
        "item_id": None if row.item_id is None else json.loads(row.item_id),
        "group": None if row.item_group is None else json.loads(row.item_group),
        "run": row.run,
        "step": row.step,
        "verifier": label(row),
        "score": row.score,
        "outcome": row.outcome,
        "error": json.loads("{" + row.verdict.decode() + "}")["error"],
        "source": _source(row.by_default),
        "settled_at": row.settled_at.isoformat(),
        "cursor": str(row.seq),
    }
