"""Single items from many callers, scored in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from app import merging
from app.engine import Engine
from app.errors import Problem
from app.merging import Merger
from app.results import Result, ScoredBatch
from app.store.ids import uuid7
from app.store.projects import Project
from app.tasks import Options, Task
from verifiers.base import Item, Outcome

PROJECT = Project(uuid7(), "one", "full", None, datetime.now(UTC))
OTHER = Project(uuid7(), "two", "full", None, datetime.now(UTC))
OPTIONS = Options()


class Recorded:
    """An engine that scores an item by its completion's length, once it is let go."""

    def __init__(self, problem: Problem | None = None) -> None:
        self.batches: list[list[Task]] = []
        self.called: asyncio.Queue[int] = asyncio.Queue()
        self.go = asyncio.Event()
        self.go.set()
        self._problem = problem

    async def score(self, project: Project, verifier: Any, tasks: Sequence[Task], options: Options) -> ScoredBatch:
        self.batches.append(list(tasks))
        self.called.put_nowait(len(tasks))
        await self.go.wait()
        if self._problem is not None:
            raise self._problem
        return ScoredBatch(uuid7(), [_result(task) for task in tasks])

    @property
    def merger(self) -> Merger:
        return Merger(cast(Engine, self))


def _result(task: Task) -> Result:
    assert task.item is not None
    assert task.score_id is not None
    score = float(len(task.item.text))
    return Result(task.item.id, task.score_id, "v@1", "v", Outcome.SCORED, score, "", None, 0.0, False)


def item(text: str, **fields: Any) -> Item:
    return Item(completion=text, **fields)


async def test_items_that_come_together_are_one_batch() -> None:
    engine = Recorded()
    merger = engine.merger
    results = await asyncio.gather(*(merger.score(PROJECT, "v", item("x" * n), OPTIONS) for n in range(100)))
    assert [result.score for result in results] == list(range(100))
    assert [len(batch) for batch in engine.batches] == [100]


async def test_a_batch_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MAX_BATCH", 8)
    engine = Recorded()
    merger = engine.merger
    await asyncio.gather(*(merger.score(PROJECT, "v", item("x" * n), OPTIONS) for n in range(20)))
    assert [len(batch) for batch in engine.batches] == [8, 8, 4]


async def test_an_item_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "WAIT_S", 3600.0)
    engine = Recorded()
    async with asyncio.timeout(10):
        assert (await engine.merger.score(PROJECT, "v", item("abc"), OPTIONS)).score == 3


async def test_a_slow_batch_holds_up_no_other() -> None:
    engine = Recorded()
    merger = engine.merger
    engine.go.clear()
    slow = asyncio.create_task(merger.score(PROJECT, "v", item("slow"), OPTIONS))
    async with asyncio.timeout(10):
        await engine.called.get()
        fast = asyncio.create_task(merger.score(PROJECT, "v", item("fast"), OPTIONS))
        await engine.called.get()
    assert not slow.done()
    engine.go.set()
    await asyncio.gather(slow, fast)


@pytest.mark.parametrize(
    "other",
    [
        (OTHER, "v", item("same"), OPTIONS),
        (PROJECT, "w", item("same"), OPTIONS),
        (PROJECT, "v", item("same", reference="r"), OPTIONS),
        (PROJECT, "v", item("same", id="r"), OPTIONS),
        (PROJECT, "v", item("same"), Options(run="r")),
    ],
)
async def test_only_the_same_item_for_the_same_project_verifier_and_run_is_scored_once(other: Any) -> None:
    engine = Recorded()
    merger = engine.merger
    one, again, different = await asyncio.gather(
        merger.score(PROJECT, "v", item("same"), OPTIONS),
        merger.score(PROJECT, "v", item("same"), OPTIONS),
        merger.score(*other),
    )
    assert one.score_id == again.score_id != different.score_id
    assert sum(map(len, engine.batches)) == 2


async def test_the_same_item_later_is_a_sample_of_its_own() -> None:
    engine = Recorded()
    merger = engine.merger
    first = await merger.score(PROJECT, "v", item("same"), OPTIONS)
    assert (await merger.score(PROJECT, "v", item("same"), OPTIONS)).score_id != first.score_id


async def test_an_answer_that_nobody_took_is_kept_for_the_next_who_asks() -> None:
    engine = Recorded()
    merger = engine.merger
    first = await merger.score(PROJECT, "v", item("same"), OPTIONS)
    merger.keep(PROJECT, "v", item("same"), OPTIONS, first)
    assert (await merger.score(PROJECT, "v", item("same"), OPTIONS)).score_id == first.score_id
    assert (await merger.score(PROJECT, "v", item("same"), OPTIONS)).score_id != first.score_id


async def test_kept_answers_go_after_a_while_and_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MAX_KEPT", 2)
    engine = Recorded()
    merger = engine.merger
    results = [await merger.score(PROJECT, "v", item("x" * n), OPTIONS) for n in range(3)]
    for n, result in enumerate(results):
        merger.keep(PROJECT, "v", item("x" * n), OPTIONS, result)
    assert (await merger.score(PROJECT, "v", item(""), OPTIONS)).score_id != results[0].score_id
    assert (await merger.score(PROJECT, "v", item("x"), OPTIONS)).score_id == results[1].score_id
    monkeypatch.setattr(merging, "KEPT_S", -1.0)
    merger.keep(PROJECT, "v", item("x"), OPTIONS, results[1])
    assert (await merger.score(PROJECT, "v", item("x"), OPTIONS)).score_id != results[1].score_id


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    engine = Recorded()
    engine.go.clear()
    merger = engine.merger
    leaving = asyncio.create_task(merger.score(PROJECT, "v", item("same"), OPTIONS))
    staying = asyncio.create_task(merger.score(PROJECT, "v", item("same"), OPTIONS))
    await asyncio.sleep(0)
    leaving.cancel()
    engine.go.set()
    assert (await staying).score == 4
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_problem_is_everybodys_and_nothing_is_left_behind() -> None:
    engine = Recorded(Problem("unknown-verifier", "none"))
    merger = engine.merger
    waiting = [merger.score(PROJECT, "v", item(text), OPTIONS) for text in ("a", "b")]
    assert [type(result) for result in await asyncio.gather(*waiting, return_exceptions=True)] == [Problem, Problem]
    engine._problem = None
    assert (await merger.score(PROJECT, "v", item("a"), OPTIONS)).score == 1


async def test_what_is_submitted_has_its_id_at_once() -> None:
    engine = Recorded()
    merger = engine.merger
    id = merger.submit(PROJECT, "v", item("later"), OPTIONS)
    assert merger.submit(PROJECT, "v", item("later"), OPTIONS) == id
    assert merger.under_way(id)
    assert (await merger.score(PROJECT, "v", item("later"), OPTIONS)).score_id == id
    assert not merger.under_way(id)
