"""Settling verdicts whose outcome comes later: by a signal, or by the default once the time to wait is over.

An item takes the first signal that reaches it, by its score id or its key, before it is due, and that its verifier
accepts; else the default. All of it is judged by the database's clock, in a transaction that holds the project's
lock, so that it does not matter which process settles, when, or in which order signals and items arrive.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import structlog

from app import wire
from app.errors import Problem
from app.metrics import SIGNALS
from app.registry import compile_config
from app.results import verdict_body, without_text
from app.store import outcomes as store
from app.store import verifiers
from app.store.database import Connection, Database
from app.store.outcomes import Awaited, Kept, Settled, key_sha256
from app.store.projects import Project
from verifiers.base import ErrorType, GivingWay, Outcome, Verdict
from verifiers.outcome import LaterOutcome, NotAcceptedError, Told

log = structlog.get_logger()

KEEP_DAYS = 30
"""How long the first signal for a key is kept for items that are scored later."""
MAX_UNUSED = 100_000
"""Signals that one project may have kept for keys that no item has had."""
AT_ONCE = 10_000
"""Verdicts that one transaction settles, besides those that signals name by their ids."""
PER_STATEMENT = 500
"""Verdicts that one statement writes: more would hold up the event loop while they are put into it."""
MAX_VERIFIERS = 1024
"""Verifiers of which one process remembers what they accept."""

Result = Literal["settled", "repeated", "conflict", "kept", "unknown", "refused"]


@dataclass(frozen=True, slots=True)
class Signal:
    """What a caller tells of an item, which it names by the score's id or by its key."""

    score_id: UUID | None
    key: str | None
    told: Told
    detail: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a signal. `score_id`, `score` and `by_default` are of the item, of a key's first one."""

    result: Result
    message: str | None = None
    score_id: UUID | None = None
    settled: int = 0
    score: float | None = None
    by_default: bool | None = None


class Settling:
    """Settles for one process; remembers what verifiers accept."""

    def __init__(self) -> None:
        self._verifiers: dict[UUID, LaterOutcome] = {}

    async def verifier(self, connection: Connection, project_id: UUID, version_id: UUID) -> LaterOutcome:
        """The verifier that gave a pending verdict. Raises `NotAcceptedError` where it cannot be had."""
        known = self._verifiers.get(version_id)
        if known is None:
            version = await verifiers.get(connection, project_id, version_id)
            if version is None:
                raise LookupError(f"no version {version_id}")
            try:
                compiled = compile_config(version.kind, version.config).verifier
            except Problem as problem:  # of an earlier release, whose configurations this one does not take
                raise NotAcceptedError(
                    f"the item's verifier {version.label} no longer works: {problem.detail}"
                ) from None
            if not isinstance(compiled, LaterOutcome):
                raise TypeError(f"signals do not settle verdicts of the kind {version.kind}")
            if len(self._verifiers) >= MAX_VERIFIERS:
                self._verifiers.clear()
            known = self._verifiers[version_id] = compiled
        return known

    async def catch_up(self, connection: Connection, project: Project) -> None:
        """Settle what has become due, or was told of before it was scored; for the transactions that read it."""
        if await store.any_to_look_at(connection, project.id):
            turn = _Turn(self, connection, project, await store.lock(connection, project.id))
            await turn.look()
            await turn.write()

    async def sweep(self, database: Database) -> None:
        """The same for every project, so that what nobody reads is settled too. Safe in several processes at once."""
        async with database.begin() as connection:
            projects = await store.projects_to_look_at(connection)
        for project in projects:
            try:
                while await self._sweep_some(database, project) == AT_ONCE:
                    pass
            except Problem:  # the database is away for all of them
                raise
            except Exception:
                log.exception("outcomes of a project are not settled", project=str(project.id))

    async def _sweep_some(self, database: Database, project: Project) -> int:
        """How many were looked at; none where another process is at it."""
        async with database.begin() as connection:
            moment = await store.lock_if_free(connection, project.id)
            if moment is None:
                return 0
            turn = _Turn(self, connection, project, moment)
            looked = await turn.look()
            await turn.write()
            return looked

    async def take(self, connection: Connection, project: Project, signals: Sequence[Signal]) -> list[Taken]:
        """Let signals settle what they tell of, each in its turn; what became of each, in their order."""
        turn = _Turn(self, connection, project, await store.lock(connection, project.id))
        ids = {signal.score_id for signal in signals if signal.score_id is not None}
        keys = {key_sha256(project.id, signal.key) for signal in signals if signal.key is not None}
        await turn.read(ids, keys)
        taken = [await turn.take(signal) for signal in signals]
        await turn.write()
        for each in taken:
            SIGNALS.labels(each.result).inc()
        return taken


class _Turn:
    """One transaction's settling: what it has read, and what it will write. The project's lock is held."""

    def __init__(self, settling: Settling, connection: Connection, project: Project, moment: datetime) -> None:
        self._settling = settling
        self._connection = connection
        self._project = project
        self._moment = moment
        self._rows: dict[UUID, Awaited] = {}
        self._by_key: dict[bytes, list[Awaited]] = {}
        self._crowded: set[bytes] = set()
        """Keys that may have more pending items than were read."""
        self._kept: dict[bytes, Kept] = {}
        self._unused: int | None = None
        self._settled: list[Settled] = []
        self._put_off: list[UUID] = []
        self._new: list[Kept] = []
        self._used: set[bytes] = set()
        self._turn = GivingWay()

    async def look(self) -> int:
        """Settle outcomes whose time to be looked at has come, `AT_ONCE` at the most; how many were looked at."""
        rows = await store.to_look_at(self._connection, self._project.id, self._moment, AT_ONCE)
        keys = {row.key for row in rows if row.key is not None}
        if keys:
            self._kept = await store.kept(self._connection, self._project.id, keys)
        for row in rows:
            await self._look_at(row)
        return len(rows)

    async def _look_at(self, row: Awaited) -> None:
        await self._turn.over()
        kept = None if row.key is None else self._kept.get(row.key)
        if kept is not None:
            self._used.add(kept.key)
            if kept.received_at < row.due_at and await self._accepts(row, kept):
                return
        if row.due_at <= self._moment:
            self._settle_by_default(row)
        else:
            self._put_off.append(row.score_id)

    async def _accepts(self, row: Awaited, kept: Kept) -> bool:
        """Whether a kept signal settled the item."""
        detail = None if kept.detail is None else json.loads(kept.detail)
        try:
            await self._settle_by_signal(row, Told(kept.score, kept.event), detail)
        except NotAcceptedError:
            return False
        return True

    async def read(self, ids: set[UUID], keys: set[bytes]) -> None:
        """Read what signals name, and bring it up to the moment."""
        connection, project_id = self._connection, self._project.id
        rows = await store.by_ids(connection, project_id, ids) if ids else []
        if keys:
            most = AT_ONCE // len(keys)
            named = await store.pending_by_keys(connection, project_id, keys, most)
            counts = Counter(row.key for row in named)
            self._crowded = {key for key in keys if counts[key] == most}
            rows += named
        self._rows = {row.score_id: row for row in rows}
        all_keys = keys | {row.key for row in rows if row.key is not None}
        if all_keys:
            self._kept = await store.kept(connection, project_id, all_keys)
            first = await store.first_settled(connection, project_id, all_keys)
            self._by_key = {key: [row] for key, row in first.items()}
        for row in self._rows.values():
            if row.key is not None and row.pending:
                self._by_key.setdefault(row.key, []).append(row)
            if row.pending and row.look_at <= self._moment:
                await self._look_at(row)

    async def take(self, signal: Signal) -> Taken:
        """Let one signal settle what it tells of."""
        try:
            if signal.score_id is not None:
                return await self._take_for_score(signal, signal.score_id)
            return await self._take_for_key(signal, key_sha256(self._project.id, signal.key or ""))
        except NotAcceptedError as refusal:
            return Taken("refused", str(refusal))

    async def _take_for_score(self, signal: Signal, score_id: UUID) -> Taken:
        row = self._rows.get(score_id)
        if row is None:
            return Taken("unknown", "score_id: no verdict of this project that waits, or has waited, for a signal")
        if not row.pending:
            return await self._held_against(row, signal.told)
        await self._settle_by_signal(row, signal.told, signal.detail)
        return Taken("settled", None, row.score_id, 1, row.score, by_default=False)

    async def _take_for_key(self, signal: Signal, key: bytes) -> Taken:
        rows = self._by_key.get(key, [])
        settled, refusal = [], None
        for row in [row for row in rows if row.pending]:
            await self._turn.over()
            try:
                await self._settle_by_signal(row, signal.told, signal.detail)
            except NotAcceptedError as error:
                refusal = error
            else:
                settled.append(row)
        if settled:
            first = settled[0]
            kept = self._kept.get(key)
            if kept is not None and not await self._would_take(first, kept):
                del self._kept[key]  # the first signal that these items' verifier accepts counts, not one before it
            self._keep(signal, key, used=True)
            return Taken("settled", None, first.score_id, len(settled), first.score, by_default=False)
        if refusal is not None:
            raise refusal
        if rows:
            taken = await self._held_against(rows[0], signal.told)
            self._keep(signal, key, used=True)
            return taken
        return await self._take_before_items(signal, key)

    async def _take_before_items(self, signal: Signal, key: bytes) -> Taken:
        kept = self._kept.get(key)
        if kept is not None:
            if (kept.score, kept.event) == (signal.told.score, signal.told.event):
                return Taken("repeated", score=kept.score)
            return Taken("conflict", "another signal for this key is kept already", score=kept.score)
        if self._unused is None:
            self._unused = await store.count_unused(self._connection, self._project.id)
        if self._unused >= MAX_UNUSED:
            why = f"key: no item has it, and {MAX_UNUSED:,} signals for such keys are kept; score the item first"
            return Taken("refused", why)
        self._unused += 1
        self._keep(signal, key, used=False)
        return Taken("kept", score=signal.told.score)

    async def _held_against(self, row: Awaited, told: Told) -> Taken:
        """What becomes of a signal for an item that is settled."""
        score, _ = (await self._verifier(row)).accepted(told)
        if row.by_default:
            why = f"too late: the item was due at {row.due_at.isoformat()}, and the default applied"
            return Taken("conflict", why, row.score_id, 0, row.score, by_default=True)
        if score == row.score:
            return Taken("repeated", None, row.score_id, 0, row.score, by_default=False)
        return Taken("conflict", "settled before, with another score", row.score_id, 0, row.score, by_default=False)

    async def _would_take(self, row: Awaited, kept: Kept) -> bool:
        """Whether the item's verifier has a score for a kept signal."""
        try:
            (await self._verifier(row)).accepted(Told(kept.score, kept.event))
        except NotAcceptedError:
            return False
        return True

    def _keep(self, signal: Signal, key: bytes, *, used: bool) -> None:
        """Keep a signal, if none is kept for its key, for items with that key that are scored from now on."""
        if key in self._kept:
            self._used.add(key)
            return
        whole = self._project.keep == "full" and signal.detail is not None
        detail = wire.encode(signal.detail).encode() if whole else None
        kept = Kept(key, signal.told.score, signal.told.event, detail, self._moment, used)
        self._kept[key] = kept
        self._new.append(kept)

    async def _verifier(self, row: Awaited) -> LaterOutcome:
        return await self._settling.verifier(self._connection, self._project.id, row.version_id)

    async def _settle_by_signal(self, row: Awaited, told: Told, detail: dict[str, Any] | None) -> None:
        """Raises `NotAcceptedError`, and leaves the item pending, where its verifier has no score for the signal."""
        score, event = (await self._verifier(row)).accepted(told)
        said: dict[str, Any] = {"stage": "signal"}
        if event is not None:
            said["event"] = event
        if detail is not None:
            said["signal"] = detail
        self._settle(row, Verdict(Outcome.SCORED, score, said), by_default=False)

    def _settle_by_default(self, row: Awaited) -> None:
        if row.default is None:
            message = "no signal came in time, and the verifier has no default"
            verdict = Verdict.unscored(ErrorType.NO_SIGNAL, message, retryable=False)
        else:
            verdict = Verdict(Outcome.SCORED, row.default, {"stage": "default"})
        self._settle(row, verdict, by_default=True)

    def _settle(self, row: Awaited, verdict: Verdict, *, by_default: bool) -> None:
        body = verdict_body(verdict, "brief") if self._project.keep == "full" else without_text(verdict)
        row.by_default, row.score = by_default, verdict.score
        self._settled.append(Settled(row.score_id, by_default, verdict.outcome, verdict.score, body.encode()))

    async def write(self) -> None:
        """Write what was decided."""
        connection, project_id = self._connection, self._project.id
        for at in range(0, len(self._settled), PER_STATEMENT):
            await store.settle(connection, project_id, self._moment, self._settled[at : at + PER_STATEMENT])
        for at in range(0, len(self._put_off), PER_STATEMENT):
            await store.put_off(connection, project_id, self._put_off[at : at + PER_STATEMENT])
        if self._used:
            await store.mark_used(connection, project_id, self._used)
        if self._new:
            await store.keep(connection, project_id, self._new)
        if self._crowded:
            await store.look_now(connection, project_id, self._crowded, self._moment)
