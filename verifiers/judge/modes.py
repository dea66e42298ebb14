"""The modes of judging: what is asked about an item, and what score the verdicts make."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from verifiers.base import BadItemError, ConfigError, Outcome, pointer
from verifiers.invisible import is_seen
from verifiers.judge import wording
from verifiers.judge.answers import ALONE, FIRST_SECOND, FIRST_SECOND_TOKEN, YES_NO, Offer, Scale
from verifiers.judge.config import Criterion, JudgeConfig, JudgeReference, Mode
from verifiers.judge.templates import Variables

MAX_CALLS = 256
"""Calls of one item."""

_SHOWN = frozenset(("prompt", "completion", "reference", "instructions"))
_SCALE = {"scale": frozenset(("min", "max"))}
_LISTS = {"criteria": frozenset(("name", "text", "weight"))}


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be judged. Texts are as they came."""

    texts: Mapping[str, str]
    """By the names of the template's variables."""
    criteria: Sequence[Criterion] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """One call of a judge about a case."""

    offers: Mapping[str, Offer]
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Variables beside the texts."""
    swapped: bool = False
    """The texts `first` and `second` change places, and so does what the verdict means."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the verdicts on a case come to."""

    score: float
    outcome: Outcome
    components: Mapping[str, float] = field(default_factory=dict)


class ModeRules(ABC):
    """One mode, configured."""

    template: ClassVar[str]
    variables: ClassVar[Variables]
    must_show: ClassVar[Sequence[str]]
    """Variables that a template must name, or the judge would judge blindly."""
    undecided: ClassVar[float | None] = None
    """The verdict where no other one has a majority; None: it has no majority, but a mean."""

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config

    def case(self, text: str, prompt: str, reference: JudgeReference) -> Case:
        """The case that an item makes. Raises `BadItemError`."""
        answer = "" if reference.answer is None else str(reference.answer)
        return Case({"prompt": prompt, "completion": text, "reference": answer})

    @abstractmethod
    def questions(self, case: Case, *, logprobs: bool) -> list[Question]:
        """The calls that a vote takes; `logprobs`: a single token is the verdict."""

    @abstractmethod
    def score(self, verdicts: Mapping[str, float], case: Case) -> Score:
        """The score of a case."""

    def lowest(self, case: Case) -> float:
        """The score of what is not worth a judge's while."""
        return 0.0

    def highest(self, case: Case) -> float:
        """The best score."""
        return 1.0

    def logprobs(self) -> bool:
        """Whether a single token can be a verdict."""
        return True

    def _binary(self, value: float) -> Outcome:
        """The outcome where a full score means right and none wrong."""
        if self.undecided is None or self.config.vote == "mean":
            return Outcome.SCORED
        return {1.0: Outcome.CORRECT, 0.0: Outcome.INCORRECT}.get(value, Outcome.PARTIAL)


class Pointwise(ModeRules):
    """A number on a scale."""

    template = wording.POINTWISE
    variables = Variables(_SHOWN, _SCALE)
    must_show: ClassVar[Sequence[str]] = ("completion",)

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__(config)
        self.scale = Scale(config.scale.min, config.scale.max, config.scale.integer)

    def questions(self, case: Case, *, logprobs: bool) -> list[Question]:
        """See `ModeRules.questions`."""
        bounds = {"min": f"{self.scale.lowest:g}", "max": f"{self.scale.highest:g}"}
        return [Question({ALONE: self.scale}, {"scale": bounds, "criteria": _listed(case.criteria)})]

    def score(self, verdicts: Mapping[str, float], case: Case) -> Score:
        """See `ModeRules.score`."""
        value, scale = verdicts[ALONE], self.scale
        if self.config.normalise:
            value = (value - scale.lowest) / (scale.highest - scale.lowest)
        return Score(value, Outcome.SCORED)

    def lowest(self, case: Case) -> float:
        """See `ModeRules.lowest`."""
        return 0.0 if self.config.normalise else self.scale.lowest

    def highest(self, case: Case) -> float:
        """See `ModeRules.highest`."""
        return 1.0 if self.config.normalise else self.scale.highest

    def logprobs(self) -> bool:
        """See `ModeRules.logprobs`."""
        return self.scale.first_tokens() is not None


class Pairwise(ModeRules):
    """Which of two completions is better."""

    template = wording.PAIRWISE
    variables = Variables((_SHOWN - {"completion"}) | {"first", "second"})
    must_show = ("first", "second")
    undecided = 0.5

    def case(self, text: str, prompt: str, reference: JudgeReference) -> Case:
        """See `ModeRules.case`."""
        if reference.completion is None:
            raise BadItemError("reference: send the completion to compare with, as text or under 'completion'")
        return self.pair(text, reference.completion, prompt, reference)

    @staticmethod
    def pair(first: str, second: str, prompt: str, reference: JudgeReference) -> Case:
        """The case of two completions."""
        answer = "" if reference.answer is None else str(reference.answer)
        return Case({"prompt": prompt, "first": first, "second": second, "reference": answer})

    def questions(self, case: Case, *, logprobs: bool) -> list[Question]:
        """See `ModeRules.questions`."""
        offer = FIRST_SECOND_TOKEN if logprobs else FIRST_SECOND
        straight, swapped = Question({ALONE: offer}), Question({ALONE: offer}, swapped=True)
        return [straight, swapped] if self.config.swap else [straight]

    def score(self, verdicts: Mapping[str, float], case: Case) -> Score:
        """See `ModeRules.score`."""
        return Score(verdicts[ALONE], Outcome.SCORED)


class Listed(ModeRules):
    """Criteria, each answered yes or no."""

    template = wording.LISTED
    variables = Variables(_SHOWN, {}, _LISTS)
    must_show = ("completion", "criteria")
    undecided = 0.0

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__(config)
        criteria = self.own(config)
        if criteria and (fault := self.fault(criteria)) is not None:
            raise ConfigError(f"{self.place}: {fault}", f"/{self.place}")

    place: ClassVar[str] = "criteria"
    """Where the list stands, in the configuration and the reference."""

    def own(self, config: JudgeConfig | JudgeReference) -> Sequence[Criterion] | None:
        """The list in a configuration or a reference."""
        return config.criteria

    def fault(self, criteria: Sequence[Criterion]) -> str | None:
        """What is wrong with a list."""
        if not criteria:
            return "a rubric needs a criterion"
        if not any(criterion.weight > 0 for criterion in criteria):
            return "a rubric needs a criterion with a weight above 0"
        return self._too_many(criteria)

    def _too_many(self, criteria: Sequence[Criterion]) -> str | None:
        config = self.config
        calls = seats(config) * (1 if config.calls == "all" else len(criteria))
        return None if calls <= MAX_CALLS else f"takes {calls} calls of an item, {MAX_CALLS} are allowed"

    def case(self, text: str, prompt: str, reference: JudgeReference) -> Case:
        """See `ModeRules.case`."""
        given = self.own(reference)
        criteria = self.own(self.config) or () if given is None else given
        fault = self.fault(criteria)
        if fault is not None:
            raise BadItemError(f"reference/{self.place}: {fault}")
        return Case(super().case(text, prompt, reference).texts, criteria)

    def questions(self, case: Case, *, logprobs: bool) -> list[Question]:
        """See `ModeRules.questions`."""
        entries = _listed(case.criteria)
        if self.config.calls == "all":
            return [Question({entry["name"]: YES_NO for entry in entries}, {"criteria": entries})]
        return [Question({entry["name"]: YES_NO}, {"criteria": [entry]}) for entry in entries]

    def score(self, verdicts: Mapping[str, float], case: Case) -> Score:
        """See `ModeRules.score`."""
        met = math.fsum(verdicts[name] * c.weight for name, c in _named(case.criteria))
        if self.config.normalise:
            met = min(max(met / _most(case), 0.0), 1.0)
        return Score(met, Outcome.SCORED, verdicts)

    def lowest(self, case: Case) -> float:
        """See `ModeRules.lowest`."""
        return 0.0 if self.config.normalise else math.fsum(min(c.weight, 0.0) for c in case.criteria)

    def highest(self, case: Case) -> float:
        """See `ModeRules.highest`."""
        return 1.0 if self.config.normalise else _most(case)

    def logprobs(self) -> bool:
        """See `ModeRules.logprobs`."""
        return self.config.calls == "each"


class Overall(Pointwise):
    """Criteria that the judge weighs, and one number."""

    template = wording.OVERALL
    variables = Variables(_SHOWN, _SCALE, _LISTS)
    must_show = ("completion", "criteria")

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__(config)
        self._listed = Listed(config.model_copy(update={"calls": "all"}))

    def case(self, text: str, prompt: str, reference: JudgeReference) -> Case:
        """See `ModeRules.case`."""
        return self._listed.case(text, prompt, reference)


class PrinciplesRules(Listed):
    """Principles, each fulfilled or not, all of the same weight."""

    place = "principles"

    def own(self, config: JudgeConfig | JudgeReference) -> Sequence[Criterion] | None:
        """See `Listed.own`."""
        if config.principles is None:
            return None
        return [Criterion(text=text) for text in config.principles]

    def fault(self, criteria: Sequence[Criterion]) -> str | None:
        """See `Listed.fault`."""
        return self._too_many(criteria) if criteria else "a list of principles needs one"

    def score(self, verdicts: Mapping[str, float], case: Case) -> Score:
        """See `ModeRules.score`."""
        values = list(verdicts.values())
        met = min(values) if self.config.require == "all" else math.fsum(values) / len(values)
        return Score(met, self._binary(met), verdicts)

    def lowest(self, case: Case) -> float:
        """See `ModeRules.lowest`."""
        return 0.0

    def highest(self, case: Case) -> float:
        """See `ModeRules.highest`."""
        return 1.0


class Equivalence(ModeRules):
    """Whether the completion gives the reference's answer."""

    template = wording.EQUIVALENCE
    variables = Variables(_SHOWN)
    must_show = ("completion", "reference")
    undecided = 0.0

    def case(self, text: str, prompt: str, reference: JudgeReference) -> Case:
        """See `ModeRules.case`."""
        if reference.answer is None or not is_seen(str(reference.answer)):
            raise BadItemError("reference: send the right answer, as text, as a number or under 'answer'")
        return super().case(text, prompt, reference)

    def questions(self, case: Case, *, logprobs: bool) -> list[Question]:
        """See `ModeRules.questions`."""
        return [Question({ALONE: YES_NO})]

    def score(self, verdicts: Mapping[str, float], case: Case) -> Score:
        """See `ModeRules.score`."""
        return Score(verdicts[ALONE], self._binary(verdicts[ALONE]))


_RULES: Mapping[Mode, type[ModeRules]] = {
    "pointwise": Pointwise,
    "pairwise": Pairwise,
    "rubric": Listed,
    "principles": PrinciplesRules,
    "equivalence": Equivalence,
}
_ONLY: Mapping[str, Sequence[Mode]] = {
    "scale": ("pointwise", "rubric"),
    "criteria": ("rubric",),
    "combine": ("rubric",),
    "principles": ("principles",),
    "require": ("principles",),
    "calls": ("rubric", "principles"),
    "swap": ("pairwise",),
    "normalise": ("pointwise", "rubric"),
}
"""Fields of some modes only."""


def rules_for(config: JudgeConfig) -> ModeRules:
    """The configured mode. Raises `ConfigError`."""
    for name, modes in _ONLY.items():
        default = JudgeConfig.model_fields[name].get_default(call_default_factory=True)
        if config.mode not in modes and getattr(config, name) != default:
            raise ConfigError(f"{name} belongs to the mode {' or '.join(modes)}, not {config.mode}", pointer([name]))
    if config.mode == "rubric" and config.combine == "overall":
        return Overall(config)
    return _RULES[config.mode](config)


def seats(config: JudgeConfig) -> int:
    """Votes of one item."""
    return (1 + len(config.panel)) * config.samples


def _named(criteria: Sequence[Criterion]) -> list[tuple[str, Criterion]]:
    return [(f"c{number}", criterion) for number, criterion in enumerate(criteria, 1)]


def _listed(criteria: Sequence[Criterion]) -> list[dict[str, str]]:
    """Criteria as a template names them."""
    return [{"name": name, "text": c.text, "weight": f"{c.weight:g}"} for name, c in _named(criteria)]


def _most(case: Case) -> float:
    """The sum of the weights that count for a completion."""
    return math.fsum(max(c.weight, 0.0) for c in case.criteria)
