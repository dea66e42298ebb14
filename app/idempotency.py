"""`Idempotency-Key`: a POST sent again gets the answer that was recorded the first time.

The header's meaning follows the IETF draft "The Idempotency-Key HTTP Header Field": the same key with a different
request is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from app.engine import DuplicateError
from app.errors import Problem
from app.results import Detail, ScoredBatch, from_row
from app.store import idempotency as store
from app.store import scores
from app.store.database import Connection, Database
from app.store.writer import IdempotencyRow

IDEMPOTENCY_AGE = timedelta(hours=24)
"""How long a key is remembered."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON answer. `recorded` is what a repetition gets, where that differs (a secret is shown once)."""

    status: int
    body: str
    recorded: str | None = None


def request_key(header: str | None) -> str | None:
    """The validated key. Raises `Problem` (400)."""
    if header is not None and not _KEY.fullmatch(header):
        raise Problem("invalid-header", "Idempotency-Key holds 1 to 255 printable ASCII characters without spaces")
    return header


def request_sha256(method: str, path: str, body: bytes) -> bytes:
    """What makes two requests the same."""
    return hashlib.sha256(f"{method} {path}\n".encode("utf-8", "surrogatepass") + body).digest()


async def answer_once(
    database: Database,
    project_id: UUID,
    key: str | None,
    sha256: bytes,
    produce: Callable[[Connection], Awaitable[Answer]],
) -> Answer:
    """`produce`'s answer, recorded in the transaction of what it does; or the answer recorded before.

    A concurrent request with the key waits for that transaction to end. Raises `Problem` (422) where the key was
    used for another request.
    """
    async with database.begin() as connection:
        if key is None:
            return await produce(connection)
        if not await store.claim(connection, project_id, key, sha256):
            row = await store.get(connection, project_id, key)
            if row is not None:
                _same_request(row.request_sha256, sha256)
                return Answer(row.status, row.response.decode())
        answer = await produce(connection)
        recorded = answer.body if answer.recorded is None else answer.recorded
        await store.settle(connection, project_id, key, answer.status, recorded.encode())
        return answer


def _same_request(recorded: bytes, sha256: bytes) -> None:
    if recorded != sha256:
        raise Problem(
            "idempotency-mismatch", "this Idempotency-Key was used for a different request; use a key of its own"
        )


class ScoreFlights:
    """Requests to /score that carry a key: one at a time computes, the others share its batch."""

    def __init__(self) -> None:
        self._flights: dict[tuple[UUID, str], tuple[bytes, asyncio.Task[ScoredBatch]]] = {}

    async def score_once(
        self,
        database: Database,
        claim: IdempotencyRow,
        detail: Detail,
        compute: Callable[[], Awaitable[ScoredBatch]],
    ) -> ScoredBatch:
        """The batch recorded under the key, computed now if there is none. Raises `Problem` (422) on another body."""
        name = (claim.project_id, claim.key)
        flight = self._flights.get(name)
        if flight is None:
            task = asyncio.create_task(self._recorded_or_computed(database, claim, detail, compute))
            flight = self._flights[name] = (claim.request_sha256, task)
            task.add_done_callback(lambda _: self._flights.pop(name, None))
        sha256, task = flight
        _same_request(sha256, claim.request_sha256)
        return await asyncio.shield(task)

    @staticmethod
    async def _recorded_or_computed(
        database: Database, claim: IdempotencyRow, detail: Detail, compute: Callable[[], Awaitable[ScoredBatch]]
    ) -> ScoredBatch:
        recorded = await _recorded(database, claim, detail)
        if recorded is not None:
            return recorded
        try:
            return await compute()
        except DuplicateError:
            recorded = await _recorded(database, claim, detail)
            if recorded is None:
                raise
            return recorded


async def _recorded(database: Database, claim: IdempotencyRow, detail: Detail) -> ScoredBatch | None:
    async with database.begin() as connection:
        row = await store.get(connection, claim.project_id, claim.key)
        if row is None:
            return None
        _same_request(row.request_sha256, claim.request_sha256)
        rows = await scores.get_many(connection, claim.project_id, row.score_ids)
    return ScoredBatch(rows[0].batch_id, [from_row(score, detail) for score in rows])
