"""Graders of text: `string_check`, and `text_similarity` but for `cosine`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from verifiers.base import ConfigError, Context, ErrorType, Item, Outcome, Verdict
from verifiers.grader.cases import Stage
from verifiers.grader.config import Metric, StringCheckGrader, TextSimilarityGrader
from verifiers.grader.faults import Fault, SampleFaultError, bad_item, error_of, spoilt, unscored
from verifiers.grader.templates import Template, parse
from verifiers.grader.variables import Variables
from verifiers.lent import InlineVerifier

CHECK = Stage("string_check")
SIMILARITY = Stage("text_similarity")

_WORDS = {"ignore_case": True, "ignore_punctuation": True}
MEASURES: Mapping[Metric, Mapping[str, Any]] = {
    "fuzzy_match": {"mode": "ratio"},
    "bleu": {"mode": "bleu"},
    "gleu": {"mode": "gleu"},
    "meteor": {"mode": "meteor", "ignore_case": True},
    "rouge_1": {"mode": "token_f1", **_WORDS},
    "rouge_2": {"mode": "rouge_2", **_WORDS},
    "rouge_3": {"mode": "rouge_3", **_WORDS},
    "rouge_4": {"mode": "rouge_4", **_WORDS},
    "rouge_5": {"mode": "rouge_5", **_WORDS},
    "rouge_l": {"mode": "rouge_l", **_WORDS},
}
"""What the kind `text` calls each measure but `cosine`, which it lacks.

ROUGE and METEOR see no case in the packages that define them.
"""


@dataclass(frozen=True, slots=True)
class Sides:
    """The two templates of a grader that compares."""

    input: Template
    reference: Template

    @staticmethod
    def of(grader: StringCheckGrader | TextSimilarityGrader, where: str) -> Sides:
        """Raises `ConfigError`."""
        return Sides(parse(grader.input, f"{where}/input"), parse(grader.reference, f"{where}/reference"))


class StringCheck:
    """Whether two strings are equal, or one is in the other."""

    lowest, highest = 0.0, 1.0

    def __init__(self, grader: StringCheckGrader, where: str) -> None:
        self._operation = grader.operation
        self._sides = Sides.of(grader, where)

    async def grade(self, cases: Sequence[Variables], ctx: Context) -> list[Verdict]:
        """See `Grader`."""
        return await CHECK.each(cases, ctx, self._one)

    def _one(self, case: Variables) -> Verdict:
        text, reference = self._sides.input.text(case), self._sides.reference.text(case)
        match self._operation:
            case "eq":
                return Verdict.binary(text == reference, CHECK.name)
            case "ne" | "neq":
                return Verdict.binary(text != reference, CHECK.name)
        if not reference:  # it stands in every text
            if self._sides.reference.shows_sample:
                raise SampleFaultError("the sample's part that is looked for is empty")
            return bad_item(CHECK.name, Fault.OTHER, "reference: the text that is looked for is empty")
        if self._operation == "ilike":
            text, reference = text.casefold(), reference.casefold()
        return Verdict.binary(reference in text, CHECK.name)


class TextSimilarity:
    """How alike two texts are, as the kind `text` measures it."""

    lowest, highest = 0.0, 1.0

    def __init__(self, grader: TextSimilarityGrader, where: str) -> None:
        """Raises `ConfigError`."""
        if grader.model is not None:
            raise ConfigError(f"{grader.evaluation_metric} asks no model; only cosine does", f"{where}/model")
        measure = MEASURES[grader.evaluation_metric]
        self._verifier = InlineVerifier(kind="text", config={**measure, "section": "whole"})
        self._sides = Sides.of(grader, where)

    async def grade(self, cases: Sequence[Variables], ctx: Context) -> list[Verdict]:
        """See `Grader`."""
        if ctx.score is None:
            raise RuntimeError("a grader needs an engine")
        items: list[Item] = []

        def prepared(case: Variables) -> Verdict:
            reference = self._sides.reference.text(case)
            items.append(Item(completion=self._sides.input.text(case), reference=reference))
            return _MEASURED

        verdicts = await SIMILARITY.each(cases, ctx, prepared)
        measured = iter(await ctx.score(self._verifier, items) if items else [])
        return [self._verdict(next(measured)) if verdict is _MEASURED else verdict for verdict in verdicts]

    def _verdict(self, verdict: Verdict) -> Verdict:
        """The verdict of the kind `text` as this grader's own."""
        if verdict.error is not None and verdict.error.type is ErrorType.BAD_ITEM:
            if self._sides.reference.shows_sample:  # then it is the sample that cannot be compared with
                return spoilt(SIMILARITY.name, SampleFaultError(verdict.error.message))
            return bad_item(SIMILARITY.name, Fault.OTHER, verdict.error.message)
        if verdict.score is None:
            return unscored(SIMILARITY.name, Fault.OTHER, error_of(verdict))
        if verdict.outcome is not Outcome.SCORED:
            if not self._sides.input.shows_sample:
                message = "reference: the text of the item is too long to be measured"
                return bad_item(SIMILARITY.name, Fault.OTHER, message)
            return spoilt(SIMILARITY.name, SampleFaultError("the sample is too long to be measured", verdict.outcome))
        return replace(verdict, detail={"stage": SIMILARITY.name})


_MEASURED = Verdict(Outcome.PENDING, None)
"""Stands for a case that the kind `text` will measure; never leaves this module."""
