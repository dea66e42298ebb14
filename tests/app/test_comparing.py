"""Groups through a verifier that compares two at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.comparing import Group, compare, games_of, games_of_scores, verdicts_of
from verifiers.base import ErrorType, Item, Outcome, Verdict
from verifiers.lent import Pair


class Longer:
    """Prefers the longer completion, and cannot tell where one says `hide`."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def __call__(self, pairs: Sequence[Pair]) -> list[Verdict]:
        self.calls.append(len(pairs))
        return [self._one(pair) for pair in pairs]

    @staticmethod
    def _one(pair: Pair) -> Verdict:
        first, second = pair.first.text, pair.second.text
        if "hide" in (first, second):
            return Verdict.unscored(ErrorType.JUDGE_REFUSED, "it would not say", retryable=True)
        score = 0.5 if len(first) == len(second) else float(len(first) > len(second))
        return Verdict(Outcome.SCORED, score, {"stage": "judged"})


def group(*texts: str) -> Group:
    return Group([Item(completion=text) for text in texts])


async def test_all_groups_play_a_round_in_one_call() -> None:
    prefer = Longer()
    groups = [group("a", "aaa", "aa"), group("b", "b"), group(*("c" * (n + 1) for n in range(16)))]
    await compare(groups, "auto", prefer)
    assert prefer.calls == [3 + 1 + 8, 8, 8, 8, 8]
    assert [verdict.score for verdict in verdicts_of(groups[0])] == [0.0, 1.0, 0.5]
    assert [verdict.score for verdict in verdicts_of(groups[1])] == [0.5, 0.5]
    best = [verdict.score for verdict in verdicts_of(groups[2])]
    assert best.index(max(score or 0.0 for score in best)) == 15


async def test_what_cannot_be_told_is_unscored_with_the_reason() -> None:
    one = group("hide", "aa", "a")
    await compare([one], "auto", Longer())
    hidden, *others = verdicts_of(one)
    assert hidden.outcome is Outcome.UNSCORED
    assert hidden.error is not None
    assert (hidden.error.type, hidden.error.retryable) == (ErrorType.JUDGE_REFUSED, True)
    assert [verdict.score for verdict in others] == [1.0, 0.0]
    assert others[0].detail["against"] == {"0": None, "2": 1.0}


async def test_a_share_of_few_of_its_games_is_no_score() -> None:
    """One that won the single game of three that could be told would stand above those that were judged."""
    one = group("hide", "hide", "aa", "a")
    await compare([one], "all", Longer())
    verdicts = verdicts_of(one)
    assert [verdict.score for verdict in verdicts] == [None] * 4
    assert verdicts[2].error == verdicts[0].error
    assert verdicts[2].detail["against"] == {"0": None, "1": None, "3": 1.0}
    one = group("hide", "aaa", "aa", "a")
    await compare([one], "all", Longer())
    assert [verdict.score for verdict in verdicts_of(one)] == [None, 1.0, 0.5, 0.0]


async def test_what_the_games_took_is_told_once() -> None:
    async def costly(pairs: Sequence[Pair]) -> list[Verdict]:
        took = {"calls": 2, "prompt_tokens": 10, "completion_tokens": 1, "cost": 0.25}
        return [Verdict(Outcome.SCORED, 1.0, {"stage": "judged", "usage": took}) for _ in pairs]

    one = group(*"abcd")
    await compare([one], "all", costly)
    told = [verdict.detail.get("usage", {}) for verdict in verdicts_of(one)]
    assert [took.get("calls", 0) for took in told] == [6, 4, 2, 0]
    assert sum(took.get("cost", 0) for took in told) == 6 * 0.25


async def test_the_games_can_be_told_from_the_verdicts() -> None:
    one = group("a", "aaa", "aa", "hide", "aa")
    await compare([one], "all", Longer())
    assert games_of([verdict.detail for verdict in verdicts_of(one)]) == one.played
    assert games_of([{}, {"stage": "x"}]) == {}


async def test_no_groups_ask_nothing() -> None:
    prefer = Longer()
    await compare([], "auto", prefer)
    assert prefer.calls == []


@pytest.mark.parametrize(
    ("scores", "games"),
    [
        ([1.0, 0.0, 1.0], {(0, 1): 1.0, (0, 2): 0.5, (1, 2): 0.0}),
        ([1.0, None], {}),
    ],
)
def test_scores_tell_of_every_pair(scores: list[float | None], games: dict[tuple[int, int], float]) -> None:
    assert games_of_scores(scores) == games
