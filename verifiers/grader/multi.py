"""The grader `multi`: one score out of several graders', by a formula."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from verifiers.base import ConfigError, Context, ErrorType, GivingWay, Outcome, Verdict, VerdictError
from verifiers.composite.formula import FUNCTIONS, FormulaError, Functions, Value, parse
from verifiers.grader.cases import Grader
from verifiers.grader.config import MultiGrader
from verifiers.grader.faults import Fault, error_of, unscored
from verifiers.grader.variables import Variables

STAGE = "multi"
OF_FORMULAS: Functions = {
    "min": FUNCTIONS["min"],
    "max": FUNCTIONS["max"],
    "abs": FUNCTIONS["abs"],
    "floor": (1, 1, math.floor),
    "ceil": (1, 1, math.ceil),
    "exp": (1, 1, math.exp),
    "sqrt": (1, 1, math.sqrt),
    "log": (1, 1, math.log),
}
"""The functions of `calculate_output` in OpenAI's guide; `log` is the natural one."""

_READ = (Outcome.CORRECT, Outcome.INCORRECT, Outcome.PARTIAL, Outcome.SCORED)
"""Outcomes of samples that a grader could read."""


class Multi:
    """Several graders and a formula over their scores."""

    lowest, highest = 0.0, 1.0

    def __init__(self, grader: MultiGrader, graders: Mapping[str, Grader], where: str) -> None:
        """Raises `ConfigError`."""
        self._graders = graders
        self._least = lru_cache(256)(self._value)  # most samples that cannot be read leave the same scores
        names = _Names(graders)
        for name in graders:
            if name in OF_FORMULAS:
                raise ConfigError(f"{name!r} is a function of formulas; name it otherwise", f"{where}/graders/{name}")
        try:
            self._formula: Value = parse(grader.calculate_output, names, OF_FORMULAS)
        except FormulaError as error:
            raise ConfigError(f"calculate_output: {error}", f"{where}/calculate_output") from None
        for name in sorted(graders.keys() - names.used):
            raise ConfigError(f"calculate_output does not use the grader {name!r}", f"{where}/graders/{name}")

    async def grade(self, cases: Sequence[Variables], ctx: Context) -> list[Verdict]:
        """See `Grader`. All graders at once."""
        graded = await asyncio.gather(*(grader.grade(cases, ctx) for grader in self._graders.values()))
        verdicts: list[Verdict] = []
        turn = GivingWay()
        for of_case in zip(*graded, strict=True):
            await turn.over()
            verdicts.append(self._verdict(dict(zip(self._graders, of_case, strict=True))))
        return verdicts

    def _verdict(self, found: Mapping[str, Verdict]) -> Verdict:
        detail: dict[str, Any] = {"graders": {name: _told(verdict) for name, verdict in found.items()}}
        if usage := _usage(found.values()):
            detail["usage"] = usage
        scores: dict[str, float] = {}
        for name, verdict in found.items():
            if verdict.score is None:
                error = error_of(verdict)
                said = VerdictError(error.type, f"grader {name}: {error.message}", retryable=error.retryable)
                fault = Fault(verdict.detail.get("fault", Fault.OTHER))
                return unscored(STAGE, fault, said, **detail)
            scores[name] = verdict.score
        least = self._least(tuple(scores.items()), tuple(n for n, v in found.items() if v.outcome not in _READ))
        if least is None:
            at = ", ".join(f"{name} = {score:g}" for name, score in scores.items())
            error = VerdictError(ErrorType.VERIFIER_FAULT, f"calculate_output has no value at {at}", retryable=False)
            return unscored(STAGE, Fault.OTHER, error, **detail)
        transient = any(verdict.transient for verdict in found.values())
        return Verdict(Outcome.SCORED, least, {"stage": STAGE, **detail}, components=scores, transient=transient)

    def _value(self, scores: tuple[tuple[str, float], ...], spoilt: tuple[str, ...]) -> float | None:
        """The formula's value; None where it has none.

        A sample that a grader cannot read counts as either end of its scores, whichever makes the whole less: where a
        formula subtracts a grader's score, being unreadable must not pay.
        """
        ends = [(self._graders[name].lowest, self._graders[name].highest) for name in spoilt]
        values: list[float] = []
        for chosen in itertools.product(*ends):
            with suppress(ArithmeticError):
                values.append(self._formula({**dict(scores), **dict(zip(spoilt, chosen, strict=True))}))
        return min(values) + 0.0 if values else None  # -0.0 is 0


class _Names(set[str]):
    """Names of graders, noting those that a formula asks for."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        self.used: set[str] = set()

    def __contains__(self, name: object) -> bool:
        if not super().__contains__(name):
            return False
        self.used.add(str(name))
        return True


def _told(verdict: Verdict) -> dict[str, Any]:
    """What a multi grader's detail says of one of its graders."""
    told: dict[str, Any] = {"outcome": str(verdict.outcome), "score": verdict.score, **verdict.detail}
    told.pop("usage", None)
    if verdict.error is not None:
        told |= {"message": verdict.error.message, "error": str(verdict.error.type)}
    return told


def _usage(verdicts: Iterable[Verdict]) -> dict[str, dict[str, Any]]:
    """What models took, by model."""
    total: dict[str, dict[str, Any]] = {}
    for verdict in verdicts:
        for model, counts in verdict.detail.get("usage", {}).items():
            of_model = total.setdefault(model, {})
            for name, count in counts.items():
                of_model[name] = of_model.get(name, 0) + count
    return total
