"""Telling apart what can go wrong between the service and PostgreSQL."""

from __future__ import annotations

import asyncio
import errno

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.errors import Problem
from app.store.database import Database, async_url
from app.store.faults import is_refused, may_pass
from tests.app.store.proxy import proxied


def raised(sqlstate: str) -> asyncpg.PostgresError:
    """The error that asyncpg raises for an SQLSTATE."""
    error = asyncpg.PostgresError.new({"S": "ERROR", "C": sqlstate, "M": "message"})
    assert error.sqlstate == sqlstate
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ECONNREFUSED, "refused"),
        FileNotFoundError("no socket"),
        ConnectionResetError(),
        TimeoutError(),
        PoolTimeoutError(),
        raised("08006"),  # connection failure
        raised("53100"),  # disk full
        raised("53300"),  # too many connections
        raised("57P01"),  # terminated by an administrator
        raised("57P03"),  # starting up
        raised("25006"),  # a standby, which takes no writes until it is promoted
        raised("40P01"),  # deadlock
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        DBAPIError("SELECT 1", None, OSError("gone"), connection_invalidated=False),
        DBAPIError("SELECT 1", None, Exception("gone"), connection_invalidated=True),
    ],
    ids=repr,
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert may_pass(error)
    assert not is_refused(error)


@pytest.mark.parametrize(
    "error",
    [
        raised("22021"),  # NUL in text
        raised("22003"),  # number out of range
        raised("23505"),  # unique
        raised("23514"),  # check
        raised("54000"),  # a row too large
        raised("P0001"),  # raised by a trigger
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
    ids=repr,
)
def test_what_a_row_holds_is_refused_for_good(error: Exception) -> None:
    assert is_refused(error)
    assert not may_pass(error)


@pytest.mark.parametrize(
    "error", [raised("42P01"), raised("42501"), raised("28P01"), KeyError("x"), AssertionError()], ids=repr
)
def test_what_is_our_own_fault_is_neither(error: Exception) -> None:
    assert not is_refused(error)
    assert not may_pass(error)


@pytest.mark.parametrize("away", ["stopped", "dying", "cut"])
async def test_a_database_that_went_away_is_a_503(database: Database, away: str) -> None:
    rendered = database.url.render_as_string(hide_password=False)
    async with proxied(rendered) as proxy:
        through = Database(proxy.url, 2)
        async with through.begin() as connection:
            await connection.execute(text("SELECT 1"))
        if away == "stopped":
            await proxy.stop()
        elif away == "dying":
            await proxy.announce_end()
        else:
            proxy.lose(b"SELECT 2", at="answer")
        try:
            async with through.begin() as connection:
                await connection.execute(text("SELECT 2"))
        except Problem as problem:
            assert (problem.name, problem.status) == ("storage-unavailable", 503)
        else:
            assert away == "dying"  # noticed in time, and replaced
        await proxy.stop()
        assert not await through.reachable()
        await proxy.start()
        assert await through.reachable()
        await through.close()


@pytest.mark.parametrize("at", ["request", "answer"])
async def test_what_became_of_a_commit_that_was_not_answered_is_not_known(database: Database, at: str) -> None:
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE kept (value int)"))
    async with proxied(database.url.render_as_string(hide_password=False)) as proxy:
        through = Database(proxy.url, 1)
        proxy.lose(b"COMMIT", at=at)
        with pytest.raises(Problem, match="not known whether this was recorded") as caught:
            async with through.begin() as connection:
                await connection.execute(text("INSERT INTO kept VALUES (1)"))
        assert caught.value.status == 503
        await through.close()
    async with database.begin() as connection:
        kept = (await connection.execute(text("SELECT count(*) FROM kept"))).scalar()
    assert kept == (at == "answer")


@pytest.mark.parametrize("away", ["dying", "cut", "terminated"])
async def test_a_look_up_does_not_notice_a_lost_connection(database: Database, away: str) -> None:
    async with proxied(database.url.render_as_string(hide_password=False)) as proxy:
        through = Database(proxy.url, 1)
        assert (await through.fetch("SELECT 1"))[0][0] == 1
        if away == "dying":
            await proxy.announce_end()
        elif away == "cut":
            proxy.lose(b"SELECT 2", at="answer")
        else:
            proxy.cut()
        assert (await through.fetch("SELECT 2"))[0][0] == 2
        await proxy.stop()
        with pytest.raises(Problem) as caught:
            await through.fetch("SELECT 3")
        assert caught.value.status == 503
        await proxy.start()
        together = await asyncio.gather(*(through.fetch("SELECT $1::int", number) for number in range(9)))
        assert [rows[0][0] for rows in together] == list(range(9))
        await through.close()


async def test_a_busy_pool_is_a_503(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = Database(database.url.render_as_string(hide_password=False), 1)
    monkeypatch.setattr(narrow.engine.pool, "_timeout", 0.05)
    async with narrow.begin():
        with pytest.raises(Problem) as caught:
            async with narrow.begin():
                pass
    assert caught.value.status == 503
    await narrow.close()


async def test_a_refusal_passes_through(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.begin() as connection:
            await connection.execute(text("INSERT INTO projects (id, name, keep) VALUES (uuidv7(), 'x', 'some')"))
    with pytest.raises(ZeroDivisionError):
        async with database.begin():
            raise ZeroDivisionError


async def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.begin() as connection:
            await connection.execute(text("INSERT INTO projects (id, name) VALUES (uuidv7(), 'gone')"))
            raise ZeroDivisionError
    async with database.begin() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM projects"))).scalar_one() == 0


@pytest.mark.parametrize("url", ["mysql://u:p@h/d", "sqlite://", "sqlite:///x.db", "postgresqlx://h/d"])
def test_another_database_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match="ASSAY_DATABASE_URL"):
        async_url(url)


@pytest.mark.parametrize("url", ["nonsense", "", "postgresql", "localhost:5432/db"])
def test_what_is_no_url_is_refused_as_a_value(url: str) -> None:
    with pytest.raises(ValueError, match="ASSAY_DATABASE_URL"):
        try:
            async_url(url)
        except ArgumentError as error:
            pytest.fail(f"not a ValueError: {error}")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_uses_one_driver(scheme: str) -> None:
    url = async_url(f"{scheme}://u:p%40ss@h:5433/d")
    assert (url.drivername, url.username, url.password, url.host, url.port, url.database) == (
        "postgresql+asyncpg", "u", "p@ss", "h", 5433, "d",
    )  # fmt: skip


@pytest.mark.parametrize("options", ["", "&sslmode=disable", "&ssl=disable", "&sslmode=prefer"])
async def test_both_ways_to_connect_read_the_url_alike(database: Database, options: str) -> None:
    opened = Database(database.url.render_as_string(hide_password=False) + options, 1)
    query = "SELECT current_database()"
    raw = await opened.connect_raw()
    assert await raw.fetchval(query) == database.url.database
    await raw.close()
    try:
        async with opened.begin() as connection:
            assert (await connection.execute(text(query))).scalar_one() == database.url.database
    finally:
        await opened.close()
