from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from tests.verifiers.support import NoGuard
from verifiers import base
from verifiers.base import (
    BadItemError,
    Context,
    ErrorType,
    GuardFault,
    GuardResult,
    Item,
    KindConfig,
    Message,
    Outcome,
    Verdict,
    clip,
    guard_fault,
    load_kinds,
    parse_reference,
    register,
    verify_each,
)


def context(seconds: float = 60) -> Context:
    return Context(time.monotonic() + seconds, NoGuard())


def test_text_of_a_string() -> None:
    assert Item(completion="\x00\ud800").text == "\x00\ud800"


def test_text_of_messages_is_the_last_assistants() -> None:
    messages = [
        Message(role="assistant", content="first"),
        Message(role="assistant", content=[{"type": "text", "text": "sec"}, {"type": "text", "text": "ond"}]),
        Message(role="tool", content="result"),
    ]
    assert Item(completion=messages).text == "second"


def test_messages_without_an_assistants_are_refused() -> None:
    with pytest.raises(ValidationError, match="role is 'assistant'"):
        Item(completion=[Message(role="user", content="mine")])


def test_text_passes_over_parts_that_are_not_text() -> None:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {}}, {"type": "text", "text": 5}]
    assert Item(completion=[Message(role="assistant", content=parts)]).text == ""


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (None, ""),
        ("2 + 2?", "2 + 2?"),
        ([Message(role="system", content="a"), Message(role="user", content="b")], "b"),
        ([Message(role="assistant", content=None)], ""),
        ([], ""),
    ],
)
def test_prompt_text(prompt: Any, text: str) -> None:
    assert Item(prompt=prompt, completion="4").prompt_text == text


def test_binary_verdicts() -> None:
    assert Verdict.binary(True, "exact", at=3) == Verdict(Outcome.CORRECT, 1.0, {"stage": "exact", "at": 3})
    assert Verdict.binary(False, "exact") == Verdict(Outcome.INCORRECT, 0.0, {"stage": "exact"})


def test_bad_item_is_unscored_and_not_retryable() -> None:
    verdict = Verdict.bad_item("reference: send one")
    assert (verdict.outcome, verdict.score, verdict.transient) == (Outcome.UNSCORED, None, True)
    assert verdict.error == base.VerdictError(ErrorType.BAD_ITEM, "reference: send one", False)


@pytest.mark.parametrize(
    ("fault", "outcome", "score", "error", "retryable"),
    [
        (GuardFault.CPU, Outcome.TIMEOUT, 0.0, None, None),
        (GuardFault.MEMORY, Outcome.MEMORY_EXCEEDED, 0.0, None, None),
        (GuardFault.CRASHED, Outcome.CRASHED, 0.0, None, None),
        (GuardFault.WALL, Outcome.UNSCORED, None, ErrorType.WORKER_TIMEOUT, True),
        (GuardFault.DEADLINE, Outcome.UNSCORED, None, ErrorType.DEADLINE_EXCEEDED, True),
        (GuardFault.UNAVAILABLE, Outcome.UNSCORED, None, ErrorType.WORKER_LOST, True),
        (GuardFault.RAISED, Outcome.UNSCORED, None, ErrorType.VERIFIER_FAULT, False),
    ],
)
def test_guard_faults(
    fault: GuardFault, outcome: Outcome, score: float | None, error: ErrorType | None, retryable: bool | None
) -> None:
    verdict = guard_fault(GuardResult(fault=fault))
    assert (verdict.outcome, verdict.score) == (outcome, score)
    if error is None:
        assert verdict.error is None
    else:
        assert verdict.error is not None
        assert (verdict.error.type, verdict.error.retryable) == (error, retryable)


@pytest.mark.parametrize(
    ("text", "limit", "cut"), [("", 3, ""), ("abc", 3, "abc"), ("abcd", 3, "ab…"), ("\ud800" * 4, 2, "\ud800…")]
)
def test_clip(text: str, limit: int, cut: str) -> None:
    assert clip(text, limit) == cut


def test_parse_reference_names_the_field_and_not_the_value() -> None:
    class Reference(BaseModel):
        answer: Annotated[str, Field(max_length=3)]

    with pytest.raises(BadItemError, match=r"^reference/answer: ") as raised:
        parse_reference(TypeAdapter(Reference), {"answer": "secret"})
    assert "secret" not in str(raised.value)


def test_parse_reference_reports_a_union_as_one_place() -> None:
    with pytest.raises(BadItemError, match=r"^reference: Input should be a valid string, or a valid list$"):
        parse_reference(TypeAdapter(str | list[str]), 5)


def test_configurations_refuse_unknown_fields_and_infinity() -> None:
    class Config(KindConfig):
        weight: float = 1.0

    with pytest.raises(ValidationError, match="Extra inputs"):
        Config.model_validate({"wieght": 1})
    with pytest.raises(ValidationError, match="finite"):
        Config(weight=float("inf"))


async def test_verify_each_keeps_order_and_isolates_bad_items() -> None:
    def verify_one(item: Item) -> Verdict:
        if item.text == "bad":
            raise BadItemError("reference: no")
        return Verdict.binary(item.text == "yes", "test")

    items = [Item(completion=text) for text in ("yes", "bad", "no")]
    verdicts = await verify_each(items, context(), verify_one)
    assert [v.outcome for v in verdicts] == [Outcome.CORRECT, Outcome.UNSCORED, Outcome.INCORRECT]
    assert verdicts[1].error is not None
    assert verdicts[1].error.type is ErrorType.BAD_ITEM


async def test_verify_each_past_the_deadline() -> None:
    def verify_one(item: Item) -> Verdict:
        raise AssertionError("there is no time left")

    [verdict] = await verify_each([Item(completion="a")], context(-1), verify_one)
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.DEADLINE_EXCEEDED


async def test_verify_each_gives_way() -> None:
    others: list[str] = []

    async def other() -> None:
        others.append("ran")

    def verify_one(item: Item) -> Verdict:
        if item.text == "slow":
            time.sleep(0.005)
        return Verdict.binary(bool(others), "test")

    task = asyncio.create_task(other())
    verdicts = await verify_each([Item(completion="slow"), Item(completion="after")], context(), verify_one)
    await task
    assert [v.score for v in verdicts] == [0.0, 1.0]


def test_two_kinds_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "KINDS", {})

    class Taken:
        kind: ClassVar[str] = "taken"

    cls: Any = Taken
    register(cls)
    with pytest.raises(ValueError, match="two kinds are named 'taken'"):
        register(cls)


def test_load_kinds_finds_the_kinds_of_the_design() -> None:
    assert {"text", "regex", "json_schema", "format", "length", "repetition"} <= load_kinds().keys()
