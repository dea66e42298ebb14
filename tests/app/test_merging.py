"""Single items from many callers, scored in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
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
from verifiers.base import Item, Outcome, load_kinds

PROJECT = Project(uuid7(), "one", "full", None, datetime.now(UTC))
OTHER = Project(uuid7(), "two", "full", None, datetime.now(UTC))
OPTIONS = Options()


class Recorded:
    """An engine that scores an item by its completion's length, once it is let go."""

    def __init__(self, problem: Exception | None = None, kind: str = "v", outcome: Outcome = Outcome.SCORED) -> None:
        self.kind = kind
        self.outcome = outcome
        self.batches: list[list[Task]] = []
        self.keeps: list[str] = []
        self.called: asyncio.Queue[int] = asyncio.Queue()
        self.go = asyncio.Event()
        self.go.set()
        self._problem = problem

    async def score(self, project: Project, verifier: Any, tasks: Sequence[Task], options: Options) -> ScoredBatch:
        self.batches.append(list(tasks))
        self.keeps.append(project.keep)
        self.called.put_nowait(len(tasks))
        await self.go.wait()
        if self._problem is not None:
            raise self._problem
        return ScoredBatch(uuid7(), [self._result(task) for task in tasks])

    def _result(self, task: Task) -> Result:
        assert task.item is not None
        assert task.score_id is not None
        score = float(len(task.item.text)) if self.outcome is Outcome.SCORED else None
        return Result(task.item.id, task.score_id, "v@1", self.kind, self.outcome, score, "", None, 0.0, False)

    @property
    def merger(self) -> Merger:
        return Merger(cast(Engine, self))


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
    await merger.score(PROJECT, "v", item("first"), OPTIONS)
    await asyncio.gather(*(merger.score(PROJECT, "v", item("x" * n), OPTIONS) for n in range(20)))
    assert [len(batch) for batch in engine.batches] == [1, 8, 8, 4]


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
        (PROJECT, "v", item("same"), Options(deadline_s=0.001)),
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


async def left() -> bool:
    return True


async def stayed() -> bool:
    return False


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients may have given up at once."""
    monkeypatch.setattr(merging, "GONE_S", -1.0)


@pytest.mark.usefixtures("hasty")
async def test_an_answer_that_nobody_took_is_kept_for_the_next_who_asks() -> None:
    engine = Recorded()
    merger = engine.merger
    first = await merger.score(PROJECT, "v", item("same"), OPTIONS, left)
    assert (await merger.score(PROJECT, "v", item("same"), OPTIONS, stayed)).score_id == first.score_id
    assert (await merger.score(PROJECT, "v", item("same"), OPTIONS, stayed)).score_id != first.score_id


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("askers", [(left, stayed), (stayed, left), (left, stayed, left)])
async def test_an_answer_that_one_of_several_took_is_not_kept(askers: Any) -> None:
    merger = Recorded().merger
    first, *_ = await asyncio.gather(*(merger.score(PROJECT, "v", item("same"), OPTIONS, gone) for gone in askers))
    assert (await merger.score(PROJECT, "v", item("same"), OPTIONS, stayed)).score_id != first.score_id


@pytest.mark.usefixtures("hasty")
async def test_an_item_that_could_not_be_scored_is_tried_again() -> None:
    merger = Recorded(outcome=Outcome.UNSCORED).merger
    first = await merger.score(PROJECT, "v", item("same"), OPTIONS, left)
    assert (await merger.score(PROJECT, "v", item("same"), OPTIONS, stayed)).score_id != first.score_id


@pytest.mark.usefixtures("hasty")
async def test_kept_answers_go_after_a_while_and_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MAX_KEPT", 2)
    merger = Recorded().merger
    results = [await merger.score(PROJECT, "v", item("x" * n), OPTIONS, left) for n in range(3)]
    assert (await merger.score(PROJECT, "v", item(""), OPTIONS)).score_id != results[0].score_id
    assert (await merger.score(PROJECT, "v", item("x"), OPTIONS)).score_id == results[1].score_id
    monkeypatch.setattr(merging, "KEPT_S", -1.0)
    late = await merger.score(PROJECT, "v", item("x"), OPTIONS, left)
    assert (await merger.score(PROJECT, "v", item("x"), OPTIONS)).score_id != late.score_id


@pytest.mark.parametrize("kind", ["code", "judge", "composite", "remote"])
async def test_items_that_may_take_long_each_go_alone(kind: str) -> None:
    load_kinds()
    engine = Recorded(kind=kind)
    merger = engine.merger
    await merger.score(PROJECT, "v", item("first"), OPTIONS)
    await asyncio.gather(*(merger.score(PROJECT, "v", item("x" * n), OPTIONS) for n in range(4)))
    assert [len(batch) for batch in engine.batches] == [1] * 5


async def test_none_joins_another_until_it_is_known_whether_they_may_take_long() -> None:
    engine = Recorded()
    engine.go.clear()
    merger = engine.merger
    asked = []
    async with asyncio.timeout(10):
        for text in ("a", "b", "c"):
            asked.append(asyncio.create_task(merger.score(PROJECT, "v", item(text), OPTIONS)))
            assert await engine.called.get() == 1
    engine.go.set()
    await asyncio.gather(*asked)


async def test_a_project_that_keeps_less_from_now_on_joins_no_batch_of_before() -> None:
    engine = Recorded()
    merger = engine.merger
    less = replace(PROJECT, keep="none")
    await asyncio.gather(*(merger.score(project, "v", item(project.keep), OPTIONS) for project in (PROJECT, less)))
    assert [[task.item.text for task in batch if task.item] for batch in engine.batches] == [["full"], ["none"]]
    assert engine.keeps == ["full", "none"]


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
    flight = merger.submit(PROJECT, "v", item("later"), OPTIONS)
    assert merger.submit(PROJECT, "v", item("later"), OPTIONS) is flight
    assert merger.under_way(flight.score_id)
    assert (await merger.score(PROJECT, "v", item("later"), OPTIONS)).score_id == flight.score_id
    assert not merger.under_way(flight.score_id)


@pytest.mark.parametrize(
    ("error", "why"),
    [(Problem("storage-unavailable", "no database"), "no database"), (KeyError(), "the service failed")],
)
async def test_why_what_was_submitted_failed_is_told(error: Exception, why: str) -> None:
    merger = Recorded(error).merger
    flight = merger.submit(PROJECT, "v", item("later"), OPTIONS)
    await asyncio.wait({flight.answer}, timeout=10)
    assert not merger.under_way(flight.score_id)
    assert merger.failure(flight.score_id) == why
