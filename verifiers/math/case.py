"""One item whose answers have been found, and whether to judge it on the event loop or in a guarded worker.

Reading and comparing take microseconds, but for long lists and formulas they add up to tens of milliseconds. The same
code judges on both sides, so that both give the same verdict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from verifiers.base import BadItemError, Outcome, Verdict
from verifiers.math.attempt import Attempt
from verifiers.math.compare import Policy, Question
from verifiers.math.config import MathConfig, policy_of
from verifiers.math.extract import Span
from verifiers.math.forms import Form
from verifiers.math.gold import gold_of
from verifiers.math.reading import MAX_CHARS

_SHORT = 40
"""Characters of the reference and the answers together that are never costly."""
_MOST_COST = 400
_PART_COST, _PAIR_COST = 4, 3
"""Cost of reading and evaluating a part of a formula, and of comparing two items; 100 units take a millisecond."""
_PART = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")
_SEPARATOR = re.compile(r"[,;&]|\\\\|\\(?:pm|mp|cup|vee|wedge|lor|land)|\b(?:and|or)\b|[±∓∪]")
_UNICODE_PARTS = 6
"""More parts that a character beyond ASCII may stand for."""


@dataclass(frozen=True, slots=True)
class Case:
    """A reference, and the answers that a completion gives."""

    reference: Any
    answers: tuple[Span, ...]
    missing: str
    """Why there are no answers."""
    loose: bool
    """Whether the answer was taken from a last line that did not say that it is one."""
    offset: int
    """Characters of the completion before the text that was searched."""

    @property
    def costly(self) -> bool:
        """Whether judging it may hold up the event loop for more than about four milliseconds."""
        answer = self.reference.get("answer") if isinstance(self.reference, dict) else self.reference
        gold = answer if isinstance(answer, str) else ""
        texts = [span.text for span in self.answers]
        if len(gold) + sum(map(len, texts)) <= _SHORT:
            return False
        parts = _parts(gold) + sum(map(_parts, texts))
        return _PART_COST * parts + _PAIR_COST * _items(gold) * sum(map(_items, texts)) > _MOST_COST

    def attempt(self, policy: Policy, form: Form) -> Attempt | Verdict:
        """The attempt to judge, or the verdict where there is no answer. Raises `BadItemError`."""
        gold = gold_of(self.reference)
        if not self.answers:
            return Verdict(Outcome.UNPARSEABLE, 0.0, {"stage": "extract", "reason": self.missing})
        return Attempt(gold, self.answers, self.loose, policy, form, self.offset)

    def payload(self, config: MathConfig, known: Mapping[Question, bool]) -> dict[str, Any]:
        """What `judge` takes."""
        return {
            "config": config.model_dump_json(),
            "reference": self.reference,
            "answers": [[span.text, span.start, span.end] for span in self.answers],
            "missing": self.missing,
            "loose": self.loose,
            "offset": self.offset,
            "known": [[*question, equal] for question, equal in known.items()],
        }


def judge(payload: dict[str, Any]) -> dict[str, Any]:
    """In a guarded worker: a case's verdict, the questions that it hangs on, or what is wrong with its reference."""
    answers = tuple(Span(*span) for span in payload["answers"])
    case = Case(payload["reference"], answers, payload["missing"], payload["loose"], payload["offset"])
    known = {Question(*question): equal for *question, equal in payload["known"]}
    try:
        config = _config(payload["config"])
        attempt = case.attempt(policy_of(config), config.form)
        result = attempt if isinstance(attempt, Verdict) else attempt.judge(known)
    except BadItemError as error:
        return {"bad_item": str(error)}
    if isinstance(result, Verdict):
        return {"outcome": result.outcome, "score": result.score, "detail": result.detail, "full": result.full}
    return {"questions": result}


def judged(value: dict[str, Any]) -> Verdict | Sequence[Question]:
    """What `judge` gave, back from the worker."""
    if "questions" in value:
        return [Question(*question) for question in value["questions"]]
    if "bad_item" in value:
        return Verdict.bad_item(value["bad_item"])
    return Verdict(Outcome(value["outcome"]), value["score"], value["detail"], value["full"])


@lru_cache(maxsize=64)
def _config(written: str) -> MathConfig:
    return MathConfig.model_validate_json(written)


def _parts(text: str) -> int:
    """About how many tokens a text has; 0 for one whose structure is not read."""
    if len(text) > MAX_CHARS:
        return 0
    parts = len(_PART.findall(text))
    return parts if text.isascii() else parts + _UNICODE_PARTS * sum(not c.isascii() for c in text)


def _items(text: str) -> int:
    return 1 if len(text) > MAX_CHARS else 1 + len(_SEPARATOR.findall(text))
