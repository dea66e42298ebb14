"""Log-probabilities of completions: shared prompts give the same values and the same gradients as separate rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainer_client.making import PROMPTS, other, policy
from trainer_client import logprobs
from trainer_client.logprobs import can_share_prompts, completion_logprobs, values_of

COMPLETIONS = [[1, 2, 3, 12], [4, 12], [7], [7, 7, 7, 7, 7, 7], [0, 12], [12]]
OF_ROW = [0, 0, 0, 1, 1, 2]


def rows() -> list[list[int]]:
    return [PROMPTS[place] for place in OF_ROW]


def gradients(model: Any, temperature: float = 1.0) -> dict[str, torch.Tensor]:
    model.zero_grad()
    logp = completion_logprobs(model, rows(), COMPLETIONS, temperature=temperature).logp
    total = sum(
        ((place + 1) * logp[row, place] for row, tokens in enumerate(COMPLETIONS) for place in range(len(tokens))),
        start=torch.zeros(()),
    )
    total.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def model_of(architecture: str) -> Any:
    return policy() if architecture == "qwen" else other(architecture)


@pytest.mark.parametrize("architecture", ["qwen", "llama", "gemma", "mistral"])
def test_values_are_the_models_own(architecture: str) -> None:
    model = model_of(architecture)
    found = completion_logprobs(model, rows(), COMPLETIONS, temperature=0.7, entropy=True)
    assert found.entropy is not None
    for row, (prompt, tokens) in enumerate(zip(rows(), COMPLETIONS, strict=True)):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1].float() / 0.7
        wanted = logits.log_softmax(-1).gather(-1, torch.tensor([tokens]).T).squeeze(-1)
        assert torch.allclose(found.logp[row, : len(tokens)], wanted, atol=1e-4)
        entropy = torch.distributions.Categorical(logits=logits).entropy()
        assert torch.allclose(found.entropy[row, : len(tokens)], entropy, atol=1e-4)


@pytest.mark.parametrize("architecture", ["qwen", "llama", "gemma"])
def test_a_shared_prompt_has_the_gradient_of_separate_rows(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(architecture).train()
    assert can_share_prompts(model)
    shared = gradients(model)
    monkeypatch.setattr(logprobs, "can_share_prompts", lambda model: False)
    for name, gradient in gradients(model).items():
        assert torch.allclose(gradient, shared[name], atol=1e-4 * float(gradient.abs().max()) + 1e-6), name


def test_prompts_of_one_length_need_no_mask() -> None:
    model = policy()
    prompts = [[1, 2, 10], [1, 2, 10], [3, 4, 10], [3, 4, 10]]
    found = completion_logprobs(model, prompts, COMPLETIONS[:4]).logp
    for row, (prompt, tokens) in enumerate(zip(prompts, COMPLETIONS, strict=False)):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        wanted = logits.gather(-1, torch.tensor([tokens]).T).squeeze(-1)
        assert torch.allclose(found[row, : len(tokens)], wanted, atol=1e-5)


def test_prompts_are_not_shared_where_the_cache_would_not_hold_them_whole() -> None:
    assert not can_share_prompts(other("mistral"))
    checkpointing = policy().train()
    checkpointing.activation_checkpointing_enable()
    assert not can_share_prompts(checkpointing)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    model = policy().train()
    before = gradients(model)
    model.activation_checkpointing_enable()
    for name, gradient in gradients(model).items():
        assert torch.allclose(gradient, before[name], atol=1e-4 * float(gradient.abs().max()) + 1e-6), name


def test_plain_values_are_those_of_the_model_in_evaluation_mode() -> None:
    model = policy().train()
    values = values_of(model, rows(), COMPLETIONS, 1.0)
    assert model.training
    assert [len(row) for row in values] == [len(tokens) for tokens in COMPLETIONS]
    logp = completion_logprobs(model, rows(), COMPLETIONS).logp
    assert values[3] == pytest.approx(logp[3].tolist(), abs=1e-5)
