"""What a candidate's role could do to the service and its neighbours with what is its own."""

from __future__ import annotations

import time
from pathlib import Path

from app.scratch import ScratchDatabases
from tests.app.scratch.live import LiveDatabases
from verifiers.databases import DatabaseRun, RunLimits

LIMITS = RunLimits(cpu_s=1.0, rows=1_000, result_bytes=500_000, memory_mb=0)
SETUP = "CREATE TABLE t (a int); INSERT INTO t VALUES (1)"


async def run(databases: LiveDatabases, sql: str, *, contents: bool = False, setup: str = SETUP) -> DatabaseRun:
    return await databases.run(setup, sql, contents=contents, limits=LIMITS, deadline=time.monotonic() + 60)


def on_own_database(statement: str) -> str:
    return f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {statement}', current_database()); END $$;"


async def left(databases: LiveDatabases) -> tuple[set[str], set[str]]:
    """The databases of items and the roles that there are, once all that was to be dropped is."""

    async def ask() -> tuple[set[str], set[str]]:
        scratch: ScratchDatabases = databases.databases
        while scratch._ending:
            await next(iter(scratch._ending))
        async with (await scratch._open()).server._admin() as admin:
            names = await admin.fetch("SELECT datname FROM pg_database WHERE datname ~ '^assay_[0-9]+_i'")
            roles = await admin.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE 'assay%'")
        return {name for (name,) in names}, {name for (name,) in roles}

    return await databases.here(ask())


async def test_a_database_that_its_owner_makes_a_template_is_dropped(databases: LiveDatabases) -> None:
    """It stayed for good, and no service could be opened on that server again."""
    for statement in ("IS_TEMPLATE true", "CONNECTION LIMIT 0"):
        found = await run(databases, on_own_database(statement) + "SELECT current_database()::text")
        assert found.fault is None, found
        kept, roles = await left(databases)
        assert not {name for name in kept | roles if name in found.result.decode()}
    setup = SETUP + ";" + on_own_database("IS_TEMPLATE true") + on_own_database("CONNECTION LIMIT 0")
    assert (await run(databases, "SELECT a FROM t", setup=setup)).result == b'[[["a"],[[1]]],null]'


async def test_a_template_left_by_a_dead_service_is_swept(homes: Path) -> None:
    home = homes / "tests-app-scratch-review"
    live = LiveDatabases(home)
    try:
        assert (await run(live, "SELECT 1")).fault is None

        async def leave() -> None:
            async with (await live.databases._open()).server._admin() as admin:
                await admin.execute("CREATE DATABASE assay_1_i1 TEMPLATE template0 IS_TEMPLATE true")
                await admin.execute("CREATE ROLE assay_1_i1")
                await admin.execute("CREATE ROLE assay_0_i1")
                await admin.execute("GRANT CONNECT ON DATABASE assay_1_i1 TO assay_0_i1")

        await live.here(leave())
        other = LiveDatabases(home)
        try:
            assert (await run(other, "SELECT 1")).fault is None
            names, roles = await left(other)
            assert not {"assay_0_i1", "assay_1_i1"} & (names | roles)
        finally:
            other.close()
    finally:
        live.close()


async def test_what_is_granted_to_a_neighbour_keeps_no_fixture_from_being_made(databases: LiveDatabases) -> None:
    """A grant to a role in another database keeps it from being dropped while that database is there."""
    grants = (
        "DO $$ DECLARE r name; BEGIN FOR r IN SELECT rolname FROM pg_roles WHERE rolname ~ '^assay_' "
        "AND rolname <> current_user LOOP EXECUTE format('GRANT SELECT ON t TO %I', r); END LOOP; END $$;"
    )
    made = await run(databases, "SELECT 1", setup=SETUP + "; CREATE TABLE granted (a int)")
    assert made.fault is None

    async def meet() -> None:
        """While the fixture's role is there, a neighbour grants it something; then the fixture is sealed."""
        server = (await databases.databases._open()).server
        fixture, neighbour = server.new_place("f"), server.new_place("i")
        base = (await databases.databases._open()).fixtures
        template = next(iter(base.values())).ready.result()
        await server.make(fixture, template.name)
        await server.make(neighbour, template.name)
        session = await server.enter(neighbour, LIMITS)
        found = await session.run(grants, contents=False, deadline=time.monotonic() + 20)
        assert found.fault is None, found
        sealed = await server.seal(fixture)
        assert fixture.name in server._roles, "the role stays while the neighbour's database does"
        await server.drop(neighbour.name)
        assert not server._roles
        await server.drop(sealed.name)

    await databases.here(meet())


async def test_an_operator_of_its_own_hides_no_table(databases: LiveDatabases) -> None:
    """`!~` for two names is a closer match to `nspname !~ '^pg_'` than the server's own, for a name and a text."""
    disguise = (
        "CREATE SCHEMA junk; CREATE TABLE junk.extra (a int);"
        "CREATE FUNCTION public.shown(name, name) RETURNS bool LANGUAGE sql "
        "AS $$ SELECT $1::text = 'public' $$;"
        "CREATE OPERATOR public.!~ (LEFTARG = name, RIGHTARG = name, FUNCTION = public.shown);"
    )
    found = await run(databases, disguise, contents=True)
    assert (found.fault, found.result) == (None, b'[null,[["junk.extra",[["a"],[]]],["t",[["a"],[[1]]]]]]')
