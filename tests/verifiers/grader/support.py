"""Graders in short."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from tests.verifiers.judge.scripted import Scripted
from tests.verifiers.support import InProcessGuard, Parts, assert_sound, configured
from verifiers.base import Context, Item, Verdict

SAMPLE = "{{sample.output_text}}"
ANSWER = "{{item.answer}}"


def check(operation: str = "eq", text: str = SAMPLE, reference: str = ANSWER) -> dict[str, Any]:
    return {"type": "string_check", "name": "check", "operation": operation, "input": text, "reference": reference}


def alike(metric: str, text: str = SAMPLE, reference: str = ANSWER, **more: Any) -> dict[str, Any]:
    return {"type": "text_similarity", "evaluation_metric": metric, "input": text, "reference": reference, **more}


def multi(formula: str, **graders: dict[str, Any]) -> dict[str, Any]:
    return {"type": "multi", "name": "all", "graders": graders, "calculate_output": formula}


def context(backends: Scripted | None = None, seconds: float = 60) -> Context:
    ctx = Context(time.monotonic() + seconds, InProcessGuard(), backends=backends)
    return replace(ctx, score=Parts(ctx))


async def graded(
    grader: dict[str, Any],
    *completions: Any,
    reference: Any = None,
    backends: Scripted | None = None,
    seconds: float = 60,
) -> list[Verdict]:
    """The grader's verdicts on completions of one item."""
    items = [Item(completion=completion, reference=reference) for completion in completions]
    verdicts = await configured("grader", {"grader": grader}).verify(items, context(backends, seconds))
    assert len(verdicts) == len(items)
    for verdict in verdicts:
        assert_sound(verdict)
    return verdicts


async def grade(grader: dict[str, Any], completion: Any, reference: Any = None, **more: Any) -> Verdict:
    [verdict] = await graded(grader, completion, reference=reference, **more)
    return verdict
