"""Counting votes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.judge.votes import agreed, majority, mean, nearest

Y, N, T, X = 1.0, 0.0, 0.5, None
VOTES = st.lists(st.sampled_from([1.0, 0.0, 0.5, None]), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [
        ([Y], Y),
        ([N], N),
        ([X], None),
        ([Y, N], N),  # a yes takes more than half
        ([Y, Y, N], Y),
        ([Y, Y, X], Y),
        ([Y, N, X], None),  # the missing one could be a yes
        ([N, N, X], N),
        ([Y, X, X], None),
        ([Y, Y, N, X], None),  # two of four are no majority, and the missing one could make three
        ([Y, N, N, X], N),
        ([0.6, 0.51, 0.1], Y),  # probabilities count for what they are nearest to
        ([0.5], N),
    ],
)
def test_a_yes_takes_more_than_half_of_all_votes(votes: list[float | None], verdict: float | None) -> None:
    assert majority(votes, 0.0) == verdict


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [
        ([Y], Y),
        ([N], N),
        ([T], T),
        ([X], None),
        ([Y, N], T),
        ([Y, Y, N], Y),
        ([N, N, X], N),
        ([Y, N, X], None),
        ([Y, T, N], T),
        ([T, T, X], T),
        ([Y, T, X], None),
    ],
)
def test_without_a_majority_a_pair_is_a_tie(votes: list[float | None], verdict: float | None) -> None:
    assert majority(votes, 0.5) == verdict


@given(votes=VOTES, undecided=st.sampled_from([0.0, 0.5]), data=st.data())
def test_a_missing_vote_can_only_be_one_that_changes_nothing(
    votes: list[float | None], undecided: float, data: st.DataObject
) -> None:
    values = [1.0, 0.0] if undecided == 0.0 else [1.0, 0.0, 0.5]
    votes = [v if v in values else None for v in votes]
    verdict = majority(votes, undecided)
    ways = {
        majority([next(filled) if v is None else v for v in votes], undecided)
        for way in itertools.islice(itertools.product(values, repeat=votes.count(None)), 1000)
        for filled in [iter(way)]
    }
    assert ways == {verdict} if verdict is not None else len(ways) > 1
    order = data.draw(st.permutations(votes))
    assert majority(order, undecided) == verdict


def test_the_mean_takes_more_than_half_of_the_votes() -> None:
    assert mean([4.0, 5.0]) == 4.5
    assert mean([4.0, None, 5.0]) == 4.5
    assert mean([4.0, None]) is None
    assert mean([None]) is None


@pytest.mark.parametrize(
    ("straight", "swapped", "vote"),
    [(Y, Y, Y), (N, N, N), (T, T, T), (Y, N, T), (N, Y, T), (Y, T, T), (X, Y, None), (Y, X, None), (0.9, 0.8, 0.85)],
)
def test_orders_that_disagree_are_a_tie(straight: float | None, swapped: float | None, vote: float | None) -> None:
    found = agreed(straight, swapped)
    assert found == (None if vote is None else pytest.approx(vote))


def test_nearest() -> None:
    assert [nearest(v, 0.5) for v in (0, 0.24, 0.25, 0.75, 0.76, 1)] == [0, 0, 0.5, 0.5, 1, 1]
    assert [nearest(v, 0.0) for v in (0, 0.5, 0.51, 1)] == [0, 0, 1, 1]
