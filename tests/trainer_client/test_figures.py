"""The metrics of a rollout say what the verifiers gave."""

from __future__ import annotations

import pytest

from tests.trainer_client.test_batch import verdict
from trainer_client.config import RewardSection
from trainer_client.data import Row
from trainer_client.figures import rollout_metrics
from trainer_client.groups import Counts
from trainer_client.rewards import Scored
from trainer_client.rollout import Completion, Group


def scored(table: list[list[float | None]], totals: list[float | None]) -> Scored:
    completions = [Completion(0, place, [1], [0.0], [1], "stop", str(place)) for place in range(len(table))]
    return Scored(Group(0, Row(1, "p"), [1], completions), [[verdict(each) for each in row] for row in table], totals)


def test_the_mean_reward_is_that_of_scores_also_where_a_verifier_is_normalised() -> None:
    # Normalised, the rewards of a group have a mean of 0, whatever the policy learns: no alarm could tell a gain.
    sections = [RewardSection(verifier="a", weight=2.0, normalise=True), RewardSection(verifier="b", weight=0.0)]
    each = scored([[1.0, None], [0.5, 9.0], [None, 1.0]], [1.4, -1.4, None])
    values = rollout_metrics([each], Counts(), sections)
    assert values["reward/mean"] == pytest.approx(1.5)
    assert (values["reward/0_a"], values["reward/1_b"]) == (0.75, 5.0)
    assert values["reward/unscored_share"] == pytest.approx(1 / 3)
