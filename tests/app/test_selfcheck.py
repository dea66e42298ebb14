"""Every kind proves itself on known items; one that cannot is named, and the others serve."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import pytest
from pydantic import TypeAdapter

from app import selfcheck
from app.selfcheck import check_kinds
from tests.app.fake_sandbox import FakePool
from verifiers.base import KINDS, Context, ErrorType, Example, Guard, Item, KindConfig, Outcome, Verdict, load_kinds

NO_GUARD = cast(Guard, None)


class Sound:
    """Says what the completion says."""

    class Config(KindConfig):
        factor: float = 1.0

    kind: ClassVar[str] = "sound"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Any] = "none"
    reference: ClassVar[Any] = TypeAdapter(Any)
    guarded: ClassVar[Any] = ()
    sandboxed: ClassVar[bool] = False
    examples: ClassVar[Any] = (
        Example(Item(completion="1"), 1.0),
        Example(Item(completion="0"), 0.0),
        Example(Item(completion="3"), 6.0, {"factor": 2}),
    )

    def __init__(self, config: Config) -> None:
        self.factor = config.factor

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        return [Verdict(Outcome.SCORED, self.factor * float(item.text)) for item in items]


class Generous(Sound):
    """Gives everything full marks."""

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        return [Verdict(Outcome.SCORED, 1.0)] * len(items)


class Unscored(Sound):
    """Has no worker."""

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        return [Verdict.unscored(ErrorType.WORKER_LOST, "no worker could be forked", retryable=True)] * len(items)


class Raising(Sound):
    """Lacks a library."""

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        raise ImportError("no module " + "x" * 1000)


class Silent(Sound):
    """Returns nothing."""

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        return []


class Unbuildable(Sound):
    """Cannot even be made."""

    def __init__(self, config: Any) -> None:
        raise OSError("no file")


class Hanging(Sound):
    """Ignores its deadline."""

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(KINDS):
        monkeypatch.delitem(KINDS, name)
    monkeypatch.setitem(KINDS, "sound", Sound)


def add(monkeypatch: pytest.MonkeyPatch, kind: type[Sound]) -> None:
    monkeypatch.setitem(KINDS, "other", kind)


async def test_sound_kinds_pass() -> None:
    assert await check_kinds(NO_GUARD) == {}


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Generous, "known item 1 scored 1.0 (scored) instead of 0.0"),
        (Unscored, "no worker could be forked"),
        (Raising, "ImportError: no module x"),
        (Silent, "ValueError"),
        (Unbuildable, "OSError: no file"),
    ],
)
async def test_a_kind_that_cannot_prove_itself_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: type[Sound], says: str
) -> None:
    add(monkeypatch, kind)
    failed = await check_kinds(NO_GUARD)
    assert list(failed) == ["other"]
    assert says in failed["other"]
    assert len(failed["other"]) < 300


async def test_a_kind_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "PROOF_S", 0.05)
    add(monkeypatch, Hanging)
    try:
        failed = await asyncio.wait_for(check_kinds(NO_GUARD), 2)
    except TimeoutError:
        pytest.fail("the start of the service waits for a kind that ignores its deadline")
    assert list(failed) == ["other"]


async def test_only_the_kinds_asked_for_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, Generous)
    assert await check_kinds(NO_GUARD, only=("sound",)) == {}
    assert list(await check_kinds(NO_GUARD, only=("other",))) == ["other"]
    assert await check_kinds(NO_GUARD, only=()) == {}


async def test_a_kind_that_works_again_is_no_longer_named(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, Generous)
    failed = await check_kinds(NO_GUARD)
    add(monkeypatch, Sound)
    assert await check_kinds(NO_GUARD, only=tuple(failed)) == {}


class NeedsSandbox(Sound):
    """Cannot do without a sandbox."""

    sandboxed: ClassVar[bool] = True

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        assert ctx.sandbox is not None
        return await super().verify(items, ctx)


async def test_a_kind_that_lacks_its_sandbox_is_named_with_the_sandboxs_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(monkeypatch, NeedsSandbox)
    assert await check_kinds(NO_GUARD, FakePool()) == {}
    assert await check_kinds(NO_GUARD, FakePool(unavailable="start Docker")) == {"other": "start Docker"}
    assert list(await check_kinds(NO_GUARD)) == ["other"]


def test_every_built_in_kind_knows_an_item_that_passes_and_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for kind, cls in load_kinds().items():
        needs_a_choice = any(field.is_required() for field in cls.Config.model_fields.values())
        scores = [example.score for example in cls.examples]
        assert len(set(scores)) > 1 or (needs_a_choice and not scores) or scores == [None] * len(scores) != [], kind
