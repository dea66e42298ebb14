"""Signals for very many items, and signals that a verifier does not accept, over a real PostgreSQL."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import pytest

from app.store import outcomes
from app.store.database import Database
from app.store.outcomes import key_sha256
from app.store.writer import Writer
from tests.app.store.rows import fetch, waiting
from tests.app.test_settling import World, new_world, signal, version_of

T = TypeVar("T")
MANY = 3_000


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    writer = Writer(database)
    yield await new_world(database, writer)
    await writer.close()


async def longest_turn(work: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """What the work returns, and the processor seconds that it held up the event loop at most."""
    longest = 0.0
    gc.collect()
    gc.disable()  # a look at all objects of the tests, which takes as long

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)

    watching = asyncio.create_task(watch())
    try:
        return await work, longest
    finally:
        gc.enable()
        watching.cancel()


async def score_many(world: World, key: str) -> None:
    digest = key_sha256(world.project.id, key)
    made = [
        waiting(world.project.id, digest, version=world.version, wait_s=3600.0, default=None, run=None)
        for _ in range(MANY)
    ]
    await world.writer.commit(made)


async def test_a_key_of_thousands_does_not_hold_up_the_event_loop(world: World) -> None:
    await world.score("first")
    await world.send(signal("first", event="booked"))  # which reads the verifier
    await score_many(world, "k")
    [taken], longest = await longest_turn(world.send(signal("k", event="booked")))
    assert (taken.result, taken.settled) == ("settled", MANY)
    assert longest < 0.06, longest
    await score_many(world, "k")
    _, longest = await longest_turn(world.catch_up())
    listed = await world.listed(limit=10_000)
    assert [seq for seq, _ in listed] == list(range(1, 2 * MANY + 2))
    assert longest < 0.06, longest


async def test_a_signal_that_no_verifier_accepts_does_not_stand_in_the_way_of_the_next(world: World) -> None:
    """The first signal for a key was kept for good: what was right settled the items there were, and no later one."""
    [typo] = await world.send(signal("k", event="bokked", detail={"try": 1}))
    before = await world.score("k", default=0.0)
    await world.catch_up()
    [right] = await world.send(signal("k", event="booked"))
    after = await world.score("k", default=0.0)
    assert (typo.result, right.result) == ("kept", "settled")
    for item in (before, after):
        assert await world.state(item) == ("scored", 1.0, False)
    [again] = await world.send(signal("k", event="booked"))
    assert again.result == "repeated"
    rows = await fetch(world.database, "SELECT used, detail FROM signals")
    assert [tuple(row) for row in rows] == [(True, None)]


async def test_a_kept_signal_that_is_accepted_stays_the_first(world: World) -> None:
    """Another one that came by way of an item that the first did not reach in time replaces nothing."""
    other = await version_of(world.database, world.project.id, events={"moved": 0.25})
    [first] = await world.send(signal("k", event="moved"))
    settled = await world.score("k")
    assert await world.state(settled) == ("scored", 0.5, False)
    [second] = await world.send(signal("k", event="booked"))
    assert (first.result, second.result) == ("kept", "conflict")
    later = await world.score("k", version=other)
    assert await world.state(later) == ("scored", 0.25, False)
    async with world.database.begin() as connection:
        kept = await outcomes.kept(connection, world.project.id, {key_sha256(world.project.id, "k")})
    assert len(kept) == 1
