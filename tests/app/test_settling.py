"""Outcomes that come later, over a real PostgreSQL: settled once, in any order, by the first signal in time."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app import settling as module
from app.settling import Settling, Signal, Taken
from app.store import outcomes, projects, verifiers
from app.store.database import Database
from app.store.ids import uuid7
from app.store.outcomes import key_sha256
from app.store.projects import Keep, Project
from app.store.writer import Writer
from tests.app.store.rows import fetch, waiting
from verifiers.base import load_kinds
from verifiers.outcome import Told, event_sha256

load_kinds()

EVENTS = {"booked": 1.0, "moved": 0.5, "cancelled": 0.0}


def signal(key: str | None = None, score: float | None = None, **more: Any) -> Signal:
    event = more.pop("event", None)
    told = Told(score, None if event is None else event_sha256(event))
    return Signal(more.pop("score_id", None), key, told, more.pop("detail", None))


@dataclass
class World:
    """A project with one verifier, and what a process does with it."""

    database: Database
    writer: Writer
    project: Project
    version: UUID
    settling: Settling = field(default_factory=Settling)

    async def score(
        self,
        key: str | None = None,
        *,
        default: float | None = None,
        wait_s: float = 3600.0,
        run: str | None = None,
        version: UUID | None = None,
    ) -> UUID:
        """A pending verdict's id."""
        digest = None if key is None else key_sha256(self.project.id, key)
        made = waiting(
            self.project.id, digest, version=version or self.version, wait_s=wait_s, default=default, run=run
        )
        await self.writer.commit([made])
        return made.ids[0]

    async def send(self, *signals: Signal) -> list[Taken]:
        async with self.database.begin() as connection:
            return await self.settling.take(connection, self.project, signals)

    async def catch_up(self) -> None:
        async with self.database.begin() as connection:
            await self.settling.catch_up(connection, self.project)

    async def end_wait(self, id: UUID) -> None:
        """Let the time to wait be over."""
        async with self.database.begin() as connection:
            await connection.execute(
                text(
                    "UPDATE outcomes SET due_at = clock_timestamp(), look_at = least(look_at, clock_timestamp()) "
                    "WHERE score_id = :id AND seq IS NULL"
                ),
                {"id": id},
            )

    async def state(self, id: UUID) -> tuple[str, float | None, bool | None]:
        """Outcome and score of a verdict, and whether it was the default; of both tables, which must agree."""
        await self.catch_up()
        [row] = await fetch(
            self.database,
            "SELECT s.outcome, s.score, o.score, o.by_default, s.verdict FROM scores s JOIN outcomes o "
            "ON o.project_id = s.project_id AND o.score_id = s.id WHERE s.id = :id",
            id=id,
        )
        assert row[1] == row[2]
        assert (row[0] == "pending") == (row[3] is None)
        return row[0], row[1], row[3]

    async def listed(self, after: int = 0, limit: int = 1000, **filters: Any) -> list[tuple[int, UUID]]:
        async with self.database.begin() as connection:
            page = await outcomes.list_page(
                connection, self.project.id, filters.get("run"), filters.get("verifier"), after, limit
            )
        return [(row.seq, row.id) for row in page]


async def version_of(database: Database, project_id: UUID, **config: Any) -> UUID:
    written = json.dumps(config)
    async with database.begin() as connection:
        return await verifiers.ensure_inline(
            connection, project_id, "outcome", written, hashlib.sha256(written.encode()).digest()
        )


async def new_world(database: Database, writer: Writer, name: str = "one", keep: Keep = "full") -> World:
    async with database.begin() as connection:
        project = await projects.create(connection, name, keep, None)
    assert project is not None
    return World(database, writer, project, await version_of(database, project.id, events=EVENTS))


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    made = Writer(database)
    yield made
    await made.close()


@pytest.fixture
async def world(database: Database, writer: Writer) -> World:
    return await new_world(database, writer)


# --- one signal


@pytest.mark.parametrize(
    ("told", "score"),
    [({"score": 0.25}, 0.25), ({"event": "booked"}, 1.0), ({"event": "cancelled"}, 0.0), ({"score": 1}, 1.0)],
)
async def test_a_signal_settles_by_id_and_by_key(world: World, told: dict[str, Any], score: float) -> None:
    by_id, by_key = await world.score(), await world.score("k")
    assert await world.state(by_id) == ("pending", None, None)
    for id, sent in ((by_id, signal(score_id=by_id, **told)), (by_key, signal("k", **told))):
        assert await world.send(sent) == [Taken("settled", None, id, 1, score, by_default=False)]
        assert await world.send(sent) == [Taken("repeated", None, id, 0, score, by_default=False)]
        assert await world.state(id) == ("scored", score, False)
    assert [id for _, id in await world.listed()] == [by_id, by_key]


async def test_another_value_is_a_conflict_that_says_how_it_was_settled(world: World) -> None:
    id = await world.score("k")
    await world.send(signal("k", 1.0))
    for other in (signal("k", 0.5), signal(score_id=id, score=0.5), signal("k", event="cancelled")):
        [taken] = await world.send(other)
        assert (taken.result, taken.score_id, taken.score, taken.by_default) == ("conflict", id, 1.0, False)
    [taken] = await world.send(signal(score_id=id, event="booked"))  # the same score by its name
    assert taken.result == "repeated"
    assert await world.state(id) == ("scored", 1.0, False)


async def test_one_request_may_speak_of_the_same_item_several_times(world: World) -> None:
    id = await world.score("k")
    sent = [signal("k", 0.5), signal(score_id=id, score=0.5), signal("k", 1.0), signal("new", 1.0)]
    sent += [signal("new", 1.0), signal("new", 0.0), signal(score_id=uuid7(), score=1.0)]
    taken = await world.send(*sent)
    assert [each.result for each in taken] == [
        "settled", "repeated", "conflict", "kept", "repeated", "conflict", "unknown",
    ]  # fmt: skip
    assert await world.state(id) == ("scored", 0.5, False)


async def test_what_the_verifier_does_not_accept_is_refused_and_the_item_waits_on(world: World) -> None:
    id = await world.score("k")
    for sent, why in (
        (signal("k", 1.5), "score: the item's verifier takes scores from 0 to 1"),
        (signal("k", event="bokked"), "event: the item's verifier lists no such event"),
        (signal(score_id=id, score=-0.1), "score: the item's verifier takes scores from 0 to 1"),
    ):
        assert await world.send(sent) == [Taken("refused", why)]
    assert await world.state(id) == ("pending", None, None)
    assert (await world.send(signal("k", event="booked")))[0].result == "settled"
    assert (await world.send(signal("k", 7.0)))[0].result == "refused"


async def test_another_project_has_neither_the_id_nor_the_key(database: Database, writer: Writer) -> None:
    ours, theirs = await new_world(database, writer, "ours"), await new_world(database, writer, "theirs")
    id = await ours.score("k")
    assert [each.result for each in await theirs.send(signal("k", 1.0), signal(score_id=id, score=1.0))] == [
        "kept", "unknown",
    ]  # fmt: skip
    assert await ours.state(id) == ("pending", None, None)
    assert await theirs.listed() == []
    await ours.send(signal("k", 0.0))
    assert await ours.state(id) == ("scored", 0.0, False)


async def test_a_key_may_be_any_text(world: World) -> None:
    keys = ["\x00", "\ud800", "k\x00", "\ud83d\ude00", "\U0001f600", "é", "e\u0301", "x" * 1000, "'; --"]
    ids = [await world.score(key) for key in keys]
    assert len({key_sha256(world.project.id, key) for key in keys}) == len(keys)
    for place, key in enumerate(keys):
        assert (await world.send(signal(key, place / 10)))[0].score_id == ids[place]
    assert [(await world.state(id))[1] for id in ids] == [place / 10 for place in range(len(keys))]


# --- time


@pytest.mark.parametrize("default", [0.25, 0.0, None])
async def test_the_default_applies_once_the_time_is_over(world: World, default: float | None) -> None:
    id = await world.score("k", default=default, wait_s=0.2)
    assert (await world.state(id))[0] == "pending"
    await asyncio.sleep(0.25)
    assert await world.state(id) == ("unscored" if default is None else "scored", default, True)
    [(verdict,)] = await fetch(world.database, "SELECT verdict FROM scores WHERE id = :id", id=id)
    body = json.loads(b"{" + verdict + b"}")
    if default is None:
        assert (body["error"]["type"], body["error"]["retryable"]) == ("no_signal", False)
    else:
        assert (body["detail"], body["error"]) == ({"stage": "default"}, None)


@pytest.mark.parametrize("by", ["id", "key"])
async def test_a_signal_after_the_time_is_late_even_where_nobody_has_looked_yet(world: World, by: str) -> None:
    id = await world.score("k", default=0.25)
    await world.end_wait(id)
    late = signal("k", 1.0) if by == "key" else signal(score_id=id, score=1.0)
    for _ in range(2):
        [taken] = await world.send(late)
        assert (taken.result, taken.score_id, taken.score, taken.by_default) == ("conflict", id, 0.25, True)
        assert "the default applied" in (taken.message or "")
    [taken] = await world.send(signal("k", 0.25))  # the default's own value is late, too
    assert taken.result == "conflict"
    assert await world.state(id) == ("scored", 0.25, True)


async def test_the_sweep_settles_what_nobody_reads_and_waits_for_nobody(world: World) -> None:
    due, later = await world.score(default=1.0), await world.score(default=1.0)
    await world.end_wait(due)
    other = Database(world.database.url.render_as_string(hide_password=False), 1)
    async with other.begin() as connection:
        await outcomes.lock(connection, world.project.id)
        async with asyncio.timeout(10):
            await world.settling.sweep(world.database)  # another process is at it
        assert await world.listed() == []
    await asyncio.gather(*(Settling().sweep(world.database) for _ in range(3)))
    await other.close()
    assert [id for _, id in await world.listed()] == [due]
    assert (await world.state(later))[0] == "pending"


async def test_a_project_that_cannot_be_settled_holds_up_no_other(
    database: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    worlds = [await new_world(database, writer, name) for name in ("a", "b", "c")]
    ids = [await world.score(default=1.0) for world in worlds]
    for world, id in zip(worlds, ids, strict=True):
        await world.end_wait(id)
    settle = outcomes.settle

    async def failing(connection: Any, project_id: UUID, *more: Any) -> None:
        if project_id == worlds[0].project.id:
            raise RuntimeError("as the test wants it")
        await settle(connection, project_id, *more)

    monkeypatch.setattr(outcomes, "settle", failing)
    await Settling().sweep(database)
    assert [len(await world.listed()) for world in worlds] == [0, 1, 1]
    monkeypatch.undo()
    await Settling().sweep(database)
    assert [len(await world.listed()) for world in worlds] == [1, 1, 1]


# --- signals before their items


async def test_a_signal_that_comes_first_is_kept_and_settles_what_is_scored_later(world: World) -> None:
    assert await world.send(signal("k", 0.5)) == [Taken("kept", score=0.5)]
    assert (await world.send(signal("k", 0.5)))[0].result == "repeated"
    assert (await world.send(signal("k", 0.75)))[0].result == "conflict"
    first = await world.score("k", default=0.0)
    await world.end_wait(first)  # it came before the item was due, whenever that is found out
    second = await world.score("k")
    for id in (first, second):
        assert await world.state(id) == ("scored", 0.5, False)
    assert (await world.send(signal("k", 0.5)))[0].result == "repeated"


async def test_a_kept_signal_settles_although_only_the_sweep_looks(world: World) -> None:
    await world.send(signal("k", event="moved", detail={"at": "noon"}))
    await world.score("k")
    await Settling().sweep(world.database)
    [(outcome, verdict)] = await fetch(world.database, "SELECT outcome, verdict FROM scores")
    assert outcome == "scored"
    assert json.loads(b"{" + verdict + b"}")["detail"] == {
        "stage": "signal", "event": "moved", "signal": {"at": "noon"},
    }  # fmt: skip


async def test_a_kept_signal_that_the_verifier_does_not_accept_leaves_the_item_waiting(world: World) -> None:
    await world.send(signal("k", event="bokked"))
    id = await world.score("k")
    assert await world.state(id) == ("pending", None, None)
    assert (await world.send(signal("k", event="booked")))[0].result == "settled"
    assert await world.state(id) == ("scored", 1.0, False)


async def test_one_key_may_be_that_of_items_of_verifiers_that_differ(world: World) -> None:
    wide = await version_of(world.database, world.project.id, maximum=5)
    narrow, broad = await world.score("k"), await world.score("k", version=wide)
    [taken] = await world.send(signal("k", 4.0))
    assert (taken.result, taken.settled, taken.score_id) == ("settled", 1, broad)
    assert await world.state(narrow) == ("pending", None, None)
    assert await world.state(broad) == ("scored", 4.0, False)


async def test_a_late_signal_counts_for_items_scored_after_it(world: World) -> None:
    early = await world.score("k", default=0.0)
    await world.end_wait(early)
    assert (await world.send(signal("k", 1.0)))[0].result == "conflict"
    again = await world.score("k", default=0.0)
    assert (await world.state(early), await world.state(again)) == (("scored", 0.0, True), ("scored", 1.0, False))


async def test_signals_for_keys_that_no_item_has_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNUSED", 3)
    sent = [signal(f"k{n}", 1.0) for n in range(5)]
    assert [each.result for each in await world.send(*sent)] == ["kept"] * 3 + ["refused"] * 2
    assert [each.result for each in await world.send(*sent)] == ["repeated"] * 3 + ["refused"] * 2
    ids = [await world.score("k0"), await world.score("k4")]
    await world.catch_up()  # k0 is in use now: there is room for one more
    assert [each.result for each in await world.send(*sent[3:])] == ["kept", "settled"]
    assert [(await world.state(id))[0] for id in ids] == ["scored", "scored"]


async def test_kept_signals_are_forgotten_after_their_days(database: Database, writer: Writer) -> None:
    world = await new_world(database, writer)
    async with database.begin() as connection:
        short = await projects.create(connection, "short", "full", 2)
    assert short is not None
    brief = World(database, writer, short, world.version)
    await world.send(signal("k", 1.0))
    await brief.send(signal("k", 1.0))
    for days, left in ((1.9, 2), (2.1, 1), (29.9, 1), (30.1, 0)):
        async with database.begin() as connection:
            await outcomes.forget_signals(connection, datetime.now(UTC) + timedelta(days=days), module.KEEP_DAYS)
        assert await fetch(database, "SELECT count(*) FROM signals") == [(left,)]


# --- many


async def test_a_key_of_very_many_items(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 8)
    ids = [await world.score("k") for _ in range(30)] + [await world.score("other")]
    [taken, other] = await world.send(signal("k", 1.0), signal("other", 0.0))
    assert (taken.result, taken.settled, other.settled) == ("settled", 4, 1)
    await Settling().sweep(world.database)  # the rest
    assert [await world.state(id) for id in ids] == [("scored", 1.0, False)] * 30 + [("scored", 0.0, False)]
    assert len(await world.listed()) == 31


async def test_a_late_signal_for_a_key_of_very_many_items(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    ids = [await world.score("k", default=0.25) for _ in range(8)]
    await world.catch_up()
    for id in ids:
        await world.end_wait(id)
    assert [each.result for each in await world.send(signal("k", 1.0))] == ["conflict"]
    await Settling().sweep(world.database)  # those that the signal did not meet
    assert [await world.state(id) for id in ids] == [("scored", 0.25, True)] * 8


async def processes(stack: AsyncExitStack, world: World, count: int) -> list[World]:
    """The same project as several processes see it."""
    url = world.database.url.render_as_string(hide_password=False)
    made = []
    for _ in range(count):
        database = Database(url, 2)
        stack.push_async_callback(database.close)
        writer = Writer(database)
        stack.push_async_callback(writer.close)
        made.append(World(database, writer, world.project, world.version))
    return made


async def test_50_signals_at_once_settle_once(world: World) -> None:
    async with AsyncExitStack() as stack:
        seen = await processes(stack, world, 5)
        for sent_by in ("id", "key"):
            id = await world.score(sent_by)
            named = {"score_id": id} if sent_by == "id" else {"key": sent_by}
            sends = [seen[n % 5].send(signal(score=n / 50, **named)) for n in range(50)]
            sweeps = [one.settling.sweep(one.database) for one in seen]
            results, _ = await asyncio.gather(asyncio.gather(*sends), asyncio.gather(*sweeps))
            taken = [each for [each] in results]
            assert sorted(each.result for each in taken) == ["conflict"] * 49 + ["settled"]
            [winner] = {each.score for each in taken}
            assert await world.state(id) == ("scored", winner, False)
            assert taken[round((winner or 0) * 50)].result == "settled"
    assert len(await world.listed()) == 2


async def test_signals_and_items_that_meet_in_flight_miss_each_other_never(world: World) -> None:
    keys = [f"k{n}" for n in range(60)]
    async with AsyncExitStack() as stack:
        scorer, teller, sweeper, reader = await processes(stack, world, 4)

        async def score() -> list[UUID]:
            return [await scorer.score(key, default=0.0) for key in keys]

        async def tell() -> None:
            for start in range(0, 60, 3):
                await teller.send(*(signal(key, 1.0) for key in reversed(keys[start : start + 3])))

        async def look() -> None:
            for _ in range(20):
                await sweeper.settling.sweep(sweeper.database)
                await reader.catch_up()

        async with asyncio.timeout(60):
            ids, *_ = await asyncio.gather(score(), tell(), look())
    assert [await world.state(id) for id in ids] == [("scored", 1.0, False)] * 60


async def test_a_cursor_skips_nothing_while_many_settle(world: World) -> None:
    ids = [await world.score(f"k{n % 40}") for n in range(120)]
    read: list[tuple[int, UUID]] = []
    async with AsyncExitStack() as stack:
        *tellers, reader = await processes(stack, world, 5)

        async def tell(which: int) -> None:
            for n in range(which, 40, 4):
                await tellers[which].send(signal(f"k{n}", 1.0), signal(f"k{(n * 7) % 40}", 1.0))

        async def poll() -> None:
            while len(read) < 120:
                read.extend(await reader.listed(read[-1][0] if read else 0, limit=7))
                await asyncio.sleep(0)

        async with asyncio.timeout(60):
            await asyncio.gather(*(tell(which) for which in range(4)), poll())
    assert [seq for seq, _ in read] == list(range(1, 121))
    assert sorted(id for _, id in read) == sorted(ids)


async def test_lists_hold_what_their_filters_select(world: World) -> None:
    other = await version_of(world.database, world.project.id, maximum=2)
    ids = [
        await world.score("k", run=run, version=version)
        for run in ("r1", "r2", None)
        for version in (world.version, other)
    ]
    await world.score("never", run="r1")
    await world.send(signal("k", 1.0))
    assert sorted(id for _, id in await world.listed()) == ids
    assert sorted(id for _, id in await world.listed(run="r1")) == ids[:2]
    assert await world.listed(run="r3") == []
    assert len(await world.listed(verifier=("outcome", verifiers.INLINE))) == 6
    assert await world.listed(verifier=("outcome", 1)) == []
    first, second = (await world.listed(run="r2"))[:2]
    assert await world.listed(first[0], run="r2") == [second]
    assert await world.listed(2**62) == []


# --- a commit that is not known to have happened


async def test_a_commit_sent_again_after_a_signal_settled_it_refuses_nothing(world: World) -> None:
    key = key_sha256(world.project.id, "k")
    for claim in (None, "claimed"):
        one = waiting(world.project.id, key, version=world.version, idempotency_key=claim)
        await world.writer.commit([one])
        await world.send(signal(score_id=one.ids[0], score=0.5))
        await world.writer.commit([one])
        assert (one.duplicate, one.refused) == (False, [])
        assert await world.state(one.ids[0]) == ("scored", 0.5, False)


async def test_a_refused_row_waits_for_nothing_and_its_neighbour_does(world: World) -> None:
    bad, good = (waiting(world.project.id, b"k", version=world.version, run=run) for run in ("bad", "good"))
    async with world.database.begin() as connection:
        await connection.execute(text("ALTER TABLE outcomes ADD CONSTRAINT unlucky CHECK (run <> 'bad')"))
    await world.writer.commit([bad, good])
    assert (bad.refused, good.refused) == ([0], [])
    assert await fetch(world.database, "SELECT score_id FROM outcomes") == [(good.ids[0],)]
    assert sorted(await fetch(world.database, "SELECT outcome FROM scores")) == [("pending",), ("unscored",)]


# --- privacy


@pytest.mark.parametrize("keep", ["hash", "none"])
async def test_keys_events_and_details_are_nowhere_where_nothing_is_kept(
    database: Database, writer: Writer, keep: Keep
) -> None:
    world = await new_world(database, writer, keep, keep)
    await world.score("canary-1")
    told: dict[str, Any] = {"event": "booked", "detail": {"canary": "canary"}}
    await world.send(signal("canary-1", **told), signal("canary-2", **told), signal("canary-3", event="canary"))
    await world.score("canary-2")
    await world.catch_up()
    for table in ("scores", "outcomes", "signals"):
        rows = await fetch(database, f"SELECT {table}::text FROM {table} WHERE project_id = '{world.project.id}'")  # noqa: S608 - our own names
        assert rows
        for (row,) in rows:
            assert "canary" not in row
            assert b"canary".hex() not in row
    assert len(await world.listed()) == 2


# --- any order at all

KEYS = st.sampled_from(["a", "b"])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("score"), st.none() | KEYS, st.sampled_from([0.0, None])),
        st.tuples(st.just("tell key"), KEYS, st.sampled_from([0.0, 0.5, 1.0])),
        st.tuples(st.just("tell id"), st.integers(0, 5), st.sampled_from([0.5, 1.0])),
        st.tuples(st.just("end wait"), st.integers(0, 5), st.none()),
        st.tuples(st.just("look"), st.booleans(), st.none()),
    ),
    max_size=14,
)


@dataclass
class Modelled:
    """An item as the rules have it: pending, or its score and whether that is the default."""

    id: UUID
    key: str | None
    default: float | None
    state: tuple[float | None, bool] | None = None


class Rules:
    """The rules, without a database: the first signal before an item is due, else the default."""

    def __init__(self) -> None:
        self.items: list[Modelled] = []
        self.first: dict[str, float] = {}

    def score(self, item: Modelled) -> None:
        if item.key in self.first:
            item.state = (self.first[item.key], False)
        self.items.append(item)

    def tell_key(self, key: str, score: float) -> set[str]:
        """What the answer may be."""
        named = [item for item in self.items if item.key == key]
        waiting = [item for item in named if item.state is None]
        known = self.first.setdefault(key, score)
        for item in waiting:
            item.state = (score, False)
        if waiting:
            return {"settled"}
        if not named:
            return {"repeated", "kept"} if known == score else {"conflict"}
        by_signal = {item.state[0] for item in named if item.state is not None and not item.state[1]}
        if not by_signal or score not in by_signal:
            return {"conflict"}
        return {"repeated"} if by_signal == {score} else {"repeated", "conflict"}  # of the one settled first

    @staticmethod
    def tell_id(item: Modelled, score: float) -> set[str]:
        if item.state is None:
            item.state = (score, False)
            return {"settled"}
        return {"repeated"} if item.state == (score, False) else {"conflict"}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=OPERATIONS)
async def test_whatever_comes_in_whatever_order_the_rules_hold(
    database: Database, writer: Writer, operations: Sequence[tuple[str, Any, Any]]
) -> None:
    world, rules = await new_world(database, writer, f"p-{uuid7()}"), Rules()
    for what, which, value in operations:
        if what == "score":
            rules.score(Modelled(await world.score(which, default=value), which, value))
        elif what == "tell key":
            [taken] = await world.send(signal(which, value))
            assert taken.result in rules.tell_key(which, value)
        elif what == "look":
            await (world.catch_up() if which else world.settling.sweep(database))
        elif which < len(rules.items):
            item = rules.items[which]
            if what == "tell id":
                [taken] = await world.send(signal(score_id=item.id, score=value))
                assert taken.result in rules.tell_id(item, value)
            else:
                await world.end_wait(item.id)
                item.state = item.state or (item.default, True)
    for item in rules.items:
        outcome, score, by_default = await world.state(item.id)
        if item.state is None:
            assert (outcome, score, by_default) == ("pending", None, None)
        else:
            assert (score, by_default) == item.state
            assert outcome == ("unscored" if score is None else "scored")
    settled = [item for item in rules.items if item.state is not None]
    listed = await world.listed()
    assert [seq for seq, _ in listed] == list(range(1, len(settled) + 1))
    assert {id for _, id in listed} == {item.id for item in settled}
