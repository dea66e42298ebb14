"""The adapters that ask a foreign protocol's endpoint, on a live service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.app.api.support import Project, new_project
from tests.service import Service, free_port
from trainer_client import InvalidRequestError, ServiceUnavailableError, UnknownVerifierError
from trainer_client.adapters import nemo_gym, openrlhf
from trainer_client.adapters.scoring import async_reward_client, reward_client

RIGHT = "It is \\boxed{42}."
MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": RIGHT}]}
SAMPLE: dict[str, Any] = {
    "responses_create_params": {"input": [{"role": "user", "content": "6 times 7?"}]},
    "response": {"output": [MESSAGE]},
}


@pytest.fixture
async def live(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Project]:
    """A project that the environment names."""
    project = new_project(service)
    monkeypatch.setenv("ASSAY_URL", service.url)
    monkeypatch.setenv("ASSAY_API_KEY", project.new_key("score"))
    yield project
    await async_reward_client().close()
    reward_client().close()


@pytest.fixture
async def dead(live: Project, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """An address at which nobody answers."""
    monkeypatch.setenv("ASSAY_URL", f"http://127.0.0.1:{free_port()}")
    yield
    await async_reward_client().close()
    reward_client().close()


async def test_openrlhf_gets_rewards_and_the_same_names_for_every_sample(live: Project) -> None:
    function = openrlhf.reward_function("math@1", fallback=0.25, components=["style"], run="first")
    answer = function(["q" + RIGHT, "q" + RIGHT], ["q", "q"], ["42", {"answer": []}])
    logs = {"style": [0.0, 0.0], "unscored": [0.0, 1.0], "prompt_matched": [1.0, 1.0]}
    assert answer == {"rewards": [1.0, 0.25], "scores": [1.0, 0.25], "extra_logs": logs}
    assert {row["run"] for row in live.scores()} == {"first"}


async def test_openrlhf_without_a_fallback_gets_an_error(live: Project) -> None:
    with pytest.raises(InvalidRequestError):
        openrlhf.reward_function("math")([RIGHT], [""], [{"answer": []}])
    with pytest.raises(UnknownVerifierError):
        openrlhf.reward_function("none", fallback=0.0)([RIGHT], [""], ["42"])


async def test_openrlhf_in_an_outage_without_an_end(dead: None) -> None:
    answer = openrlhf.reward_function("math", fallback=-1.0, deadline_s=0.5)([RIGHT], [""], ["42"])
    logs = {"unscored": [1.0], "prompt_matched": [1.0]}
    assert answer == {"rewards": [-1.0], "scores": [0.0], "extra_logs": logs}
    with pytest.raises(ServiceUnavailableError):
        openrlhf.reward_function("math", deadline_s=0.5)([RIGHT], [""], ["42"])


async def test_nemo_gym_gets_its_fields_back(live: Project) -> None:
    answer = await nemo_gym.verified("math", {**SAMPLE, "expected_answer": "42", "row": 7})
    assert (answer["reward"], answer["mask_sample"], answer["row"]) == (1.0, False, 7)
    masked = await nemo_gym.verified("math", {**SAMPLE, "expected_answer": {"answer": []}})
    assert (masked["mask_sample"], masked["instance_config"]["mask_sample"]) == (True, True)


async def test_nemo_gym_in_an_outage_without_an_end_masks_the_sample(dead: None) -> None:
    answer = await nemo_gym.verified("math", {**SAMPLE, "instance_config": {"kept": 1}}, deadline_s=0.5)
    assert (answer["mask_sample"], answer["failure_kind"]) == (True, "transport_unreachable")
    assert answer["instance_config"] == {"kept": 1, "mask_sample": True}
