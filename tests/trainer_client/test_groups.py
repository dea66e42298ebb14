"""Which groups of a rollout are trained on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_client.algorithms import Degenerate
from trainer_client.groups import Fate, RolloutBuffer, fate, rows_in_loss

Scores = list[float | None]
GOOD: Scores = [1.0, 0.0]
EQUAL: Scores = [0.5, 0.5]
LONE: Scores = [1.0, None]
kinds = st.lists(st.sampled_from([GOOD, EQUAL, LONE]), min_size=60, max_size=60)
policies: st.SearchStrategy[Degenerate] = st.sampled_from(["keep", "mask", "resample"])


def fill(buffer: RolloutBuffer[str], scores: list[Scores], order: int = 1) -> list[int]:
    """Run a rollout to its end, adding each round's groups in order or backwards; the positions taken."""
    while positions := buffer.next_round():
        for position in positions[::order]:
            buffer.add(position, f"group {position}", scores[position])
    return [position for position, _ in buffer.take()]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1.0, 0.0], Fate.USABLE),
        ([0.1 + 0.2, 0.3], Fate.USABLE),  # exactly: no tolerance
        ([0.0, -0.0, 0.0], Fate.DEGENERATE),
        ([1.0, None, 1.0], Fate.DEGENERATE),
        ([1.0, None], Fate.DROPPED),
        ([1.0, math.nan], Fate.DROPPED),
        ([None, None], Fate.DROPPED),
        ([], Fate.DROPPED),
    ],
)
def test_the_fate_of_a_group(scores: list[float | None], expected: Fate) -> None:
    assert fate(scores) == expected


def test_equal_outcomes_with_unequal_steps_still_teach() -> None:
    assert fate([1.0, 1.0], [[0.5], [0.9]]) == Fate.USABLE
    assert fate([1.0, 1.0], [[0.5], [0.5]]) == Fate.DEGENERATE
    assert fate([1.0, 1.0, None], [[0.5], [0.5], [0.9]]) == Fate.DEGENERATE
    # alike in both, but one step is better than the other
    assert fate([1.0, 1.0], [[0.2, 0.8], [0.2, 0.8]]) == Fate.USABLE
    # more of them, but none is better; and only one has any, which is compared with nothing
    assert fate([1.0, 1.0], [[0.5, 0.5], [0.5]]) == Fate.DEGENERATE
    assert fate([1.0, 1.0], [[0.2, 0.8], []]) == Fate.DEGENERATE


def test_unscored_and_cut_completions_stay_out_of_the_loss() -> None:
    scores, truncated = [1.0, None, 0.0, math.nan], [False, False, True, True]
    assert rows_in_loss(scores, truncated, mask_truncated=False) == [True, False, True, False]
    assert rows_in_loss(scores, truncated, mask_truncated=True) == [True, False, False, False]


def test_degenerate_groups_are_kept() -> None:
    buffer = RolloutBuffer[str](wanted=3, policy="keep")
    assert fill(buffer, [GOOD, EQUAL, LONE]) == [0, 1]


def test_degenerate_groups_are_left_out_and_not_replaced() -> None:
    buffer = RolloutBuffer[str](wanted=3, policy="mask")
    assert fill(buffer, [GOOD, EQUAL, LONE]) == [0]
    assert buffer.requested == 3


def test_degenerate_and_lone_groups_are_replaced_by_the_next_prompts() -> None:
    buffer = RolloutBuffer[str](wanted=3, policy="resample")
    assert fill(buffer, [GOOD, EQUAL, LONE, GOOD, EQUAL, GOOD, GOOD]) == [0, 3, 5]
    counts = buffer.counts()
    assert (counts.sampled, counts.usable, counts.degenerate, counts.dropped) == (6, 3, 2, 1)
    assert (counts.refills, counts.unscored, counts.degenerate_share) == (2, 1, 0.4)


def test_a_refill_is_bounded_and_what_remains_is_trained_on() -> None:
    buffer = RolloutBuffer[str](wanted=2, policy="resample", max_refills=3)
    assert fill(buffer, [GOOD, *[EQUAL] * 50]) == [0]
    assert buffer.counts().sampled == 2 + 3


def test_nothing_at_all_is_an_empty_rollout() -> None:
    buffer = RolloutBuffer[str](wanted=2, policy="resample", max_refills=1)
    assert fill(buffer, [EQUAL] * 50) == []
    assert buffer.counts().degenerate_share == 1.0


@given(kinds, policies, st.integers(1, 8), st.integers(0, 4))
def test_arrival_decides_nothing(scores: list[Scores], policy: Degenerate, wanted: int, refills: int) -> None:
    first = fill(RolloutBuffer(wanted, policy, refills), scores)
    assert first == fill(RolloutBuffer(wanted, policy, refills), scores, order=-1)
    assert first == sorted(first) and len(first) <= wanted
    # in prompt order: every usable group before the last one taken is taken too
    good = [position for position in range(60) if fate(scores[position]) == Fate.USABLE]
    if policy == "resample":
        assert first == good[: len(first)]


def test_a_round_lasts_until_all_of_it_is_in() -> None:
    buffer = RolloutBuffer[str](wanted=3, policy="resample")
    assert buffer.next_round() == [0, 1, 2]
    buffer.add(1, "b", EQUAL)
    assert buffer.next_round() == [0, 2]
    buffer.add(2, "c", GOOD)
    buffer.add(0, "a", GOOD)
    assert buffer.next_round() == [3]


def test_a_group_counts_once() -> None:
    buffer = RolloutBuffer[str](wanted=1)
    buffer.next_round()
    buffer.add(0, "a", GOOD)
    for position in (0, 1, -1):
        with pytest.raises(ValueError, match="was not asked for, or has been added already"):
            buffer.add(position, "b", GOOD)
