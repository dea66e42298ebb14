"""Sampling: the distribution that is drawn from, where completions end, and what is independent of the batch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer_client.making import EOS, PROMPTS, drawn, other, policy, sampler
from trainer_client.rollout import draw, truncated
from trainer_client.training_errors import NotFiniteError

LOGITS = torch.tensor([0.5, -1.0, 2.0, 0.0, float("-inf")])


def grid(logits: torch.Tensor, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws at 10,000 numbers spread evenly over [0, 1), which a correct sampler turns into exact shares."""
    numbers = (torch.arange(10_000) + 0.5) / 10_000
    options.setdefault("temperature", 1.0)
    return draw(logits.expand(10_000, -1), numbers, **options)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_in_the_shares_that_the_model_gives_them(temperature: float) -> None:
    tokens, logprobs = grid(LOGITS, temperature=temperature)
    wanted = (LOGITS / temperature).softmax(-1)
    assert torch.allclose(tokens.bincount(minlength=5) / 10_000, wanted, atol=2e-4)
    assert torch.allclose(logprobs.exp(), wanted[tokens])


def test_temperature_0_takes_the_most_probable() -> None:
    tokens, logprobs = grid(LOGITS, temperature=0)
    assert set(tokens.tolist()) == {2}
    assert logprobs[0] == pytest.approx(LOGITS.log_softmax(-1)[2].item())


def test_truncation_leaves_the_rest_renormalised() -> None:
    tokens, logprobs = grid(LOGITS, top_k=2)
    assert set(tokens.tolist()) == {0, 2}
    pair = LOGITS[[0, 2]].softmax(-1)
    assert logprobs[tokens == 0].exp().tolist() == pytest.approx([pair[0].item()] * int((tokens == 0).sum()))
    assert logprobs[tokens == 2].exp().tolist() == pytest.approx([pair[1].item()] * int((tokens == 2).sum()))


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p() -> None:
    logprobs = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    for top_p, size in ((0.4, 1), (0.49, 1), (0.51, 2), (0.74, 2), (0.76, 3), (0.99, 4)):
        assert int(truncated(logprobs, 0, top_p).isfinite().sum()) == size


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=40), st.integers(0, 2**24 - 1))
@settings(max_examples=200, deadline=None)
def test_a_token_of_no_probability_is_never_drawn(logits: list[float], number: int) -> None:
    values = torch.tensor([[*logits, float("-inf"), float("-inf")]])
    token, logprob = draw(values, torch.tensor([number / 2**24]), 1.0)
    assert int(token) < len(logits)
    assert math.isfinite(float(logprob))


def test_completions_end_at_an_eos_or_at_the_bound() -> None:
    for completion in (each for group in drawn(sampler(policy()), PROMPTS, 16) for each in group):
        assert EOS not in completion.token_ids[:-1]
        assert completion.finish_reason == ("stop" if completion.token_ids[-1] == EOS else "length")
        assert completion.finish_reason == "stop" or len(completion.token_ids) == 6
        assert len(completion.token_ids) == len(completion.logprobs) == len(completion.mask)
        assert "<end>" not in completion.text


def test_each_completion_is_handed_over_once_it_ends() -> None:
    lengths = [
        {len(completion.token_ids) for completion in finished}
        for finished in sampler(policy()).generate(PROMPTS, ["a", "b", "c"], 16)
    ]
    assert all(len(own) == 1 for own in lengths)
    assert sorted(lengths, key=min) == lengths
    assert len(lengths) > 2


@pytest.mark.parametrize("architecture", ["qwen", "llama", "gemma", "mistral"])
def test_a_cache_shared_by_a_group_gives_the_models_own_probabilities(architecture: str) -> None:
    model = policy() if architecture == "qwen" else other(architecture)
    for prompt, group in zip(PROMPTS, drawn(sampler(model), PROMPTS, 4), strict=True):
        for completion in group:
            with torch.no_grad():
                logits = model(torch.tensor([prompt + completion.token_ids])).logits[0].float()
            wanted = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(-1, torch.tensor([completion.token_ids]).T)
            assert completion.logprobs == pytest.approx(wanted.squeeze(-1).tolist(), abs=1e-4)


def test_what_is_drawn_depends_on_the_key_and_not_on_the_batch() -> None:
    model = policy()
    together = drawn(sampler(model), PROMPTS, 4)
    narrow = drawn(sampler(model, rows=3), PROMPTS, 4)
    alone = [drawn(sampler(model), [prompt], 4, keys=[f"key{place}"])[0] for place, prompt in enumerate(PROMPTS)]
    for others in (narrow, alone):
        assert [[each.token_ids for each in group] for group in others] == [
            [each.token_ids for each in group] for group in together
        ]
    other_keys = drawn(sampler(model), PROMPTS, 4, keys=["x", "y", "z"])
    assert [each.token_ids for each in other_keys[0]] != [each.token_ids for each in together[0]]


def test_the_same_is_drawn_again_to_the_bit() -> None:
    assert drawn(sampler(policy()), PROMPTS, 8) == drawn(sampler(policy()), PROMPTS, 8)


def test_a_stop_text_ends_a_completion_and_stays_in_it() -> None:
    free = [each for group in drawn(sampler(policy()), PROMPTS, 16) for each in group]
    stopped = [each for group in drawn(sampler(policy(), stop=["7", "12"]), PROMPTS, 16) for each in group]
    cut = 0
    for before, after in zip(free, stopped, strict=True):
        ends = [before.text.find(stop) + len(stop) for stop in ("7", "12") if stop in before.text]
        assert after.text == (before.text[: min(ends)] if ends else before.text)
        cut += bool(ends)
        assert after.finish_reason == "stop" or not ends
    assert cut > 2


def test_a_model_in_training_stays_in_training() -> None:
    model = policy().train()
    stream = sampler(model).generate(PROMPTS, ["a", "b", "c"], 2)
    next(stream)
    assert torch.is_grad_enabled()
    list(stream)
    assert model.training


def test_nan_is_no_completion() -> None:
    model = policy()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="NaN"):
        drawn(sampler(model), PROMPTS)
