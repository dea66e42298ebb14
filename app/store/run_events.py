"""What a training run logs, recorded so that it counts once, whatever is sent again and by whichever attempt.

A row is known by run, step and its number or name. Of what several attempts log for one row, the highest attempt's
stands, and of one attempt's, the last. Where attempt `a` went on from step `s` (`Resume`), all that lower attempts
have beyond `s` is void: what is recorded is removed, what comes later is left out. So the rows do not depend on the
order in which events come, nor on how often.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import accumulate
from math import inf
from typing import TypeVar
from uuid import UUID

from sqlalchemy import func, select, text, update

from app.store.database import Connection
from app.store.runs import Status
from app.store.tables import runs

R = TypeVar("R", bound="Metric | Sample | Alarm")


@dataclass(frozen=True, slots=True)
class Metric:
    """One number at one step. `value` None: it was not finite. `at` None: now."""

    step: int
    attempt: int
    name: str
    value: float | None
    at: datetime | None

    @property
    def key(self) -> tuple[int, str]:
        return self.step, self.name


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion that was trained on. `item` is JSON of its text, None where that is not kept."""

    step: int
    attempt: int
    sample: int
    score_id: UUID | None
    reward: float | None
    advantage: float | None
    tokens: int | None
    finish_reason: str | None
    item: bytes | None

    @property
    def key(self) -> tuple[int, int]:
        return self.step, self.sample


@dataclass(frozen=True, slots=True)
class Alarm:
    """A warning at a step. `message` and `values` are JSON."""

    step: int
    attempt: int
    name: str
    message: bytes
    values: bytes
    at: datetime | None

    @property
    def key(self) -> tuple[int, str]:
        return self.step, self.name


_TYPES = {
    "step": "bigint",
    "attempt": "int",
    "name": "text",
    "value": "float8",
    "at": "timestamptz",
    "sample": "int",
    "score_id": "uuid",
    "reward": "float8",
    "advantage": "float8",
    "tokens": "int",
    "finish_reason": "text",
    "item": "bytea",
    "message": "bytea",
    "values": "bytea",
}
"""The types of the columns, which have the names of the fields."""


def _upsert_statement(table: str, row: type[Metric | Sample | Alarm], key: str, **computed: str) -> str:
    """SQL that writes many rows, each known by run, step and `key`; `computed` are expressions of SQL, by column."""
    sent = [field.name for field in fields(row)]
    arrays = ", ".join(f"CAST(:{name} AS {_TYPES[name]}[])" for name in sent)
    columns = {name: f"sent.{name}" for name in sent} | computed
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in ("step", key))
    return (
        f"INSERT INTO {table} AS known (run_id, {', '.join(columns)}) SELECT :run, {', '.join(columns.values())} "  # noqa: S608 - our own names
        f"FROM unnest({arrays}) AS sent ({', '.join(sent)}) ON CONFLICT (run_id, step, {key}) "
        f"DO UPDATE SET {changes} WHERE excluded.attempt >= known.attempt"
    )


_UPSERT_METRICS = _upsert_statement("run_metrics", Metric, "name", at="coalesce(sent.at, now())")
_UPSERT_SAMPLES = _upsert_statement("run_samples", Sample, "sample", recorded_at="now()")
_UPSERT_ALARMS = _upsert_statement("run_alarms", Alarm, "name", at="coalesce(sent.at, now())")


@dataclass(frozen=True, slots=True)
class StatusChange:
    """What becomes of the run as a whole. `message` is JSON."""

    attempt: int
    status: Status
    message: bytes | None


@dataclass(frozen=True, slots=True)
class Resume:
    """An attempt that goes on from a step: the steps up to it stand, whatever was done beyond is done again."""

    step: int
    attempt: int


@dataclass(slots=True)
class Events:
    """The events of one request, by what they are, each in its order."""

    metrics: list[Metric] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    statuses: list[StatusChange] = field(default_factory=list)
    resumes: list[Resume] = field(default_factory=list)

    @property
    def attempt(self) -> int:
        """The highest attempt that any of them is of."""
        everything = (self.metrics, self.samples, self.alarms, self.statuses, self.resumes)
        return max((event.attempt for events in everything for event in events), default=1)


@dataclass(frozen=True, slots=True)
class Locked:
    """A run that this transaction holds: nobody else records events of it meanwhile."""

    id: UUID
    attempt: int
    status_attempt: int
    metric_names: Sequence[str]


async def lock(connection: Connection, run_id: UUID) -> Locked:
    """Hold a run until the transaction ends."""
    query = select(runs.c.id, runs.c.attempt, runs.c.status_attempt, runs.c.metric_names).where(runs.c.id == run_id)
    return Locked(*(await connection.execute(query.with_for_update())).one())


async def record(connection: Connection, run: Locked, events: Events) -> int:
    """Record events of a run that this transaction holds; how many rows were left out for a higher attempt."""
    await _resume(connection, run.id, events.resumes)
    fences = await _fences(connection, run.id)
    metrics, void_metrics = _standing(events.metrics, fences)
    samples, void_samples = _standing(events.samples, fences)
    alarms, void_alarms = _standing(events.alarms, fences)
    stale = void_metrics + void_samples + void_alarms
    stale += len(metrics) - await _upsert(connection, _UPSERT_METRICS, run.id, metrics)
    stale += len(samples) - await _upsert(connection, _UPSERT_SAMPLES, run.id, samples)
    stale += len(alarms) - await _upsert(connection, _UPSERT_ALARMS, run.id, alarms)
    await _touch(connection, run, events, await _metric_names(connection, run, events, metrics))
    return stale


async def _resume(connection: Connection, run_id: UUID, resumes: Sequence[Resume]) -> None:
    for resume in resumes:
        values = {"run": run_id, "attempt": resume.attempt, "step": resume.step}
        # of an attempt that says so twice, the lower step counts: what is done twice is at least not lost twice
        await connection.execute(
            text(
                "INSERT INTO run_resumes AS known (run_id, attempt, step) VALUES (:run, :attempt, :step) "
                "ON CONFLICT (run_id, attempt) DO UPDATE SET step = least(known.step, excluded.step)"
            ),
            values,
        )
        for table in ("run_metrics", "run_samples", "run_alarms"):
            await connection.execute(
                text(f"DELETE FROM {table} WHERE run_id = :run AND step > :step AND attempt < :attempt"),  # noqa: S608 - our own names
                values,
            )


async def _fences(connection: Connection, run_id: UUID) -> Callable[[int], float]:
    """The last step up to which an attempt's rows stand: the lowest from which a higher attempt went on."""
    query = text("SELECT attempt, step FROM run_resumes WHERE run_id = :run ORDER BY attempt")
    known = list(await connection.execute(query, {"run": run_id}))
    resumed = [row.attempt for row in known]
    lowest: list[float] = [*accumulate((row.step for row in reversed(known)), min, initial=inf)][::-1]
    return lambda attempt: lowest[bisect_right(resumed, attempt)]


def _standing(rows: Sequence[R], fence: Callable[[int], float]) -> tuple[list[R], int]:
    """Of the rows, one for each key, and how many are left out for a higher attempt."""
    kept: dict[tuple[int, str | int], R] = {}
    void = 0
    for row in rows:
        if row.step > fence(row.attempt):
            void += 1
            continue
        known = kept.get(row.key)
        if known is None or row.attempt >= known.attempt:
            kept[row.key] = row
        else:
            void += 1
    return list(kept.values()), void


async def _upsert(
    connection: Connection, statement: str, run_id: UUID, rows: Sequence[Metric | Sample | Alarm]
) -> int:
    """How many rows were written: those whose row of a higher attempt stands are not."""
    if not rows:
        return 0
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(rows[0])}
    return (await connection.execute(text(statement), {"run": run_id, **columns})).rowcount


async def _metric_names(
    connection: Connection, run: Locked, events: Events, metrics: Sequence[Metric]
) -> Sequence[str]:
    """The names of the metrics that the run has now, sorted."""
    if not events.resumes:
        return sorted({metric.name for metric in metrics}.union(run.metric_names))
    query = text("SELECT DISTINCT name FROM run_metrics WHERE run_id = :run")
    return sorted(row.name for row in await connection.execute(query, {"run": run.id}))


async def _touch(connection: Connection, run: Locked, events: Events, metric_names: Sequence[str]) -> None:
    """What the events change of the run's own row."""
    changes: dict[str, object] = {"updated_at": func.now(), "attempt": max(run.attempt, events.attempt)}
    status_attempt = run.status_attempt
    for resume in events.resumes:
        if resume.attempt > status_attempt:
            status_attempt = resume.attempt
            changes |= {"status": "running", "message": None}
    for change in events.statuses:
        if change.attempt >= status_attempt:
            status_attempt = change.attempt
            changes |= {"status": change.status, "message": change.message}
    changes["status_attempt"] = status_attempt
    if metric_names != run.metric_names:
        changes["metric_names"] = metric_names
    await connection.execute(update(runs).where(runs.c.id == run.id).values(changes))
