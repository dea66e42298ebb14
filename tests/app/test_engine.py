"""The one scoring path: whatever a kind does, every item gets one sound verdict, in order, in time."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, ClassVar, cast
from uuid import UUID

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from app import engine as module
from app import merging, rows
from app.cache import VerdictCache
from app.engine import DuplicateError, Engine
from app.errors import Problem
from app.logs import configure
from app.merging import Merger
from app.recorder import Recorder
from app.registry import Registry, Resolved, unknown_verifier
from app.results import Result, ScoredBatch
from app.rows import item_json
from app.settings import Settings
from app.store import projects
from app.store.database import Database
from app.store.ids import uuid7
from app.store.projects import Keep, Project
from app.store.writer import Batch, IdempotencyRow
from app.tasks import Inline, Options, Reference, Slot, Task
from tests.app.fake_sandbox import FakePool
from tests.app.store.rows import fetch, refuse_unlucky
from verifiers.base import (
    BadItemError,
    Context,
    ErrorType,
    Guard,
    Item,
    KindConfig,
    Message,
    Outcome,
    Pending,
    Step,
    Verdict,
    past_deadline,
    verify_each,
)

ONE = Project(uuid7(), "one", "full", None, datetime.now(UTC))
TWO = Project(uuid7(), "two", "full", None, datetime.now(UTC))

Verify = Callable[[Sequence[Item], Context], Awaitable[list[Verdict]]]


def spoken(item: Item) -> Verdict:
    """The verdict that an item's completion asks for."""
    text = item.text
    if text == "raise":
        raise ZeroDivisionError
    if text == "bad":
        raise BadItemError("reference: no")
    return Verdict(Outcome.SCORED, float(len(text)), {"stage": "length", "text": text})


class Kind:
    """A throw-away kind: counts what it is asked, and does what `verify` was told."""

    kind: ClassVar[str] = "throwaway"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Any] = "memory"
    Config: ClassVar[Any] = KindConfig
    reference: ClassVar[Any] = TypeAdapter(Any)
    examples: ClassVar[Any] = ()
    guarded: ClassVar[Any] = ()
    sandboxed: ClassVar[bool] = False

    def __init__(self, verify: Verify | None = None) -> None:
        self.seen: Counter[str] = Counter()
        """How often each completion was verified."""
        self.batches: list[int] = []
        self._verify = verify

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        self.seen.update(item.text for item in items)
        self.batches.append(len(items))
        if self._verify is not None:
            return await self._verify(items, ctx)
        return await verify_each(items, ctx, spoken)


def always(*verdicts: Any) -> Verify:
    async def verify(items: Sequence[Item], ctx: Context) -> list[Verdict]:
        return list(verdicts)

    return verify


def each(give: Callable[[Item], Any]) -> Verify:
    async def verify(items: Sequence[Item], ctx: Context) -> list[Verdict]:
        return [give(item) for item in items]

    return verify


class Gate:
    """A kind that waits to be let through, or for its deadline."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        self.entered.set()
        try:
            async with asyncio.timeout(ctx.deadline - time.monotonic()):
                await self.open.wait()
        except TimeoutError:
            return [past_deadline()] * len(items)
        return [spoken(item) for item in items]


class Ledger:
    """Records batches in memory."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.refuse: list[int] = []
        self.duplicate = False
        self.fault: Exception | None = None

    async def record(self, batch: Batch) -> None:
        if self.fault is not None:
            raise self.fault
        self.batches.append(batch)
        batch.refused = self.refuse
        batch.duplicate = self.duplicate


class Bench:
    """An engine with a registry and a recorder of the tests' own."""

    def __init__(self, recorder: Any = None) -> None:
        self.ledger = Ledger()
        self.cache = VerdictCache(4)
        self.resolved: dict[str, Resolved] = {}
        methods = SimpleNamespace(resolve=self._resolve, by_id=self._by_id, inline=self._inline)
        self.registry = cast(Registry, methods)
        self.engine = Engine(self.registry, cast(Recorder, recorder or self.ledger), cast(Guard, None), self.cache)

    def add(self, verify: Verify | None = None, name: str = "v", *, caches: bool = True, revision: int = 1) -> Kind:
        kind = Kind(verify)
        self.resolved[name] = Resolved(uuid7(), f"{name}@1", "throwaway", revision, kind, caches)
        return kind

    async def _resolve(self, project_id: UUID, name: str) -> Resolved:
        if name not in self.resolved:
            raise unknown_verifier(name)
        return self.resolved[name]

    async def _by_id(self, project_id: UUID, id: UUID) -> Resolved:
        return next(resolved for resolved in self.resolved.values() if resolved.version_id == id)

    async def _inline(self, project_id: UUID, kind: str, config: Any) -> Resolved:
        if kind == "away":
            raise Problem("storage-unavailable", "away")
        if kind not in self.resolved:
            raise Problem("invalid-config", f"no kind {kind}")
        return self.resolved[kind]

    async def score(
        self,
        *texts: str,
        project: Project = ONE,
        verifier: Reference | None = "v",
        idempotency: IdempotencyRow | None = None,
        **options: Any,
    ) -> ScoredBatch:
        tasks = [task(text) for text in texts]
        return await self.engine.score(project, verifier, tasks, Options(**options), idempotency=idempotency)

    async def verify(self, *texts: str, project: Project = ONE, **options: Any) -> list[Slot]:
        slots = await self.engine.verify(project, "v", [task(text) for text in texts], Options(**options))
        self.nothing_left()
        return slots

    def nothing_left(self) -> None:
        assert self.engine._in_flight == {}


def task(text: str, **fields: Any) -> Task:
    return Task(Item(completion=text, **fields))


def verdict(slot: Slot) -> Verdict:
    assert slot.verdict is not None
    return slot.verdict


def error(slot: Slot | Result) -> ErrorType | None:
    """Why it is unscored; None for a score."""
    if isinstance(slot, Result):
        assert (slot.score is None) == (slot.outcome is Outcome.UNSCORED) == (slot.error is not None)
        return slot.error
    found = verdict(slot)
    assert (found.score is None) == (found.outcome is Outcome.UNSCORED) == (found.error is not None)
    return None if found.error is None else found.error.type


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- order, length, ids


async def test_results_have_the_order_length_and_ids_of_the_items(bench: Bench) -> None:
    bench.add(name="v")
    bench.add(name="w", caches=False)
    bench.add(each(lambda item: Verdict.binary(True, "inline")), name="kind")
    tasks = [
        task("aa", id="first"),
        Task(None, fault="/completion: missing", item_id="broken"),
        task("bb", id="second"),
        Task(Item(completion="ccc", id="other"), "w"),
        Task(Item(completion="x", id="inline"), Inline("kind", {})),
        Task(Item(completion="x", id="lost"), "nowhere"),
        Task(Item(completion="x", id="bad config"), Inline("nothing", {})),
        task("raise", id="raises"),
        task("bad", id="bad"),
        task("aa", id="again"),
        Task(None),
        Task(Item(completion="dddd", id="by id"), bench.resolved["w"].version_id),
    ]
    batch = await bench.engine.score(ONE, "v", tasks, Options())
    assert [result.item_id for result in batch.results] == [
        "first", "broken", "second", "other", "inline", "lost", "bad config", "raises", "bad", "again", None, "by id",
    ]  # fmt: skip
    assert [result.score for result in batch.results] == [2, None, 2, 3, 1, None, None, None, None, 2, None, 4]
    assert [result.verifier for result in batch.results] == [
        "v@1", "v@1", "v@1", "w@1", "kind@1", None, None, "v@1", "v@1", "v@1", "v@1", "w@1",
    ]  # fmt: skip
    bad, faulty = ErrorType.BAD_ITEM, ErrorType.VERIFIER_FAULT
    assert [error(result) for result in batch.results] == [
        None, bad, None, None, None, bad, bad, faulty, bad, None, bad, None,
    ]  # fmt: skip
    assert "/completion: missing" in batch.results[1].body
    assert "nowhere" in batch.results[5].body
    assert batch.unscored == [1, 5, 6, 7, 8, 10]
    bench.nothing_left()


async def test_ids_of_scores_ascend_and_the_rows_are_the_answers(bench: Bench) -> None:
    bench.add()
    batch = await bench.score("a", "raise", "bbb", run="r", step=7)
    ids = [result.score_id for result in batch.results]
    assert ids == sorted(set(ids))
    [recorded] = bench.ledger.batches
    version = bench.resolved["v"].version_id
    for row, result in zip(recorded.scores, batch.results, strict=True):
        assert row[:7] == (ONE.id, result.score_id, batch.batch_id, version, 1, "r", 7)
        assert row[9:11] == (result.outcome, result.score)
        assert json.loads(b"{" + row[11] + b"}") == json.loads("{" + result.body + "}")
        assert row[12:] == (result.ms, result.cached)


async def test_a_batch_without_a_verifier_is_each_items_own_fault(bench: Bench) -> None:
    bench.add()
    tasks = [task("a"), Task(Item(completion="b"), "v")]
    batch = await bench.engine.score(ONE, None, tasks, Options())
    assert [error(result) for result in batch.results] == [ErrorType.BAD_ITEM, None]


async def test_a_verifier_that_the_request_names_must_exist(bench: Bench) -> None:
    for verifier, status in (("nowhere", 404), (Inline("nothing", {}), 422), (Inline("away", {}), 503)):
        with pytest.raises(Problem) as caught:
            await bench.score("a", verifier=cast(Reference, verifier))
        assert caught.value.status == status
    assert bench.ledger.batches == []


async def test_a_database_that_is_away_is_no_items_fault(bench: Bench) -> None:
    bench.add()
    with pytest.raises(Problem) as caught:
        await bench.engine.score(ONE, "v", [task("a"), Task(Item(completion="b"), Inline("away", {}))], Options())
    assert caught.value.status == 503
    assert bench.ledger.batches == []


texts = st.text("abcd", min_size=1, max_size=4) | st.sampled_from(["raise", "bad"])


@given(st.lists(texts, min_size=1, max_size=12), st.randoms(), st.booleans())
@settings(max_examples=60, deadline=None)
async def test_permuting_a_batch_permutes_its_results(items: list[str], random: Any, cache: bool) -> None:
    order = list(range(len(items)))
    random.shuffle(order)
    plain, shuffled = Bench(), Bench()
    plain.add()
    shuffled.add()
    results = (await plain.score(*items, cache=cache)).results
    permuted = (await shuffled.score(*(items[position] for position in order), cache=cache)).results
    for place, position in enumerate(order):
        assert _shown(permuted[place]) == _shown(results[position])


def _shown(result: Result) -> tuple[Any, ...]:
    return result.outcome, result.score, result.error, result.body


@given(st.lists(texts, min_size=1, max_size=8), st.lists(texts, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
async def test_duplicates_get_equal_verdicts_wherever_they_are(one: list[str], other: list[str]) -> None:
    bench = Bench()
    bench.add()
    batches = [
        *await asyncio.gather(bench.score(*one), bench.score(*other), bench.score(*one, cache=False)),
        await bench.score(*other, *one),
    ]
    shown: dict[str, set[tuple[Any, ...]]] = {}
    for texts_, batch in zip((one, other, one, other + one), batches, strict=True):
        for text, result in zip(texts_, batch.results, strict=True):
            shown.setdefault(text, set()).add(_shown(result))
    assert all(len(seen) == 1 for seen in shown.values())
    bench.nothing_left()


# --- kinds that break their contract


async def test_a_kind_that_raises_on_one_item_costs_only_that_item(bench: Bench) -> None:
    def give(item: Item) -> Verdict:
        if item.text == "raise":
            raise RuntimeError("secret " + item.text)
        return spoken(item)

    bench.add(each(give))
    for cache in (True, False):
        slots = await bench.verify("a", "raise", "bb", "raise", cache=cache)
        fault = ErrorType.VERIFIER_FAULT
        assert [error(slot) for slot in slots] == [None, fault, None, fault]
        assert [verdict(slot).score for slot in slots] == [1, None, 2, None]
        message = verdict(slots[1]).error
        assert message is not None
        assert "RuntimeError" in message.message
        assert "secret" not in message.message


async def test_a_kind_that_raises_on_every_item_does_not_flood_the_log(bench: Bench, logged: list[Any]) -> None:
    bench.add()
    await bench.verify(*["raise"] * 100, cache=False)
    assert 1 <= len(logged) <= 10


@pytest.mark.parametrize("as_json", [True, False])
async def test_a_kind_that_raises_logs_nothing_that_a_caller_wrote(
    bench: Bench, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def give(item: Item) -> Verdict:
        return Verdict(Outcome.SCORED, float(item.text))  # says in its error what could not be converted

    bench.add(each(give))
    before = structlog.get_config()
    configure(Settings(log_json=as_json))
    try:
        await bench.verify("confidential")
    finally:
        structlog.configure(**before)
    written = "".join(capsys.readouterr())
    assert "ValueError" in written
    assert "confidential" not in written


@pytest.mark.parametrize("count", [0, 1, 3, 100])
async def test_a_wrong_number_of_verdicts_is_nobodys_verdict(bench: Bench, count: int) -> None:
    bench.add(always(*[Verdict.binary(True, "x")] * count))
    slots = await bench.verify("a", "bb")
    assert [error(slot) for slot in slots] == [ErrorType.VERIFIER_FAULT] * 2
    assert len(bench.cache) == 0


GOOD = Verdict.binary(True, "x")
ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
UNSOUND: dict[str, Any] = {
    "nan": replace(GOOD, score=math.nan),
    "inf": replace(GOOD, score=math.inf),
    "-inf": replace(GOOD, score=-math.inf),
    "score with unscored": replace(past_deadline(), score=0.0),
    "score with pending": Verdict(Outcome.PENDING, 1.0, pending=Pending(60.0, None)),
    "pending without what settles it": Verdict(Outcome.PENDING, None),
    "pending with a score": Verdict(Outcome.CORRECT, 1.0, pending=Pending(60.0, None)),
    "pending with an infinite default": Verdict(Outcome.PENDING, None, pending=Pending(60.0, float("inf"))),
    "unscored without an error": Verdict(Outcome.UNSCORED, None),
    "no score": Verdict(Outcome.CORRECT, None),
    "error with a score": replace(GOOD, error=past_deadline().error),
    "no outcome": Verdict(cast(Outcome, "splendid"), 1.0),
    "nan component": replace(GOOD, components={"a": 1.0, "b": math.nan}),
    "component no number": replace(GOOD, components={"a": cast(float, "1")}),
    "infinite step": replace(GOOD, steps=(Step(math.inf, 0, 1),)),
    "score no number": replace(GOOD, score=cast(float, "1.0")),
    "score complex": replace(GOOD, score=cast(float, 1j)),
    "score huge": replace(GOOD, score=10**400),
    "nan detail": replace(GOOD, detail={"stage": "x", "a": [{"b": math.nan}]}),
    "inf detail": replace(GOOD, detail={"a": math.inf}),
    "detail no json": replace(GOOD, detail={"a": {1, 2}}),
    "detail bytes": replace(GOOD, detail={"a": b"x"}),
    "detail keys": replace(GOOD, detail={cast(str, (1, 2)): 1}),
    "endless detail": replace(GOOD, detail={"a": ENDLESS}),
    "none": None,
    "a number": 1.0,
    "a tuple": (Outcome.CORRECT, 1.0),
}


@pytest.mark.parametrize("detail", ["none", "brief", "full"])
@pytest.mark.parametrize("name", UNSOUND)
async def test_an_unsound_verdict_is_a_verifier_fault_of_its_item_only(name: str, detail: Any) -> None:
    unsound = UNSOUND[name]
    for project in (ONE, replace(ONE, keep="hash"), replace(ONE, keep="none")):
        bench = Bench()
        bench.add(each(lambda item: unsound if item.text == "bad" else spoken(item)))
        batch = await bench.score("a", "bad", "bb", project=project, detail=detail)
        json.loads(batch.encoded())
        shown = "detail" not in name or detail != "none"  # what is not shown may be anything, if it is not stored
        if shown or batch.results[1].score is None:
            assert [error(result) for result in batch.results] == [None, ErrorType.VERIFIER_FAULT, None]
        assert [result.score for result in batch.results][::2] == [1, 2]
        for row in bench.ledger.batches[0].scores:
            json.loads(b"{" + row[11] + b"}")


async def test_an_unsound_verdict_is_never_reused(bench: Bench) -> None:
    kind = bench.add(each(lambda item: replace(GOOD, detail={"a": math.nan})))
    for _ in range(2):
        [result] = (await bench.score("a")).results
        assert (error(result), result.cached) == (ErrorType.VERIFIER_FAULT, False)
    assert kind.seen["a"] == 2
    assert len(bench.cache) == 0


async def test_what_full_detail_shows_makes_no_other_verdict(bench: Bench) -> None:
    """The same version and item get the same score, whatever was asked to be shown of it."""
    bench.add(each(lambda item: replace(GOOD, full={"a": math.nan})), caches=False)
    outcomes = {(await bench.score("a", detail=detail)).results[0].outcome for detail in ("none", "brief", "full")}
    assert len(outcomes) == 1


async def test_odd_texts_pass_unharmed(bench: Bench) -> None:
    bench.add(each(lambda item: Verdict(Outcome.SCORED, 0.0, {"text": item.text})))
    odd = ["\x00", "\ud800", "\U0001f600", '"\\', "\u2028"]
    batch = await bench.score(*odd)
    assert [json.loads("{" + result.body + "}")["detail"]["text"] for result in batch.results] == odd
    [recorded] = bench.ledger.batches
    stored = [item for _, _, _, item in recorded.completions.values()]
    assert [json.loads(item or b"")["completion"] for item in stored] == odd


# --- deadlines


async def test_a_kind_that_ignores_its_deadline_is_answered_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.05)
    go_on = asyncio.Event()

    async def stubborn(items: Sequence[Item], ctx: Context) -> list[Verdict]:
        await go_on.wait()
        return [spoken(item) for item in items]

    kind = bench.add(stubborn)
    bench.add(name="quick")
    tasks = [task("slow"), Task(Item(completion="quick"), "quick")]
    async with asyncio.timeout(20):
        batch = await bench.engine.score(ONE, "v", tasks, Options(deadline_s=0.05))
    assert [error(result) for result in batch.results] == [ErrorType.DEADLINE_EXCEEDED, None]
    assert len(bench.cache) == 1
    bench.nothing_left()
    go_on.set()
    [result] = (await bench.score("slow")).results
    assert (result.score, kind.seen["slow"]) == (4, 2)


async def test_a_late_kind_is_left_to_finish_and_then_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.0)
    finished = asyncio.Event()
    go_on = asyncio.Event()

    async def late(items: Sequence[Item], ctx: Context) -> list[Verdict]:
        await go_on.wait()
        finished.set()
        return [spoken(item) for item in items]

    bench.add(late)
    await bench.verify("a", deadline_s=0.02)
    assert len(bench.engine._late) == 1
    go_on.set()
    await asyncio.wait_for(finished.wait(), 5)
    await asyncio.sleep(0)
    assert not bench.engine._late


async def test_a_kind_is_told_the_deadline(bench: Bench) -> None:
    told: list[float] = []

    async def listen(items: Sequence[Item], ctx: Context) -> list[Verdict]:
        told.append(ctx.deadline)
        return [spoken(item) for item in items]

    bench.add(listen)
    before = time.monotonic()
    await bench.verify("a", deadline_s=7.5)
    assert before + 7.5 <= told[0] <= time.monotonic() + 7.5


async def test_items_are_not_tried_alone_after_the_deadline(bench: Bench) -> None:
    async def slow_to_raise(items: Sequence[Item], ctx: Context) -> list[Verdict]:
        await asyncio.sleep(max(0.0, ctx.deadline - time.monotonic()))
        raise RuntimeError

    kind = bench.add(slow_to_raise)
    slots = await bench.verify("a", "b", "c", deadline_s=0.05)
    assert kind.batches == [3]
    assert {error(slot) for slot in slots} == {ErrorType.DEADLINE_EXCEEDED}


# --- reuse


async def test_a_verdict_is_reused(bench: Bench) -> None:
    kind = bench.add()
    [first] = await bench.verify("aaa")
    [second] = await bench.verify("aaa")
    assert (first.cached, second.cached) == (False, True)
    assert verdict(first) == verdict(second)
    assert kind.seen["aaa"] == 1


@pytest.mark.parametrize(
    ("usage", "again"),
    [
        ({"calls": 2, "cost": 0.5}, {"calls": 0, "cost": 0}),
        ({"a": {"calls": 2}, "b": {"prompt_tokens": 9}}, {"a": {"calls": 0}, "b": {"prompt_tokens": 0}}),
        ({"words": 9}, {"words": 9}),
        ({"a": {"calls": 2}, "words": 9}, {"a": {"calls": 2}, "words": 9}),
        ({}, {}),
        (9, 9),
    ],
)
async def test_a_reused_verdict_took_nothing_of_a_backend(bench: Bench, usage: Any, again: Any) -> None:
    bench.add(always(Verdict(Outcome.SCORED, 0.5, {"usage": usage})))
    [first] = await bench.verify("a")
    [second] = await bench.verify("a")
    assert (verdict(first).detail["usage"], verdict(second).detail["usage"]) == (usage, again)


async def test_a_verdict_is_computed_anew_where_asked(bench: Bench) -> None:
    kind = bench.add()
    for _ in range(2):
        slots = await bench.verify("aaa", "aaa", cache=False)
        assert [slot.cached for slot in slots] == [False, False]
    assert kind.seen["aaa"] == 4
    assert len(bench.cache) == 0


async def test_a_kind_that_costs_less_than_looking_up_is_not_cached(bench: Bench) -> None:
    kind = bench.add(caches=False)
    for _ in range(2):
        assert [slot.cached for slot in await bench.verify("a")] == [False]
    assert kind.seen["a"] == 2
    assert len(bench.cache) == 0


@pytest.mark.parametrize(
    "moment",
    [
        Verdict(Outcome.TIMEOUT, 0.0, transient=True),
        Verdict(Outcome.PENDING, None, pending=Pending(60.0, None)),
        past_deadline(),
        Verdict.bad_item("reference: no"),
        Verdict.unscored(ErrorType.WORKER_LOST, "x", retryable=True),
    ],
    ids=lambda moment: str(moment.outcome),
)
async def test_what_depends_on_the_moment_is_not_reused(bench: Bench, moment: Verdict) -> None:
    kind = bench.add(always(moment))
    for _ in range(2):
        [slot] = await bench.verify("a")
        assert (slot.verdict, slot.cached) == (moment, False)
    assert kind.seen["a"] == 2


VARIANTS: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "p"},
    "empty prompt": {"prompt": ""},
    "prompt as messages": {"prompt": [Message(role="user", content="p")]},
    "prompt of another role": {"prompt": [Message(role="system", content="p")]},
    "completion": {"completion": "b"},
    "completion as messages": {"completion": [Message(role="assistant", content="a")]},
    "completion with more": {"completion": [Message.model_validate({"role": "assistant", "content": "a", "x": 1})]},
    "completion as parts": {"completion": [Message(role="assistant", content=[{"type": "text", "text": "a"}])]},
    "reference": {"reference": "1"},
    "reference number": {"reference": 1},
    "reference float": {"reference": 1.0},
    "reference truth": {"reference": True},
    "reference list": {"reference": ["1"]},
    "reference empty": {"reference": ""},
    "tokens": {"tokens": 3},
    "no tokens": {"tokens": 0},
    "finish reason": {"finish_reason": "length"},
    "metadata": {"metadata": {"a": 1}},
    "metadata nested": {"metadata": {"a": {"b": None}}},
    "surrogate": {"completion": "\ud800"},
    "other surrogate": {"completion": "\udc00"},
    "nul": {"completion": "a\x00"},
}


async def test_every_field_that_can_decide_a_verdict_tells_items_apart(bench: Bench) -> None:
    kind = bench.add(each(lambda item: GOOD))
    tasks = [Task(Item.model_validate({"completion": "a", **fields})) for fields in ({}, *VARIANTS.values())]
    for _ in range(2):
        slots = await bench.engine.verify(ONE, "v", tasks, Options())
    assert all(slot.cached for slot in slots)
    assert sum(kind.batches) == len(tasks)
    assert len(bench.cache) == len(tasks)


async def test_what_decides_no_verdict_tells_no_items_apart(bench: Bench) -> None:
    kind = bench.add()
    tasks = [task("a"), task("a", id="x"), task("a", group="g"), task("a", id="y", group="h")]
    slots = await bench.engine.verify(ONE, "v", tasks, Options())
    assert [slot.cached for slot in slots] == [False, True, True, True]
    assert kind.seen["a"] == 1


async def test_verdicts_are_not_shared_across_projects_versions_or_revisions(bench: Bench) -> None:
    kind = bench.add()
    await bench.verify("a")
    assert [slot.cached for slot in await bench.verify("a", project=TWO)] == [False]
    original = bench.resolved["v"]
    for other in (replace(original, version_id=uuid7()), replace(original, revision=2)):
        bench.resolved["v"] = other
        assert [slot.cached for slot in await bench.verify("a")] == [False]
    bench.resolved["v"] = original
    assert [slot.cached for slot in await bench.verify("a")] == [True]
    assert kind.seen["a"] == 4


async def test_projects_do_not_share_what_is_in_flight_either(bench: Bench) -> None:
    gate = Gate()
    kind = bench.add(gate)
    both = [asyncio.create_task(bench.score("a", project=project)) for project in (ONE, TWO)]
    await gate.entered.wait()
    await asyncio.sleep(0)
    gate.open.set()
    assert [(await one).results[0].cached for one in both] == [False, False]
    assert kind.seen["a"] == 2


# --- merging duplicates


async def test_duplicates_within_a_batch_are_verified_once(bench: Bench) -> None:
    kind = bench.add()
    slots = await bench.verify("a", "bb", "a", "a", "bb")
    assert kind.seen == {"a": 1, "bb": 1}
    assert [verdict(slot).score for slot in slots] == [1, 2, 1, 1, 2]
    assert [slot.cached for slot in slots] == [False, False, True, True, True]


@pytest.mark.parametrize("text", ["bad", "raise"])
async def test_duplicates_that_cannot_be_scored_are_verified_once_too(bench: Bench, text: str) -> None:
    """A group whose reference is broken sends it with each of its completions."""
    kind = bench.add()
    slots = await bench.verify(*[text] * 50)
    assert len({error(slot) for slot in slots} - {None}) == 1
    assert kind.seen[text] <= 2


async def test_duplicates_across_requests_are_verified_once(bench: Bench) -> None:
    gate = Gate()
    kind = bench.add(gate)
    first = asyncio.create_task(bench.score("a", "bb"))
    await gate.entered.wait()
    others = [asyncio.create_task(bench.score("bb", "a")) for _ in range(20)]
    await asyncio.sleep(0)
    gate.open.set()
    results = [(await one).results for one in (first, *others)]
    assert kind.seen == {"a": 1, "bb": 1}
    assert [result.score for result in results[0]] == [1, 2]
    assert all([result.score for result in result_] == [2, 1] for result_ in results[1:])
    assert all(result.cached for result_ in results[1:] for result in result_)
    bench.nothing_left()


async def test_a_short_deadline_spoils_nobody_who_has_a_long_one(bench: Bench) -> None:
    gate = Gate()
    kind = bench.add(gate)
    leader = asyncio.create_task(bench.score("a", deadline_s=0.1))
    await gate.entered.wait()
    followers = [asyncio.create_task(bench.score("a")) for _ in range(10)]
    [failed] = (await leader).results
    assert error(failed) is ErrorType.DEADLINE_EXCEEDED
    gate.open.set()
    for follower in followers:
        assert (await follower).results[0].score == 1
    assert kind.seen["a"] <= 3, "those who were left verify together, not each for itself"
    bench.nothing_left()


async def test_many_short_deadlines_spoil_nobody_who_has_a_long_one(bench: Bench) -> None:
    async def slow(items: Sequence[Item], ctx: Context) -> list[Verdict]:
        await asyncio.sleep(min(0.3, ctx.deadline - time.monotonic()))
        return [spoken(item) if time.monotonic() < ctx.deadline else past_deadline() for item in items]

    bench.add(slow)
    hasty = [asyncio.create_task(bench.score("a", deadline_s=0.02 * 2**count)) for count in range(4)]
    [result] = (await bench.score("a", deadline_s=30)).results
    assert result.score == 1
    await asyncio.gather(*hasty)
    bench.nothing_left()


async def test_a_leader_that_raises_or_lacks_a_worker_spoils_nobody(bench: Bench) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def at_first(items: Sequence[Item], ctx: Context) -> list[Verdict]:
        if not entered.is_set():
            entered.set()
            await go_on.wait()
            return [Verdict.unscored(ErrorType.WORKER_LOST, "x", retryable=True)]
        return [spoken(item) for item in items]

    bench.add(at_first)
    leader = asyncio.create_task(bench.score("a"))
    await entered.wait()
    follower = asyncio.create_task(bench.score("a"))
    await asyncio.sleep(0)
    go_on.set()
    assert error((await leader).results[0]) is ErrorType.WORKER_LOST
    assert (await follower).results[0].score == 1


async def test_a_follower_waits_no_longer_than_its_own_deadline(bench: Bench) -> None:
    gate = Gate()
    bench.add(gate)
    leader = asyncio.create_task(bench.score("a"))
    await gate.entered.wait()
    async with asyncio.timeout(20):
        follower = await bench.score("a", deadline_s=0.05)
    assert error(follower.results[0]) is ErrorType.DEADLINE_EXCEEDED
    gate.open.set()
    assert (await leader).results[0].score == 1


async def test_an_item_is_not_held_up_by_the_large_batch_that_has_it_too(bench: Bench) -> None:
    """One item of a batch that takes long, sent by itself with less time: it would take a moment."""
    gate = Gate()

    async def slow_in_company(items: Sequence[Item], ctx: Context) -> list[Verdict]:
        return await gate(items, ctx) if len(items) > 1 else [spoken(item) for item in items]

    bench.add(slow_in_company)
    large = asyncio.create_task(bench.score("a", "hard", "harder"))
    await gate.entered.wait()
    [result] = (await bench.score("a", deadline_s=0.5)).results
    gate.open.set()
    await large
    assert error(result) is None


async def test_a_leader_whose_caller_leaves_spoils_nobody(bench: Bench) -> None:
    gate = Gate()
    bench.add(gate)
    leader = asyncio.create_task(bench.score("a"))
    await gate.entered.wait()
    follower = asyncio.create_task(bench.score("a"))
    await asyncio.sleep(0)
    leader.cancel()
    await asyncio.gather(leader, return_exceptions=True)
    gate.open.set()
    assert (await follower).results[0].score == 1
    bench.nothing_left()


async def test_nothing_stays_in_flight_after_a_fault_of_ours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add()

    async def broken(*_: Any) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(bench.engine, "_call", broken)
        with pytest.raises(AssertionError):
            await bench.score("a", "b", "a")
    bench.nothing_left()
    assert [result.score for result in (await bench.score("a", "b")).results] == [1, 1]


async def test_an_item_that_is_no_json_leaves_nothing_in_flight(bench: Bench) -> None:
    bench.add()
    with pytest.raises(ValueError, match="JSON"):
        await bench.engine.score(ONE, "v", [task("a"), task("b", reference=math.nan)], Options())
    bench.nothing_left()


# --- kinds that are not available, trials


async def test_an_unavailable_kind_is_named_and_others_serve(bench: Bench) -> None:
    kind = bench.add()
    bench.add(name="w")
    bench.resolved["w"] = replace(bench.resolved["w"], kind="sound")
    bench.engine.unavailable = {"throwaway": "known item 0 scored None"}
    tasks = [task("a"), Task(Item(completion="b"), "w")]
    first = await bench.engine.score(ONE, "v", tasks, Options())
    assert [error(result) for result in first.results] == [ErrorType.KIND_UNAVAILABLE, None]
    assert "known item 0" in first.results[0].body
    assert kind.batches == []
    bench.engine.unavailable = {}
    assert [result.score for result in (await bench.score("a")).results] == [1]


class RunsCode(Kind):
    """A kind that needs a sandbox, and says whether it was lent one."""

    sandboxed: ClassVar[bool] = True

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        self.batches.append(len(items))
        return [Verdict.binary(ctx.sandbox is not None, "sandbox")] * len(items)


async def test_without_a_sandbox_code_is_unscored_and_others_serve(bench: Bench) -> None:
    pool = FakePool(unavailable="no engine answers; start Docker")
    bench.engine = Engine(bench.registry, cast(Recorder, bench.ledger), cast(Guard, None), bench.cache, pool)
    bench.add(name="w")
    kind = RunsCode()
    bench.resolved["v"] = Resolved(uuid7(), "v@1", "throwaway", 1, kind, True)
    bench.engine.unavailable = {"throwaway": "no engine answers; start Docker"}
    first = await bench.engine.score(ONE, "v", [task("a"), Task(Item(completion="bb"), "w")], Options())
    assert [error(result) for result in first.results] == [ErrorType.SANDBOX_UNAVAILABLE, ErrorType.KIND_UNAVAILABLE]
    said = json.loads("{" + first.results[0].body + "}")["error"]
    assert (said["message"], said["retryable"]) == ("no engine answers; start Docker", True)
    [trial] = await bench.engine.trial(ONE, "throwaway", kind, [Item(completion="a")])
    assert trial.error is not None
    assert trial.error.type is ErrorType.SANDBOX_UNAVAILABLE
    assert kind.batches == []
    pool.unavailable = ""  # it is there again, and the kind has not proved itself yet
    assert [error(result) for result in (await bench.score("a")).results] == [ErrorType.KIND_UNAVAILABLE]
    bench.engine.unavailable = {}
    assert [result.score for result in (await bench.score("a")).results] == [1]


async def test_an_engine_without_a_sandbox_says_so(bench: Bench) -> None:
    kind = RunsCode()
    bench.resolved["v"] = Resolved(uuid7(), "v@1", "throwaway", 1, kind, True)
    assert [error(result) for result in (await bench.score("a")).results] == [ErrorType.SANDBOX_UNAVAILABLE]
    assert kind.batches == []


async def test_a_trial_verifies_and_records_nothing(bench: Bench) -> None:
    kind = Kind()
    items = [Item(completion=text) for text in ("aa", "raise", "aa", "bad")]
    verdicts = await bench.engine.trial(ONE, "throwaway", kind, items)
    assert [one.score for one in verdicts] == [2, None, 2, None]
    assert bench.ledger.batches == []
    assert len(bench.cache) == 0
    bench.engine.unavailable = {"throwaway": "x"}
    for one in await bench.engine.trial(ONE, "throwaway", kind, items):
        assert one.error is not None
        assert one.error.type is ErrorType.KIND_UNAVAILABLE


# --- recording


@pytest.mark.parametrize(("keep", "items", "hashes"), [("full", 2, 2), ("hash", 0, 2), ("none", 0, 0)])
async def test_what_is_kept_is_what_the_project_allows(bench: Bench, keep: Keep, items: int, hashes: int) -> None:
    bench.add(each(lambda item: replace(GOOD, detail={"stage": "s", "text": item.text}, full={"all": item.text})))
    project = replace(ONE, keep=keep)
    for detail in ("none", "brief", "full"):
        batch = await bench.score("secret", "hidden", project=project, detail=detail)
        recorded = bench.ledger.batches[-1]
        kept = list(recorded.completions.values())
        assert len(kept) == hashes
        assert sum(item is not None for _, _, _, item in kept) == items
        stored = b"".join(row[11] for row in recorded.scores)
        assert (b"secret" in stored) == (keep == "full")
        assert b'"stage":"s"' in stored
        assert ("secret" in batch.results[0].body) == (detail != "none")


async def test_a_merged_item_is_written_out_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def counted(item: Item) -> bytes:
        written.append(item)
        return item_json(item)

    monkeypatch.setattr(module, "item_json", counted)
    monkeypatch.setattr(merging, "item_json", counted)
    monkeypatch.setattr(rows, "item_json", counted)
    bench.add()
    item = Item(prompt="p\ud800", completion="abc", metadata={"a": 1})
    await Merger(bench.engine).score(ONE, "v", item, Options())
    assert written == [item]
    [recorded] = bench.ledger.batches
    [(_, _, _, kept)] = recorded.completions.values()
    assert kept is not None
    assert Item.model_validate(json.loads(kept)) == item
    again = await bench.engine.score(ONE, "v", [Task(item)], Options())
    assert [result.cached for result in again.results] == [True]


async def test_a_refused_verdict_is_not_given(bench: Bench) -> None:
    bench.add()
    bench.ledger.refuse = [1]
    batch = await bench.score("a", "bb", "ccc")
    assert [error(result) for result in batch.results] == [None, ErrorType.NOT_RECORDED, None]
    assert [result.score for result in batch.results] == [1, None, 3]
    [recorded] = bench.ledger.batches
    substitute = recorded.substitutes[1]
    assert substitute[:7] == recorded.scores[1][:7]
    assert substitute[7:11] == (None, None, "unscored", None)
    assert b"not_recorded" in substitute[11]
    assert len(recorded.substitutes) == 3


async def test_a_duplicate_of_an_idempotency_key_gives_no_answer_of_its_own(bench: Bench) -> None:
    bench.add()
    bench.ledger.duplicate = True
    claim = IdempotencyRow(ONE.id, "k", b"sha")
    with pytest.raises(DuplicateError):
        await bench.score("a", idempotency=claim)
    assert bench.ledger.batches[0].idempotency is claim


async def test_what_is_not_recorded_is_not_answered(bench: Bench) -> None:
    bench.add()
    bench.ledger.fault = Problem("storage-unavailable", "away")
    with pytest.raises(Problem) as caught:
        await bench.score("a")
    assert caught.value.status == 503
    bench.nothing_left()


async def test_answers_and_rows_agree_in_the_database(database: Database) -> None:
    await refuse_unlucky(database)
    async with database.begin() as connection:
        project = await projects.ensure(connection, "one")
    recorder = Recorder(database)
    recorder.start()
    bench = Bench(recorder)
    bench.add()
    batches = await asyncio.gather(*(bench.score("\x00", "x" * 13, "raise", project=project) for _ in range(5)))
    for batch in batches:
        expected = [None, ErrorType.NOT_RECORDED, ErrorType.VERIFIER_FAULT]
        assert [error(result) for result in batch.results] == expected
        rows = await fetch(
            database, "SELECT id, outcome, score FROM scores WHERE batch_id = :id ORDER BY id", id=batch.batch_id
        )
        assert rows == [(result.score_id, result.outcome, result.score) for result in batch.results]
    await recorder.close()
