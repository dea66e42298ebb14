"""Recorded scores: partitions by month, retention, lists with filters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.store import ids, projects, scores, verifiers
from app.store.database import Database
from app.store.ids import first_uuid7_at, time_of, uuid7
from app.store.scores import Filter, ensure_partitions
from app.store.tables import BUILTIN_PROJECT
from app.store.writer import Batch, ScoreRow, Writer
from tests.app.store.rows import batch, fetch

NOW = datetime(2031, 5, 17, 12, tzinfo=UTC)


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    made = Writer(database)
    yield made
    await made.close()


async def make_project(database: Database, name: str, retention_days: int | None = None) -> UUID:
    async with database.begin() as connection:
        made = await projects.create(connection, name, "full", retention_days)
    assert made is not None
    return made.id


async def partition(database: Database, now: datetime, months: int = 3) -> None:
    async with database.begin() as connection:
        await ensure_partitions(connection, now, months)


async def months(database: Database, table: str) -> list[str]:
    """The suffixes of a table's partitions."""
    query = "SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r' AND relname LIKE :like"
    return sorted(name.removeprefix(f"{table}_") for (name,) in await fetch(database, query, like=f"{table}\\_%"))


def id_at(moment: datetime) -> UUID:
    """An id as the service would have made it then."""
    return UUID(int=first_uuid7_at(moment).int | uuid7().int & (1 << 80) - 1)


async def score_at(writer: Writer, project: UUID, moment: datetime) -> UUID:
    """A score with a completion, recorded at a moment."""
    one = batch(project, [1.0])
    id = id_at(moment)
    row: Any = (project, id, *one.scores[0][2:])
    await writer.commit([Batch([row], {id: (project, id, b"digest", b"{}")}, [row])])
    return id


async def partitions_of(database: Database, id: UUID) -> tuple[str, str]:
    """The partitions that hold a score and its completion."""
    [(score,)] = await fetch(database, "SELECT tableoid::regclass::text FROM scores WHERE id = :id", id=id)
    [(kept,)] = await fetch(database, "SELECT tableoid::regclass::text FROM completions WHERE score_id = :id", id=id)
    return score, kept


# --- partitions


async def test_rows_land_in_their_month(database: Database, writer: Writer) -> None:
    project = await make_project(database, "one")
    await partition(database, NOW)
    for moment, suffix in [
        (datetime(2031, 5, 1, tzinfo=UTC), "2031_05"),
        (datetime(2031, 5, 31, 23, 59, 59, 999000, tzinfo=UTC), "2031_05"),
        (datetime(2031, 6, 1, tzinfo=UTC), "2031_06"),
        (datetime(2031, 7, 31, 23, 59, 59, 999000, tzinfo=UTC), "2031_07"),
        (datetime(2031, 8, 1, tzinfo=UTC), "other"),
        (datetime(2031, 4, 30, 23, 59, 59, 999000, tzinfo=UTC), "other"),
    ]:
        id = await score_at(writer, project, moment)
        assert time_of(id) == moment
        assert await partitions_of(database, id) == (f"scores_{suffix}", f"completions_{suffix}")


async def test_what_is_recorded_now_lands_in_this_month(database: Database, writer: Writer) -> None:
    project = await make_project(database, "one")
    now = datetime.now(UTC)
    await partition(database, now)
    one = batch(project, [1.0])
    await writer.commit([one])
    suffix = f"{time_of(one.ids[0]):%Y_%m}"
    assert await partitions_of(database, one.ids[0]) == (f"scores_{suffix}", f"completions_{suffix}")


async def test_making_partitions_again_changes_nothing(database: Database) -> None:
    for _ in range(2):
        await partition(database, NOW)
        for table in ("scores", "completions"):
            assert await months(database, table) == ["2031_05", "2031_06", "2031_07", "other"]


async def test_partitions_pass_the_turn_of_the_year(database: Database) -> None:
    for now in (datetime(2031, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2031, 12, 31, tzinfo=UTC)):
        await partition(database, now)
    expected = ["2031_11", "2031_12", "2032_01", "2032_02", "other"]
    assert await months(database, "scores") == await months(database, "completions") == expected


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(day=st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001
async def test_partitions_join_without_gap_or_overlap(database: Database, day: datetime) -> None:
    await partition(database, day, 14)
    now = datetime(day.year, day.month, 1, tzinfo=UTC)
    bounds = await fetch(
        database,
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r' "
        "AND relname LIKE 'scores\\_2%' AND relname >= :first ORDER BY relname LIMIT 14",
        first=f"scores_{now:%Y_%m}",
    )
    edges = [expression.split("'")[1::2] for (expression,) in bounds]
    assert len(edges) == 14
    assert edges[0][0] == str(first_uuid7_at(now))
    assert all(one[1] == following[0] for one, following in pairwise(edges))


async def test_two_services_make_the_same_partitions_at_once(database: Database) -> None:
    async with database.begin() as first:
        await ensure_partitions(first, NOW)
        second = asyncio.create_task(partition(database, NOW))
        await asyncio.sleep(0.3)  # it now waits for the first
        assert not second.done()
    await second
    assert len(await months(database, "scores")) == 4


async def test_a_row_of_a_clock_that_is_off_stops_nothing(database: Database, writer: Writer) -> None:
    """A row of a month without a partition; when the month comes, the service still starts and records."""
    project = await make_project(database, "one")
    await partition(database, NOW)
    ahead = await score_at(writer, project, NOW + timedelta(days=100))
    assert await partitions_of(database, ahead) == ("scores_other", "completions_other")
    await partition(database, NOW + timedelta(days=100))
    later = await score_at(writer, project, NOW + timedelta(days=100))
    found = await fetch(database, "SELECT id FROM scores ORDER BY id")
    assert found == sorted([(ahead,), (later,)])


async def test_lists_look_only_where_they_must(database: Database) -> None:
    """What partitions are for: a range of time reads its months, and no others."""
    await partition(database, NOW, 12)
    bounds = {"low": first_uuid7_at(datetime(2031, 7, 2, tzinfo=UTC)), "high": first_uuid7_at(NOW.replace(month=8))}
    async with database.begin() as connection:
        plan = await connection.execute(
            text("EXPLAIN SELECT * FROM scores WHERE project_id = :low AND id >= :low AND id < :high"), bounds
        )
        shown = "\n".join(line for (line,) in plan)
    assert "scores_2031_07" in shown
    assert "scores_2031_08" in shown
    assert "scores_2031_06" not in shown
    assert "scores_2031_09" not in shown


# --- retention


async def test_only_what_outlived_its_projects_retention_is_forgotten(database: Database, writer: Writer) -> None:
    week, month, forever = [
        await make_project(database, name, days) for name, days in (("week", 7), ("month", 30), ("forever", None))
    ]
    kept: dict[tuple[UUID, int], UUID] = {}
    for project in (week, month, forever):
        for days in (1, 10, 100):
            kept[project, days] = await score_at(writer, project, NOW - timedelta(days=days))
    async with database.begin() as connection:
        assert await scores.forget_completions(connection, NOW) == 3
        assert await scores.forget_completions(connection, NOW) == 0
    left = {id for (id,) in await fetch(database, "SELECT score_id FROM completions")}
    gone = {kept[week, 10], kept[week, 100], kept[month, 100]}
    assert left == set(kept.values()) - gone
    assert len(await fetch(database, "SELECT id FROM scores")) == 9


async def test_forgetting_is_exact_to_the_millisecond(database: Database, writer: Writer) -> None:
    project = await make_project(database, "day", 1)
    edge = NOW - timedelta(days=1)
    await score_at(writer, project, edge - timedelta(milliseconds=1))
    stays = await score_at(writer, project, edge)
    async with database.begin() as connection:
        await scores.forget_completions(connection, NOW)
    assert await fetch(database, "SELECT score_id FROM completions") == [(stays,)]


async def test_a_sweep_is_bounded(database: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "FORGET_BATCH", 3)
    project = await make_project(database, "day", 1)
    for hours in range(5):
        await score_at(writer, project, NOW - timedelta(days=9, hours=hours))
    removed = []
    for _ in range(3):
        async with database.begin() as connection:
            removed.append(await scores.forget_completions(connection, NOW))
    assert removed == [3, 2, 0]


async def test_idempotency_keys_are_forgotten_after_their_time(database: Database) -> None:
    project = await make_project(database, "one")
    async with database.begin() as connection:
        for key, age in (("old", "25 hours"), ("new", "23 hours")):
            await connection.execute(
                text(
                    "INSERT INTO idempotency (project_id, key, request_sha256, created_at) "
                    "VALUES (:project, :key, '', now() - CAST(:age AS interval))"
                ),
                {"project": project, "key": key, "age": timedelta(hours=int(age.split()[0]))},
            )
        await scores.forget_idempotency(connection, datetime.now(UTC), timedelta(hours=24))
    assert await fetch(database, "SELECT key FROM idempotency") == [("new",)]


# --- reading


async def register(database: Database, project: UUID, name: str, config: str = "{}") -> UUID:
    async with database.begin() as connection:
        id, _ = await verifiers.register(
            connection, project_id=project, name=name, kind="math", config=config, config_sha256=config.encode(),
            description='""', examples="[]",
        )  # fmt: skip
    return id


class Recorded:
    """Scores of two projects, of several verifiers, runs, outcomes and moments."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.mine = self.theirs = UUID(int=0)
        self.names: dict[str, UUID] = {}
        self.rows: dict[UUID, ScoreRow] = {}

    async def fill(self, writer: Writer) -> None:
        self.mine, self.theirs = [await make_project(self.database, name) for name in ("mine", "theirs")]
        async with self.database.begin() as connection:
            await projects.ensure(connection, ".builtin", BUILTIN_PROJECT)
        self.names = {
            "math@1": await register(self.database, BUILTIN_PROJECT, "math"),
            "sums@1": await register(self.database, self.mine, "sums"),
            "sums@2": await register(self.database, self.mine, "sums", '{"a":1}'),
            "secret@1": await register(self.database, self.theirs, "sums"),
        }
        outcomes = [("correct", 1.0), ("incorrect", 0.0), ("partial", 0.5), ("unscored", None), ("scored", -2.5)]
        number = 0
        for project in (self.mine, self.theirs):
            for version in (*self.names.values(), None):
                for outcome, score in outcomes:
                    number += 1
                    id = id_at(NOW + timedelta(hours=number))
                    run = (None, "a", "b")[number % 3]
                    row: ScoreRow = (
                        project, id, uuid7(), version, 1, run, number, b'"x"', None, outcome, score, b"", 1.0, False,
                    )  # fmt: skip
                    self.rows[id] = row
        rows = list(self.rows.values())
        await writer.commit([Batch(rows, {}, rows)])

    async def page(self, filter: Filter, before: UUID | None = None, limit: int = 1000) -> list[UUID]:
        async with self.database.begin() as connection:
            found = await scores.list_page(connection, self.mine, filter, before, limit)
        return [row.id for row in found]

    def having(self, **values: object) -> list[UUID]:
        columns = {"version": 3, "run": 5, "outcome": 9}
        return sorted(
            (
                id
                for id, row in self.rows.items()
                if row[0] == self.mine and all(row[columns[name]] == value for name, value in values.items())
            ),
            reverse=True,
        )


@pytest.fixture
async def stored(database: Database, writer: Writer) -> Recorded:
    made = Recorded(database)
    await made.fill(writer)
    return made


async def test_a_list_holds_the_projects_own_scores_newest_first(stored: Recorded) -> None:
    assert await stored.page(Filter()) == stored.having()
    assert len(stored.having()) == 25


async def test_pages_follow_one_another(stored: Recorded) -> None:
    pages: list[UUID] = []
    before = None
    while page := await stored.page(Filter(), before, limit=7):
        pages += page
        before = page[-1]
    assert pages == stored.having()


async def test_filters(stored: Recorded) -> None:
    for run in ("a", "b"):
        assert await stored.page(Filter(run=run)) == stored.having(run=run) != []
    assert await stored.page(Filter(run="c")) == []
    for outcome in ("correct", "unscored", "scored"):
        assert await stored.page(Filter(outcome=outcome)) == stored.having(outcome=outcome) != []
    both = await stored.page(Filter(run="a", outcome="correct"))
    assert both == stored.having(run="a", outcome="correct") != []


async def test_filter_by_verifier(stored: Recorded) -> None:
    def of(*names: str) -> list[UUID]:
        wanted = {stored.names[name] for name in names}
        return [id for id in stored.having() if stored.rows[id][3] in wanted]

    assert await stored.page(Filter(verifier=("sums", 1))) == of("sums@1")
    assert await stored.page(Filter(verifier=("sums", 2))) == of("sums@2")
    assert await stored.page(Filter(verifier=("sums", None))) == of("sums@1", "sums@2")
    assert await stored.page(Filter(verifier=("math", None))) == of("math@1")
    assert await stored.page(Filter(verifier=("sums", 3))) == []
    assert await stored.page(Filter(verifier=("nothing", None))) == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.5, None, {1.0, 0.5}),
        (None, 0.0, {0.0, -2.5}),
        (0.0, 0.5, {0.0, 0.5}),
        (1.5, None, set()),
        (-1e308, 1e308, {1.0, 0.0, 0.5, -2.5}),
    ],
)
async def test_filter_by_score(stored: Recorded, low: float | None, high: float | None, expected: set[float]) -> None:
    found = await stored.page(Filter(min_score=low, max_score=high))
    assert {stored.rows[id][10] for id in found} == expected
    assert len(found) == 5 * len(expected)


async def test_filter_by_time_is_inclusive_below_and_exclusive_above(stored: Recorded) -> None:
    ids = stored.having()
    newest, oldest = time_of(ids[5]), time_of(ids[10])
    assert await stored.page(Filter(since=oldest, until=newest)) == ids[6:11]
    assert await stored.page(Filter(since=newest)) == ids[:6]
    assert await stored.page(Filter(until=oldest)) == ids[11:]
    just_after = oldest + timedelta(milliseconds=1)
    assert await stored.page(Filter(since=just_after, until=newest)) == ids[6:10]


async def test_one_score_is_read_by_its_own_project_only(stored: Recorded) -> None:
    id = stored.having()[0]
    async with stored.database.begin() as connection:
        row = await scores.get(connection, stored.mine, id)
        assert row is not None
        assert (row.id, row.sha256, row.item) == (id, None, None)
        assert await scores.get(connection, stored.theirs, id) is None


async def test_many_scores_come_in_the_order_asked_for(stored: Recorded) -> None:
    wanted = stored.having()[3:9]
    wanted = [wanted[2], wanted[0], wanted[5], wanted[1]]
    async with stored.database.begin() as connection:
        rows = await scores.get_many(connection, stored.mine, wanted)
    assert [row.id for row in rows] == wanted
    assert {(row.kind, row.name) for row in rows} <= {("math", "math"), ("math", "sums"), (None, None)}


async def test_a_score_is_never_infinite_in_the_database(database: Database, writer: Writer) -> None:
    project = await make_project(database, "one")
    bad = batch(project, [float("nan"), float("inf"), float("-inf"), 1.0])
    await writer.commit([bad])
    assert bad.refused == [0, 1, 2]
    assert await fetch(database, "SELECT score FROM scores WHERE score IS NOT NULL") == [(1.0,)]


@pytest.mark.parametrize(("outcome", "score"), [("unscored", 0.0), ("pending", 1.0), ("correct", None)])
async def test_a_score_stands_exactly_where_the_outcome_has_one(
    database: Database, writer: Writer, outcome: str, score: float | None
) -> None:
    project = await make_project(database, "one")
    one = batch(project, [1.0])
    row: Any = (*one.scores[0][:9], outcome, score, *one.scores[0][11:])
    one = replace(one, scores=[row])
    await writer.commit([one])
    assert one.refused == [0]


def test_ids_of_the_tests_are_like_those_of_the_service() -> None:
    assert time_of(id_at(NOW)) == NOW
    assert ids.first_uuid7_at(NOW) <= id_at(NOW) < ids.first_uuid7_at(NOW + timedelta(milliseconds=1))
