"""How well scores agree with labels, and from which score on a completion is best taken for right.

Pure functions over (score, label) pairs. The threshold is fitted on the same pairs that it is measured on, so the
figures flatter it; label more, or hold some back, where that matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Z95 = 1.959963984540054
"""The 97.5th percentile of the normal distribution: intervals hold 95 %."""

Aim = Literal["balanced_accuracy", "f1"]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Confusion:
    """How decisions and labels fall together. Each figure is 0 where it has no cases to be taken of."""

    true_accepts: int
    false_accepts: int
    true_rejects: int
    false_rejects: int

    @property
    def count(self) -> int:
        """All pairs."""
        return self.true_accepts + self.false_accepts + self.true_rejects + self.false_rejects

    @property
    def agreement(self) -> float:
        """The share of decisions that are the label."""
        return _ratio(self.true_accepts + self.true_rejects, self.count)

    @property
    def precision(self) -> float:
        """Of those accepted, the share that is right."""
        return _ratio(self.true_accepts, self.true_accepts + self.false_accepts)

    @property
    def recall(self) -> float:
        """Of those that are right, the share accepted."""
        return _ratio(self.true_accepts, self.true_accepts + self.false_rejects)

    @property
    def specificity(self) -> float:
        """Of those that are wrong, the share rejected."""
        return _ratio(self.true_rejects, self.true_rejects + self.false_accepts)

    @property
    def balanced_accuracy(self) -> float:
        """The mean of recall and specificity."""
        return (self.recall + self.specificity) / 2

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return _ratio(2 * self.true_accepts, 2 * self.true_accepts + self.false_accepts + self.false_rejects)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What labelled scores say of a verifier. A completion is accepted from `threshold` on, it included."""

    threshold: float
    aim: Aim
    confusion: Confusion
    agreement: float
    agreement_interval: Interval
    """Wilson's, of 95 %."""
    kappa: float
    kappa_interval: Interval
    """By the large-sample variance, of 95 %."""


def calibrate(pairs: Sequence[tuple[float, bool]], aim: Aim = "balanced_accuracy") -> Calibration:
    """Fit the threshold that makes `aim` greatest, and measure the decisions that it makes.

    It lies half-way between two scores that occur, or is the lowest score, so that everything is accepted. Of several
    that are equally good, the one with the widest gap around it is taken, and of those the lowest. Raises ValueError
    unless there are right and wrong ones, and every score is finite.
    """
    if not all(math.isfinite(score) for score, _ in pairs):
        raise ValueError("a score is not finite")
    labels = {label for _, label in pairs}
    if labels != {True, False}:
        raise ValueError("labels must hold right ones and wrong ones")
    threshold = _fitted(pairs, _FIGURES[aim])
    confusion = confused(pairs, threshold)
    successes = confusion.true_accepts + confusion.true_rejects
    kappa, deviation = cohen_kappa(confusion)
    return Calibration(
        threshold,
        aim,
        confusion,
        confusion.agreement,
        wilson(successes, confusion.count),
        kappa,
        (max(-1.0, kappa - Z95 * deviation), min(1.0, kappa + Z95 * deviation)),
    )


def confused(pairs: Sequence[tuple[float, bool]], threshold: float) -> Confusion:
    """How the decisions that a threshold makes fall together with the labels."""
    accepted = [label for score, label in pairs if score >= threshold]
    right = sum(label for _, label in pairs)
    true_accepts = sum(accepted)
    false_accepts = len(accepted) - true_accepts
    return Confusion(true_accepts, false_accepts, len(pairs) - right - false_accepts, right - true_accepts)


def cohen_kappa(confusion: Confusion) -> tuple[float, float]:
    """Agreement beyond chance (Cohen 1960), and its standard deviation (Fleiss, Cohen and Everitt 1969).

    0 and 0 where chance alone explains everything, such as where every decision and every label is the same.
    """
    count = confusion.count
    cells = [
        [confusion.true_accepts / count, confusion.false_accepts / count],
        [confusion.false_rejects / count, confusion.true_rejects / count],
    ]
    rows = [sum(row) for row in cells]
    columns = [sum(column) for column in zip(*cells, strict=True)]
    chance = sum(row * column for row, column in zip(rows, columns, strict=True))
    if chance >= 1.0:
        return 0.0, 0.0
    kappa = (cells[0][0] + cells[1][1] - chance) / (1 - chance)
    same = sum(cells[i][i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in (0, 1))
    differ = (1 - kappa) ** 2 * sum(cells[i][1 - i] * (columns[i] + rows[1 - i]) ** 2 for i in (0, 1))
    variance = (same + differ - (kappa - chance * (1 - kappa)) ** 2) / (count * (1 - chance) ** 2)
    return kappa, math.sqrt(max(variance, 0.0))


def wilson(successes: int, count: int) -> Interval:
    """The interval of a share that holds its true value in 95 of 100 samples (Wilson 1927). `count` above 0."""
    share, squared = successes / count, Z95 * Z95
    centre = (share + squared / (2 * count)) / (1 + squared / count)
    half = Z95 / (1 + squared / count) * math.sqrt(share * (1 - share) / count + squared / (4 * count * count))
    # rounding must not put the share itself outside
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def _fitted(pairs: Sequence[tuple[float, bool]], figure: Callable[[Confusion], float]) -> float:
    """The best threshold: the lowest score, which accepts everything, or one between two scores that occur."""
    ordered = sorted(pairs)
    right = sum(label for _, label in pairs)
    found = ordered[0][0]
    best = (round(figure(Confusion(right, len(pairs) - right, 0, 0)), 12), 0.0, -found)
    rejected_right = 0
    for position in range(1, len(ordered)):
        (below, label), above = ordered[position - 1], ordered[position][0]
        rejected_right += label
        if below == above:
            continue
        true_accepts, true_rejects = right - rejected_right, position - rejected_right
        confusion = Confusion(true_accepts, len(pairs) - position - true_accepts, true_rejects, rejected_right)
        middle = below + (above - below) / 2
        rank = (round(figure(confusion), 12), above - below, -middle)
        if rank > best:
            best, found = rank, middle if middle > below else above
    return found


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


_FIGURES: dict[Aim, Callable[[Confusion], float]] = {
    "balanced_accuracy": lambda confusion: confusion.balanced_accuracy,
    "f1": lambda confusion: confusion.f1,
}
