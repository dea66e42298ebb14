"""What runs log counts once, whatever is sent again, in whichever order, by whichever attempt."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.store import projects, run_events, run_history, runs
from app.store.database import Database
from app.store.ids import uuid7
from app.store.run_events import Alarm, Events, Metric, Resume, Sample, StatusChange
from app.store.run_history import SampleFilter, Steps
from app.store.runs import Status
from tests.app.store.rows import fetch

Event = Metric | Sample | Alarm | StatusChange | Resume
R = TypeVar("R", Metric, Sample, Alarm)


def metric(step: int, name: str = "loss", attempt: int = 1, value: float | None = 0.5) -> Metric:
    return Metric(step, attempt, name, value, None)


def sample(step: int, number: int, attempt: int = 1, **fields: Any) -> Sample:
    return replace(Sample(step, attempt, number, None, 1.0, 0.5, 7, "stop", b"{}"), **fields)


def alarm(step: int, attempt: int = 1) -> Alarm:
    return Alarm(step, attempt, "kl", b'"high"', b"{}", None)


async def new_run(database: Database, name: str = "run") -> UUID:
    async with database.begin() as connection:
        project = await projects.ensure(connection, "one")
        id, _ = await runs.create(connection, project.id, name, b"{}", b"{}")
    return id


async def record(database: Database, run_id: UUID, *sent: Event) -> int:
    """Record events in one transaction; how many rows were void."""
    kinds: dict[type, list[Any]] = {Metric: [], Sample: [], Alarm: [], StatusChange: [], Resume: []}
    for event in sent:
        kinds[type(event)].append(event)
    async with database.begin() as connection:
        return await run_events.record(connection, await run_events.lock(connection, run_id), Events(*kinds.values()))


async def state(database: Database, run_id: UUID) -> dict[str, Any]:
    """All that is recorded of a run but the times."""
    tables = {
        "run_metrics": "step, name, attempt, value",
        "run_samples": "step, sample, attempt, score_id, reward, advantage, tokens, finish_reason, item",
        "run_alarms": "step, name, attempt, message, values",
        "run_resumes": "attempt, step",
    }
    found: dict[str, Any] = {
        table: await fetch(database, f"SELECT {columns} FROM {table} WHERE run_id = :run ORDER BY 1, 2", run=run_id)  # noqa: S608 - our own names
        for table, columns in tables.items()
    }
    columns = "status, message, attempt, status_attempt, metric_names"
    found["runs"] = await fetch(database, f"SELECT {columns} FROM runs WHERE id = :run", run=run_id)  # noqa: S608
    return found


steps = st.integers(0, 5)
attempts = st.integers(1, 3)


def _of(step: int, number: int, attempt: int) -> Sample:
    """What an attempt says of a sample is always the same."""
    return sample(step, number, attempt, reward=step + number / 10 + attempt * 100, tokens=attempt)


def _word(attempt: int) -> StatusChange:
    statuses: tuple[Status, ...] = ("paused", "failed", "finished")
    return StatusChange(attempt, statuses[attempt - 1], b'"%d"' % attempt)


EVENTS = st.one_of(
    st.builds(
        lambda step, name, attempt: metric(step, name, attempt, attempt * 10.0 + step),
        steps, st.sampled_from("ab"), attempts,
    ),
    st.builds(_of, steps, st.integers(0, 1), attempts),
    st.builds(alarm, steps, attempts),
    st.builds(_word, attempts),
    st.builds(Resume, st.integers(-1, 5), attempts),
)  # fmt: skip


def expected(sent: Sequence[Event]) -> dict[str, Any]:
    """The rows by their definition: of those that no resume made void, the highest attempt's for each key."""
    resumes: dict[int, int] = {}
    for event in sent:
        if isinstance(event, Resume):
            resumes[event.attempt] = min(event.step, resumes.get(event.attempt, event.step))

    def standing(cls: type[R]) -> dict[Any, R]:
        best: dict[Any, R] = {}
        for event in sent:
            if not isinstance(event, cls) or any(
                attempt > event.attempt and event.step > step for attempt, step in resumes.items()
            ):
                continue
            if event.key not in best or event.attempt > best[event.key].attempt:
                best[event.key] = event
        return dict(sorted(best.items()))

    said = {event.attempt: event for event in sent if isinstance(event, StatusChange)}
    status_attempt = max([1, *said, *resumes])
    word = said.get(status_attempt, StatusChange(status_attempt, "running", None))
    metrics = standing(Metric)
    return {
        "run_metrics": [(e.step, e.name, e.attempt, e.value) for e in metrics.values()],
        "run_samples": [
            (e.step, e.sample, e.attempt, e.score_id, e.reward, e.advantage, e.tokens, e.finish_reason, e.item)
            for e in standing(Sample).values()
        ],
        "run_alarms": [(e.step, e.name, e.attempt, e.message, e.values) for e in standing(Alarm).values()],
        "run_resumes": sorted(resumes.items()),
        "runs": [
            (
                word.status,
                word.message,
                max((event.attempt for event in sent), default=1),
                status_attempt,
                sorted({e.name for e in metrics.values()}),
            )
        ],
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sent=st.lists(EVENTS, min_size=1, max_size=25), seed=st.integers(0, 2**32))
async def test_neither_order_nor_repetition_nor_the_cut_of_batches_changes_what_is_recorded(
    database: Database, sent: list[Event], seed: int
) -> None:
    luck = random.Random(seed)
    run_id = await new_run(database, str(uuid7()))
    order = [*sent, *luck.choices(sent, k=len(sent) // 2)]
    luck.shuffle(order)
    while order:
        cut = luck.randint(1, len(order))
        await record(database, run_id, *order[:cut])
        order = order[cut:]
    found = await state(database, run_id)
    wanted = expected(sent)
    # a name that only void rows had is dropped with them, or never came to be
    assert found == wanted


async def test_of_one_attempt_the_last_word_stands(database: Database) -> None:
    run_id = await new_run(database)
    assert await record(database, run_id, sample(1, 0, reward=0.1), sample(1, 0, reward=0.2)) == 0
    assert await record(database, run_id, sample(1, 0, reward=0.3), metric(1, value=1.0), metric(1, value=None)) == 0
    found = await state(database, run_id)
    assert [row[4] for row in found["run_samples"]] == [0.3]
    assert [row[3] for row in found["run_metrics"]] == [None]


async def test_what_a_higher_attempt_has_in_the_same_request_is_counted_as_stale(database: Database) -> None:
    run_id = await new_run(database)
    assert await record(database, run_id, sample(1, 0, 2), sample(1, 0), metric(1, attempt=3), metric(1)) == 2
    assert [row[2] for row in (await state(database, run_id))["run_samples"]] == [2]


async def test_a_resume_makes_void_what_lower_attempts_did_beyond_it(database: Database) -> None:
    run_id = await new_run(database)
    for step in range(1, 6):
        await record(database, run_id, metric(step), sample(step, 0), sample(step, 1), alarm(step))
    await record(database, run_id, metric(5, "only_there"), StatusChange(1, "failed", b'"killed"'))
    assert await record(database, run_id, Resume(3, 2)) == 0
    found = await state(database, run_id)
    assert [row[0] for row in found["run_samples"]] == [1, 1, 2, 2, 3, 3]
    assert [row[0] for row in found["run_metrics"]] == [row[0] for row in found["run_alarms"]] == [1, 2, 3]
    assert found["runs"] == [("running", None, 2, 2, ["loss"])]
    # what the killed attempt had still to send: up to the step it counts, beyond it does not
    late: list[Event] = [
        sample(3, 2),
        sample(4, 0),
        metric(4),
        metric(3, "late"),
        alarm(4),
        StatusChange(1, "failed", b'"late"'),
    ]
    assert await record(database, run_id, *late) == 3
    await record(database, run_id, sample(4, 0, 2, reward=0.25))
    found = await state(database, run_id)
    assert [row[:3] for row in found["run_samples"]][-2:] == [(3, 2, 1), (4, 0, 2)]
    assert found["runs"] == [("running", None, 2, 2, ["late", "loss"])]


async def test_a_fence_stays_when_a_still_higher_attempt_resumes_further_on(database: Database) -> None:
    run_id = await new_run(database)
    await record(database, run_id, Resume(2, 2), sample(3, 0, 2), sample(8, 0, 2))
    await record(database, run_id, Resume(6, 3))
    assert await record(database, run_id, sample(4, 0, 1), sample(5, 0, 2), sample(7, 0, 2)) == 2
    assert [row[:3] for row in (await state(database, run_id))["run_samples"]] == [(3, 0, 2), (5, 0, 2)]


async def test_events_of_one_run_that_come_at_once_are_recorded_one_after_another(database: Database) -> None:
    run_id = await new_run(database)
    await asyncio.gather(
        *(record(database, run_id, *(sample(step, n, attempt) for step in range(4) for n in range(8)))
          for attempt in (3, 1, 2, 3, 1)),
        *(record(database, run_id, metric(0, f"m{n}")) for n in range(4)),
    )  # fmt: skip
    found = await state(database, run_id)
    assert {row[2] for row in found["run_samples"]} == {3}
    assert len(found["run_samples"]) == 32
    assert found["runs"][0][4] == ["m0", "m1", "m2", "m3"]


async def test_a_transaction_that_fails_leaves_nothing_of_its_events(database: Database) -> None:
    run_id = await new_run(database)
    await record(database, run_id, metric(1))
    before = await state(database, run_id)
    with pytest.raises(DBAPIError, match="finite"):
        await record(database, run_id, metric(2), Resume(0, 2), sample(1, 0, 2, reward=float("nan")))
    assert await state(database, run_id) == before


@pytest.mark.parametrize(
    "broken",
    [metric(1, value=float("inf")), metric(1, value=float("nan")), sample(1, 0, reward=float("-inf")),
     sample(1, 0, advantage=float("nan"))],
)  # fmt: skip
async def test_the_database_holds_no_number_that_is_not_finite(database: Database, broken: Event) -> None:
    run_id = await new_run(database)
    with pytest.raises(DBAPIError, match="finite"):
        await record(database, run_id, broken)


async def test_one_run_of_a_name_however_many_begin_it(database: Database) -> None:
    async with database.begin() as connection:
        project = await projects.ensure(connection, "one")

    async def create(number: int) -> tuple[UUID, bool]:
        async with database.begin() as connection:
            return await runs.create(connection, project.id, "same", b"%d" % number, b"{}")

    made = await asyncio.gather(*map(create, range(12)))
    assert len({id for id, _ in made}) == 1
    assert [new for _, new in made].count(True) == 1


async def test_a_run_is_found_by_id_before_name(database: Database) -> None:
    one = await new_run(database, "first")
    other = await new_run(database, str(one))
    async with database.begin() as connection:
        project = await projects.ensure(connection, "one")
        stranger = await projects.ensure(connection, "two")
        for asked, id in ((str(one), one), ("first", one), (str(other), other)):
            found = await runs.find(connection, project.id, asked)
            assert found is not None
            assert found.id == id
            assert await runs.find(connection, stranger.id, asked) is None


async def test_counts_are_those_of_the_rows(database: Database) -> None:
    run_id = await new_run(database)
    neighbour = await new_run(database, "neighbour")
    await record(database, neighbour, *(sample(9, n) for n in range(5)), metric(10))
    async with database.begin() as connection:
        assert await runs.counts(connection, run_id) == runs.Counts(0, 0, 0, 0)
    await record(database, run_id, metric(0), metric(2), metric(2, "b"), sample(2, 0), sample(3, 1, reward=None))
    await record(database, run_id, metric(2**63 - 1), alarm(3))
    async with database.begin() as connection:
        assert await runs.counts(connection, run_id) == runs.Counts(steps=4, samples=2, unscored=1, alarms=1)


async def test_runs_with_long_messages_come_in_shorter_pages(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PAGE_BYTES", 1000)
    async with database.begin() as connection:
        project = await projects.create(connection, str(uuid7()), "full", None)
        assert project is not None
        sizes = [0, 400, 0, 700, 5000, 0, 600]
        ids = [(await runs.create(connection, project.id, f"{n}", b"{}", b"{}"))[0] for n in range(len(sizes))]
    for id, size in zip(ids, sizes, strict=True):
        if size:
            await record(database, id, StatusChange(1, "failed", b"x" * size))
    pages: list[list[str]] = []
    before, more = None, True
    while more:
        async with database.begin() as connection:
            rows, more = await runs.list_page(connection, project.id, None, None, before, 3)
        pages.append([row.name for row in rows])
        before = rows[-1].id
    assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]
    monkeypatch.setattr(runs, "PAGE_BYTES", 600)
    async with database.begin() as connection:
        rows, more = await runs.list_page(connection, project.id, None, None, None, 100)
    assert ([row.name for row in rows], more) == (["6"], True)


async def test_long_alarms_are_shown_as_far_as_they_fit(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "SHOWN_BYTES", 1000)
    run_id = await new_run(database)
    sizes = [10, 600, 500, 5000, 0]
    await record(database, run_id, *(Alarm(n, 1, "kl", b"x" * size, b"", None) for n, size in enumerate(sizes)))
    async with database.begin() as connection:
        assert [row.step for row in await runs.latest_alarms(connection, run_id)] == [4, 3]
    await record(database, run_id, Resume(2, 2))
    async with database.begin() as connection:
        assert [row.step for row in await runs.latest_alarms(connection, run_id)] == [2, 1]


# --- reading


async def curve(
    database: Database, run_id: UUID, names: str, steps: Steps | None = None, every: int = 1, points: int = 1000
) -> list[tuple[Any, ...]]:
    async with database.begin() as connection:
        rows = await run_history.metrics(connection, run_id, list(names), steps or Steps(), every, points)
        return [(row.block, row.step, row.name, row.value) for row in rows]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    points=st.dictionaries(st.tuples(st.integers(0, 40), st.sampled_from("abc")), st.floats(-1, 1), min_size=1),
    every=st.integers(1, 15),
    first=st.integers(0, 30),
    last=st.integers(0, 40),
    names=st.sampled_from(["a", "ab", "abc", "cz"]),
)
async def test_a_block_of_steps_has_the_last_value_in_it(
    database: Database, points: dict[tuple[int, str], float], every: int, first: int, last: int, names: str
) -> None:
    run_id = await new_run(database, str(uuid7()))
    await record(database, run_id, *(metric(step, name, value=value) for (step, name), value in points.items()))
    wanted: dict[tuple[int, str], tuple[int, float]] = {}
    for (step, name), value in sorted(points.items()):
        if first <= step <= last and name in names:
            wanted[step // every, name] = (step, value)
    found = await curve(database, run_id, names, Steps(first, last), every)
    assert found == [(block, step, name, value) for (block, name), (step, value) in sorted(wanted.items())]


async def test_blocks_reach_to_the_last_step_there_can_be(database: Database) -> None:
    run_id = await new_run(database)
    end = 2**63 - 1
    await record(database, run_id, metric(0, "a"), metric(end - 1, "a"), metric(end, "b"))
    assert [row[:3] for row in await curve(database, run_id, "ab", every=end)] == [(0, end - 1, "a"), (1, end, "b")]
    assert [row[:3] for row in await curve(database, run_id, "ab", every=10)] == [
        (0, 0, "a"), (end // 10, end - 1, "a"), (end // 10, end, "b"),
    ]  # fmt: skip
    assert [row[0] for row in await curve(database, run_id, "ab", every=10, points=1)] == [0]
    assert await curve(database, run_id, "c", every=10) == await curve(database, run_id, "", every=10) == []


async def test_a_page_of_a_thinned_curve_reads_its_own_steps(database: Database) -> None:
    run_id = await new_run(database)
    await record(database, run_id, *(metric(step) for step in range(2000)))
    query = "EXPLAIN (ANALYZE, TIMING OFF) " + run_history._METRICS_THINNED
    values = {"run": run_id, "names": ["loss"], "first": 0, "last": 2**63 - 1, "every": 10, "points": 5}
    async with database.begin() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        await connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        plan = [row[0] for row in await connection.execute(text(query), values)]
    read = [
        float(found[1]) * float(found[2])
        for line in plan
        if "run_metrics" in line and (found := re.search(r"actual rows=([0-9.]+) loops=([0-9]+)", line))
    ]
    assert read, plan
    assert sum(read) < 200, plan


async def page_through(
    database: Database, project_id: UUID, run_id: UUID, filter: SampleFilter, limit: int
) -> list[list[Any]]:
    pages: list[list[Any]] = []
    after: tuple[int, int] | None = None
    while not pages or after is not None:
        async with database.begin() as connection:
            rows, after = await run_history.samples(connection, project_id, run_id, filter, after, limit)
        pages.append(list(rows))
    return pages


async def test_pages_hold_every_sample_once_in_order(database: Database) -> None:
    run_id = await new_run(database)
    async with database.begin() as connection:
        project = await projects.ensure(connection, "one")
    await record(database, run_id, *(sample(step, n) for step in range(7) for n in range(9)))
    for limit in (1, 4, 9, 63, 64):
        pages = await page_through(database, project.id, run_id, SampleFilter(Steps(1, 5)), limit)
        seen = [(row.step, row.sample) for page in pages for row in page]
        assert seen == [(step, n) for step in range(1, 6) for n in range(9)]
        assert all(len(page) == limit for page in pages[:-1])


async def test_a_page_of_long_texts_is_a_short_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_history, "PAGE_BYTES", 1000)
    run_id = await new_run(database)
    async with database.begin() as connection:
        project = await projects.ensure(connection, "one")
    sizes = [400, 400, 400, 5000, 5000, 0, 0, 0, 999, 1, 1]
    await record(database, run_id, *(sample(1, n, item=b"x" * size) for n, size in enumerate(sizes)))
    pages = await page_through(database, project.id, run_id, SampleFilter(Steps()), 100)
    assert [row.sample for page in pages for row in page] == list(range(len(sizes)))
    for page in pages:
        assert sum(len(row.item) for row in page[:-1]) < 1000
    assert [len(page) for page in pages] == [3, 1, 1, 5, 1]


async def test_a_page_looks_through_so_many_samples_for_verdicts_and_the_next_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_history, "MAX_SEARCHED", 5)
    run_id = await new_run(database)
    async with database.begin() as connection:
        project = await projects.ensure(connection, "one")
    ids = [uuid7() for _ in range(20)]
    for n, id in enumerate(ids):
        await fetch(
            database,
            "INSERT INTO scores (project_id, id, batch_id, revision, outcome, score, verdict, ms, cached) "
            "VALUES (:project, :id, :id, 1, :outcome, :score, '', 1, false) RETURNING id",
            project=project.id, id=id, outcome="correct" if n in (0, 6, 7, 8, 19) else "incorrect", score=n / 20,
        )  # fmt: skip
    await record(database, run_id, *(sample(n // 4, n % 4, score_id=id) for n, id in enumerate(ids)))

    async def numbers(limit: int, **filter: Any) -> list[list[int]]:
        pages = await page_through(database, project.id, run_id, SampleFilter(Steps(), **filter), limit)
        return [[row.step * 4 + row.sample for row in page] for page in pages]

    assert await numbers(100, outcome="correct") == [[0], [6, 7, 8], [], [19], []]
    assert await numbers(2, outcome="correct") == [[0], [6, 7], [8], [], [19]]
    assert await numbers(100, min_score=0.9, outcome="correct") == [[], [], [], [19], []]
    assert await numbers(100, max_score=-1.0) == [[], [], [], [], []]
    assert await numbers(100) == [list(range(20))]


async def test_a_verdict_is_looked_up_by_its_id_in_the_partition_that_holds_it(database: Database) -> None:
    run_id = await new_run(database)
    async with database.begin() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))  # tables are empty here
        page = run_history._PAGE.format(
            join="LEFT", verdict=run_history._VERDICT, place=run_history._PLACE, conditions=""
        )
        values = {"project": run_id, "run": run_id, "after_step": 0, "after_sample": -1, "last": 9, "limit": 10}
        plan = "\n".join(row[0] for row in await connection.execute(text("EXPLAIN " + page), values))
    assert "Nested Loop" in plan, plan
    assert "Index Scan using pk_run_samples" in plan, plan
    assert "Index Cond: ((project_id = " in plan, plan


# --- retention


async def test_texts_of_samples_are_removed_after_their_days_and_figures_stay(database: Database) -> None:
    async with database.begin() as connection:
        short = await projects.create(connection, "short", "full", 2)
        long = await projects.create(connection, "long", "full", None)
        assert short is not None
        assert long is not None
        ids = [(await runs.create(connection, project.id, "r", b"{}", b"{}"))[0] for project in (short, long)]
    for id in ids:
        await record(database, id, sample(1, 0), sample(1, 1, item=None))
    now = datetime.now(UTC)
    for days, removed in ((1.9, 0), (2.1, 1), (400, 0)):
        async with database.begin() as connection:
            assert await runs.forget_samples(connection, now + timedelta(days=days)) == removed
    assert [row[8] for row in (await state(database, ids[0]))["run_samples"]] == [None, None]
    assert [row[4] for row in (await state(database, ids[0]))["run_samples"]] == [1.0, 1.0]
    assert [row[8] for row in (await state(database, ids[1]))["run_samples"]] == [b"{}", None]
