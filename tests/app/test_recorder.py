"""Group commit: requests share commits, and every caller hears what became of its batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from app import recorder as module
from app.errors import Problem
from app.recorder import Recorder
from app.store import projects
from app.store.database import Database
from app.store.writer import Batch, Writer
from tests.app.store.proxy import Proxy, proxied
from tests.app.store.rows import UNLUCKY, batch, recorded, refuse_unlucky, transactions

A_WHILE = 30.0
"""Far longer than anything here takes: a caller that waits so long was forgotten."""


@pytest.fixture
async def project(database: Database) -> UUID:
    async with database.begin() as connection:
        return (await projects.ensure(connection, "one")).id


@pytest.fixture
async def recorder(database: Database) -> AsyncIterator[Recorder]:
    made = Recorder(database)
    made.start()
    yield made
    await made.close()


@pytest.fixture
async def proxy(empty_database_url: str) -> AsyncIterator[Proxy]:
    async with proxied(empty_database_url) as made:
        yield made


@pytest.fixture
async def shaky(database: Database, proxy: Proxy) -> AsyncIterator[Recorder]:
    """A recorder whose connection goes through the proxy."""
    through = Database(proxy.url, 1)
    made = Recorder(through)
    made.start()
    yield made
    await made.close()
    await through.close()


async def outcomes(recorder: Recorder, *batches: Batch) -> list[BaseException | None]:
    """What each caller hears, where all ask at once."""
    async with asyncio.timeout(A_WHILE):
        return await asyncio.gather(*map(recorder.record, batches), return_exceptions=True)


async def under_way(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Hold every commit up: the first event says that one has begun, the second lets it go on."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    commit = Writer.commit

    async def held(self: Writer, batches: list[Batch]) -> None:
        begun.set()
        await go_on.wait()
        await commit(self, batches)

    monkeypatch.setattr(Writer, "commit", held)
    return begun, go_on


async def test_concurrent_requests_share_commits(database: Database, project: UUID, recorder: Recorder) -> None:
    batches = [batch(project, [float(i)]) for i in range(200)]

    async def ask(one: Batch, after: int) -> None:
        for _ in range(after):
            await asyncio.sleep(0)
        await recorder.record(one)
        assert await recorded(database, one) == [("scored", one.scores[0][10])]

    counted = REGISTRY.get_sample_value("assay_commit_requests_sum") or 0
    await asyncio.gather(*(ask(one, i % 10) for i, one in enumerate(batches)))
    assert await transactions(database) <= 20
    assert (REGISTRY.get_sample_value("assay_commit_requests_sum") or 0) - counted == 200


async def test_what_arrives_during_a_commit_goes_into_the_next(
    database: Database, project: UUID, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = await under_way(monkeypatch)
    first = asyncio.create_task(recorder.record(batch(project, [1.0])))
    await begun.wait()
    later = [asyncio.create_task(recorder.record(batch(project, [2.0]))) for _ in range(20)]
    await asyncio.sleep(0)
    assert not first.done()
    go_on.set()
    await asyncio.gather(first, *later)
    assert await transactions(database) == 2


async def test_a_commit_is_bounded_and_keeps_the_order(
    database: Database, project: UUID, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 10)
    sizes: list[int] = []
    commit = Writer.commit

    async def counted(self: Writer, batches: list[Batch]) -> None:
        sizes.append(sum(len(one.scores) for one in batches))
        await commit(self, batches)

    monkeypatch.setattr(Writer, "commit", counted)
    batches = [batch(project, [1.0] * size) for size in (4, 4, 4, 25, 1, 9, 1)]
    assert await outcomes(recorder, *batches) == [None] * 7
    assert sizes == [8, 4, 25, 10, 1]


async def test_a_refused_row_is_told_to_its_own_caller_only(
    database: Database, project: UUID, recorder: Recorder
) -> None:
    await refuse_unlucky(database)
    batches = [batch(project, [1.0, UNLUCKY if i == 7 else 2.0]) for i in range(20)]
    assert await outcomes(recorder, *batches) == [None] * 20
    assert [one.refused for one in batches] == [[1] if i == 7 else [] for i in range(20)]
    for i, one in enumerate(batches):
        last = ("unscored", None) if i == 7 else ("scored", 2.0)
        assert await recorded(database, one) == [("scored", 1.0), last]


async def test_one_key_is_recorded_once_among_concurrent_requests(
    database: Database, project: UUID, recorder: Recorder
) -> None:
    batches = [batch(project, [float(i)], key="k" if i % 2 else None) for i in range(20)]
    assert await outcomes(recorder, *batches) == [None] * 20
    assert [one.duplicate for one in batches] == [i % 2 == 1 and i > 1 for i in range(20)]
    for one in batches:
        assert len(await recorded(database, one)) == (0 if one.duplicate else 1)


@pytest.mark.parametrize("at", ["request", "answer"])
async def test_callers_do_not_notice_a_lost_connection(
    database: Database, project: UUID, proxy: Proxy, shaky: Recorder, at: str
) -> None:
    await shaky.record(batch(project, [0.0]))
    proxy.lose(b"COMMIT", at=at)
    batches = [batch(project, [float(i)], key=f"k{i}") for i in range(8)]
    assert await outcomes(shaky, *batches) == [None] * 8
    for i, one in enumerate(batches):
        assert await recorded(database, one) == [("scored", float(i))]
        assert not one.duplicate


async def test_callers_do_not_notice_a_connection_that_died_at_rest(
    database: Database, project: UUID, recorder: Recorder
) -> None:
    await recorder.record(batch(project, [1.0]))
    async with database.begin() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    after = batch(project, [2.0])
    assert await outcomes(recorder, after) == [None]
    assert await recorded(database, after) == [("scored", 2.0)]


async def test_a_database_that_stays_away_is_a_503_and_then_serves_again(
    database: Database, project: UUID, proxy: Proxy, shaky: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    await proxy.stop()
    lost = [batch(project, [1.0]), batch(project, [2.0], key="k")]
    for heard in await outcomes(shaky, *lost):
        assert isinstance(heard, Problem)
        assert (heard.name, heard.status) == ("storage-unavailable", 503)
    await proxy.start()
    again = batch(project, [2.0], key="k")
    assert await outcomes(shaky, again) == [None]
    assert await recorded(database, again) == [("scored", 2.0)]
    assert not again.duplicate
    assert [await recorded(database, one) for one in lost] == [[], []]


async def test_a_database_that_comes_back_in_time_is_waited_for(
    database: Database, project: UUID, proxy: Proxy, shaky: Recorder
) -> None:
    await proxy.stop()
    one = batch(project, [1.0])
    waiting = asyncio.create_task(shaky.record(one))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await proxy.start()
    await asyncio.wait_for(waiting, A_WHILE)
    assert await recorded(database, one) == [("scored", 1.0)]


async def test_a_fault_of_ours_is_raised_and_the_next_commit_works(
    database: Database, project: UUID, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Writer, batches: list[Batch]) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "commit", broken)
        heard = await outcomes(recorder, batch(project, [1.0]), batch(project, [2.0]))
    assert [type(one) for one in heard] == [ZeroDivisionError] * 2
    assert await outcomes(recorder, batch(project, [3.0])) == [None]


async def test_a_caller_that_leaves_takes_nobody_along(
    database: Database, project: UUID, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = await under_way(monkeypatch)
    leaving, staying = batch(project, [1.0]), batch(project, [2.0])
    callers = [asyncio.create_task(recorder.record(one)) for one in (leaving, staying)]
    await begun.wait()
    callers[0].cancel()
    go_on.set()
    await asyncio.wait_for(callers[1], A_WHILE)
    assert callers[0].cancelled()
    assert await recorded(database, leaving) == [("scored", 1.0)]
    assert await recorded(database, staying) == [("scored", 2.0)]
    assert await outcomes(recorder, batch(project, [3.0])) == [None]


# --- the end


async def test_closing_writes_what_waits(database: Database, project: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = await under_way(monkeypatch)
    recorder = Recorder(database)
    recorder.start()
    first = asyncio.create_task(recorder.record(batch(project, [1.0])))
    await begun.wait()
    waiting = batch(project, [2.0])
    second = asyncio.create_task(recorder.record(waiting))
    await asyncio.sleep(0)
    closing = asyncio.create_task(recorder.close())
    await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(A_WHILE):
        await asyncio.gather(first, second, closing)
    assert await recorded(database, waiting) == [("scored", 2.0)]


async def test_closing_lets_the_commit_that_is_under_way_end(
    database: Database, project: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = await under_way(monkeypatch)
    recorder = Recorder(database)
    recorder.start()
    one = batch(project, [1.0])
    caller = asyncio.create_task(recorder.record(one))
    await begun.wait()
    closing = asyncio.create_task(recorder.close())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait_for(closing, A_WHILE)
    try:
        await asyncio.wait_for(caller, 1)
    except TimeoutError:
        pytest.fail("the caller was forgotten")
    assert await recorded(database, one) == [("scored", 1.0)]


async def test_closing_without_a_database_answers_those_who_wait(
    database: Database, project: UUID, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    await proxy.stop()
    through = Database(proxy.url, 1)
    recorder = Recorder(through)
    recorder.start()
    callers = [asyncio.create_task(recorder.record(batch(project, [1.0]))) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.wait_for(recorder.close(), A_WHILE)
    _, forgotten = await asyncio.wait(callers, timeout=1)
    for caller in forgotten:
        caller.cancel()
    assert not forgotten
    assert all(isinstance(caller.exception(), Problem) for caller in callers)
    await through.close()


async def test_closing_ends_though_the_connection_does_not(
    database: Database, project: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that no longer answers must not keep the service from ending its workers."""
    recorder = Recorder(database)
    recorder.start()
    await recorder.record(batch(project, [1.0]))

    async def unanswered(self: asyncpg.Connection, *, timeout: float | None = None) -> None:
        raise TimeoutError

    try:
        with monkeypatch.context() as patched:
            patched.setattr(asyncpg.Connection, "close", unanswered)
            await recorder.close()
    finally:
        await recorder.close()


async def test_a_recorder_that_never_started_closes(database: Database) -> None:
    await Recorder(database).close()
