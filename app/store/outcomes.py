"""Outcomes that come later: what waits, what signals told, and the order in which they were settled.

Everything that settles happens in a transaction that holds the project's lock (`lock`), so that nothing is settled
twice, nobody waits for each other in a circle, and the numbers of the order are those of the commits. Rows that begin
to wait are written without it, by the group-commit writer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text

from app.store.database import Connection
from app.store.projects import Project
from app.store.tables import outcomes, scores, verifier_versions, verifiers
from app.store.verifiers import matching
from verifiers.base import GivingWay

LOCK_SPACE = 0x4153534F
"""First of the two numbers of the advisory locks under which a project's outcomes are settled."""


def key_sha256(project_id: UUID, key: str) -> bytes:
    """What is stored of a caller's key; the same key has another digest in another project."""
    return hashlib.sha256(project_id.bytes + key.encode("utf-8", "surrogatepass")).digest()


@dataclass(slots=True)
class Awaited:
    """One row of `outcomes`. `by_default` is None while it is pending."""

    score_id: UUID
    version_id: UUID
    key: bytes | None
    default: float | None
    due_at: datetime
    look_at: datetime
    by_default: bool | None
    score: float | None

    @property
    def pending(self) -> bool:
        return self.by_default is None


@dataclass(frozen=True, slots=True)
class Kept:
    """A signal for a key: a score, or the digest of an event's name. `used`: whether an item has had the key."""

    key: bytes
    score: float | None
    event: bytes | None
    detail: bytes | None
    received_at: datetime
    used: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of a verdict: its outcome, its score, and the stored body of `scores.verdict`."""

    score_id: UUID
    by_default: bool
    outcome: str
    score: float | None
    body: bytes


async def lock(connection: Connection, project_id: UUID) -> datetime:
    """Take the project's lock until the transaction ends; the moment at which it was had, by the database's clock."""
    query = text("SELECT clock_timestamp() FROM pg_advisory_xact_lock(:space, :project)")
    moment: datetime = (await connection.execute(query, _lock_key(project_id))).scalar_one()
    return moment


async def lock_if_free(connection: Connection, project_id: UUID) -> datetime | None:
    """As `lock`, but None at once where another transaction holds it."""
    query = text("SELECT clock_timestamp() FROM pg_try_advisory_xact_lock(:space, :project) AS had WHERE had")
    moment: datetime | None = (await connection.execute(query, _lock_key(project_id))).scalar_one_or_none()
    return moment


def _lock_key(project_id: UUID) -> dict[str, int]:
    return {"space": LOCK_SPACE, "project": int.from_bytes(project_id.bytes[-4:], "big", signed=True)}


async def projects_to_look_at(connection: Connection) -> list[Project]:
    """The projects with an outcome whose time to be looked at has come."""
    query = text(
        "SELECT id, name, keep, retention_days, created_at FROM projects WHERE EXISTS (SELECT 1 FROM outcomes "
        "WHERE project_id = projects.id AND seq IS NULL AND look_at <= clock_timestamp())"
    )
    return [Project(*row) for row in await connection.execute(query)]


async def any_to_look_at(connection: Connection, project_id: UUID) -> bool:
    """Whether the project has an outcome whose time to be looked at has come."""
    query = text(
        "SELECT EXISTS (SELECT 1 FROM outcomes "
        "WHERE project_id = :project AND seq IS NULL AND look_at <= clock_timestamp())"
    )
    return bool((await connection.execute(query, {"project": project_id})).scalar_one())


_AWAITED = "score_id, version_id, key_sha256, default_score, due_at, look_at, by_default, score"


async def to_look_at(connection: Connection, project_id: UUID, moment: datetime, limit: int) -> list[Awaited]:
    """Pending outcomes whose time to be looked at has come, the longest due first."""
    query = text(
        f"SELECT {_AWAITED} FROM outcomes WHERE project_id = :project AND seq IS NULL AND look_at <= :moment "  # noqa: S608 - our own names
        "ORDER BY look_at, score_id LIMIT :limit"
    )
    rows = await connection.execute(query, {"project": project_id, "moment": moment, "limit": limit})
    return await _awaited(rows)


async def by_ids(connection: Connection, project_id: UUID, ids: Collection[UUID]) -> list[Awaited]:
    """Outcomes, pending or settled, by their score ids; those that do not exist are left out."""
    query = text(
        f"SELECT {_AWAITED} FROM outcomes WHERE project_id = :project AND score_id = ANY(CAST(:ids AS uuid[]))"  # noqa: S608 - our own names
    )
    return await _awaited(await connection.execute(query, {"project": project_id, "ids": list(ids)}))


async def pending_by_keys(
    connection: Connection, project_id: UUID, keys: Collection[bytes], limit: int
) -> list[Awaited]:
    """Pending outcomes that have one of the keys, up to `limit` of each."""
    query = text(
        f"SELECT {_AWAITED} FROM unnest(CAST(:keys AS bytea[])) AS asked (key) CROSS JOIN LATERAL ("  # noqa: S608 - our own names
        "SELECT * FROM outcomes WHERE project_id = :project AND key_sha256 = asked.key AND by_default IS NULL "
        "LIMIT :limit) AS pending"
    )
    return await _awaited(
        await connection.execute(query, {"project": project_id, "keys": list(keys), "limit": limit})
    )


async def _awaited(rows: Iterable[Any]) -> list[Awaited]:
    """Thousands of them, and the event loop has its turns meanwhile."""
    turn = GivingWay()
    found: list[Awaited] = []
    for row in rows:
        await turn.over()
        found.append(Awaited(*row))
    return found


async def first_settled(connection: Connection, project_id: UUID, keys: Collection[bytes]) -> dict[bytes, Awaited]:
    """For each key the outcome that was settled first: by a signal, or where none was, by default."""
    query = text(
        f"SELECT {_AWAITED} FROM unnest(CAST(:keys AS bytea[])) AS asked (key) CROSS JOIN LATERAL ("  # noqa: S608 - our own names
        "SELECT * FROM outcomes WHERE project_id = :project AND key_sha256 = asked.key AND by_default IS NOT NULL "
        "ORDER BY by_default, seq LIMIT 1) AS first"
    )
    rows = await connection.execute(query, {"project": project_id, "keys": list(keys)})
    return {row.key_sha256: Awaited(*row) for row in rows}


async def kept(connection: Connection, project_id: UUID, keys: Collection[bytes]) -> dict[bytes, Kept]:
    """The signals that are kept for the keys."""
    query = text(
        "SELECT key_sha256, score, event_sha256, detail, received_at, used FROM signals "
        "WHERE project_id = :project AND key_sha256 = ANY(CAST(:keys AS bytea[]))"
    )
    rows = await connection.execute(query, {"project": project_id, "keys": list(keys)})
    return {row.key_sha256: Kept(*row) for row in rows}


async def count_unused(connection: Connection, project_id: UUID) -> int:
    """How many signals are kept whose key no item has had."""
    query = text("SELECT count(*) FROM signals WHERE project_id = :project AND NOT used")
    return int((await connection.execute(query, {"project": project_id})).scalar_one())


async def settle(connection: Connection, project_id: UUID, moment: datetime, settled: Sequence[Settled]) -> None:
    """Settle pending outcomes, in this order, and their scores with them. Takes the project's lock to be held."""
    query = text(
        "WITH last AS (SELECT coalesce(max(seq), 0) AS seq FROM outcomes WHERE project_id = :project), settled AS ("
        "UPDATE outcomes SET seq = last.seq + row.place, settled_at = :moment, "
        "by_default = row.by_default, score = row.score FROM last, "
        "unnest(CAST(:ids AS uuid[]), CAST(:defaults AS boolean[]), CAST(:scores AS float8[])) "
        "WITH ORDINALITY AS row (id, by_default, score, place) "
        "WHERE outcomes.project_id = :project AND outcomes.score_id = row.id AND outcomes.seq IS NULL RETURNING 1) "
        "SELECT count(*) FROM settled"
    )
    ids = [row.score_id for row in settled]
    values = {
        "project": project_id,
        "moment": moment,
        "ids": ids,
        "defaults": [row.by_default for row in settled],
        "scores": [row.score for row in settled],
    }
    if (await connection.execute(query, values)).scalar_one() != len(settled):
        raise RuntimeError("an outcome was settled without the project's lock")
    query = text(
        "UPDATE scores SET outcome = row.outcome, score = row.score, verdict = row.verdict FROM unnest("
        "CAST(:ids AS uuid[]), CAST(:outcomes AS text[]), CAST(:scores AS float8[]), CAST(:verdicts AS bytea[])) "
        "AS row (id, outcome, score, verdict) "
        # the ids once more, so that only the partitions that hold them are looked into
        "WHERE scores.project_id = :project AND scores.id = row.id AND scores.id = ANY(CAST(:ids AS uuid[]))"
    )
    values = {
        "project": project_id,
        "ids": ids,
        "outcomes": [row.outcome for row in settled],
        "scores": [row.score for row in settled],
        "verdicts": [row.body for row in settled],
    }
    await connection.execute(query, values)


async def put_off(connection: Connection, project_id: UUID, ids: Sequence[UUID]) -> None:
    """Look at these again when they are due."""
    query = text(
        "UPDATE outcomes SET look_at = due_at WHERE project_id = :project AND score_id = ANY(CAST(:ids AS uuid[]))"
    )
    await connection.execute(query, {"project": project_id, "ids": list(ids)})


async def look_now(connection: Connection, project_id: UUID, keys: Collection[bytes], moment: datetime) -> None:
    """Have all that is pending with one of the keys looked at by the next sweep."""
    query = text(
        "UPDATE outcomes SET look_at = :moment WHERE project_id = :project AND seq IS NULL "
        "AND key_sha256 = ANY(CAST(:keys AS bytea[])) AND look_at > :moment"
    )
    await connection.execute(query, {"project": project_id, "keys": list(keys), "moment": moment})


async def keep(connection: Connection, project_id: UUID, signals: Sequence[Kept]) -> None:
    """Keep signals, in the place of others for their keys."""
    query = text(
        "INSERT INTO signals (project_id, key_sha256, score, event_sha256, detail, received_at, used) "
        "SELECT :project, row.* FROM unnest(CAST(:keys AS bytea[]), CAST(:scores AS float8[]), "
        "CAST(:events AS bytea[]), CAST(:details AS bytea[]), CAST(:moments AS timestamptz[]), "
        "CAST(:used AS boolean[])) AS row ON CONFLICT (project_id, key_sha256) DO UPDATE SET score = excluded.score, "
        "event_sha256 = excluded.event_sha256, detail = excluded.detail, received_at = excluded.received_at, "
        "used = excluded.used"
    )
    values = {
        "project": project_id,
        "keys": [signal.key for signal in signals],
        "scores": [signal.score for signal in signals],
        "events": [signal.event for signal in signals],
        "details": [signal.detail for signal in signals],
        "moments": [signal.received_at for signal in signals],
        "used": [signal.used for signal in signals],
    }
    await connection.execute(query, values)


async def mark_used(connection: Connection, project_id: UUID, keys: Collection[bytes]) -> None:
    """Note of kept signals that an item has had their key."""
    query = text(
        "UPDATE signals SET used = true "
        "WHERE project_id = :project AND key_sha256 = ANY(CAST(:keys AS bytea[])) AND NOT used"
    )
    await connection.execute(query, {"project": project_id, "keys": list(keys)})


async def forget_signals(connection: Connection, now: datetime, days: int) -> None:
    """Remove kept signals that are older than so many days, or than their project keeps anything."""
    query = text(
        "DELETE FROM signals USING projects WHERE projects.id = signals.project_id AND received_at < "
        "CAST(:now AS timestamptz) - least(:days, coalesce(projects.retention_days, :days)) * interval '1 day'"
    )
    await connection.execute(query, {"now": now, "days": days})


async def list_page(
    connection: Connection,
    project_id: UUID,
    run: str | None,
    verifier: tuple[str, int | None] | None,
    after: int,
    limit: int,
) -> Sequence[Row[Any]]:
    """Settled outcomes with their scores, in the order of settling, those after the number `after`."""
    query = (
        select(
            outcomes.c.seq,
            outcomes.c.settled_at,
            outcomes.c.by_default,
            scores.c.id,
            scores.c.item_id,
            scores.c.item_group,
            scores.c.run,
            scores.c.step,
            scores.c.outcome,
            scores.c.score,
            scores.c.verdict,
            verifier_versions.c.kind,
            verifier_versions.c.version,
            verifiers.c.name,
        )
        .join(scores, (scores.c.project_id == outcomes.c.project_id) & (scores.c.id == outcomes.c.score_id))
        .outerjoin(verifier_versions, verifier_versions.c.id == scores.c.version_id)
        .outerjoin(verifiers, verifiers.c.id == verifier_versions.c.verifier_id)
        .where(outcomes.c.project_id == project_id, outcomes.c.seq > after)
        .order_by(outcomes.c.seq)
        .limit(limit)
    )
    if run is not None:
        query = query.where(outcomes.c.run == run)
    if verifier is not None:
        query = query.where(outcomes.c.version_id.in_(matching(project_id, *verifier)))
    return list(await connection.execute(query))
