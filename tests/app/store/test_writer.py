"""The hot path into PostgreSQL: nothing lost, nothing twice, whatever breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from app.store import projects
from app.store.database import Database
from app.store.faults import may_pass
from app.store.ids import uuid7
from app.store.tables import scores as score_table
from app.store.writer import Batch, ScoreRow, Writer
from tests.app.store.proxy import Proxy, proxied
from tests.app.store.rows import UNLUCKY, batch, fetch, recorded, refuse_unlucky, transactions


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    made = Writer(database)
    yield made
    await made.close()


@pytest.fixture
async def project(database: Database) -> UUID:
    async with database.begin() as connection:
        return (await projects.ensure(connection, "one")).id


@pytest.fixture
async def proxy(empty_database_url: str) -> AsyncIterator[Proxy]:
    async with proxied(empty_database_url) as made:
        yield made


@pytest.fixture
async def shaky(database: Database, proxy: Proxy) -> AsyncIterator[Writer]:
    """A writer whose connection goes through the proxy."""
    through = Database(proxy.url, 1)
    made = Writer(through)
    yield made
    await made.close()
    await through.close()


async def commit_in_the_end(writer: Writer, batches: Sequence[Batch]) -> int:
    """Commit as the recorder does: again while the database is away; how often that was."""
    for attempt in range(20):
        try:
            await writer.commit(batches)
        except Exception as error:
            if not may_pass(error):
                raise
            await asyncio.sleep(0.05)
        else:
            return attempt
    raise AssertionError("the database stayed away")


async def test_batches_share_one_transaction(database: Database, project: UUID, writer: Writer) -> None:
    batches = [batch(project, [float(i), None]) for i in range(50)]
    await writer.commit(batches)
    for i, one in enumerate(batches):
        assert await recorded(database, one) == [("scored", float(i)), ("unscored", None)]
        assert (one.duplicate, one.refused) == (False, [])
    assert await transactions(database) == 1
    [(count,)] = await fetch(database, 'SELECT count(*) FROM completions WHERE item = \'{"completion":"x"}\'')
    assert count == 100


async def test_a_row_comes_back_as_it_was_written(database: Database, project: UUID, writer: Writer) -> None:
    row: ScoreRow = (
        project, uuid7(), uuid7(), uuid7(), 32767, "run 'π'", 2**63 - 1, b'"\x00\xff"', b"\xed\xa0\x80",
        "partial", 5e-324, b'{}"\\', 0.25, True,
    )  # fmt: skip
    await writer.commit([Batch([row], {}, [row])])
    assert await fetch(database, "SELECT * FROM scores") == [row]


async def test_a_batch_of_unscored_items_alone_is_written(database: Database, project: UUID, writer: Writer) -> None:
    lone = batch(project, [None])
    lone.completions.clear()
    await writer.commit([lone])
    assert await recorded(database, lone) == [("unscored", None)]


async def test_a_refused_row_loses_no_neighbour(database: Database, project: UUID, writer: Writer) -> None:
    await refuse_unlucky(database)
    good, bad, last = (batch(project, scores) for scores in ([1.0, 2.0], [3.0, UNLUCKY, 4.0], [5.0]))
    await writer.commit([good, bad, last])
    assert await recorded(database, good) == [("scored", 1.0), ("scored", 2.0)]
    assert await recorded(database, bad) == [("scored", 3.0), ("unscored", None), ("scored", 4.0)]
    assert await recorded(database, last) == [("scored", 5.0)]
    assert (good.refused, bad.refused, last.refused) == ([], [1], [])
    kept = {id for (id,) in await fetch(database, "SELECT score_id FROM completions")}
    assert kept == set(good.ids + bad.ids + last.ids) - {bad.ids[1]}
    await writer.commit([after := batch(project, [6.0])])
    assert await recorded(database, after) == [("scored", 6.0)]


async def test_a_refused_completion_takes_its_score_along(database: Database, project: UUID, writer: Writer) -> None:
    async with database.begin() as connection:
        await connection.execute(text("ALTER TABLE completions ADD CHECK (octet_length(item) < 100)"))
    one = batch(project, [1.0, 2.0])
    large = one.ids[0]
    one.completions[large] = (project, large, b"digest", b"x" * 100)
    await writer.commit([one])
    assert one.refused == [0]
    assert await recorded(database, one) == [("unscored", None), ("scored", 2.0)]
    assert await fetch(database, "SELECT score_id FROM completions") == [(one.ids[1],)]


@pytest.mark.parametrize("run", ["nul \x00", "surrogate \ud800"])
async def test_text_that_postgresql_cannot_hold_costs_only_its_rows(
    database: Database, project: UUID, writer: Writer, run: str
) -> None:
    bad, good = batch(project, [1.0, 2.0], run=run), batch(project, [3.0])
    await writer.commit([bad, good])
    assert bad.refused == [0, 1]
    assert await recorded(database, bad) == []
    assert await recorded(database, good) == [("scored", 3.0)]


@pytest.mark.parametrize(
    ("column", "value"),
    [("revision", 2**15), ("step", 2**63), ("score", "1.0"), ("verdict", "text"), ("ms", object())],
)
async def test_a_row_that_cannot_be_encoded_costs_only_itself(
    database: Database, project: UUID, writer: Writer, column: str, value: Any
) -> None:
    bad, good = batch(project, [1.0, 2.0]), batch(project, [3.0])
    at = [known.name for known in score_table.columns].index(column)
    bad.scores[0] = cast(ScoreRow, (*bad.scores[0][:at], value, *bad.scores[0][at + 1 :]))
    await writer.commit([bad, good])
    assert (bad.refused, good.refused) == ([0], [])
    assert await recorded(database, bad) == [("unscored", None), ("scored", 2.0)]
    assert await recorded(database, good) == [("scored", 3.0)]


async def test_a_raising_trigger_is_a_refusal(database: Database, project: UUID, writer: Writer) -> None:
    async with database.begin() as connection:
        await connection.execute(
            text(
                "CREATE FUNCTION object() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN IF NEW.score = 13 THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$"
            )
        )
        await connection.execute(
            text("CREATE TRIGGER object BEFORE INSERT ON scores FOR EACH ROW EXECUTE FUNCTION object()")
        )
    bad, good = batch(project, [UNLUCKY, 1.0]), batch(project, [2.0])
    await writer.commit([bad, good])
    assert (bad.refused, good.refused) == ([0], [])
    assert await recorded(database, bad) == [("unscored", None), ("scored", 1.0)]


async def test_a_taken_key_drops_only_its_batch(database: Database, project: UUID, writer: Writer) -> None:
    first = batch(project, [1.0, 2.0], key="k")
    await writer.commit([first])
    again, other = batch(project, [3.0], key="k"), batch(project, [4.0], key="other")
    bare = batch(project, [5.0])
    await writer.commit([other, again, bare])
    assert [one.duplicate for one in (first, again, other, bare)] == [False, True, False, False]
    assert await recorded(database, again) == []
    assert await recorded(database, other) == [("scored", 4.0)]
    assert await recorded(database, bare) == [("scored", 5.0)]
    assert await fetch(database, "SELECT key, score_ids, request_sha256 FROM idempotency ORDER BY key") == [
        ("k", first.ids, b"sha"),
        ("other", other.ids, b"sha"),
    ]


async def test_one_key_twice_in_one_commit_is_recorded_once(
    database: Database, project: UUID, writer: Writer
) -> None:
    first, second = batch(project, [1.0], key="k"), batch(project, [2.0], key="k")
    await writer.commit([first, second])
    assert (first.duplicate, second.duplicate) == (False, True)
    assert await recorded(database, first) == [("scored", 1.0)]
    assert await recorded(database, second) == []


async def test_a_key_belongs_to_its_project(database: Database, project: UUID, writer: Writer) -> None:
    async with database.begin() as connection:
        other = (await projects.ensure(connection, "two")).id
    mine, theirs = batch(project, [1.0], key="k"), batch(other, [2.0], key="k")
    await writer.commit([mine])
    await writer.commit([theirs])
    assert (mine.duplicate, theirs.duplicate) == (False, False)


async def test_refusal_and_keys_meet(database: Database, project: UUID, writer: Writer) -> None:
    await refuse_unlucky(database)
    taken = batch(project, [1.0], key="taken")
    await writer.commit([taken])
    bad = batch(project, [UNLUCKY, 2.0], key="bad")
    again = batch(project, [UNLUCKY], key="taken")
    fresh = batch(project, [3.0], key="fresh")
    await writer.commit([again, bad, fresh])
    assert [one.duplicate for one in (again, bad, fresh)] == [True, False, False]
    assert [one.refused for one in (again, bad, fresh)] == [[], [0], []]
    assert await recorded(database, again) == []
    assert await recorded(database, bad) == [("unscored", None), ("scored", 2.0)]
    keys = await fetch(database, "SELECT key FROM idempotency ORDER BY key")
    assert keys == [("bad",), ("fresh",), ("taken",)]


async def test_what_the_database_cannot_do_at_all_is_raised(
    database: Database, project: UUID, writer: Writer
) -> None:
    async with database.begin() as connection:
        await connection.execute(text("ALTER TABLE scores RENAME TO elsewhere"))
    with pytest.raises(asyncpg.UndefinedTableError):
        await writer.commit([batch(project, [1.0])])
    async with database.begin() as connection:
        await connection.execute(text("ALTER TABLE elsewhere RENAME TO scores"))
    after = batch(project, [2.0])
    await writer.commit([after])
    assert await recorded(database, after) == [("scored", 2.0)]


async def test_two_processes_with_the_same_keys_both_end(
    database: Database, project: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each claims a key that the other wants next: neither may be thrown out with its neighbours."""
    claimed = Writer._claimed

    async def slow(self: Writer, connection: asyncpg.Connection, batch: Batch) -> bool:
        won = await claimed(self, connection, batch)
        await asyncio.sleep(0.2)
        return won

    monkeypatch.setattr(Writer, "_claimed", slow)
    batches = [batch(project, [1.0], key=key) for key in ("a", "b", "b", "a")]
    writers = Writer(database), Writer(database)
    await asyncio.gather(commit_in_the_end(writers[0], batches[:2]), commit_in_the_end(writers[1], batches[2:]))
    assert sorted([len(await recorded(database, one)) for one in batches]) == [0, 0, 1, 1]
    for one in batches:
        assert one.duplicate == (not await recorded(database, one))
    for writer in writers:
        await writer.close()


# --- connections that are lost


async def test_a_connection_that_died_at_rest_is_replaced(database: Database, project: UUID, writer: Writer) -> None:
    before = batch(project, [1.0])
    await writer.commit([before])
    await fetch(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    after = batch(project, [2.0], key="k")
    await commit_in_the_end(writer, [after])
    assert await recorded(database, before) == [("scored", 1.0)]
    assert await recorded(database, after) == [("scored", 2.0)]
    assert not after.duplicate


async def test_a_connection_that_is_about_to_die_is_replaced(
    database: Database, project: UUID, proxy: Proxy, shaky: Writer
) -> None:
    await shaky.commit([batch(project, [1.0])])
    await proxy.announce_end()
    after = batch(project, [2.0])
    await commit_in_the_end(shaky, [after])
    assert await recorded(database, after) == [("scored", 2.0)]


@pytest.mark.parametrize(
    ("message", "at"),
    [
        (b"BEGIN", "answer"),
        (b"INSERT INTO idempotency", "request"),
        (b"COPY", "request"),
        (b"COPY", "answer"),
        (b"COMMIT", "request"),
        (b"COMMIT", "answer"),
        (b"COMMIT", "late"),
    ],
)
async def test_a_lost_connection_loses_and_doubles_nothing(
    database: Database, project: UUID, proxy: Proxy, shaky: Writer, message: bytes, at: str
) -> None:
    await shaky.commit([warm := batch(project, [0.0])])
    batches = [batch(project, [1.0, 2.0], key="k"), batch(project, [3.0])]
    proxy.lose(message, at=at)
    assert await commit_in_the_end(shaky, batches) >= 1
    assert proxy.connections >= 2
    for one, scores in zip([warm, *batches], [[0.0], [1.0, 2.0], [3.0]], strict=True):
        assert await recorded(database, one) == [("scored", score) for score in scores]
        assert (one.duplicate, one.refused) == (False, [])
    [(completions,)] = await fetch(database, "SELECT count(*) FROM completions")
    assert completions == 4
    await shaky.commit([again := batch(project, [4.0], key="k")])
    assert again.duplicate


@pytest.mark.parametrize("nth", range(1, 4))
@pytest.mark.parametrize("at", ["request", "answer"])
async def test_a_connection_lost_while_a_refused_row_is_singled_out(
    database: Database, project: UUID, proxy: Proxy, shaky: Writer, at: str, nth: int
) -> None:
    """What a caller is told (`refused`) is what is recorded, also where the answer to a commit was lost."""
    await refuse_unlucky(database)
    batches = [batch(project, [1.0]), batch(project, [2.0, UNLUCKY], key="k"), batch(project, [3.0])]
    proxy.lose(b"COMMIT", nth=nth, at=at)
    await commit_in_the_end(shaky, batches)
    assert [await recorded(database, one) for one in batches] == [
        [("scored", 1.0)],
        [("scored", 2.0), ("unscored", None)],
        [("scored", 3.0)],
    ]
    assert [one.refused for one in batches] == [[], [1], []]
    assert [one.duplicate for one in batches] == [False, False, False]


async def test_a_database_that_is_away_is_said_to_be(project: UUID, proxy: Proxy, shaky: Writer) -> None:
    await proxy.stop()
    with pytest.raises(OSError, match=r".") as caught:
        await shaky.commit([batch(project, [1.0])])
    assert may_pass(caught.value)
