"""Raw scores of a reward model on a scale that one can work with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Normalise = Literal["none", "standard", "sigmoid"]
LEAST_DEVIATION = 1e-9


@dataclass(frozen=True, slots=True)
class Fitted:
    """Mean and deviation of a reference set's raw scores, and how many they are."""

    mean: float
    deviation: float
    count: int


def fit(scores: Sequence[float]) -> Fitted:
    """What `mean` and `deviation` of a configuration should be, from the raw scores of a reference set.

    The deviation is that of the population. Raises ValueError where there is none: fewer than two scores, scores that
    are not finite, or all the same.
    """
    if len(scores) < 2:
        raise ValueError(f"{len(scores)} scores are too few to fit; score at least 2 completions, better hundreds")
    if not all(math.isfinite(score) for score in scores):
        raise ValueError("a score is not a finite number; leave out what is unscored")
    try:
        mean = math.fsum(scores) / len(scores)
        deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores))
    except OverflowError:
        raise ValueError("the scores are too large to fit; such a model is broken") from None
    if deviation < LEAST_DEVIATION:
        raise ValueError("the scores are all the same; fit on completions that differ in quality")
    return Fitted(mean, deviation, len(scores))


def normalised(raw: float, how: Normalise, mean: float, deviation: float) -> float:
    """A raw score as `standard` (deviations from the mean), `sigmoid` (the logistic function of that), or itself.

    Strictly increasing but for rounding; infinite where the result is beyond what a number can hold.
    """
    if how == "none":
        return raw
    standard = (raw - mean) / deviation
    if how == "standard":
        return standard
    if standard >= 0:
        return 1 / (1 + math.exp(-standard))
    grown = math.exp(standard)
    return grown / (1 + grown)
