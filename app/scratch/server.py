"""The server for throw-away databases, as its superuser sees it: makes roles and databases, and drops them again."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import asyncpg
import structlog

from app.scratch.harden import BASE, SCRIPT
from app.scratch.session import SETTINGS, LostError, Session
from app.scratch.wire import Address, Connection, ServerError
from app.store.faults import is_denied, may_pass
from verifiers.databases import RunLimits

log = structlog.get_logger()

LEAST_VERSION = 160_000
"""Of PostgreSQL: event triggers, pg_database_owner and scram_iterations are all there."""
PREFIX = "assay_"
_LIVES, _MAKES_BASE = 0x41535343, 0x41535342
"""Advisory locks: that a service lives, and that one makes the base."""
DISK_BYTES = 512 * 2**20
"""What one throw-away database may take of the disk."""
_VACUUM_EVERY = 500
"""Databases after which the catalogs that all of them share are vacuumed."""


class UnusableError(Exception):
    """The server cannot be used at all; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Template:
    """A database that copies are made of."""

    name: str
    sequences: bool
    """Whether it holds any: their numbers move on without a transaction's number."""


@dataclass(slots=True)
class Place:
    """A throw-away database, and the role that owns it, which has its name."""

    name: str
    password: str
    mark: int = 0
    """The server's next transaction number when the database was made, see `Server.mark`."""


class Server:
    """Makes throw-away databases. Raises `LostError` where the server goes away."""

    def __init__(self, address: Address, user: str, password: str | None, *, embedded: bool) -> None:
        self._address = address
        self._login: dict[str, Any] = {
            "host": address.host,
            "port": address.port,
            "user": user,
            "password": password,
            "ssl": address.tls or False,
            "timeout": 10,
            "command_timeout": 60,
        }
        self._embedded = embedded
        self._pool: asyncpg.Pool[Any] | None = None
        self._witness: asyncpg.Connection[Any] | None = None
        self._tag = 0
        self._made = 0
        self._roles: set[str] = set()
        """Roles that are to be dropped, and could not be yet."""

    async def __aenter__(self) -> Self:
        """Connect. Raises `LostError`."""
        async with _lost():
            self._witness = await asyncpg.connect(database="postgres", **self._login)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self, databases: int, storage_identifier: int) -> Self:
        """Connect, check that the server will do, make the base, and drop what services that are gone have left.

        Raises `UnusableError`, `LostError`.
        """
        await self.__aenter__()
        try:
            await self.check(storage_identifier)
            async with _lost():
                await self._make_base(self._connected)
                await self._claim(self._connected)
                await self._sweep(self._connected)
                self._pool = await asyncpg.create_pool(
                    database="postgres", min_size=1, max_size=databases + 1, init=_prepare, **self._login
                )
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def _connected(self) -> asyncpg.Connection[Any]:
        if self._witness is None:
            raise AssertionError("the server is connected to")
        return self._witness

    async def close(self) -> None:
        """Give up all connections; other services drop what is left."""
        if self._pool is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self._pool.close()
            self._pool.terminate()
        if self._witness is not None:
            self._witness.terminate()

    async def answer(self) -> None:
        """Answer a question, after the server went away perhaps; what is this service's stays so."""
        async with self._admin() as admin:
            await admin.fetchval("SELECT 1")
        if self._witness is None or self._witness.is_closed():
            async with _lost():
                self._witness = await asyncpg.connect(database="postgres", **self._login)
                await self._witness.fetchval("SELECT pg_catalog.pg_try_advisory_lock($1, $2)", _LIVES, self._tag)

    async def check(self, storage_identifier: int | None) -> None:
        """Raise `UnusableError` where the server will not do, and `LostError` where it goes away.

        `storage_identifier` is the system identifier of the storage server, which this must not be.
        """
        witness = self._connected
        todo = "set ASSAY_SCRATCH_DATABASE_URL to a superuser of a PostgreSQL that holds nothing else, or unset it"
        async with _lost():
            identifier = await witness.fetchval("SELECT system_identifier FROM pg_catalog.pg_control_system()")
            if identifier == storage_identifier:
                raise UnusableError(f"the server for throw-away databases is the one verdicts are stored in; {todo}")
            if not await witness.fetchval("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"):
                raise UnusableError(f"the role that ASSAY_SCRATCH_DATABASE_URL names is no superuser; {todo}")
            if int(await witness.fetchval("SHOW server_version_num")) < LEAST_VERSION:
                raise UnusableError(
                    f"throw-away databases need PostgreSQL {LEAST_VERSION // 10_000} or newer; {todo}"
                )
            if int(await witness.fetchval("SHOW max_prepared_transactions")):
                raise UnusableError(
                    "the server for throw-away databases allows prepared transactions, which outlive their session; "
                    "set its max_prepared_transactions to 0"
                )

    async def _make_base(self, witness: asyncpg.Connection[Any]) -> None:
        """The database that others are copies of; whole once it is a template. And no other may be entered."""
        await witness.execute(f"SELECT pg_catalog.pg_advisory_lock({_MAKES_BASE}, 0)")
        try:
            for record in await witness.fetch("SELECT datname FROM pg_catalog.pg_database"):
                await witness.execute(f'REVOKE ALL ON DATABASE "{record[0]}" FROM PUBLIC')
            query = "SELECT datistemplate FROM pg_catalog.pg_database WHERE datname = $1"
            if await witness.fetchval(query, BASE):
                return
            await witness.execute(f"DROP DATABASE IF EXISTS {BASE} WITH (FORCE)")
            await witness.execute(f"CREATE DATABASE {BASE} TEMPLATE template0 ENCODING 'UTF8'")
            inside = await asyncpg.connect(database=BASE, **self._login)
            try:
                await inside.execute(SCRIPT)
            finally:
                await inside.close()
            await witness.execute(f"REVOKE ALL ON DATABASE {BASE} FROM PUBLIC")
            await witness.execute(f"ALTER DATABASE {BASE} IS_TEMPLATE true ALLOW_CONNECTIONS false")
        finally:
            await witness.execute(f"SELECT pg_catalog.pg_advisory_unlock({_MAKES_BASE}, 0)")

    async def _claim(self, witness: asyncpg.Connection[Any]) -> None:
        """A number that names what is this service's, for as long as it lives."""
        while True:
            self._tag = secrets.randbelow(2**31)
            if await witness.fetchval("SELECT pg_catalog.pg_try_advisory_lock($1, $2)", _LIVES, self._tag):
                return

    async def _sweep(self, witness: asyncpg.Connection[Any]) -> None:
        """Drop the databases and roles of services that live no more."""
        query = "SELECT datname FROM pg_catalog.pg_database UNION SELECT rolname FROM pg_catalog.pg_roles ORDER BY 1"
        names = [record[0] for record in await witness.fetch(query)]
        for name in names:
            prefix, _, rest = name.partition("_")
            tag = rest.partition("_")[0]
            if f"{prefix}_" != PREFIX or not tag.isdigit() or int(tag) == self._tag:
                continue
            if await witness.fetchval("SELECT pg_catalog.pg_try_advisory_lock($1, $2)", _LIVES, int(tag)):
                await self._drop(witness, name)
                await witness.execute(f"SELECT pg_catalog.pg_advisory_unlock({_LIVES}, {int(tag)})")

    def new_place(self, kind: str) -> Place:
        """A name that no database or role has yet; `kind` is one letter."""
        self._made += 1
        return Place(f"{PREFIX}{self._tag}_{kind}{self._made}", secrets.token_hex(16))

    async def make(self, place: Place, template: str) -> None:
        """Make the role and its database, a copy of a template."""
        # copying files takes half as long as writing them to the log, unless checkpoints have to wait for a disk
        strategy = "FILE_COPY" if self._embedded else "WAL_LOG"
        async with self._admin() as admin:
            await admin.execute(
                f"CREATE ROLE {place.name} LOGIN PASSWORD '{place.password}' NOSUPERUSER NOCREATEDB NOCREATEROLE "
                "NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 2"
            )
            await admin.execute(
                f"CREATE DATABASE {place.name} TEMPLATE {template} OWNER {place.name} STRATEGY {strategy}"
            )
            await admin.execute(f"REVOKE ALL ON DATABASE {place.name} FROM PUBLIC")
        place.mark = await self.mark()

    async def mark(self) -> int:
        """The next transaction number: while it stays the same, nothing was changed on this server.

        Whatever changes rows, catalogs or roles takes a number (`pg_current_xact_id_if_assigned`), and has taken it
        by the time the session says that it is idle. Sequences alone may move on without.
        """
        async with self._admin() as admin:
            query = "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text"
            return int(await admin.fetchval(query))

    async def seal(self, place: Place) -> Template:
        """Make a fixture of a database: a template that nobody enters, whose role is gone.

        Its objects become those of pg_database_owner, and so those of whoever owns a copy.
        """
        async with _lost():
            inside = await asyncpg.connect(
                database=place.name, server_settings={"search_path": "pg_catalog"}, **self._login
            )
            try:
                await inside.execute(f"REASSIGN OWNED BY {place.name} TO pg_database_owner")
                await inside.execute(f"DROP OWNED BY {place.name}")
                sequences = await inside.fetchval("SELECT count(*) > 0 FROM pg_class WHERE relkind = 'S'")
            finally:
                await inside.close()
        async with self._admin() as admin:
            await admin.execute(f"ALTER DATABASE {place.name} OWNER TO CURRENT_USER")
            await admin.execute(f"ALTER DATABASE {place.name} RESET ALL")
            await admin.execute(f"ALTER DATABASE {place.name} ALLOW_CONNECTIONS false CONNECTION LIMIT -1")
            await self._drop_role(admin, place.name)
        return Template(place.name, bool(sequences))

    async def drop(self, name: str) -> None:
        """Drop a database with its role, whoever uses it."""
        async with self._admin() as admin:
            await self._drop(admin, name)
            if self._embedded and self._made % _VACUUM_EVERY == 0:
                await admin.execute("VACUUM pg_database, pg_authid, pg_shdepend, pg_db_role_setting")

    async def _drop(self, admin: asyncpg.Connection[Any], name: str) -> None:
        with suppress(asyncpg.InvalidCatalogNameError):  # its owner may have made it a template, which stays
            await admin.execute(f"ALTER DATABASE {name} IS_TEMPLATE false")
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await self._drop_role(admin, name)

    async def _drop_role(self, admin: asyncpg.Connection[Any], name: str) -> None:
        """Drop a role, now or with one that is dropped later.

        Whoever owns another database can grant it something there, and then it stays for as long as that database.
        """
        names = [name, *self._roles]
        self._roles.clear()  # two that drop the same role at once would be in each other's way
        for each in names:
            try:
                await admin.execute(f"DROP ROLE IF EXISTS {each}")
            except asyncpg.DependentObjectsStillExistError:
                self._roles.add(each)

    async def enter(self, place: Place, limits: RunLimits) -> Session:
        """A session of the role in its database."""
        try:
            connection = await Connection.open(
                self._address, user=place.name, password=place.password, database=place.name, settings=SETTINGS
            )
        except (ServerError, OSError, EOFError) as error:
            raise LostError(f"no session in a throw-away database: {error or type(error).__name__}") from None

        async def terminate(pid: int) -> None:
            async with self._admin() as admin:
                await admin.execute(f"SELECT pg_catalog.pg_terminate_backend({int(pid)})")

        async def too_large() -> bool:
            async with self._admin() as admin:
                size = await admin.fetchval("SELECT pg_catalog.pg_database_size($1::name)", place.name)
                return bool(size > DISK_BYTES)

        return Session(connection, limits, self._embedded, terminate, too_large)

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        if self._pool is None:
            raise AssertionError("the server is open")
        async with _lost(), self._pool.acquire(timeout=60) as connection:
            yield connection


async def _prepare(connection: asyncpg.Connection[Any]) -> None:
    """Passwords here are long and random, so that nothing is gained by making them slow to try."""
    await connection.execute("SET scram_iterations = 1")
    await connection.execute("SET client_min_messages = error")


@asynccontextmanager
async def _lost() -> AsyncIterator[None]:
    """What says that the server is away becomes `LostError`."""
    try:
        yield
    except Exception as error:
        if is_denied(error):
            raise UnusableError("the server for throw-away databases does not let us in: check its URL") from None
        if not may_pass(error):
            raise
        raise LostError(f"the server for throw-away databases: {type(error).__name__}") from error
