"""Ranking completions by games and by scores."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ranking import (
    ALL_PAIRS,
    Game,
    Preference,
    best_against_worst,
    game,
    ranking,
    rounds,
    schedule,
    shares,
)


def played_out(count: int, method: str, better: list[float]) -> dict[Game, float | None]:
    """A whole tournament in which the higher number wins."""
    played: dict[Game, float | None] = {}
    for _ in range(rounds(count, method)):
        for first, second in schedule(count, method, played):
            assert (first, second) not in played
            one, other = better[first], better[second]
            played[first, second] = 0.5 if one == other else float(one > other)
    return played


@pytest.mark.parametrize("count", range(2, ALL_PAIRS + 1))
def test_small_groups_play_every_pair_once(count: int) -> None:
    assert rounds(count, "auto") == 1
    assert schedule(count, "auto", {}) == list(combinations(range(count), 2))


@pytest.mark.parametrize(("count", "most"), [(9, 20), (16, 40), (32, 96), (64, 224)])
def test_large_groups_play_few_games(count: int, most: int) -> None:
    played = played_out(count, "auto", [float(place) for place in range(count)])
    assert len(played) <= most < math.comb(count, 2)


@given(st.permutations(range(24)))
@settings(max_examples=50, deadline=None)
def test_a_tournament_finds_the_best_and_the_worst(order: list[int]) -> None:
    played = played_out(24, "auto", [float(place) for place in order])
    tiers = ranking(shares(24, played))
    assert tiers[0] == [order.index(23)]
    assert order.index(0) in tiers[-1]


@given(st.integers(2, 40), st.sampled_from(["auto", "all", "tournament"]))
@settings(max_examples=60, deadline=None)
def test_nobody_meets_the_same_one_twice_and_nobody_himself(count: int, method: str) -> None:
    strength = [float(place % 7) for place in range(count)]
    played = played_out(count, method, strength)
    assert all(0 <= first < second < count for first, second in played)
    told = shares(count, played)
    assert all(share is not None and 0 <= share <= 1 for share in told)


def test_what_could_not_be_told_counts_for_nobody() -> None:
    played: dict[Game, float | None] = {(0, 1): 1.0, (0, 2): None, (1, 2): None}
    assert shares(3, played) == [1.0, 0.0, None]
    assert ranking(shares(3, played)) == [[0], [1]]


def test_equals_stand_together() -> None:
    assert ranking([0.5, None, 1.0, 0.5]) == [[2], [0, 3]]
    assert ranking([None, None]) == []


@pytest.mark.parametrize(
    ("scores", "played", "found"),
    [
        ([1.0, 0.0], None, Preference(0, 1, 1.0)),
        ([0.0, 0.25, 1.0, 1.0], None, Preference(2, 0, 1.0)),
        ([1.0, 1.0], None, None),
        ([1.0, None], None, None),
        ([None, None], None, None),
        ([-1.0, None, 2.0], None, Preference(2, 0, 3.0)),
        ([0.75, 0.25, 0.5], {(0, 1): 1.0}, Preference(0, 1, 0.5)),
        ([0.75, 0.25, 0.5], {(0, 1): 0.5}, None),
        ([0.75, 0.25, 0.5], {(0, 1): 0.0}, None),
        ([0.25, 0.75], {(0, 1): 0.0}, Preference(1, 0, 0.5)),
        ([0.75, 0.25], {(0, 1): None}, Preference(0, 1, 0.5)),
    ],
)
def test_the_pair_to_learn_from(
    scores: list[float | None], played: dict[Game, float | None] | None, found: Preference | None
) -> None:
    assert best_against_worst(scores, played) == found


def test_a_game_is_one_whoever_is_named_first() -> None:
    assert game(3, 1) == game(1, 3) == (1, 3)
