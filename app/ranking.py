"""Completions of one prompt, from best to worst: by their scores, or by comparing two at a time.

Up to `ALL_PAIRS` completions every pair is compared. Larger groups play a Swiss tournament: in each of
ceil(log2 n) + 1 rounds those of like standing meet, nobody the same one twice, so that n log n comparisons tell most
of what all n (n - 1) / 2 would. A completion's score is the share of its games that it won, a tie counting half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

ALL_PAIRS = 8
"""Completions up to which all pairs cost little more than a tournament."""

Game = tuple[int, int]
"""Two completions by their places, the smaller first."""


def rounds(count: int, method: str) -> int:
    """How many rounds a group plays."""
    if method == "all" or (method == "auto" and count <= ALL_PAIRS):
        return 1
    return math.ceil(math.log2(count)) + 1 if count > 1 else 0


def schedule(count: int, method: str, played: Mapping[Game, float | None]) -> list[Game]:
    """The games of a group's next round, after those that were played (each with what its first one scored)."""
    if rounds(count, method) == 1:
        return list(combinations(range(count), 2))
    standing = shares(count, played)
    order = sorted(range(count), key=lambda place: (-(standing[place] or 0.0), place))
    if count % 2:  # the lowest of those who have played most sits out
        met = [sum(place in pair for pair in played) for place in range(count)]
        order.remove(max(reversed(order), key=lambda place: met[place]))
    games: list[Game] = []
    while len(order) > 1:
        first = order.pop(0)
        rival = next((place for place in order if game(first, place) not in played), None)
        if rival is not None:
            order.remove(rival)
            games.append(game(first, rival))
    return games


def game(one: int, other: int) -> Game:
    """The game of two completions."""
    return (one, other) if one < other else (other, one)


def shares(count: int, played: Mapping[Game, float | None]) -> list[float | None]:
    """The share of each one's games that it won; None for one without a game that was told."""
    points = [0.0] * count
    games = [0] * count
    for (first, second), score in played.items():
        if score is None:
            continue
        points[first] += score
        points[second] += 1.0 - score
        games[first] += 1
        games[second] += 1
    return [points[place] / games[place] if games[place] else None for place in range(count)]


@dataclass(frozen=True, slots=True)
class Preference:
    """A pair to learn from. `margin` is the difference of their scores, above 0."""

    chosen: int
    rejected: int
    margin: float


def ranking(scores: Sequence[float | None]) -> list[list[int]]:
    """Places from best to worst, equals together; those without a score are left out."""
    tiers: dict[float, list[int]] = {}
    for place, score in enumerate(scores):
        if score is not None:
            tiers.setdefault(score, []).append(place)
    return [tiers[score] for score in sorted(tiers, reverse=True)]


def best_against_worst(
    scores: Sequence[float | None], played: Mapping[Game, float | None] | None = None
) -> Preference | None:
    """The pair for DPO: the first of the best against the first of the worst. None where all are equal.

    Also none where the two have met and the comparison went the other way, or was a tie.
    """
    tiers = ranking(scores)
    if len(tiers) < 2:
        return None
    chosen, rejected = tiers[0][0], tiers[-1][0]
    high, low = scores[chosen], scores[rejected]
    if high is None or low is None:
        raise AssertionError("places in tiers have scores")
    if played is not None and (met := played.get(game(chosen, rejected))) is not None:
        won = met if chosen < rejected else 1.0 - met
        if won <= 0.5:
            return None
    return Preference(chosen, rejected, high - low)
