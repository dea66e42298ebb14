"""Votes: those of several judges, or of several samples of one, become one verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def majority(votes: Sequence[float | None], undecided: float) -> float | None:
    """The verdict that more than half of all votes are for; None while missing votes (None) could still decide it.

    Where no verdict has that majority, it is `undecided`: for a yes or no, no (0), since a yes takes a strict
    majority; for a pair, a tie (0.5). A missing vote counts for nothing, so it counts against every majority.
    Votes are probabilities where a judge gives them; each counts for what it is nearest to.
    """
    counted = Counter(nearest(vote, undecided) for vote in votes if vote is not None)
    missing = len(votes) - counted.total()
    others = [verdict for verdict in (1.0, 0.0) if verdict != undecided]
    for verdict in others:
        if 2 * counted[verdict] > len(votes):
            return verdict
    if any(2 * (counted[verdict] + missing) > len(votes) for verdict in others):
        return None
    return undecided


def mean(votes: Sequence[float | None]) -> float | None:
    """The mean of the votes that are there; None unless they are more than half of all."""
    there = [vote for vote in votes if vote is not None]
    return math.fsum(there) / len(there) if 2 * len(there) > len(votes) else None


def nearest(vote: float, undecided: float) -> float:
    """Of 1, 0 and `undecided` the one that a vote is nearest to; `undecided` half-way."""
    if undecided == 0.0:
        return 1.0 if vote > 0.5 else 0.0
    if abs(vote - 0.5) <= 0.25:
        return 0.5
    return 1.0 if vote > 0.5 else 0.0


def agreed(straight: float | None, swapped: float | None) -> float | None:
    """One vote from a judge's verdicts on a pair and on the same pair the other way round (already turned back).

    Where they disagree on which is better, the judge looked at the order: a tie. None if one of them is missing.
    """
    if straight is None or swapped is None:
        return None
    if nearest(straight, 0.5) != nearest(swapped, 0.5):
        return 0.5
    return (straight + swapped) / 2
