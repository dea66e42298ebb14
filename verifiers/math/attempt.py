"""One item whose answer has been found: judged at once, or with the help of guarded workers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from verifiers.base import BadItemError, Outcome, Verdict, clip
from verifiers.math.compare import Comparison, Policy, Question
from verifiers.math.extract import Span
from verifiers.math.forms import Form, broken_rule
from verifiers.math.gold import Gold, as_declared, choice, literal, read_as
from verifiers.math.names import parameter
from verifiers.math.reading import MAX_CHARS, Reading, read_among_words
from verifiers.math.values import Group, Scalar, Text, Union, Value

MAX_WARNINGS = 5
_LETTER = r"(?<![A-Za-z\\]){}(?![A-Za-z])"
_LOOSE = "the answer stood in a last line that does not say it is one"
MAX_QUESTIONS = 256
"""Pairs of scalars that one answer may leave to the workers."""
_REFUSED = ("a list of guesses", "not evaluated")
"""Reasons for which an answer is rejected, and not only incorrect."""
_SET_SIGNS = re.compile(r"\\(?:setminus|backslash|cap|cup|mathbb|reals|in)(?![A-Za-z])")


@dataclass(slots=True)
class Attempt:
    """One item whose answer has been found: everything needed to judge it, now or with the workers' help."""

    gold: Gold
    spans: Sequence[Span]
    loose: bool
    """Whether the answer was taken from a last line that did not say that it is one."""
    policy: Policy
    form: Form
    offset: int
    readings: list[Reading] = field(default_factory=list)
    values: list[Value | None] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

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
        if self.gold.value is None:
            raise BadItemError(f"reference: {self.gold.reading.costly}; only the same text would be equal to it")
        for index, reading in enumerate(self.readings):
            if reading.value is None and not self._is_gold(index):
                return self._verdict(Outcome.REJECTED, "cost_guard", reading.costly)
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
            value = self._in_golds_parameter(span.text, reading.value)
            if isinstance(value, Text) and value != self.gold.value:
                inner = read_among_words(span.text)
                if inner is not None and isinstance(inner, Text) == isinstance(self.gold.value, Text):
                    value = inner
                    self.warnings.append("the answer was picked out of a sentence")
            self.readings.append(reading)
            self.values.append(value)
        last = self.values[-1]
        if len(self.spans) > 1 and not _is_prose(last):  # words after "the answer is" need not be an answer
            kept = [i for i, value in enumerate(self.values) if not _is_prose(value)]
            self.spans = [self.spans[i] for i in kept]
            self.readings = [self.readings[i] for i in kept]
            self.values = [self.values[i] for i in kept]

    def _in_golds_parameter(self, text: str, value: Value | None) -> Value | None:
        """An answer such as `2\\pi n, n \\in \\mathbb{Z}` in the letter that the reference calls `n` by."""
        gold, name = parameter(self.gold.value), parameter(value)
        if gold is None or name is None or gold == name or re.search(_LETTER.format(gold), text):
            return value
        return read_as(re.sub(_LETTER.format(name), gold, text), self.gold.type).value

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
            elif shaped is not None and _sets_in_sympy(gold, shaped):
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
        self.warnings += comparison.warnings
        if equal:
            rational = isinstance(gold, Scalar) and gold.exact is not None
            rules = (broken_rule(value, self.form, rational=rational) for value in self._written_otherwise())
            broken = next(filter(None, rules), "")
            if broken:
                return self._verdict(Outcome.REJECTED, "form", broken)
            return self._verdict(Outcome.CORRECT, stage)
        if len(results) > 1:
            return self._verdict(Outcome.REJECTED, "extract", "several different answers")
        if self.loose and _is_prose(self.values[-1]):
            return self._verdict(Outcome.UNPARSEABLE, "extract", "the last line is not one value")
        refused = comparison.note in _REFUSED
        return self._verdict(Outcome.REJECTED if refused else Outcome.INCORRECT, stage, comparison.note)

    def _written_otherwise(self) -> list[Value | None]:
        return [value for i, value in enumerate(self.values) if not self._is_gold(i)]

    def _verdict(self, outcome: Outcome, stage: str, reason: str = "") -> Verdict:
        span = self.spans[-1]
        detail: dict[str, Any] = {"stage": stage, "answer": clip(span.text), "gold": clip(self.gold.reading.normal)}
        if reason:
            detail["reason"] = reason
        warnings = [_LOOSE, *self.warnings] if self.loose else self.warnings
        if warnings:
            detail["warnings"] = warnings[:MAX_WARNINGS]
        normal = self.readings[-1].normal if self.readings else span.text
        full = {
            "span": [span.start + self.offset, span.end + self.offset],
            "answer_normal": clip(normal, 1000),
            "gold_normal": clip(self.gold.reading.normal, 1000),
        }
        return Verdict(outcome, 1.0 if outcome is Outcome.CORRECT else 0.0, detail, full)


def _stage(comparison: Comparison, known: dict[Question, bool], *, equal: bool) -> str:
    if known:
        return "cas" if any(question.relation == "cas" for question in known) else "numeric"
    decisive = ("algebraic", "rational") if equal else ("interval", "algebraic", "rational")
    return next((stage for stage in decisive if stage in comparison.stages), "string" if equal else "form")


def _sets_in_sympy(gold: Value, answer: Value) -> bool:
    """Whether one is a set outside our grammar and the other has a structure: two ways to write a set."""
    for unread, other in ((gold, answer), (answer, gold)):
        if isinstance(unread, Scalar) and unread.tree is None and isinstance(other, Group | Union):
            return unread is gold or _SET_SIGNS.search(unread.source) is not None
    return False


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
