"""What statements may not do in a throw-away PostgreSQL database, and what bounds them."""

from __future__ import annotations

import time

import pytest

from tests.app.scratch.live import LiveDatabases
from verifiers.databases import DatabaseRun, RunLimits

LIMITS = RunLimits(cpu_s=0.5, rows=1_000, result_bytes=500_000, memory_mb=0)
SETUP = "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x'), (2, NULL)"
FOREVER = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "


async def run(databases: LiveDatabases, sql: str, *, contents: bool = False, setup: str = SETUP) -> DatabaseRun:
    return await databases.run(setup, sql, contents=contents, limits=LIMITS, deadline=time.monotonic() + 60)


REFUSED = {
    "sleeping": ("SELECT pg_sleep(1)", "SELECT pg_sleep_for('1s')", "SELECT pg_sleep_until(now() + '1 hour')",
                 "SELECT pg_catalog.pg_sleep(100)"),
    "programs": ("COPY t TO PROGRAM 'id'", "COPY t FROM PROGRAM 'id'"),
    "files": ("COPY t FROM '/etc/passwd'", "COPY t TO '/tmp/x'", "SELECT pg_read_file('/etc/passwd')",
              "SELECT pg_read_binary_file('PG_VERSION')", "SELECT pg_ls_dir('.')", "SELECT pg_stat_file('.')",
              "SELECT pg_ls_waldir()", "SHOW data_directory", "SELECT * FROM pg_hba_file_rules",
              "SELECT pg_current_logfile()"),
    "the client": ("COPY t TO STDOUT", "COPY t FROM STDIN"),
    "extensions": ("CREATE EXTENSION dblink", "CREATE EXTENSION postgres_fdw", "CREATE EXTENSION vector",
                   "CREATE EXTENSION IF NOT EXISTS plpgsql", "CREATE SERVER s FOREIGN DATA WRAPPER f",
                   "CREATE FOREIGN DATA WRAPPER f",
                   "IMPORT FOREIGN SCHEMA s FROM SERVER f INTO public", "CREATE LANGUAGE plpython3u",
                   "CREATE PUBLICATION p FOR ALL TABLES"),
    "native code": ("CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc.so.6', 'abs'", "LOAD 'auto_explain'",
                    "CREATE FUNCTION f(internal) RETURNS int LANGUAGE internal AS 'int4in'"),
    "other sessions": ("SELECT pg_terminate_backend(1)", "SELECT pg_cancel_backend(pg_backend_pid())",
                       "SELECT * FROM pg_stat_activity", "SELECT * FROM pg_locks"),
    "locks of the whole server": ("SELECT pg_advisory_lock(1)", "SELECT pg_try_advisory_xact_lock(1, 2)",
                                  "SELECT pg_notify('a', 'b')"),
    "other roles": ("SET ROLE postgres", "SET SESSION AUTHORIZATION postgres", "CREATE ROLE x", "DROP ROLE postgres",
                    "ALTER ROLE CURRENT_USER SUPERUSER", "ALTER ROLE postgres PASSWORD 'x'",
                    "GRANT pg_read_server_files TO CURRENT_USER", "GRANT pg_execute_server_program TO CURRENT_USER",
                    "SELECT * FROM pg_authid", "ALTER DATABASE postgres OWNER TO CURRENT_USER"),
    "other databases": ("CREATE DATABASE x", "CREATE DATABASE x TEMPLATE template0", "DROP DATABASE postgres",
                        "ALTER DATABASE template1 ALLOW_CONNECTIONS false", "CREATE TABLESPACE x LOCATION '/tmp'"),
    "the server's settings": ("ALTER SYSTEM SET fsync = on", "SET temp_file_limit = -1", "SET log_statement = 'all'",
                              "SET event_triggers = off", "SELECT pg_reload_conf()",
                              "SET session_preload_libraries = 'x'"),
    "the catalog": ("UPDATE pg_class SET relname = 'x'", "DELETE FROM pg_proc",
                    "INSERT INTO pg_auth_members VALUES (0)",
                    "CREATE TABLE pg_catalog.x (a int)", "SET allow_system_table_mods = on"),
    "large objects": ("SELECT lo_create(0)", "SELECT lo_from_bytea(0, 'x')", "SELECT lo_import('/etc/passwd')",
                      "SELECT lo_export(1, '/tmp/x')"),
    "event triggers": ("DROP EVENT TRIGGER assay_refuse", "ALTER EVENT TRIGGER assay_refuse DISABLE",
                       "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
                       "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
                       "DROP FUNCTION assay.refuse() CASCADE", "DROP SCHEMA assay CASCADE"),
    "chance": ("SELECT random()", "SELECT setseed(0)", "SELECT random(1, 6)"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
async def test_it_is_refused(databases: LiveDatabases, what: str) -> None:
    for sql in REFUSED[what]:
        found = await run(databases, sql)
        assert found.fault in ("refused", "error"), (sql, found)
        assert found.fault == "refused" or sql.startswith(("SET ", "DROP EVENT", "INSERT", "SELECT random(1")), (
            sql,
            found,
        )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT dblink('dbname=postgres', 'SELECT 1')",
        "SELECT * FROM postgres.pg_catalog.pg_class",
        "BEGIN; DELETE FROM t; PREPARE TRANSACTION 'x'",
        "SELECT * FROM nowhere",
        "\\connect postgres",
        "SELEC 1",
        "SELECT 1 / 0",
        "SELECT " + "(" * 50_000 + "1" + ")" * 50_000,
    ],
)
async def test_it_is_an_error(databases: LiveDatabases, sql: str) -> None:
    found = await run(databases, sql)
    assert (found.fault, bool(found.message)) == ("error", True), found


@pytest.mark.parametrize(
    ("sql", "faults"),
    [
        (FOREVER + "SELECT count(*) FROM c", {"cpu"}),
        (FOREVER + "SELECT x FROM c", {"rows"}),
        ("SELECT count(*) FROM generate_series(1, 10000) a, generate_series(1, 10000) b, t", {"cpu"}),
        ("SELECT count(*) FROM generate_series(1, 1000000000000)", {"cpu", "disk"}),
        ("DO $$ BEGIN LOOP END LOOP; END $$", {"cpu"}),
        # it catches what cancels it, and is ended all the same
        ("SET statement_timeout = 0; DO $$ BEGIN LOOP BEGIN PERFORM 1; EXCEPTION WHEN query_canceled THEN END; "
         "END LOOP; END $$", {"cpu"}),
        ("SELECT length(repeat('x', 1000000000))", {"memory"}),
        ("SELECT array_agg(repeat('x', 1000000)) FROM generate_series(1, 5000)", {"memory", "cpu"}),
        ("SELECT repeat('x', 1000000)", {"output"}),
        ("SELECT a.b, repeat('x', 1000) FROM t a, generate_series(1, 499)", {"output"}),
        ("DO $$ BEGIN FOR i IN 1..1000000 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; END $$", {"output"}),
        ("SET transaction_timeout = 100; DO $$ BEGIN LOOP END LOOP; END $$", {"crashed"}),
        ("SET statement_timeout = 100; DO $$ BEGIN LOOP END LOOP; END $$", {"error"}),
    ],
)  # fmt: skip
async def test_it_is_bounded(databases: LiveDatabases, sql: str, faults: set[str]) -> None:
    began = time.monotonic()
    found = await run(databases, sql)
    assert found.fault in faults, found
    assert time.monotonic() - began < 30
    assert (await run(databases, "SELECT 1")).result == b'[[["?column?"],[[1]]],null]'


async def test_the_disk_is_bounded(databases: LiveDatabases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.scratch.server.DISK_BYTES", 20 * 2**20)
    limits = RunLimits(cpu_s=30, rows=10, result_bytes=1000, memory_mb=0)
    sql = "CREATE TABLE big AS SELECT repeat(md5(i::text), 50) FROM generate_series(1, 100000000) i"
    found = await databases.run(SETUP, sql, contents=False, limits=limits, deadline=time.monotonic() + 60)
    assert found.fault == "disk"


async def test_a_session_left_open_leaves_nothing(databases: LiveDatabases) -> None:
    for sql in ("BEGIN; DELETE FROM t", "BEGIN; LOCK TABLE t", "LISTEN x", "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
                "PREPARE p AS SELECT 1", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"):  # fmt: skip
        await run(databases, sql)
        assert (await run(databases, "SELECT count(*) FROM t")).result == b'[[["count"],[[2]]],null]'


async def test_contents_cannot_be_disguised(databases: LiveDatabases) -> None:
    """Whatever a session sets, hides or puts in the way, what is told is what another session would find."""
    honest = b'["t",[["a","b"],[[2,null]]]]'
    for trick in (
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "SET search_path = x; SET client_encoding = 'LATIN1'; SET DateStyle = 'German'; SET bytea_output = 'escape'",
        "CREATE TEMP TABLE t (a int, b text); INSERT INTO pg_temp.t VALUES (9, 'z')",
        "CREATE SCHEMA x; CREATE VIEW x.pg_class AS SELECT 1; SET search_path = x, pg_catalog",
        "COMMIT; BEGIN; INSERT INTO t VALUES (7, 'not committed')",
        "CREATE TABLE u () INHERITS (t); INSERT INTO u VALUES (5, 'of the child'); DROP TABLE u",
        "SET default_transaction_read_only = on; SET row_security = on",
        "PREPARE x AS SELECT 1; DECLARE c CURSOR WITH HOLD FOR SELECT 1; LISTEN y",
        "ALTER ROLE CURRENT_USER SET search_path = x; ALTER ROLE CURRENT_USER PASSWORD 'mine'",
    ):
        found = await run(databases, f"DELETE FROM t WHERE a = 1; {trick}", contents=True)
        assert found.fault is None, (trick, found)
        assert found.result.endswith(b"[" + honest + b"]]"), (trick, found)
    hidden = (
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY; "
        "CREATE POLICY p ON t USING (a = 2)"
    )
    found = await run(databases, hidden, contents=True)
    assert found.fault is not None or b"[1," in found.result, "rows that a policy hides"


async def test_contents_of_every_schema(databases: LiveDatabases) -> None:
    sql = (
        "CREATE SCHEMA s; CREATE TABLE s.\"T x\" (a int); CREATE TABLE p (a int) PARTITION BY LIST (a); "
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1); CREATE TABLE e (); "
        "DROP TABLE t; CREATE VIEW v AS SELECT 1"
    )  # fmt: skip
    found = await run(databases, sql, contents=True)
    assert found.result == b'[null,[["e",[[],[]]],["p",[["a"],[[1]]]],["s.T x",[["a"],[]]]]]'


async def test_every_type_comes_out(databases: LiveDatabases) -> None:
    sql = (
        "SELECT NULL::int, 1::int2, 2::int4, 3::int8, 1.50::numeric, 0.1::float4, 'NaN'::float8, "
        "'-Infinity'::float8, true, 'x'::text, 'y'::varchar, 'z'::char(3), '\\x00ff'::bytea, "
        "date '2024-01-02', time '03:04', timestamptz '2024-01-02 03:04+02', interval '1 day', '{\"a\":1}'::jsonb, "
        "'00000000-0000-0000-0000-000000000001'::uuid, ARRAY[1,2], ROW(1,'a'), 'é😀', 'infinity'::date, "
        "'294276-12-31'::timestamp, 1e200::numeric"
    )
    found = await run(databases, sql)
    assert found.fault is None, found
    for part in (b'[null,1,2,3,{"dec":"1.50"},0.1,{"f":"nan"},{"f":"-inf"},true,"x","y","z  ",{"b":"AP8="}',
                 b'{"t":["date","2024-01-02"]},{"t":["time","03:04:00"]}',
                 b'{"t":["timestamptz","2024-01-02 01:04:00+00"]}',
                 b'{"t":["date","infinity"]}', b'"\\u00e9\\ud83d\\ude00"'):  # fmt: skip
        assert part in found.result, (part, found.result)


async def test_a_fixture_is_whose_copy_it_is(databases: LiveDatabases) -> None:
    setup = (
        "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE a (x serial PRIMARY KEY, y int REFERENCES a, m mood); "
        "CREATE SCHEMA s; CREATE TABLE s.b (z int); CREATE VIEW v AS SELECT x FROM a; "
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.y = NEW.x; RETURN NEW; END $$; "
        "CREATE TRIGGER g BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f(); INSERT INTO a DEFAULT VALUES; "
        "GRANT SELECT ON a TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"
    )
    sql = (
        "INSERT INTO a (m) VALUES ('good'); ALTER TABLE s.b ADD COLUMN w int; ALTER TYPE mood ADD VALUE 'bad'; "
        "DROP FUNCTION f CASCADE; ALTER TABLE a RENAME COLUMN m TO n; DROP SCHEMA s CASCADE; SELECT * FROM v"
    )
    for _ in range(2):
        found = await run(databases, sql, setup=setup)
        assert found.result == b'[[["x"],[[1],[2]]],null]', found
