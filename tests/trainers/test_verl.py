"""verl's own reward manager and SandboxFusion client against a live service."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from tests.app.api.support import Project, ok
from tests.service import Service
from tests.trainers.environment import BAD_REFERENCE, OUTAGE_S, PROMPT, RIGHT, WRONG
from tests.trainers.gate import Gate
from trainer_client import ItemsUnscoredError

PROGRAM = "```python\nprint(int(input()) + 1)\n```"
CASES = {"inputs": ["1", "41"], "outputs": ["2", "42"]}


class Bytes:
    """Bytes are tokens."""

    def decode(self, ids: Any, **options: Any) -> str:
        return bytes(int(number) for number in ids).decode()


def manager(function: str, **kwargs: Any) -> Any:
    """The reward manager that verl makes of the lines in its configuration."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.reward import load_reward_manager

    custom = {
        "path": "pkg://trainer_client.adapters.verl",
        "name": function,
        "reward_kwargs": {"verifier": {"openai/gsm8k": "math"}, "deadline_s": 60, **kwargs},
    }
    named = {"source": "register", "name": "naive"}
    config = OmegaConf.create({"reward": {"custom_reward_function": custom, "reward_manager": named}})
    return load_reward_manager(config, Bytes())


def sample(completion: str, truth: Any) -> Any:
    """A sample as verl's rollout leaves it, padded on the right."""
    import torch
    from verl import DataProto

    response = torch.tensor([[*completion.encode(), 0, 0]])
    mask = torch.ones(1, 3 + response.shape[1], dtype=torch.long)
    mask[0, -2:] = 0
    facts: dict[str, Any] = {
        "data_source": "openai/gsm8k",
        "reward_model": {"ground_truth": truth, "style": "rule"},
        "extra_info": {"index": np.int64(7), "question": PROMPT, "split": "train"},
    }
    columns = {name: np.array([value], dtype=object) for name, value in facts.items()}
    return DataProto.from_dict(
        {"prompts": torch.ones(1, 3, dtype=torch.long), "responses": response, "attention_mask": mask}, columns
    )


FUNCTIONS = ["compute_score", "compute_score_async"]


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_the_reward_manager_gets_rewards_of_one_schema(function: str, assay: Project) -> None:
    rewards = manager(function, fallback=0.25, components=["style"])
    samples = [sample(RIGHT, "42"), sample(WRONG, "42"), sample(RIGHT, BAD_REFERENCE)]
    results = await asyncio.gather(*(rewards.run_single(one) for one in samples))
    assert [result["reward_score"] for result in results] == [1.0, 0.0, 0.25]
    extra = [result["reward_extra_info"] for result in results]
    assert extra[0].keys() == extra[1].keys() == extra[2].keys()
    assert [(entry["unscored"], entry["outcome"]) for entry in extra] == [
        (0.0, "correct"),
        (0.0, "incorrect"),
        (1.0, "unscored"),
    ]
    assert sorted(row["outcome"] for row in assay.scores()) == ["correct", "incorrect", "unscored"]
    scored = ok(assay.get(f"/scores/{extra[0]['score_id']}"))["item"]
    assert (scored["prompt"], scored["metadata"]["index"]) == (PROMPT, 7)


async def test_without_a_fallback_an_unscored_sample_is_an_error_and_no_zero(assay: Project) -> None:
    with pytest.raises(ItemsUnscoredError, match="fallback"):
        await manager("compute_score_async").run_single(sample(RIGHT, BAD_REFERENCE))


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_twenty_seconds_without_the_service_cost_nothing(function: str, assay: Project, gate: Gate) -> None:
    rewards = manager(function)
    gate.close_for(OUTAGE_S)
    results = await asyncio.gather(*(rewards.run_single(sample(text, "42")) for text in (RIGHT, WRONG)))
    assert gate.refused_for_s == OUTAGE_S
    assert [result["reward_score"] for result in results] == [1.0, 0.0]
    assert len(assay.scores()) == 2


async def test_an_outage_without_an_end_ends_at_the_deadline(assay: Project, gate: Gate) -> None:
    gate.close()
    result = await manager("compute_score_async", fallback=0.25, deadline_s=2).run_single(sample(RIGHT, "42"))
    assert (result["reward_score"], result["reward_extra_info"]["unscored"]) == (0.25, 1.0)


def judged(url: str, completion: str = PROGRAM) -> Any:
    """verl's own code reward: the share of cases that pass, and what became of each."""
    from verl.utils.reward_score import default_compute_score

    return default_compute_score("codecontests", completion, CASES, sandbox_fusion_url=url, memory_limit_mb=1024)


@pytest.fixture
def url(gate: Gate, project: Project, service: Service) -> str:
    """The argument reward.sandbox_fusion.url."""
    if not ok(service.get("/sandbox"))["ready"]:
        pytest.skip("no sandbox here")
    return f"{gate.url}/compat/sandbox-fusion/run_code?key={project.new_key('score')}"


def test_its_sandbox_client_runs_programs_here(url: str) -> None:
    assert judged(url) == 1.0
    assert judged(url, PROGRAM.replace("+ 1", "+ int(input())")) == 0.0
    assert judged(url, PROGRAM.replace("+ 1", "* 2")) == 0.5


def test_its_sandbox_client_waits_for_slow_answers(url: str, gate: Gate) -> None:
    gate.answer_after_s = 2
    started = time.monotonic()
    assert judged(url) == 1.0
    assert time.monotonic() - started >= 2  # the answers were slow, or this says nothing


def test_its_sandbox_client_takes_a_lost_connection_for_a_failed_case(url: str, gate: Gate) -> None:
    """Which no server can prevent, and why the page of verl recommends the reward function."""
    gate.close()
    assert judged(url) == 0.0
