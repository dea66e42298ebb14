"""The server for throw-away databases: opened late, shared, lost and found again, never the storage server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.errors import Problem
from app.scratch import databases as module
from app.scratch import embedded
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.store.embedded.postmaster import read_postmaster
from tests.app.scratch.live import LiveDatabases
from verifiers.databases import (
    DatabaseDeadlineError,
    DatabaseRun,
    DatabaseUnavailableError,
    FixtureError,
    RunLimits,
)

LIMITS = RunLimits(cpu_s=2.0, rows=1_000, result_bytes=100_000, memory_mb=0)
ONE = b'[[["?column?"],[[1]]],null]'


async def run(
    databases: LiveDatabases, sql: str = "SELECT 1", setup: str = "", seconds: float = 60, **more: Any
) -> DatabaseRun:
    return await databases.run(
        setup, sql, contents=False, deadline=time.monotonic() + seconds, **{"limits": LIMITS, **more}
    )


@pytest.fixture(scope="module")
def home(homes: Path) -> Path:
    return homes / "scratch"


@pytest.fixture
def own(home: Path) -> Iterator[LiveDatabases]:
    """Databases that a test may harm; making their cluster takes a second, once."""
    live = LiveDatabases(home)
    try:
        yield live
    finally:
        live.close()


def server(databases: LiveDatabases) -> EmbeddedPostgres:
    opening = databases.databases._opening
    assert opening is not None
    found = opening.result().embedded
    assert found is not None
    return found


def names(databases: LiveDatabases) -> set[str]:
    """Databases and roles that live as long as an item or a fixture."""
    where = server(databases)

    async def ask() -> set[str]:
        connection = await asyncpg.connect(host=str(where.socket_dir), user=embedded.ADMIN, database="postgres")
        try:
            query = "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles"
            return {name for (name,) in await connection.fetch(query) if re.fullmatch(r"assay_\d+_.*", name)}
        finally:
            await connection.close()

    return asyncio.run(ask())


def test_nothing_is_started_before_it_is_wanted(homes: Path) -> None:
    live = LiveDatabases(homes / "never")
    live.close()
    assert not (homes / "never").exists()


async def test_copies_are_dropped_and_fixtures_kept(own: LiveDatabases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FIXTURES", 2)
    for number in range(4):
        setup = f"CREATE TABLE t{number} (a int)"
        assert (await run(own, f"SELECT count(*) FROM t{number}", setup)).fault is None
        assert (await run(own, f"SELECT count(*) FROM t{number}", setup)).fault is None
    await settled(own)
    left = await asyncio.to_thread(names, own)
    assert len({name for name in left if "_f" in name}) == 2
    assert len({name for name in left if "_i" in name}) <= 4, "those of kept fixtures that nothing has changed"


async def settled(own: LiveDatabases) -> None:
    """Wait until each copy is dropped, or is there for the next run."""

    async def wait() -> None:
        await asyncio.gather(*own.databases._ending)

    await own.here(wait())


async def which(own: LiveDatabases, setup: str, sql: str = "") -> bytes:
    """The database that statements ran in; once it is known whether it may serve again."""
    found = await run(own, f"{sql}; SELECT current_database()", setup)
    await settled(own)
    assert found.fault is None, found
    return found.result


async def test_a_copy_serves_again_where_nothing_has_changed_in_it(own: LiveDatabases) -> None:
    setup = "CREATE TABLE t (a int); CREATE TABLE u (a int)"
    first = await which(own, setup)
    assert await which(own, setup, "SELECT * FROM t") == first
    for change in (
        "INSERT INTO t VALUES (1)",
        "CREATE TEMP TABLE x (a int)",
        "CREATE VIEW v AS SELECT 1",
        "ALTER ROLE CURRENT_USER SET work_mem = '1MB'",
        "COMMENT ON TABLE t IS 'x'",
        "INSERT INTO u VALUES (1); ROLLBACK",
        "CREATE UNLOGGED TABLE x (a int)",
        "CREATE SEQUENCE s; SELECT nextval('s')",
        "ANALYZE t",
    ):
        used = await which(own, setup, change)
        after = await which(own, setup)
        assert after != used, change
        assert (await run(own, "SELECT (SELECT count(*) FROM t), count(*) FROM u", setup)).result == (
            b'[[["count","count"],[[0,0]]],null]'
        )
    open_still = await run(own, "BEGIN; SELECT current_database()", setup)
    await settled(own)
    last = await which(own, setup)
    assert last != open_still.result
    await run(own, "VACUUM", setup)
    await settled(own)
    assert await which(own, setup) != last


async def test_a_copy_with_sequences_serves_once(own: LiveDatabases) -> None:
    """A number that was taken ahead is given without a transaction's number: nothing tells that it is gone."""
    setup = "CREATE TABLE t (a serial, b int); INSERT INTO t (b) VALUES (1); CREATE UNLOGGED TABLE u (a serial)"
    for _ in range(3):
        sql = "SELECT nextval('t_a_seq'), nextval('u_a_seq')"
        assert (await run(own, sql, setup)).result == b'[[["nextval","nextval"],[[2,1]]],null]'
        await settled(own)


async def test_many_at_once_are_told_apart(own: LiveDatabases) -> None:
    setup = "CREATE TABLE t (a int)"
    found = await asyncio.gather(
        *(run(own, f"INSERT INTO t VALUES ({n}); SELECT a, (SELECT count(*) FROM t) FROM t", setup) for n in range(8))
    )
    assert [each.result for each in found] == [b'[[["a","count"],[[%d,1]]],null]' % n for n in range(8)]


async def test_a_fixture_that_fails_says_why_each_time(own: LiveDatabases) -> None:
    for _ in range(2):
        with pytest.raises(FixtureError, match='syntax error at or near "TABL"'):
            await run(own, setup="CREATE TABL")
    with pytest.raises(FixtureError, match="permission denied for function pg_sleep"):
        await run(own, setup="SELECT pg_sleep(10)")
    assert (await run(own)).result == ONE


async def test_the_deadline_ends_a_run(own: LiveDatabases) -> None:
    await run(own)
    began = time.monotonic()
    with pytest.raises(DatabaseDeadlineError):
        await run(own, "DO $$ BEGIN LOOP END LOOP; END $$", seconds=0.5, limits=RunLimits(60, 10, 1000, 0))
    assert time.monotonic() - began < 10
    assert (await run(own)).result == ONE


async def test_a_killed_backend_costs_no_neighbour_its_verdict(own: LiveDatabases) -> None:
    """A session that dies of a signal takes all others with it: the server starts over, and they are run again."""
    slow = "SELECT count(*) FROM generate_series(1, 3000000)"
    await run(own)
    running = [asyncio.create_task(run(own, slow, limits=RunLimits(30, 10, 1000, 0))) for _ in range(2)]
    victim = await asyncio.to_thread(_backend, own)
    os.kill(victim, signal.SIGKILL)
    for each in await asyncio.gather(*running):
        assert each.result == b'[[["count"],[[3000000]]],null]', each
    assert (await run(own)).result == ONE


def _backend(own: LiveDatabases) -> int:
    """The pid of a session that runs an item's statements."""
    data = server(own).data_dir
    for _ in range(500):
        for process in Path("/proc").glob("[0-9]*"):
            try:
                title = (process / "cmdline").read_bytes()
                mine = (process / "cwd").resolve() == data
            except OSError:
                continue
            if mine and b"SELECT" in title and b"_i" in title:
                return int(process.name)
        time.sleep(0.01)
    raise AssertionError("no session runs")


async def test_a_server_that_died_is_started_again(own: LiveDatabases) -> None:
    await run(own, "SELECT 1", "CREATE TABLE t (a int)")
    postmaster = read_postmaster(server(own).data_dir)
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGKILL)
    assert (await run(own, "SELECT 1 FROM (SELECT count(*) FROM t) x", "CREATE TABLE t (a int)")).result == ONE


async def test_what_a_dead_service_left_is_dropped(home: Path, own: LiveDatabases) -> None:
    other = LiveDatabases(home)
    assert (await asyncio.to_thread(other.now, run_here(other, "CREATE TABLE t (a int)"))).fault is None
    opened = other.databases._opening
    assert opened is not None
    left = await asyncio.to_thread(names, other)
    assert left
    other.now(opened.result().server.close())  # as if it had been killed
    await run(own)
    assert not (left & await asyncio.to_thread(names, own))
    other.databases._opening = None
    other.close()


async def run_here(live: LiveDatabases, setup: str) -> DatabaseRun:
    return await live.databases.run(setup, "SELECT 1", contents=False, limits=LIMITS, deadline=time.monotonic() + 60)


async def test_the_storage_server_is_refused(postgres: EmbeddedPostgres, home: Path) -> None:
    storage = Database(f"postgresql://{postgres.user}@/{postgres.database}?host={postgres.socket_dir}", 1)
    url = storage.url.render_as_string(False).replace("+asyncpg", "")
    live = LiveDatabases(home, url=url, storage_identifier=storage.system_identifier)
    try:
        with pytest.raises(DatabaseUnavailableError, match="is the one verdicts are stored in"):
            await run(live)
    finally:
        await live.here(storage.close())
        live.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "ASSAY_SCRATCH_DATABASE_URL cannot be used"),
        ("mysql://a:b@h/d", "ASSAY_SCRATCH_DATABASE_URL cannot be used"),
        ("postgresql://h/d", "ASSAY_SCRATCH_DATABASE_URL cannot be used"),
        ("postgresql://u:hush@127.0.0.1:1/d", "the server for throw-away databases"),
    ],
)
async def test_a_server_that_cannot_be_used(home: Path, url: str, message: str) -> None:
    live = LiveDatabases(home, url=url)
    try:
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError, match=message) as caught:
                await run(live)
            assert "hush" not in str(caught.value)
    finally:
        live.close()


async def test_a_role_that_is_no_superuser_is_refused(postgres: EmbeddedPostgres, home: Path) -> None:
    url = f"postgresql://{postgres.user}@/{postgres.database}?host={postgres.socket_dir}"
    live = LiveDatabases(home, url=url)
    try:
        with pytest.raises(DatabaseUnavailableError, match="is no superuser"):
            await run(live)
    finally:
        live.close()


async def test_an_operators_server_by_password(own: LiveDatabases) -> None:
    """Another service's embedded server stands for it: entered by a superuser's password, as an operator's is."""
    await run(own)
    where = server(own)

    async def make(statement: str) -> None:
        connection = await asyncpg.connect(host=str(where.socket_dir), user=embedded.ADMIN, database="postgres")
        await connection.execute(statement)
        await connection.close()

    await make("DROP ROLE IF EXISTS operator; CREATE ROLE operator SUPERUSER LOGIN PASSWORD 'open sesame'")
    live = LiveDatabases(
        Path("/nowhere"), url=f"postgresql://operator:open%20sesame@/postgres?host={where.socket_dir}"
    )
    wrong = LiveDatabases(Path("/nowhere"), url=f"postgresql://operator:hush@/postgres?host={where.socket_dir}")
    try:
        assert (await run(live, "SELECT count(*) FROM t", "CREATE TABLE t (a int)")).fault is None
        found = await run(live, "DO $$ BEGIN LOOP END LOOP; END $$", limits=RunLimits(0.2, 10, 1000, 0))
        assert found.fault == "wall"
        with pytest.raises(DatabaseUnavailableError, match="does not let us in"):
            await run(wrong)
    finally:
        live.close()
        wrong.close()


async def test_without_storage_nothing_is_opened(home: Path) -> None:
    async def away() -> int:
        raise Problem("storage-unavailable", "the database cannot be reached")

    live = LiveDatabases(home, storage_identifier=away)
    try:
        with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
            await run(live)
    finally:
        live.close()


async def test_an_embedded_server_that_does_not_start(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise EmbeddedPostgresError("no room on this host")

    monkeypatch.setattr(embedded, "start", fail)
    live = LiveDatabases(home)
    try:
        with pytest.raises(DatabaseUnavailableError, match="no room on this host"):
            await run(live)
    finally:
        live.close()


def test_clusters_of_earlier_boots_are_removed(tmp_path: Path) -> None:
    old = tmp_path / "scratch" / "boot-00000000"
    elsewhere = tmp_path / "postgres-0123"
    (old / "postgres").mkdir(parents=True)
    elsewhere.mkdir()
    (old / "postgres-is-elsewhere.txt").write_text(f"{elsewhere}\nwhy\n")
    current = embedded.home_of_boot(tmp_path)
    current.mkdir()
    assert not old.exists()
    assert not elsewhere.exists()
    assert embedded.home_of_boot(tmp_path) == current
    assert current.exists()
