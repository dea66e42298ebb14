"""SkyRL-gym's own registry and environment against a live service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.api.support import Project
from tests.trainers.environment import BAD_REFERENCE, OUTAGE_S, PROMPT, RIGHT, WRONG
from tests.trainers.gate import Gate
from trainer_client import ItemsUnscoredError


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    import skyrl_gym
    from skyrl_gym.envs.registration import registry

    skyrl_gym.register(id="assay", entry_point="trainer_client.adapters.skyrl_gym:AssayEnv")
    yield
    del registry["assay"]


def episode(completion: str, reference: Any = "42", **config: Any) -> Any:
    """One episode, as SkyRL-gym's generator plays it."""
    import skyrl_gym

    row = {"reward_spec": {"ground_truth": reference, "verifier": "math"}}
    environment = skyrl_gym.make("assay", env_config=config, extras=row)
    environment.init([{"role": "user", "content": PROMPT}])
    step = environment.step(completion)
    return step["reward"], step["done"], environment.get_metrics()


def test_an_episode_gets_its_reward(assay: Project) -> None:
    assert episode(RIGHT) == (1.0, True, {"unscored": 0.0})
    assert episode(WRONG) == (0.0, True, {"unscored": 0.0})
    assert [row["outcome"] for row in assay.scores()] == ["incorrect", "correct"]


def test_an_unscored_episode_counts_what_was_chosen_and_never_a_silent_zero(assay: Project) -> None:
    assert episode(RIGHT, BAD_REFERENCE, fallback=0.5) == (0.5, True, {"unscored": 1.0})
    with pytest.raises(ItemsUnscoredError, match="fallback"):
        episode(RIGHT, BAD_REFERENCE)


def test_twenty_seconds_without_the_service_cost_nothing(assay: Project, gate: Gate) -> None:
    gate.close_for(OUTAGE_S)
    assert episode(RIGHT) == (1.0, True, {"unscored": 0.0})
    assert gate.refused_for_s == OUTAGE_S
