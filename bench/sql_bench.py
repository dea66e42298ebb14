"""The kind `sql` in both dialects, beside plain sqlite3 and asyncpg that do the same without any protection.

    python -m bench.sql_bench

Several candidates for each of a few fixtures, the gold run once for each. The plain ones make the fixture for every
item, as it must be where statements may change it: sqlite3 in memory, in this process; asyncpg by a copy of a
template database, a connection, the query, and DROP DATABASE, one after another on the same server.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

import asyncpg

from app.guarded.pool import GuardedPool
from app.scratch import ScratchDatabases, embedded
from app.store.embedded import EmbeddedPostgres
from sandbox.open import open_sandbox
from verifiers.base import Context, Item
from verifiers.sql import Sql
from verifiers.sql.config import SqlConfig

FIXTURES, EACH = 8, 16
SLOTS = 2


def setup(number: int) -> str:
    """A fixture of two tables and a few hundred rows."""
    people = ", ".join(f"({n}, 'name {n}', {n % (7 + number)})" for n in range(200))
    sales = ", ".join(f"({n}, {n % 200}, {n * 3 % 101})" for n in range(400))
    tables = (
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, team INTEGER);"
        "CREATE TABLE sales (id INTEGER PRIMARY KEY, person INTEGER, amount INTEGER);"
    )
    return f"{tables}INSERT INTO people VALUES {people}; INSERT INTO sales VALUES {sales}"  # noqa: S608


GOLD = "SELECT team, sum(amount) FROM people JOIN sales ON person = people.id GROUP BY team ORDER BY team"


def candidate(number: int) -> str:
    """Right for even numbers, and each another text."""
    order = "team" if number % 2 == 0 else "team DESC"
    return (
        f"SELECT team, sum(amount) AS s{number} FROM sales JOIN people ON person = people.id "  # noqa: S608
        f"GROUP BY team ORDER BY {order}"
    )


ITEMS = [
    Item(completion=candidate(number), reference={"query": GOLD, "setup": setup(fixture)})
    for fixture in range(FIXTURES)
    for number in range(EACH)
]


async def scored(dialect: str, ctx: Context) -> float:
    """Items a second of the kind, after one batch that warms up."""
    verifier = Sql(SqlConfig.model_validate({"dialect": dialect}))
    await verifier.verify(ITEMS[:EACH], ctx)
    began = time.perf_counter()
    verdicts = await verifier.verify(ITEMS, ctx)
    took = time.perf_counter() - began
    scores = [verdict.score for verdict in verdicts]
    if scores != [1.0, 0.0] * (len(ITEMS) // 2):
        raise AssertionError(f"wrong verdicts: {[verdict.error for verdict in verdicts if verdict.error][:3]}")
    return len(ITEMS) / took


def plain_sqlite() -> float:
    """Items a second of sqlite3 in this process."""
    began = time.perf_counter()
    for item in ITEMS:
        connection = sqlite3.connect(":memory:")
        connection.executescript(item.reference["setup"])
        connection.execute(item.text).fetchall()
        connection.close()
    return len(ITEMS) / (time.perf_counter() - began)


async def plain_asyncpg(server: EmbeddedPostgres) -> float:
    """Items a second of asyncpg, each on a copy of a template."""
    where = {"host": str(server.socket_dir), "user": embedded.ADMIN}
    admin = await asyncpg.connect(database="postgres", **where)
    await admin.execute("CREATE DATABASE plain")
    inside = await asyncpg.connect(database="plain", **where)
    await inside.execute(setup(0))
    await inside.close()
    count = 2 * EACH
    began = time.perf_counter()
    for number in range(count):
        await admin.execute("CREATE DATABASE copy TEMPLATE plain STRATEGY FILE_COPY")
        inside = await asyncpg.connect(database="copy", **where)
        await inside.fetch(candidate(number))
        await inside.close()
        await admin.execute("DROP DATABASE copy WITH (FORCE)")
    took = time.perf_counter() - began
    await admin.execute("DROP DATABASE plain")
    await admin.close()
    return count / took


async def main() -> None:
    """Measure, and print a table."""
    guard = GuardedPool(1, ["verifiers.sql.judging"])
    sandbox = open_sandbox("auto", cells=4)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        Path(folder).chmod(0o755)  # noqa: ASYNC240 - the database's own user passes through

        async def no_storage() -> int:
            return 0

        databases = ScratchDatabases(
            Path(folder), None, databases=SLOTS, process_mb=512, storage_identifier=no_storage
        )
        await asyncio.gather(guard.start(), sandbox.start())
        try:
            ctx = Context(time.monotonic() + 600, guard, sandbox, databases=databases)
            rows = [("sqlite", await scored("sqlite", ctx), "sqlite3 alone", plain_sqlite())]
            mine = await scored("postgresql", ctx)
            server = await asyncio.to_thread(embedded.start, Path(folder), 512)
            try:
                rows.append(("postgresql", mine, "asyncpg alone", await plain_asyncpg(server)))
            finally:
                await asyncio.to_thread(server.stop)
        finally:
            await databases.close()
            await asyncio.gather(guard.close(), sandbox.close())
    print(f"{len(ITEMS)} items of {FIXTURES} fixtures; sandbox {sandbox.backend}, {SLOTS} databases at once")
    for dialect, ours, name, theirs in rows:
        print(f"{dialect:12} {ours:8.1f} items/s    {name:14} {theirs:8.1f} items/s    ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    asyncio.run(main())
