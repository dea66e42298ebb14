"""Migrations: up, down and up again with data, by several processes at once, to what the tables say."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.registry import register_builtins
from app.store import backends, idempotency, keys, outcomes, projects, reports, run_events, runs, verifiers
from app.store.database import Database, migrate
from app.store.scores import ensure_partitions
from app.store.tables import BUILTIN_PROJECT, metadata
from app.store.writer import Writer
from tests.app.store.rows import batch, fetch, recorded, waiting
from verifiers.base import load_kinds

ROOT = Path(__file__).parents[3]
NOW = datetime.now(UTC)


async def tables(database: Database) -> set[str]:
    return {name for (name,) in await fetch(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


async def leftovers(database: Database) -> list[Any]:
    """Everything in the schema but Alembic's own table."""
    return await fetch(
        database,
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relname NOT LIKE 'alembic_version%' UNION ALL "
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    )


async def populate(database: Database) -> None:
    """A row at least in every table."""
    load_kinds()
    async with database.begin() as connection:
        await ensure_partitions(connection, NOW)
        await projects.ensure(connection, ".builtin", BUILTIN_PROJECT)
        project = await projects.ensure(connection, "one")
        await register_builtins(connection)
        await keys.create(connection, project.id, "k", b"digest", "gest", ["score"])
        await verifiers.ensure_inline(connection, project.id, "math", "{}", b"sha")
        await idempotency.claim(connection, project.id, "key", b"sha")
        signal = outcomes.Kept(b"key", 1.0, None, None, NOW, used=False)
        await outcomes.keep(connection, project.id, [signal])
        await backends.create(
            connection,
            id=project.id,
            name="b",
            type="verifier",
            url="u",
            allow_private=False,
            limits="{}",
            secrets="[]",
        )
        [version] = await verifiers.list_page(connection, project.id, None, 1)
        await reports.add(connection, project.id, version.id, "calibration", "{}")
        run_id, _ = await runs.create(connection, project.id, "r", b"{}", b"{}")
        events = run_events.Events(
            metrics=[run_events.Metric(1, 1, "m", 1.0, None)],
            samples=[run_events.Sample(1, 1, 0, None, 1.0, None, None, None, b"{}")],
            alarms=[run_events.Alarm(1, 1, "a", b'""', b"{}", None)],
            resumes=[run_events.Resume(1, 2)],
        )
        await run_events.record(connection, await run_events.lock(connection, run_id), events)
    writer = Writer(database)
    await writer.commit([one := batch(project.id, [1.0, None], key="other")])
    await writer.commit([waiting(project.id, b"key")])
    await writer.close()
    assert len(await recorded(database, one)) == 2
    for table in metadata.tables:
        [(count,)] = await fetch(database, f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
        assert count > 0, table


async def test_up_down_and_up_again_with_data(empty_database_url: str) -> None:
    database = Database(empty_database_url, 2)
    for _ in range(2):
        await migrate(database)
        assert await tables(database) >= set(metadata.tables)
        await populate(database)
        await migrate(database)  # nothing to do: the data stay
        [(count,)] = await fetch(database, "SELECT count(*) FROM scores")
        assert count == 3
        await migrate(database, "base", command.downgrade)
        assert await leftovers(database) == []
    await database.close()


async def test_the_schema_is_what_the_tables_say(database: Database) -> None:
    async with database.begin() as connection:
        await ensure_partitions(connection, NOW)
    partitions = {name for (name,) in await fetch(database, "SELECT inhrelid::regclass::text FROM pg_inherits")}

    def compare(connection: Connection) -> list[Any]:
        def counts(name: str | None, type: str, parents: Any) -> bool:
            return not (type == "table" and (name in partitions or name == "alembic_version"))

        options = {"compare_type": True, "compare_server_default": True, "include_name": counts}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async with database.begin() as connection:
        assert await connection.run_sync(compare) == []
    assert len(partitions) >= 8


async def test_the_constraints_are_those_of_the_tables(empty_database_url: str, database: Database) -> None:
    """Alembic does not compare checks, primary keys and partitioning; PostgreSQL can say what they are."""
    query = (
        "SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conparentid = 0 "
        "AND conrelid IN (SELECT oid FROM pg_class WHERE NOT relispartition AND relname <> 'alembic_version') "
        "ORDER BY 1, 2"
    )
    partitioned = (
        "SELECT partrelid::regclass::text, pg_get_partkeydef(partrelid) FROM pg_partitioned_table ORDER BY 1"
    )
    migrated = await fetch(database, query), await fetch(database, partitioned)
    await migrate(database, "base", command.downgrade)
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    assert (await fetch(database, query), await fetch(database, partitioned)) == migrated
    assert len(migrated[0]) > 10
    assert len(migrated[1]) == 2


MIGRATE = """
import asyncio, sys
from app.store.database import Database, migrate
async def main():
    database = Database(sys.argv[1], 1)
    await migrate(database)
    await database.close()
asyncio.run(main())
"""


async def test_two_processes_migrate_at_once(empty_database_url: str) -> None:
    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", MIGRATE, empty_database_url], cwd=ROOT, stderr=subprocess.PIPE)

    processes = [start(), start()]
    for process in processes:
        _, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, errors.decode()
    database = Database(empty_database_url, 1)
    assert await tables(database) >= set(metadata.tables)
    await database.close()


async def test_a_migration_that_fails_leaves_nothing(empty_database_url: str) -> None:
    database = Database(empty_database_url, 1)
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE idempotency (x int)"))
    with pytest.raises(DBAPIError, match="already exists"):
        await migrate(database)
    assert await tables(database) <= {"idempotency"}
    async with database.begin() as connection:
        await connection.execute(text("DROP TABLE idempotency"))
    await migrate(database)
    assert await tables(database) >= set(metadata.tables)
    await database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE verifier_versions SET config = '{}'",
        "UPDATE verifier_versions SET version = version",
        "DELETE FROM verifier_versions",
        "TRUNCATE verifier_versions CASCADE",
        "TRUNCATE projects CASCADE",
        "DELETE FROM verifiers",
        "INSERT INTO verifier_versions SELECT * FROM verifier_versions ON CONFLICT (id) DO UPDATE SET kind = 'text'",
        "MERGE INTO verifier_versions v USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE",
    ],
)
async def test_a_verifier_version_never_changes(database: Database, statement: str) -> None:
    async with database.begin() as connection:
        project = await projects.ensure(connection, "one")
        await verifiers.register(
            connection, project_id=project.id, name="v", kind="math", config="{}", config_sha256=b"sha",
            description='""', examples="[]",
        )  # fmt: skip
    before = await fetch(database, "SELECT * FROM verifier_versions")
    with pytest.raises(DBAPIError, match=r"insert-only|violates foreign key"):
        async with database.begin() as connection:
            await connection.execute(text(statement))
    assert await fetch(database, "SELECT * FROM verifier_versions") == before != []
