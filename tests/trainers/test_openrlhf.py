"""OpenRLHF's own single-turn executor against a live service: over HTTP, and by the adapter's reward function."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.app.api.support import Project
from tests.trainers.environment import BAD_LABEL, OUTAGE_S, PROMPT, RIGHT, WRONG
from tests.trainers.gate import Gate

END = "<|im_end|>"


class Letters:
    """Characters are tokens, the end token too."""

    def __call__(self, text: str, **options: Any) -> dict[str, Any]:
        import torch

        return {"input_ids": torch.tensor([self.ids(text)])}

    @staticmethod
    def ids(text: str) -> list[int]:
        return [ord(letter) for letter in text.replace(END, "\0")]

    def decode(self, ids: Sequence[int], **options: Any) -> str:
        return "".join(chr(number) for number in ids).replace("\0", END)


class Engine:
    """What vLLM's engine answers: always the same completion."""

    def __init__(self, completion: str) -> None:
        self._completion = completion

    async def generate(self, prompt_ids: list[int], parameters: Any, **options: Any) -> Any:
        ids = Letters.ids(self._completion + END)
        return SimpleNamespace(
            outputs=[SimpleNamespace(token_ids=ids, text=self._completion, finish_reason="stop", logprobs=None)]
        )


async def rollout(url: str, completion: str, label: Any = "42", room: int = 1000) -> dict[str, Any]:
    """One sample as OpenRLHF makes it, with at most `room` tokens for prompt and completion."""
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    parameters = SimpleNamespace(max_tokens=100, logprobs=None)
    executor = SingleTurnAgentExecutor(url)
    sample: dict[str, Any] = await executor.execute(PROMPT, label, parameters, room, Letters(), Engine(completion))
    return sample


@pytest.fixture
def url(gate: Gate, project: Project) -> str:
    """The argument of --reward.remote_url."""
    return f"{gate.url}/compat/openrlhf/math?key={project.new_key('score')}&fallback=0.25"


@pytest.fixture
def file(assay: Project, tmp_path: Path) -> str:
    """The same, for the adapter."""
    path = tmp_path / "reward.py"
    path.write_text(
        "from trainer_client.adapters.openrlhf import reward_function\n"
        'reward_func = reward_function("math", fallback=0.25, deadline_s=60)\n'
    )
    return str(path)


@pytest.fixture(params=["url", "file"])
def address(request: pytest.FixtureRequest, url: str, file: str) -> str:
    """Either of them."""
    return {"url": url, "file": file}[request.param]


async def test_a_rollout_gets_its_reward(address: str, project: Project) -> None:
    right, wrong, unscored = await asyncio.gather(
        rollout(address, RIGHT), rollout(address, WRONG), rollout(address, RIGHT, BAD_LABEL)
    )
    assert [sample["reward"] for sample in (right, wrong, unscored)] == [[1.0], [0.0], [0.25]]
    assert right["scores"] == [1.0]
    assert right["extra_logs"] == {"unscored": [0.0], "prompt_matched": [1.0]}
    assert unscored["extra_logs"]["unscored"] == [1.0]
    assert sorted(row["outcome"] for row in project.scores()) == ["correct", "incorrect", "unscored"]


async def test_a_prompt_that_it_truncates_is_told(url: str) -> None:
    sample = await rollout(url, RIGHT, room=100 + len(PROMPT) - 5)
    assert sample["reward"] == [1.0]
    assert sample["extra_logs"]["prompt_matched"] == [0.0]


async def test_its_http_client_outlasts_a_restart_of_three_seconds(url: str, gate: Gate) -> None:
    gate.close_for(3)
    assert (await rollout(url, RIGHT))["reward"] == [1.0]


async def test_its_http_client_gives_up_in_a_longer_outage_and_says_no_number(url: str, gate: Gate) -> None:
    gate.close()
    sample = await rollout(url, RIGHT)
    assert (sample["reward"], sample["scores"]) == (None, None)


async def test_the_adapter_outlasts_twenty_seconds(file: str, gate: Gate, project: Project) -> None:
    gate.close_for(OUTAGE_S)
    samples = await asyncio.gather(rollout(file, RIGHT), rollout(file, WRONG))
    assert gate.refused_for_s == OUTAGE_S
    assert [sample["reward"] for sample in samples] == [[1.0], [0.0]]
    assert len(project.scores()) == 2


async def test_the_adapter_ends_at_its_deadline_with_the_fallback(assay: Project, gate: Gate) -> None:
    from trainer_client import ServiceUnavailableError
    from trainer_client.adapters.openrlhf import reward_function

    gate.close()
    asked = ([PROMPT + RIGHT], [PROMPT], ["42"])
    function = reward_function("math", fallback=-1.0, components=["style"], deadline_s=2)
    answer = await asyncio.to_thread(function, *asked)
    logs = {"style": [0.0], "unscored": [1.0], "prompt_matched": [1.0]}
    assert answer == {"rewards": [-1.0], "scores": [0.0], "extra_logs": logs}
    with pytest.raises(ServiceUnavailableError):
        await asyncio.to_thread(reward_function("math", deadline_s=1), *asked)


async def test_slow_answers_are_waited_for(url: str, gate: Gate) -> None:
    gate.answer_after_s = 3
    started = time.monotonic()
    assert (await rollout(url, RIGHT))["reward"] == [1.0]
    assert time.monotonic() - started >= 3  # the answer was slow, or this says nothing


async def test_samples_of_different_verdicts_make_one_batch(url: str, project: Project) -> None:
    """OpenRLHF fails, some steps later, where the samples of a batch have different names in `extra_logs`."""
    import torch
    from openrlhf.trainer.ppo_utils.experience import Experience, make_experience_batch, split_experience_batch

    style = {"verifier": {"kind": "text", "config": {"mode": "contains"}}, "weight": 1}
    parts = {"kind": "composite", "name": "both", "config": {"parts": {"style": style}}}
    assert project.post("/verifiers", parts).status == 201
    labels = ["42", BAD_LABEL, '{"verifier": "both", "reference": "42"}']
    samples = await asyncio.gather(*(rollout(f"{url}&component=style", RIGHT, label) for label in labels))
    assert [sample["extra_logs"]["style"] for sample in samples] == [[0.0], [0.0], [1.0]]
    experiences = [
        Experience(
            sequences=torch.tensor([sample["observation_tokens"]]),
            info={name: torch.tensor([value]) for name, value in sample["extra_logs"].items()},
        )
        for sample in samples
    ]
    batch = make_experience_batch(split_experience_batch(Experience.concat_experiences(experiences, 0)))
    assert torch.stack(batch.info["style"]).flatten().tolist() == [0.0, 0.0, 1.0]
