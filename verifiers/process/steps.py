"""Items in steps: what each completion is taken apart into before its steps are scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from verifiers.base import BadItemError, Context, GivingWay, GuardLimits, Item, Verdict, guard_fault, parse_reference
from verifiers.process.config import GivenSteps, ProcessConfig, StepBackend
from verifiers.process.pieces import with_content
from verifiers.process.splitting import Span, located, spans
from verifiers.thinking import section

LONG = 20_000
"""Characters of a text that is split on the event loop; a longer one is split in a guarded worker."""
LONG_FOR_PATTERN = 2_000
"""Likewise under `split: pattern`: every match may be sought up to the end, so time grows with the square."""
LIMITS = GuardLimits()

_GIVEN: TypeAdapter[Any] = TypeAdapter(GivenSteps)


@dataclass(frozen=True, slots=True)
class InSteps:
    """An item in steps."""

    item: Item
    start: int
    """Where the part begins that is looked at."""
    steps: tuple[Span, ...]
    """Characters of the completion's text."""
    reference: Any
    """What a verifier compares with."""

    def texts(self) -> list[str]:
        """The steps."""
        return [self.item.text[start:end] for start, end in self.steps]


async def in_steps(items: Sequence[Item], config: ProcessConfig, ctx: Context) -> Mapping[int, InSteps | Verdict]:
    """Each item in steps, or the verdict that it has without them, by its place.

    Those that the deadline left no time for are missing.
    """
    found: dict[int, InSteps | Verdict] = {}
    long: list[int] = []
    turn = GivingWay()
    for place, item in enumerate(items):
        if await turn.over() > ctx.deadline:
            return found
        text = section(item, config.section)
        if text is None:
            found[place] = InSteps(item, 0, (), item.reference)
        elif config.split == "given":
            found[place] = _given(item, text)
        elif len(text) > (LONG_FOR_PATTERN if config.split == "pattern" else LONG):
            long.append(place)
        else:
            found[place] = _by_rule(item, text, spans(_payload(text, config)), config)
    texts = [section(items[place], config.section) or "" for place in long]
    results = await ctx.guard.run(
        "verifiers.process.splitting:spans",
        [_payload(text, config) for text in texts],
        limits=LIMITS,
        deadline=ctx.deadline,
    )
    for place, text, result in zip(long, texts, results, strict=True):
        if result.fault is None:
            found[place] = _by_rule(items[place], text, result.value, config)
        else:
            verdict = guard_fault(result)
            found[place] = verdict if verdict.score is None else replace(verdict, score=config.empty)
    return found


def _payload(text: str, config: ProcessConfig) -> dict[str, Any]:
    return {"text": text, "split": config.split, "pattern": config.pattern, "most": config.max_steps}


def _by_rule(item: Item, text: str, found: Iterable[Sequence[int]], config: ProcessConfig) -> InSteps:
    start = len(item.text) - len(text)
    steps = [(start + first, start + behind) for first, behind in found]
    if not isinstance(config.scorer, StepBackend):
        steps = with_content(item.text, steps)
    return InSteps(item, start, tuple(steps), item.reference)


def _given(item: Item, text: str) -> InSteps | Verdict:
    start = len(item.text) - len(text)
    try:
        given: GivenSteps = parse_reference(_GIVEN, item.reference)
        if not given.steps and text.strip():
            raise BadItemError("reference/steps: there is none; give the steps of the completion, which is not empty")
        return InSteps(item, start, tuple(located(item.text, given.steps, start)), given.reference)
    except BadItemError as error:
        return Verdict.bad_item(str(error))
