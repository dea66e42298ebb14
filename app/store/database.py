"""The database connection of one process: the engine, its health, its migrations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Row, make_url, text
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

import migrations
from app.errors import Problem
from app.store.faults import may_pass

log = structlog.get_logger()

Connection = AsyncConnection
"""A connection in a transaction, as `Database.begin` gives it and queries take it."""
Record = Row[Any]
"""A row that a query gives."""

MIGRATION_LOCK = 0x41535359
"""Key of the advisory lock that lets one process migrate at a time."""


def async_url(url: str) -> URL:
    """The URL with the asyncpg driver; raises ValueError for a database other than PostgreSQL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("ASSAY_DATABASE_URL must look like postgresql://user:password@host/database") from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(f"ASSAY_DATABASE_URL must name a PostgreSQL database, not {parsed.get_backend_name()!r}")
    # libpq's name for the option, which URLs carry, is not asyncpg's
    query = {"ssl" if name == "sslmode" else name: value for name, value in parsed.query.items()}
    return parsed.set(drivername="postgresql+asyncpg", query=query)


class Database:
    """A pool of connections. `connections` bounds it; a connection that has died is replaced unseen."""

    def __init__(self, url: str, connections: int) -> None:
        self.url = async_url(url)
        self._reader: asyncpg.Connection | None = None
        self._reading = asyncio.Lock()
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=True,
            hide_parameters=True,  # they are what callers wrote, and errors are logged
            connect_args={"timeout": 5, "command_timeout": 60},
        )

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Connection]:
        """A transaction. Raises `Problem` (503) where the database cannot be reached, or went away in its commit."""
        committing = False
        try:
            async with self.engine.begin() as connection:
                yield connection
                committing = True
        except Exception as error:
            if not may_pass(error):
                raise
            log.warning("database unreachable", error=type(error).__name__)
            raise (unknown_end() if committing else unreachable()) from error

    async def connect_raw(self) -> asyncpg.Connection:
        """A connection of its own outside the pool, for the group-commit writer's COPY."""
        query = self.url.query
        host = query.get("host") or self.url.host
        return await asyncpg.connect(
            host=host,
            port=self.url.port,
            user=self.url.username,
            password=self.url.password,
            database=self.url.database,
            ssl=query.get("ssl"),
            timeout=5,
            command_timeout=60,
        )

    async def fetch(self, query: str, *values: object) -> list[asyncpg.Record]:
        """One read on a connection of its own, in one round trip; for look-ups on the scoring path.

        Raises `Problem` (503) where the database cannot be reached.
        """
        async with self._reading:
            for attempt in (1, 2):  # the first may find that the connection has died since
                try:
                    if self._reader is None or self._reader.is_closed():
                        self._reader = await self.connect_raw()
                    rows: list[asyncpg.Record] = await self._reader.fetch(query, *values)
                    return rows
                except Exception as error:
                    if not may_pass(error):
                        raise
                    if self._reader is not None:
                        self._reader.terminate()
                        self._reader = None
                    if attempt == 2:
                        raise unreachable() from error
        raise AssertionError("the loop returns or raises")

    async def system_identifier(self) -> int:
        """The number of the server's cluster, which no other has. Raises `Problem` (503) where it is away."""
        [record] = await self.fetch("SELECT system_identifier FROM pg_catalog.pg_control_system()")
        return int(record[0])

    async def reachable(self) -> bool:
        """Whether a query is answered within two seconds."""
        try:
            async with asyncio.timeout(2), self.begin() as connection:
                await connection.execute(text("SELECT 1"))
        except (Problem, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        if self._reader is not None:
            await close_raw(self._reader)
        await self.engine.dispose()


async def close_raw(connection: asyncpg.Connection) -> None:
    """Close a connection of `connect_raw`, by force where the server does not answer."""
    try:
        await connection.close(timeout=5)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


def unknown_end() -> Problem:
    """The problem of a commit whose end is not known: the database went away, or the service stops."""
    return Problem(
        "storage-unavailable",
        "the database went away, and it is not known whether this was recorded; "
        "send the request again, with the same Idempotency-Key if it had one",
    )


def unreachable() -> Problem:
    """The problem of a database that cannot be reached."""
    return Problem(
        "storage-unavailable",
        "the database cannot be reached, so nothing was recorded and no verdict is given; send the request again",
    )


async def migrate(
    database: Database, revision: str = "head", step: Callable[[Config, str], None] = command.upgrade
) -> None:
    """Bring the schema to `revision`; one process at a time does, others wait.

    `step` is alembic's `command.upgrade`, or `command.downgrade` to go back.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))

    def run(connection: SyncConnection) -> None:
        config.attributes["connection"] = connection
        step(config, revision)

    async with database.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        await connection.run_sync(run)
