"""`composite`: weights, gates, formulas, and what becomes of a part that has no score."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from tests.verifiers.support import InProcessGuard, Parts, configured, score
from verifiers.base import (
    ConfigError,
    Context,
    ErrorType,
    Item,
    Outcome,
    Verdict,
    Verifier,
    load_kinds,
)

LAYOUT = {"kind": "format", "config": {"sections": ["think", "answer"]}}
MATH = {"kind": "math", "config": {}}
PARTS = {"layout": {"verifier": LAYOUT, "weight": 0.25}, "answer": {"verifier": MATH, "weight": 0.75}}
GATED = {**PARTS, "layout": {"verifier": LAYOUT, "weight": 0.25, "gate": 1}}
GOOD = "<think>6*7</think><answer>\\boxed{42}</answer>"
WRONG = "<think>6*7</think><answer>\\boxed{41}</answer>"


class Fixed:
    """A verifier that gives every item the same verdict."""

    sandboxed = False

    def __init__(self, verdict: Verdict, *, sandboxed: bool = False) -> None:
        self.verdict = verdict
        self.sandboxed = sandboxed

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        return [self.verdict] * len(items)


BROKEN = Verdict.unscored(ErrorType.SANDBOX_FAULT, "it broke", retryable=True)


async def made_of(
    config: dict[str, Any], items: Sequence[Item], **named: Fixed
) -> tuple[list[Verdict], list[tuple[Any, int]]]:
    """The verdicts of a composite whose parts are named, and what was asked of them."""
    ctx = Context(time.monotonic() + 60, InProcessGuard())
    verifiers: dict[str, Any] = {f"{name}@1": fixed for name, fixed in named.items()}
    parts = Parts(ctx, verifiers)
    verdicts = await configured("composite", config).verify(items, replace(ctx, score=parts))
    return verdicts, parts.asked


def scored(value: float, outcome: Outcome = Outcome.SCORED) -> Fixed:
    return Fixed(Verdict(outcome, value, {"stage": "fixed"}))


ITEM = Item(completion="x")


@pytest.mark.parametrize(
    ("completion", "parts", "value", "outcome"),
    [
        (GOOD, PARTS, 1.0, "correct"),
        (WRONG, PARTS, 0.25, "partial"),
        ("The answer is 42.", PARTS, 0.75, "partial"),
        ("The answer is 41.", PARTS, 0.0, "incorrect"),
        ("", PARTS, 0.0, "incorrect"),
        (GOOD, GATED, 1.0, "correct"),
        ("The answer is 42.", GATED, 0.0, "incorrect"),
    ],
)
async def test_weights_and_gates(completion: str, parts: dict[str, Any], value: float, outcome: str) -> None:
    verdict = await score("composite", {"parts": parts}, completion=completion, reference="42")
    assert (verdict.score, verdict.outcome) == (value, outcome)
    assert verdict.components.keys() == {"layout", "layout:scored", "answer", "answer:scored"}


async def test_weights_are_what_was_written() -> None:
    config = {
        "parts": {
            "a": {"verifier": "a@1"},
            "b": {"verifier": "b@1", "weight": -3},
            "c": {"verifier": "c@1", "weight": 0},
        }
    }
    [verdict], _ = await made_of(config, [ITEM], a=scored(2.0), b=scored(0.5), c=scored(9.0))
    assert (verdict.score, verdict.outcome) == (0.5, "scored")
    assert verdict.detail == {"stage": "weights", "parts": {"a": "scored", "b": "scored", "c": "scored"}}


async def test_a_closed_gate_skips_what_costs_more() -> None:
    config = {
        "parts": {
            "a_run": {"verifier": "run@1", "gate": 0.5},
            "b_layout": {"verifier": LAYOUT, "gate": 1},
            "rest": {"verifier": "rest@1"},
        },
        "closed": -1.0,
    }
    items = [Item(completion=GOOD), Item(completion="no tags"), Item(completion=WRONG)]
    verdicts, asked = await made_of(config, items, run=Fixed(scored(1.0).verdict, sandboxed=True), rest=scored(0.5))
    assert [verdict.score for verdict in verdicts] == [2.5, -1.0, 2.5]
    assert [(verifier if isinstance(verifier, str) else verifier.kind, count) for verifier, count in asked] == [
        ("format", 3), ("run@1", 2), ("rest@1", 2),
    ]  # fmt: skip
    assert verdicts[1].detail == {"stage": "gate", "gate": "b_layout", "parts": {"b_layout": "incorrect"}}
    assert verdicts[1].components == {
        "a_run": 0.0, "a_run:scored": 0.0, "b_layout": 0.0, "b_layout:scored": 1.0, "rest": 0.0, "rest:scored": 0.0,
    }  # fmt: skip


async def test_nothing_is_asked_of_a_part_that_no_item_reaches() -> None:
    config = {"parts": {"gate": {"verifier": LAYOUT, "gate": 1}, "rest": {"verifier": "rest@1"}}}
    _, asked = await made_of(config, [ITEM, ITEM], rest=scored(1.0))
    assert len(asked) == 1


async def test_one_unscored_part_makes_the_whole_unscored() -> None:
    config = {"parts": {"a": {"verifier": "a@1"}, "b": {"verifier": "b@1"}}}
    [verdict], _ = await made_of(config, [ITEM], a=scored(1.0), b=Fixed(BROKEN))
    assert verdict.score is None
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.message, verdict.error.retryable) == (
        ErrorType.SANDBOX_FAULT, "part b: it broke", True,
    )  # fmt: skip


async def test_an_unscored_gate_is_neither_open_nor_closed() -> None:
    config = {"parts": {"a": {"verifier": "a@1", "gate": 0.5}, "b": {"verifier": "b@1"}}}
    [verdict], asked = await made_of(config, [ITEM], a=Fixed(BROKEN), b=scored(1.0))
    assert verdict.outcome is Outcome.UNSCORED
    assert [name for name, _ in asked] == ["a@1"]


@pytest.mark.parametrize(("fallback", "value"), [(0.0, 1.0), (0.5, 1.5), (1, 2.0)])
async def test_a_fallback_stands_in_and_is_told(fallback: float, value: float) -> None:
    config = {"parts": {"a": {"verifier": "a@1"}, "b": {"verifier": "b@1", "fallback": fallback}}}
    [verdict], _ = await made_of(config, [ITEM], a=scored(1.0), b=Fixed(BROKEN))
    assert verdict.score == value
    assert verdict.components == {"a": 1.0, "a:scored": 1.0, "b": fallback, "b:scored": 0.0}
    assert verdict.detail["parts"] == {"a": "scored", "b": "unscored"}
    assert verdict.transient


async def test_a_formula_of_parts() -> None:
    config = {
        "parts": {"answer": {"verifier": "a@1"}, "repeats": {"verifier": "r@1"}},
        "formula": "clip(answer - 0.2 * repeats, 0, 1)",
    }
    [verdict], _ = await made_of(config, [ITEM], a=scored(1.0, Outcome.CORRECT), r=scored(2.0))
    assert verdict.score == pytest.approx(0.6)
    assert verdict.detail["stage"] == "formula"


@pytest.mark.parametrize("formula", ["a / b", "a / (b * 1e9)", "1e300 * 1e300 * a"])
async def test_a_formula_without_a_value_is_nobodys_zero(formula: str) -> None:
    config = {"parts": {"a": {"verifier": "a@1"}, "b": {"verifier": "b@1"}}, "formula": formula}
    [verdict], _ = await made_of(config, [ITEM], a=scored(1.0), b=scored(0.0))
    assert verdict.score is None
    assert verdict.error is not None
    assert verdict.error.message == "the formula has no value at a = 1, b = 0"


async def test_each_part_may_have_a_field_of_the_reference() -> None:
    config = {"parts": {"answer": {"verifier": MATH, "reference": "value"}, "layout": {"verifier": LAYOUT}}}
    verdict = await score("composite", config, completion=GOOD, reference={"value": "42", "other": 1})
    assert verdict.score == 2.0


@pytest.mark.parametrize("reference", [None, "42", ["42"], {}, {"Value": "42"}, 42])
async def test_a_reference_without_the_field_is_a_bad_item(reference: Any) -> None:
    config = {"parts": {"answer": {"verifier": MATH, "reference": "value"}}}
    verdict = await score("composite", config, completion=GOOD, reference=reference)
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert verdict.error.message == "part answer: reference: must be an object with the field 'value'"


async def test_one_bad_reference_leaves_the_others_alone() -> None:
    config = {"parts": {"answer": {"verifier": MATH, "reference": "value"}}}
    ctx = Context(time.monotonic() + 60, InProcessGuard())
    items = [Item(completion=GOOD, reference=reference) for reference in ({"value": "42"}, None, {"value": "41"})]
    verdicts = await configured("composite", config).verify(items, replace(ctx, score=Parts(ctx)))
    assert [verdict.score for verdict in verdicts] == [1.0, None, 0.0]


A = {"verifier": "a@1"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "Field required"),
        ({"parts": {}}, "at least 1 item"),
        ({"parts": []}, "valid dictionary"),
        ({"parts": {"a": {}}}, "Field required"),
        ({"parts": {"a": "math@1"}}, "valid dictionary"),
        ({"parts": {"a b": A}}, "match pattern"),
        ({"parts": {"": A}}, "match pattern"),
        ({"parts": {"a": {**A, "weight": "1"}}}, "valid number"),
        ({"parts": {"a": {**A, "weight": float("nan")}}}, "finite number"),
        ({"parts": {"a": {**A, "weight": 1e7}}}, "less than or equal to 1000000"),
        ({"parts": {"a": {**A, "gate": True}}}, "valid number"),
        ({"parts": {"a": {**A, "cost": 1}}}, "Extra inputs"),
        ({"parts": {"a": {"verifier": {"kind": "math", "name": "x"}}}}, "Extra inputs"),
        ({"parts": {f"p{i}": A for i in range(17)}}, "at most 16 items"),
        ({"parts": {"a": A}, "formula": 1}, "valid string"),
    ],
)
def test_a_malformed_configuration_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        load_kinds()["composite"].Config.model_validate(config)


@pytest.mark.parametrize(
    ("config", "pointer", "message"),
    [
        ({"parts": {"a": A}, "formula": "b"}, "/formula", "/formula: no part is named 'b'; there are a"),
        (
            {"parts": {"a": {**A, "weight": 1}}, "formula": "a"},
            "/parts/a/weight",
            "a formula stands instead of weights; give one or the other",
        ),
        (
            {"parts": {"min": A}, "formula": "min"},
            "/parts/min",
            "'min' is a function of formulas; name the part otherwise",
        ),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(config: dict[str, Any], pointer: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured("composite", config)
    assert (caught.value.pointer, str(caught.value)) == (pointer, message)


def test_it_names_what_it_needs() -> None:
    config = load_kinds()["composite"].Config.model_validate({"parts": PARTS | {"c": A}})
    needs: Any = config.needs()  # type: ignore[attr-defined]
    assert set(needs.verifiers) == {"/parts/layout/verifier", "/parts/answer/verifier", "/parts/c/verifier"}


async def test_without_an_engine_it_raises() -> None:
    verifier: Verifier = configured("composite", {"parts": PARTS})
    with pytest.raises(RuntimeError, match="needs an engine"):
        await verifier.verify([ITEM], Context(time.monotonic() + 1, InProcessGuard()))
