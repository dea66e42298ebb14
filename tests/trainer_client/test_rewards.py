"""Completions are scored as they come, and one that was scored is not scored again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service import free_port
from trainer_client import RewardClient
from trainer_client.config import RewardSection
from trainer_client.data import Row
from trainer_client.results import Verdict, VerdictError
from trainer_client.rewards import Rewards, Scored, check_scored
from trainer_client.rollout import Completion, Group
from trainer_client.training_errors import RewardError

EXACT = RewardSection(verifier={"kind": "text"}, weight=2.0)
LONG = RewardSection(verifier={"kind": "regex", "config": {"pattern": "..."}})


def groups(second: Any = "bcd") -> list[Group]:
    rows = [Row(1, "1>", "a", metadata={"x": 1}), Row(2, "2>", second)]
    texts = [["a", "b", "abc"], ["b", "bcd", ""]]
    return [
        Group(
            place + 10, row, [1],
            [Completion(place, sample, [1], [0.0], [1], "stop", text) for sample, text in enumerate(own)],
        )
        for place, (row, own) in enumerate(zip(rows, texts, strict=True))
    ]  # fmt: skip


def scored(client: Any, run: str, *sections: RewardSection, second: Any = "bcd") -> list[Scored]:
    made = groups(second)
    rewards = Rewards(client, sections, run)
    try:
        for sample in (2, 0, 1):  # in another order than that of the groups
            rewards.send(4, made, [group.completions[sample] for group in reversed(made)])
        return rewards.wait(made)
    finally:
        rewards.close()


def test_verdicts_find_their_completions(client: RewardClient) -> None:
    found = scored(client, "found", EXACT, LONG)
    assert [each.scores for each in found] == [[2, 0, 1], [0, 3, 0]]
    assert [[verdict.score for verdict in own] for own in found[1].verdicts] == [[0, 0], [1, 1], [0, 0]]
    stored = client.request("GET", "/scores", params={"run": "found"})["items"]
    assert {(row["run"], row["step"]) for row in stored} == {("found", 4)}
    assert len(stored) == 12


def test_the_same_completions_of_the_same_run_get_the_recorded_verdicts(client: RewardClient) -> None:
    ids = [
        [verdict.score_id for each in scored(client, run, EXACT) for own in each.verdicts for verdict in own]
        for run in ("once", "once", "another")
    ]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


def test_a_reward_that_lacks_a_part_is_none(client: RewardClient) -> None:
    found = scored(client, "lacks", EXACT, LONG, second=None)
    assert [each.scores for each in found] == [[2, 0, 1], [None] * 3]
    assert [own[1].score for own in found[1].verdicts] == [0, 1, 0]


def test_a_service_that_stays_away_is_a_reward_error() -> None:
    with (
        RewardClient(f"http://127.0.0.1:{free_port()}", "k" * 20, deadline_s=0.3) as away,
        pytest.raises(RewardError, match="rewards cannot be had"),
    ):
        scored(away, "away", EXACT)


def test_too_many_without_a_score_stop_the_run_with_the_commonest_reason() -> None:
    def verdict(error: VerdictError | None) -> Verdict:
        score = 1.0 if error is None else None
        return Verdict("a", "b", "math@1", score, "scored", {}, {}, None, error, 0.0, False)

    common, rare = VerdictError("bad_item", "no reference", False), VerdictError("timeout", "late", True)
    errors = [common, common, rare, None]
    made = Scored(groups()[0], [[verdict(error)] for error in errors], [1.0 if e is None else None for e in errors])
    check_scored([made], 0.75)
    with pytest.raises(RewardError, match=r"3 of 4 .* most often \(2\) because math@1: bad_item: no reference"):
        check_scored([made], 0.7)
