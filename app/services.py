"""What one API process is made of, and how it starts and stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from app.auth import Authenticator
from app.backends.directory import Directory
from app.backends.secrets import Vault
from app.cache import VerdictCache
from app.engine import Engine
from app.errors import Problem
from app.guarded.pool import GuardedPool
from app.idempotency import IDEMPOTENCY_AGE, ScoreFlights
from app.merging import Merger
from app.recorder import Recorder
from app.registry import Registry
from app.sandbox_watch import SandboxWatch
from app.scratch import ScratchDatabases
from app.selfcheck import check_kinds
from app.settings import Settings
from app.settling import KEEP_DAYS, Settling
from app.store import outcomes, runs, scores
from app.store.database import Connection, Database
from sandbox.open import open_sandbox
from sandbox.pool import SandboxPool
from verifiers.base import load_kinds

log = structlog.get_logger()

RECHECK_S = 30.0
"""How often a kind that failed its self-check is tried again."""
WATCH_S = 1.0
"""How often the sandbox is looked at: kinds that lacked it are tried again as soon as it is there."""
SANDBOX_S = 30.0
"""How long the start of the service waits for the sandbox; kinds that need it come later if that is not enough."""
MAINTENANCE_S = 600.0
"""How often partitions are made ahead and what has outlived its retention is removed."""
SETTLE_S = 5.0
"""How often outcomes are settled that nobody reads meanwhile."""


@dataclass(slots=True)
class Services:
    """Shared by the request handlers of one process."""

    settings: Settings
    database: Database
    auth: Authenticator
    registry: Registry
    guard: GuardedPool
    sandbox: SandboxPool
    watch: SandboxWatch
    engine: Engine
    backends: Directory
    flights: ScoreFlights
    merger: Merger
    settling: Settling = field(default_factory=Settling)
    body_bytes: int = 0
    """Bytes of request bodies held at the moment."""


def share(total: int, workers: int) -> int:
    """One API process's share of a budget of the host, at least 1."""
    return max(1, total // workers)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Services]:
    """Start everything, prove every kind on known items, and stop it all at the end."""
    if settings.database_url is None:
        raise RuntimeError("the supervisor sets ASSAY_DATABASE_URL before an API process starts")
    kinds = load_kinds()
    # of its share, the recorder and the look-ups have a connection each of their own
    connections = max(1, share(settings.database_connections, settings.workers) - 2)
    database = Database(settings.database_url.get_secret_value(), connections)
    guard = GuardedPool(
        share(settings.guard_workers, settings.workers),
        sorted({module for kind in kinds.values() for module in kind.guarded}),
    )
    sandbox = opened_sandbox(settings, share(settings.sandbox_cells, settings.workers))
    recorder = Recorder(database)
    backends = Directory(database, Vault(settings.secret_key), workers=settings.workers, home=settings.home)
    registry = Registry(database, backends)
    databases = opened_databases(settings, database)
    engine = Engine(registry, recorder, guard, VerdictCache(settings.cache_mb), sandbox, backends, databases)
    watch = SandboxWatch(sandbox)
    services = Services(
        settings,
        database,
        Authenticator(database),
        registry,
        guard,
        sandbox,
        watch,
        engine,
        backends,
        ScoreFlights(),
        Merger(engine),
    )
    async with AsyncExitStack() as stack:  # each is stopped whatever becomes of the others
        stack.push_async_callback(database.close)
        stack.push_async_callback(backends.close)
        stack.push_async_callback(databases.close)
        stack.push_async_callback(sandbox.close)
        starting = asyncio.create_task(sandbox.start(), name="sandbox start")
        stack.push_async_callback(_stop, starting)
        stack.push_async_callback(guard.close)
        await guard.start()
        stack.push_async_callback(recorder.close)
        recorder.start()
        engine.unavailable = await check_kinds(guard, sandbox, [name for name in kinds if not kinds[name].sandboxed])
        await asyncio.wait({starting}, timeout=SANDBOX_S)
        watch.tell(settings.sandbox)
        engine.unavailable |= await check_kinds(guard, sandbox, [name for name in kinds if kinds[name].sandboxed])
        for chore in (_maintain(database), _settle(database, services.settling), _recheck(engine, guard, watch)):
            stack.push_async_callback(_stop, asyncio.create_task(chore))
        yield services


def opened_sandbox(settings: Settings, cells: int) -> SandboxPool:
    """The sandbox that the settings ask for, not started yet."""
    return open_sandbox(
        settings.sandbox,
        cells=cells,
        runtime=settings.sandbox_runtime,
        image=settings.sandbox_image,
        memory_mb=settings.sandbox_memory_mb,
    )


def opened_databases(settings: Settings, storage: Database) -> ScratchDatabases:
    """Throw-away databases by the settings; nothing is started before the first is wanted."""
    url = settings.scratch_database_url
    return ScratchDatabases(
        settings.home,
        None if url is None else url.get_secret_value(),
        databases=share(settings.scratch_databases, settings.workers),
        process_mb=settings.scratch_memory_mb,
        storage_identifier=storage.system_identifier,
    )


async def _stop(chore: asyncio.Task[None]) -> None:
    chore.cancel()
    await asyncio.gather(chore, return_exceptions=True)


async def _recheck(engine: Engine, guard: GuardedPool, watch: SandboxWatch) -> None:
    """Bring a failed kind back once it can prove itself: at once where it lacked a sandbox and that has come."""
    due = time.monotonic() + RECHECK_S
    while True:
        await asyncio.sleep(WATCH_S)
        came = watch.look()
        if engine.unavailable and (came or time.monotonic() > due):
            engine.unavailable = await check_kinds(guard, watch.sandbox, tuple(engine.unavailable))
            due = time.monotonic() + RECHECK_S


async def maintain_once(connection: Connection, now: datetime) -> int:
    """Partitions ahead of the clock; idempotency keys, kept signals and some completions past their time removed.

    Returns how many completions were removed; none are left once it is 0.
    """
    await scores.ensure_partitions(connection, now)
    await scores.forget_idempotency(connection, now, IDEMPOTENCY_AGE)
    await outcomes.forget_signals(connection, now, KEEP_DAYS)
    return await scores.forget_completions(connection, now) + await runs.forget_samples(connection, now)


async def _maintain(database: Database) -> None:
    while True:
        try:
            removed = 1
            while removed:
                async with database.begin() as connection:
                    removed = await maintain_once(connection, datetime.now(UTC))
        except Problem as problem:
            log.warning("maintenance put off", reason=problem.detail)
        except Exception:
            log.exception("maintenance failed")
        await asyncio.sleep(MAINTENANCE_S)


async def _settle(database: Database, settling: Settling) -> None:
    while True:
        try:
            await settling.sweep(database)
        except Problem as problem:
            log.warning("settling put off", reason=problem.detail)
        except Exception:
            log.exception("settling failed")
        await asyncio.sleep(SETTLE_S)
