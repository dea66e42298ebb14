"""The kind `math`: whether the final answer of a completion is mathematically the reference.

Stages, each deciding what it can: `extract` finds the answer, `string` compares normal forms, `rational` exact
numbers, `form` structures, all on the event loop in microseconds; `numeric` and `cas` evaluate what is left in
guarded workers; `cost_guard` refuses what would take too long before anything is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import (
    BadItemError,
    Context,
    Example,
    GivingWay,
    GuardFault,
    GuardLimits,
    GuardResult,
    Item,
    KindConfig,
    Outcome,
    Verdict,
    clip,
    guard_fault,
    register,
    verify_each,
)
from verifiers.math.compare import Comparison, Policy, Question
from verifiers.math.extract import Found, Span, find_answers, find_box, find_whole
from verifiers.math.gold import REFERENCE, Gold, as_declared, choice, gold_of, literal, read_as
from verifiers.math.reading import MAX_CHARS, Group, Reading, Scalar, Text, Union, Value, read_among_words
from verifiers.thinking import final_section

LIMITS = GuardLimits(cpu_s=2.0, wall_s=20.0, memory_mb=512)
"""Of one answer in a guarded worker."""
GOLD_LIMITS = GuardLimits(cpu_s=1.0, wall_s=20.0, memory_mb=512)
"""Of a reference alone, evaluated where an answer broke its limits."""
_CANDIDATES_FAULTS = (GuardFault.CPU, GuardFault.MEMORY, GuardFault.CRASHED)
MAX_QUESTIONS = 256
"""Pairs of scalars that one answer may leave to the workers."""


class MathConfig(KindConfig):
    """How answers are found and compared."""

    answer: Literal["final", "boxed", "whole"] = Field(
        "final",
        description="Where the answer is sought after any thinking part: `final` takes boxes, else claims such as "
        "`The answer is 42`, else the last line where only one value is in it; `boxed` takes boxes only; `whole` "
        "takes everything as the answer.",
    )
    several: Literal["reject", "last"] = Field(
        "reject",
        description="What becomes of a completion that gives several answers: `reject` accepts it only if every one "
        "of them is right, or together they are the items of a reference that is a list; `last` looks at the last.",
    )
    tolerance: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Largest accepted difference of two numbers, relative to the reference. 0 compares exactly.",
    )
    percent: Literal["sign", "value"] = Field(
        "sign",
        description="What `9%` stands for: with `sign` the number 9 (and never 0.09), with `value` the number 0.09.",
    )
    units: Literal["match", "ignore"] = Field(
        "match",
        description="With `match`, an answer in another unit than the reference's is wrong, and a unit that only one "
        "of them states is no difference; `ignore` never compares units.",
    )


@dataclass(slots=True)
class _Attempt:
    """One item whose answer has been found: everything needed to judge it, now or with the workers' help."""

    gold: Gold
    spans: Sequence[Span]
    loose: bool
    """Whether the answer was taken from a last line that did not say that it is one."""
    policy: Policy
    offset: int
    readings: list[Reading] = field(default_factory=list)
    values: list[Value | None] = field(default_factory=list)

    def judge(self, known: dict[Question, bool]) -> Verdict | list[Question]:
        """The verdict, or the questions that it hangs on."""
        if len(self.spans) > 1 and sum(len(span.text) for span in self.spans) > MAX_CHARS:
            return self._verdict(Outcome.REJECTED, "extract", "several different answers")
        if len(self.spans) == 1 and (verdict := self._at_a_glance()):
            return verdict
        if not self.readings:
            self._read()
        if all(self._is_gold(i) for i in range(len(self.spans))):
            return self._verdict(Outcome.CORRECT, "string")
        for index, reading in enumerate(self.readings):
            if reading.value is None and not self._is_gold(index):
                return self._verdict(Outcome.REJECTED, "cost_guard", reading.costly)
        if self.gold.value is None:
            raise BadItemError(f"reference: {self.gold.reading.costly}; only the same text would be equal to it")
        return self._compare(self.gold.value, known)

    def _at_a_glance(self) -> Verdict | None:
        """The verdict where both are the same text, decimal numbers or choices."""
        text, gold = self.spans[-1].text, self.gold
        if text == gold.text:
            return self._verdict(Outcome.CORRECT, "string")
        if gold.literal is not None and (number := literal(text)) is not None:
            if number == gold.literal:
                return self._verdict(Outcome.CORRECT, "rational")
            if not self.policy.tolerance:
                return self._verdict(Outcome.INCORRECT, "rational")
        if gold.letter is not None and ((letter := choice(text)) is not None or gold.type == "choice"):
            return self._verdict(Outcome.CORRECT if letter == gold.letter else Outcome.INCORRECT, "string")
        return None

    def _read(self) -> None:
        for span in self.spans:
            reading = read_as(span.text, self.gold.type)
            value = reading.value
            if isinstance(value, Text) and value != self.gold.value:
                inner = read_among_words(span.text)
                if inner is not None and isinstance(inner, Text) == isinstance(self.gold.value, Text):
                    value = inner
            self.readings.append(reading)
            self.values.append(value)
        last = self.values[-1]
        if len(self.spans) > 1 and not _is_prose(last):  # words after "the answer is" need not be an answer
            kept = [i for i, value in enumerate(self.values) if not _is_prose(value)]
            self.spans = [self.spans[i] for i in kept]
            self.readings = [self.readings[i] for i in kept]
            self.values = [self.values[i] for i in kept]

    def _is_gold(self, index: int) -> bool:
        return self.readings[index].normal == self.gold.reading.normal or (
            self.gold.letter is not None and choice(self.spans[index].text) == self.gold.letter
        )

    def _compare(self, gold: Value, known: dict[Question, bool]) -> Verdict | list[Question]:
        comparison = Comparison(self.policy, known)
        results: list[bool | None] = []
        for index, value in enumerate(self.values):
            shaped = as_declared(value, self.gold.type)
            if self._is_gold(index):
                results.append(True)
            elif shaped is not None and _only_sympy_reads(gold, shaped):
                results.append(comparison.ask("cas", self.gold.reading.normal, self.readings[index].normal))
            else:
                results.append(shaped is not None and comparison.equal(gold, shaped))
        equal = False if False in results else None if None in results else True
        if equal is not True and len(results) > 1 and isinstance(gold, Group) and gold.opener in ("", "\\{"):
            joined = comparison.equal(gold, Group(gold.opener, _flat(self.values), gold.closer))
            equal = joined if equal is False or joined is True else None
        if equal is None:
            if len(comparison.open) > MAX_QUESTIONS:
                return self._verdict(Outcome.REJECTED, "cost_guard", "too many pairs of expressions to compare")
            return list(dict.fromkeys(comparison.open))
        stage = _stage(comparison, known, equal=equal)
        if equal:
            return self._verdict(Outcome.CORRECT, stage)
        if len(results) > 1:
            return self._verdict(Outcome.REJECTED, "extract", "several different answers")
        if self.loose and _is_prose(self.values[-1]):
            return self._verdict(Outcome.UNPARSEABLE, "extract", "the last line is not one value")
        refused = comparison.note in ("a list of guesses", "not evaluated")
        return self._verdict(Outcome.REJECTED if refused else Outcome.INCORRECT, stage, comparison.note)

    def _verdict(self, outcome: Outcome, stage: str, reason: str = "") -> Verdict:
        span = self.spans[-1]
        detail = {"stage": stage, "answer": clip(span.text), "gold": clip(self.gold.reading.normal)}
        if reason:
            detail["reason"] = reason
        normal = self.readings[-1].normal if self.readings else span.text
        full = {
            "span": [span.start + self.offset, span.end + self.offset],
            "answer_normal": clip(normal, 1000),
            "gold_normal": clip(self.gold.reading.normal, 1000),
        }
        return Verdict(outcome, 1.0 if outcome is Outcome.CORRECT else 0.0, detail, full)


@register
class Math:
    """Compares the final answer of a completion with a reference: numbers, expressions, sets, intervals, ..."""

    kind: ClassVar[str] = "math"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = MathConfig
    reference: ClassVar[TypeAdapter[Any]] = REFERENCE
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="6 * 7 is \\boxed{42}.", reference="42"), 1.0),
        Example(Item(completion="The answer is 0.5.", reference="\\frac{1}{2}"), 1.0),
        Example(Item(completion="So it is \\boxed{\\frac{1}{\\sqrt{2}}}.", reference="\\frac{\\sqrt{2}}{2}"), 1.0),
        Example(Item(completion="\\boxed{\\frac{1}{3}}", reference="\\int_0^1 x^2\\,dx"), 1.0),
        Example(Item(completion="\\boxed{\\sqrt{2}}", reference="\\sqrt{3}"), 0.0),
        Example(Item(completion="It is \\boxed{41} or \\boxed{42}.", reference="42"), 0.0),
    )
    guarded: ClassVar[Sequence[str]] = ("verifiers.math.cas",)
    sandboxed: ClassVar[bool] = False

    def __init__(self, config: MathConfig) -> None:
        self._find = {"final": find_answers, "boxed": find_box, "whole": find_whole}[config.answer]
        self._last_only = config.several == "last"
        self._policy = Policy(
            Fraction(str(config.tolerance)), config.percent == "value", match_units=config.units == "match"
        )

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item; answers that need evaluation go to the guarded workers in one call."""
        waiting: list[tuple[_Attempt, list[Question]]] = []
        placeholders: dict[int, int] = {}

        def begin(item: Item) -> Verdict:
            result = self._begin(item)
            if isinstance(result, Verdict):
                return result
            placeholder = Verdict(Outcome.PENDING, None)
            placeholders[id(placeholder)] = len(waiting)
            waiting.append(result)
            return placeholder

        verdicts = await verify_each(items, ctx, begin)
        if not waiting:
            return verdicts
        settled = await _evaluate(waiting, self._policy, ctx)
        return [settled[placeholders[id(v)]] if id(v) in placeholders else v for v in verdicts]

    def _begin(self, item: Item) -> Verdict | tuple[_Attempt, list[Question]]:
        gold = gold_of(item.reference)
        section = final_section(item)
        if section is None:
            return _unparseable("the thinking part never ends")
        found: Found = self._find(section)
        if not found.answers:
            return _unparseable(found.missing)
        distinct = list({span.text: span for span in found.answers}.values())
        distinct.sort(key=lambda span: span.start)
        attempt = _Attempt(
            gold,
            distinct[-1:] if self._last_only else distinct,
            found.form == "line",
            self._policy,
            len(item.text) - len(section),
        )
        result = attempt.judge({})
        return result if isinstance(result, Verdict) else (attempt, result)


async def _evaluate(
    waiting: Sequence[tuple[_Attempt, list[Question]]], policy: Policy, ctx: Context
) -> list[Verdict]:
    """Ask the workers, once for each distinct set of questions; equal references are neighbours."""
    batches = sorted({tuple(questions) for _, questions in waiting})
    results = dict(zip(batches, await _ask(batches, policy, LIMITS, ctx), strict=True))
    broken = [batch for batch in batches if results[batch].fault in _CANDIDATES_FAULTS]
    if broken:  # a reference that cannot be evaluated by itself is no fault of the candidate's
        alone = [tuple(q._replace(answer=q.gold) for q in batch) for batch in broken]
        for batch, result in zip(broken, await _ask(alone, policy, GOLD_LIMITS, ctx), strict=True):
            if result.fault in _CANDIDATES_FAULTS:
                results[batch] = GuardResult(["bad_gold"])
            elif result.fault is not None:
                results[batch] = result
    turn = GivingWay()
    verdicts = []
    for attempt, questions in waiting:
        await turn.over()
        verdicts.append(_settle(attempt, questions, results[tuple(questions)]))
    return verdicts


async def _ask(
    batches: Sequence[tuple[Question, ...]], policy: Policy, limits: GuardLimits, ctx: Context
) -> list[GuardResult]:
    payloads = [{"questions": batch, "tolerance": str(policy.tolerance)} for batch in batches]
    return await ctx.guard.run("verifiers.math.cas:compare", payloads, limits=limits, deadline=ctx.deadline)


def _settle(attempt: _Attempt, questions: Sequence[Question], result: GuardResult) -> Verdict:
    if result.fault is not None:
        return guard_fault(result)
    if "bad_gold" in result.value:
        return Verdict.bad_item(
            "reference: it has no value, cannot be read, or takes too long to evaluate; check its LaTeX"
        )
    verdict = attempt.judge({q: answer == "equal" for q, answer in zip(questions, result.value, strict=True)})
    if not isinstance(verdict, Verdict):
        raise RuntimeError("a comparison is still open after all its questions were answered")
    return verdict


def _stage(comparison: Comparison, known: dict[Question, bool], *, equal: bool) -> str:
    if known:
        return "cas" if any(question.relation == "cas" for question in known) else "numeric"
    if comparison.rational:
        return "rational"
    return "string" if equal else "form"


def _only_sympy_reads(gold: Value, answer: Value) -> bool:
    """Whether one is a whole outside our grammar and the other has a structure, such as two ways to write a set."""
    pair = (gold, answer)
    unread = any(isinstance(value, Scalar) and value.tree is None for value in pair)
    return unread and any(isinstance(value, Group | Union) for value in pair)


def _is_prose(value: Value | None) -> bool:
    if isinstance(value, Group):
        return any(_is_prose(item) for item in value.items)
    return isinstance(value, Text)


def _flat(values: Sequence[Value | None]) -> tuple[Value, ...]:
    items: list[Value] = []
    for value in values:
        if isinstance(value, Group) and value.opener in ("", "\\{"):
            items += value.items
        elif value is not None:
            items.append(value)
    return tuple(items)


def _unparseable(reason: str) -> Verdict:
    return Verdict(Outcome.UNPARSEABLE, 0.0, {"stage": "extract", "reason": reason})
