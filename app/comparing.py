"""Groups of completions through a verifier that compares two at a time, round by round, all groups at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from app.ranking import Game, game, rounds, schedule, shares
from verifiers.base import ErrorType, Item, Outcome, Verdict, VerdictError
from verifiers.lent import Pair

Prefer = Callable[[Sequence[Pair]], Awaitable[list[Verdict]]]


@dataclass(slots=True)
class Group:
    """One prompt's completions, each as an item, and what is known of their games."""

    items: Sequence[Item]
    played: dict[Game, float | None] = field(default_factory=dict)
    """What the first of each game scored: 1, 0, 0.5, or None where that could not be told."""
    error: VerdictError | None = None
    """Of the first game that could not be told."""
    usage: dict[int, Counter[str]] = field(default_factory=dict)
    """What the games took (calls, tokens, cost) in which each completion was the first."""


async def compare(groups: Sequence[Group], method: str, prefer: Prefer) -> None:
    """Play every group's rounds, the games of all groups in one call."""
    most = max((rounds(len(group.items), method) for group in groups), default=0)
    for number in range(most):
        games = [
            (group, pair)
            for group in groups
            if number < rounds(len(group.items), method)
            for pair in schedule(len(group.items), method, group.played)
        ]
        verdicts = await prefer([Pair(group.items[first], group.items[second]) for group, (first, second) in games])
        for (group, pair), verdict in zip(games, verdicts, strict=True):
            group.played[pair] = verdict.score
            if (took := verdict.detail.get("usage")) is not None:
                group.usage.setdefault(pair[0], Counter()).update(took)
            if verdict.error is not None and group.error is None:
                group.error = verdict.error


def verdicts_of(group: Group) -> list[Verdict]:
    """A verdict on each completion: the share of its games that it won, and against whom.

    One of whose games fewer than half could be told is unscored: a share of the others would say little of it.
    """
    return [_verdict(group, place, share) for place, share in enumerate(shares(len(group.items), group.played))]


def _verdict(group: Group, place: int, share: float | None) -> Verdict:
    against: dict[str, float | None] = {}
    for (first, second), score in group.played.items():
        if first == place:
            against[str(second)] = score
        elif second == place:
            against[str(first)] = None if score is None else 1.0 - score
    took = group.usage.get(place)
    detail: dict[str, Any] = {"stage": "compare", "against": against, **({"usage": dict(took)} if took else {})}
    if share is None or 2 * sum(score is not None for score in against.values()) < len(against):
        error = group.error or VerdictError(ErrorType.VERIFIER_FAULT, "it met no other completion", retryable=False)
        return replace(Verdict.unscored(error.type, error.message, retryable=error.retryable), detail=detail)
    return Verdict(Outcome.SCORED, share, detail)


def games_of(details: Sequence[dict[str, object]]) -> dict[Game, float | None]:
    """The games that recorded verdicts of a group tell of; none where details are not kept."""
    games: dict[Game, float | None] = {}
    for place, detail in enumerate(details):
        against = detail.get("against")
        if not isinstance(against, dict):
            continue
        for name, told in against.items():
            score = float(told) if isinstance(told, int | float) else None
            other = int(name)
            games[game(place, other)] = score if place < other or score is None else 1.0 - score
    return games


def games_of_scores(scores: Sequence[float | None]) -> dict[Game, float | None]:
    """What scores say of every pair."""
    games: dict[Game, float | None] = {}
    for first, second in combinations(range(len(scores)), 2):
        one, other = scores[first], scores[second]
        if one is not None and other is not None:
            games[first, second] = 0.5 if one == other else float(one > other)
    return games
