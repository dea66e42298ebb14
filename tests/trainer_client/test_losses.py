"""The losses: cases worked by hand from the papers' formulas, and what holds for any input."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer_client.algorithms import ALGORITHMS
from trainer_client.losses import (
    Answers,
    dpo_loss,
    ipo_loss,
    kto_loss,
    kto_reference_point,
    loss_denominator,
    mismatch,
    mismatched_partners,
    nll_loss,
    policy_loss,
    summarise,
)

VARIANTS: dict[str, dict[str, Any]] = {
    name: {
        "ratio": algorithm.ratio,
        "clip_low": algorithm.clip_low,
        "clip_high": algorithm.clip_high,
        "cap": algorithm.cap,
        "aggregate": algorithm.aggregate,
        "max_length": 12,
        "unbiased_kl": algorithm.unbiased_kl,
    }
    for name, algorithm in ALGORITHMS.items()
}
VARIANTS["grpo, unbiased KL"] = {**VARIANTS["grpo"], "unbiased_kl": True}


def batch(seed: int, rows: int = 6, tokens: int = 7) -> dict[str, Tensor]:
    """Log-probabilities of a policy that has moved, completions of unequal length, a token of a tool in one."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(tokens) < torch.randint(1, tokens + 1, (rows, 1), generator=generator)
    mask[0, 1:2] = False
    logp = -3 * torch.rand(rows, tokens, generator=generator)
    return {
        "logp": logp.requires_grad_(),
        "old_logp": logp.detach() + 0.5 * torch.randn(rows, tokens, generator=generator),
        "advantages": torch.randn(rows, generator=generator),
        "mask": mask,
        "ref_logp": logp.detach() + 0.5 * torch.randn(rows, tokens, generator=generator),
    }


def logs(*rows: list[float]) -> Tensor:
    return torch.tensor(rows).log().requires_grad_()


def test_a_clipped_ratio_stops_the_loss_and_the_gradient() -> None:
    # ratios 1.5 and 1.1, an advantage of 2: min(3, 2.4) and min(2.2, 2.4), a mean over two tokens
    logp, old = logs([0.6, 0.55]), torch.tensor([[0.4, 0.5]]).log()
    result = policy_loss(logp, old, torch.tensor([2.0]), torch.ones(1, 2))
    result.loss.backward()
    assert result.loss.item() == pytest.approx(-(2.4 + 2.2) / 2, rel=1e-6)
    # the gradient of r A by logp is r A; the clipped token has none
    assert logp.grad is not None and logp.grad.tolist() == [[0.0, pytest.approx(-2.2 / 2, rel=1e-5)]]


def test_a_ratio_that_is_clipped_on_the_pessimistic_side_keeps_its_gradient() -> None:
    # an advantage below 0 and a ratio above 1 + clip: the minimum is the unclipped term (PPO's pessimistic bound)
    logp, old = logs([0.6]), torch.tensor([[0.4]]).log()
    result = policy_loss(logp, old, torch.tensor([-2.0]), torch.ones(1, 1))
    result.loss.backward()
    assert result.loss.item() == pytest.approx(3.0, rel=1e-6)
    assert logp.grad is not None and logp.grad.item() == pytest.approx(3.0, rel=1e-5)


def test_clip_higher_lets_a_rising_token_rise_further() -> None:
    logp, old = logs([0.6]), torch.tensor([[0.4]]).log()
    dapo = policy_loss(logp, old, torch.tensor([1.0]), torch.ones(1, 1), clip_low=0.2, clip_high=0.28)
    assert dapo.loss.item() == pytest.approx(-1.28)


def test_gspo_takes_the_geometric_mean_of_a_sequence_s_ratios() -> None:
    # ratios 2 and 0.5 over two tokens: their geometric mean is 1, so nothing is clipped at 3e-4
    logp, old = logs([0.8, 0.2]), torch.tensor([[0.4, 0.4]]).log()
    result = policy_loss(
        logp, old, torch.tensor([3.0]), torch.ones(1, 2), ratio="sequence", clip_low=3e-4, clip_high=4e-4,
        aggregate="sequence",
    )  # fmt: skip
    result.loss.backward()
    assert result.loss.item() == pytest.approx(-3.0, rel=1e-6)
    # eq. 10: s A / |y| for each token
    assert logp.grad is not None and torch.allclose(logp.grad, torch.tensor([[-1.5, -1.5]]))


def test_rloo_takes_a_sequence_as_one_action() -> None:
    # the product of the ratios 1.5 and 0.5 is 0.75: below 1 - 0.2, where a negative advantage is clipped at 0.8
    logp, old = logs([0.6, 0.2]), torch.tensor([[0.4, 0.4]]).log()
    kwargs: dict[str, Any] = {"ratio": "product", "aggregate": "sequence"}
    assert policy_loss(logp, old, torch.tensor([2.0]), torch.ones(1, 2), **kwargs).loss.item() == pytest.approx(-1.5)
    assert policy_loss(logp, old, torch.tensor([-2.0]), torch.ones(1, 2), **kwargs).loss.item() == pytest.approx(1.6)


def test_on_policy_rloo_is_reinforce_on_the_whole_sequence() -> None:
    logp = logs([0.6, 0.2], [0.3, 0.9])
    loss = policy_loss(
        logp, logp.detach(), torch.tensor([2.0, -1.0]), torch.ones(2, 2), ratio="product", aggregate="sequence"
    ).loss
    loss.backward()
    assert logp.grad is not None and torch.allclose(logp.grad, torch.tensor([[-1.0, -1.0], [0.5, 0.5]]))


def test_cispo_weighs_every_token_by_a_capped_ratio_and_drops_none() -> None:
    # ratios 6 and 0.5, cap 5: -min(r, 5) A logp; the gradient is -min(r, 5) A, also beyond the cap
    logp, old = logs([0.6, 0.2]), torch.tensor([[0.1, 0.4]]).log()
    result = policy_loss(logp, old, torch.tensor([2.0]), torch.ones(1, 2), cap=5.0)
    result.loss.backward()
    assert result.loss.item() == pytest.approx(-(5 * 2 * math.log(0.6) + 0.5 * 2 * math.log(0.2)) / 2, rel=1e-5)
    assert logp.grad is not None and torch.allclose(logp.grad, torch.tensor([[-5.0, -0.5]]))
    assert summarise([result.stats])["clip_high"] == 0.5


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [("token", -(3 * 1 + 1 * 5) / 4), ("sequence", -(1 + 5) / 2), ("max_length", -(3 * 1 + 1 * 5) / (2 * 10))],
)
def test_means_over_tokens_sequences_and_the_longest_allowed(aggregate: Any, expected: float) -> None:
    logp = torch.zeros(2, 3)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    loss = policy_loss(logp, logp, torch.tensor([1.0, 5.0]), mask, aggregate=aggregate, max_length=10).loss
    assert loss.item() == pytest.approx(expected)


def test_dr_grpo_without_the_longest_completion_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="max_length"):
        policy_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1), torch.ones(1, 1), aggregate="max_length")


def test_k3_is_added_for_each_token_and_pulls_towards_the_reference() -> None:
    logp, reference = logs([0.5]), torch.tensor([[0.25]]).log()
    result = policy_loss(logp, logp.detach(), torch.zeros(1), torch.ones(1, 1), ref_logp=reference, beta=0.04)
    result.loss.backward()
    k3 = 0.5 - math.log(0.5) - 1  # ref / policy - log(ref / policy) - 1
    assert result.loss.item() == pytest.approx(0.04 * k3, rel=1e-5)
    assert summarise([result.stats])["kl"] == pytest.approx(k3, rel=1e-5)
    assert logp.grad is not None and logp.grad.item() == pytest.approx(0.04 * (1 - 0.5), rel=1e-5)


def test_at_beta_0_the_kl_is_measured_and_not_trained_on() -> None:
    logp, reference = logs([0.5]), torch.tensor([[0.25]]).log()
    result = policy_loss(logp, logp.detach(), torch.zeros(1), torch.ones(1, 1), ref_logp=reference)
    assert result.loss.item() == 0
    assert summarise([result.stats])["kl"] > 0


def test_beta_without_a_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="reference model"):
        policy_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1), torch.ones(1, 1), beta=0.1)


def test_a_policy_that_has_left_its_reference_behind_is_still_pulled_back() -> None:
    # k3 of a token that the reference holds for e^-d times as probable is d - 1 and a little, of slope 1
    for distance in (10.0, 21.0, 300.0):
        logp = torch.full((1, 1), -0.1, requires_grad=True)
        reference = logp.detach() - distance
        result = policy_loss(logp, logp.detach(), torch.zeros(1), torch.ones(1, 1), ref_logp=reference, beta=0.5)
        result.loss.backward()
        assert result.loss.item() == pytest.approx(0.5 * (distance - 1), rel=1e-4)
        assert logp.grad is not None and logp.grad.item() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("by_token", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
@given(seed=st.integers(0, 10_000), owners=st.lists(st.integers(0, 3), min_size=6, max_size=6))
@settings(max_examples=15, deadline=None)
def test_micro_batches_add_up_to_the_batch(name: str, by_token: bool, seed: int, owners: list[int]) -> None:
    inputs, options = batch(seed), VARIANTS[name]
    if by_token:
        inputs["advantages"] = torch.randn(6, 7, generator=torch.Generator().manual_seed(seed))
    whole = policy_loss(**inputs, **options, beta=0.04)
    (gradient,) = torch.autograd.grad(whole.loss, inputs["logp"])
    count = loss_denominator(inputs["mask"], options["aggregate"], options["max_length"])
    parts = []
    for owner in sorted(set(owners)):
        rows = [row for row in range(6) if owners[row] == owner]
        width = int(inputs["mask"][rows].nonzero()[:, 1].max()) + 1  # a pass is as wide as its longest row
        part = {key: value[rows] if value.dim() == 1 else value[rows, :width] for key, value in inputs.items()}
        parts.append(policy_loss(**part, **options, beta=0.04, denominator=count))
    total = torch.stack([part.loss for part in parts]).sum()
    (parts_gradient,) = torch.autograd.grad(total, inputs["logp"])
    assert torch.allclose(total, whole.loss, atol=1e-6)
    assert torch.allclose(parts_gradient, gradient, atol=1e-6)
    assert summarise(part.stats for part in parts) == pytest.approx(summarise([whole.stats]), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
@given(seed=st.integers(0, 10_000), order=st.permutations(range(6)))
@settings(max_examples=15, deadline=None)
def test_neither_the_order_of_rows_nor_having_each_twice_changes_the_loss(
    name: str, seed: int, order: list[int]
) -> None:
    inputs, options = batch(seed), VARIANTS[name]
    loss = policy_loss(**inputs, **options, beta=0.04).loss
    (expected,) = torch.autograd.grad(loss, inputs["logp"])
    for rows in (order, [*order, *order]):
        moved = policy_loss(**{key: value[rows] for key, value in inputs.items()}, **options, beta=0.04).loss
        (gradient,) = torch.autograd.grad(moved, inputs["logp"])
        assert torch.allclose(moved, loss, atol=1e-6)
        assert torch.allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
@given(seed=st.integers(0, 10_000), poison=st.sampled_from([math.nan, math.inf, -math.inf, 1e30]))
@settings(max_examples=25, deadline=None)
def test_what_is_masked_is_never_read_and_gets_no_gradient(name: str, seed: int, poison: float) -> None:
    inputs, options = batch(seed), VARIANTS[name]
    clean = policy_loss(**inputs, **options, beta=0.04).loss
    (expected,) = torch.autograd.grad(clean, inputs["logp"])
    mask = inputs["mask"]
    dirty = {key: value.detach() for key, value in inputs.items()}
    for key in ("logp", "old_logp", "ref_logp"):
        dirty[key] = torch.where(mask, dirty[key], poison)
    dirty["logp"].requires_grad_()
    loss = policy_loss(**dirty, **options, beta=0.04).loss
    (gradient,) = torch.autograd.grad(loss, dirty["logp"])
    assert torch.equal(loss, clean)
    assert torch.equal(gradient, expected)
    assert (gradient[~mask] == 0).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_row_that_is_left_out_changes_nothing_for_the_others(name: str) -> None:
    inputs, options = batch(3), VARIANTS[name]
    alone = policy_loss(**{key: value[:-1] for key, value in inputs.items()}, **options, beta=0.04).loss
    inputs["mask"][-1] = False
    inputs["advantages"][-1] = math.nan  # an unscored completion has no advantage
    loss = policy_loss(**inputs, **options, beta=0.04).loss
    (gradient,) = torch.autograd.grad(loss, inputs["logp"])
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)
    assert (gradient[-1] == 0).all() and (gradient[:-1] != 0).any()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch_of_which_nothing_is_left_has_a_loss_of_0(name: str) -> None:
    inputs = batch(4)
    inputs["mask"][:] = False
    result = policy_loss(**inputs, **VARIANTS[name], beta=0.04)
    result.loss.backward()
    assert result.loss.item() == 0
    assert inputs["logp"].grad is not None and (inputs["logp"].grad == 0).all()
    assert summarise([result.stats])["ratio"] == 0


@pytest.mark.parametrize("name", VARIANTS)
def test_a_policy_that_ran_away_gives_a_finite_loss(name: str) -> None:
    logp = torch.full((2, 3), -1.0, requires_grad=True)
    old = torch.full((2, 3), -500.0)
    result = policy_loss(
        logp, old, torch.tensor([0.0, -1.0]), torch.ones(2, 3), ref_logp=old, beta=0.04, **VARIANTS[name]
    )
    assert result.loss.isfinite()


@pytest.mark.parametrize("name", VARIANTS)
def test_nan_in_a_token_that_counts_is_not_hidden(name: str) -> None:
    inputs = batch(5)
    inputs["logp"].data[2, 0] = math.nan
    assert policy_loss(**inputs, **VARIANTS[name]).loss.isnan()


@pytest.mark.parametrize("ratio", ["token", "sequence", "product"])
def test_an_advantage_for_each_token_equals_one_for_the_row_where_they_are_the_same(ratio: Any) -> None:
    inputs = batch(6)
    one = policy_loss(**inputs, ratio=ratio).loss
    inputs["advantages"] = inputs["advantages"].unsqueeze(1).expand(6, 7)
    assert policy_loss(**inputs, ratio=ratio).loss.item() == pytest.approx(one.item(), rel=1e-6)


@pytest.mark.parametrize(("ratio", "expected"), [("sequence", [-0.5, 1.5]), ("product", [-1.0, 3.0])])
def test_under_a_sequence_s_ratio_each_token_has_the_gradient_of_its_own_advantage(
    ratio: Any, expected: list[float]
) -> None:
    logp = torch.full((1, 2), -1.0, requires_grad=True)
    loss = policy_loss(
        logp, logp.detach(), torch.tensor([[1.0, -3.0]]), torch.ones(1, 2), ratio=ratio, aggregate="sequence"
    ).loss
    loss.backward()
    assert logp.grad is not None and logp.grad.tolist() == [expected]


def test_an_unbiased_kl_weighs_k3_by_the_token_s_ratio() -> None:
    # ratio 2, k3 of ref / policy = 0.5; d(r k3) / d logp = r k3 + r (1 - ref / policy)
    logp, old, reference = logs([0.5]), torch.tensor([[0.25]]).log(), torch.tensor([[0.25]]).log()
    loss = policy_loss(
        logp, old, torch.zeros(1), torch.ones(1, 1), ref_logp=reference, beta=0.1, unbiased_kl=True
    ).loss
    loss.backward()
    k3 = 0.5 - math.log(0.5) - 1
    assert loss.item() == pytest.approx(0.1 * 2 * k3, rel=1e-5)
    assert logp.grad is not None and logp.grad.item() == pytest.approx(0.1 * (2 * k3 + 2 * 0.5), rel=1e-5)


def test_bf16_inputs_are_computed_in_single_precision() -> None:
    logp = torch.full((1, 1), -1.0, dtype=torch.bfloat16)
    loss = policy_loss(logp, logp - 0.015625, torch.tensor([1.0]), torch.ones(1, 1)).loss
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(-math.exp(0.015625), rel=1e-6)


def test_statistics_say_how_often_clipping_acted() -> None:
    # Clipping acts on a risen ratio where the advantage is above 0, and on a fallen one where it is below: the first
    # of each row.
    logp = torch.zeros(2, 3)
    old = -torch.tensor([[2.0, 0.5, 1.0], [0.5, 2.0, 1.0]]).log()
    advantages = torch.tensor([1.0, -1.0])
    entropy = torch.tensor([[1.0, 2.0, 3.0], [3.0, 6.0, 3.0]])
    figures = summarise([policy_loss(logp, old, advantages, torch.ones(2, 3), entropy=entropy).stats])
    assert figures == pytest.approx(
        {"clip_low": 1 / 6, "clip_high": 1 / 6, "ratio": 7 / 6, "ratio_max": 2.0, "entropy": 3.0}
    )


def test_mismatch_is_measured_on_the_tokens_that_count() -> None:
    sampled, recomputed = torch.tensor([[0.0, -1.0, math.nan]]), torch.tensor([[-0.5, -1.0, 0.0]])
    assert summarise([mismatch(sampled, recomputed, torch.tensor([[1, 1, 0]]))]) == {
        "mismatch": 0.25,
        "mismatch_max": 0.5,
    }


def test_nll_is_a_mean_over_tokens_that_count() -> None:
    logp = torch.tensor([[-1.0, -2.0], [-6.0, math.nan]], requires_grad=True)
    loss = nll_loss(logp, torch.tensor([[1, 1], [1, 0]]))
    loss.backward()
    assert loss.item() == 3.0
    assert logp.grad is not None and torch.allclose(logp.grad, torch.tensor([[-1.0, -1.0], [-1.0, 0.0]]) / 3)


def answers(*log_ratios: list[float], logp: float = -1.0) -> Answers:
    """Completions whose tokens have these log-ratios; shorter ones are padded with NaN that is masked."""
    width = max(map(len, log_ratios))
    ratios = torch.tensor([row + [math.nan] * (width - len(row)) for row in log_ratios])
    return Answers(torch.full_like(ratios, logp).requires_grad_(), logp - ratios, ~ratios.isnan())


def test_dpo_by_hand() -> None:
    # margin 0.5 ((0.4 + 0.6) - (-1.0)) = 1
    result = dpo_loss(answers([0.4, 0.6]), answers([-1.0]), beta=0.5)
    assert result.loss.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    assert summarise([result.stats]) == pytest.approx(
        {"reward_chosen": 0.5, "reward_rejected": -0.5, "margin": 1.0, "accuracy": 1.0}
    )


def test_the_nll_term_keeps_the_chosen_answer_likely() -> None:
    chosen, rejected = answers([0.0, 0.0], logp=-2.0), answers([0.0])
    loss = dpo_loss(chosen, rejected, nll=1.0).loss
    assert loss.item() == pytest.approx(math.log(2) + 2.0, rel=1e-6)
    loss.backward()
    assert chosen.logp.grad is not None and (chosen.logp.grad < -0.5).all()


def test_ipo_by_hand_is_a_mean_over_tokens() -> None:
    # h = (0.2 + 0.6) / 2 - (-0.4) / 1 = 0.8; the target is 1 / (2 x 0.1) = 5
    assert ipo_loss(answers([0.2, 0.6]), answers([-0.4]), beta=0.1).loss.item() == pytest.approx(4.2**2, rel=1e-6)


def test_kto_by_hand() -> None:
    sigmoid = torch.sigmoid(torch.tensor([0.5 * (1.0 - 0.2), 0.5 * (0.2 - 0.4)]))
    result = kto_loss(answers([0.5, 0.5], [0.4]), torch.tensor([True, False]), 0.2, beta=0.5, undesirable_weight=3.0)
    assert result.loss.item() == pytest.approx((1 * (1 - sigmoid[0]) + 3 * (1 - sigmoid[1])).item() / 2, rel=1e-6)
    assert summarise([result.stats]) == pytest.approx({"reward": 0.5 * (1.0 + 0.4) / 2, "accuracy": 0.5})


def test_kto_s_reference_point_is_at_least_0_and_has_no_gradient() -> None:
    above, below = answers([1.0, 2.0], [1.0]), answers([-1.0, -2.0], [1.0])
    point = kto_reference_point(above)
    assert point.item() == pytest.approx(2.0) and not point.requires_grad
    assert kto_reference_point(below).item() == 0


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_preference_micro_batches_add_up_to_the_batch(seed: int, cut: int) -> None:
    def part(inputs: dict[str, Tensor], rows: slice) -> Answers:
        return Answers(inputs["logp"][rows], inputs["ref_logp"][rows], inputs["mask"][rows])

    chosen, rejected = batch(seed, rows=5), batch(seed + 1, rows=5)
    desirable = torch.tensor([True, False, True, True, False])
    every, cuts, tokens = slice(None), (slice(0, cut), slice(cut, None)), chosen["mask"].sum()
    for whole, parts in (
        (
            dpo_loss(part(chosen, every), part(rejected, every), nll=1.0),
            [dpo_loss(part(chosen, s), part(rejected, s), nll=1.0, pairs=5, tokens=tokens) for s in cuts],
        ),
        (
            ipo_loss(part(chosen, every), part(rejected, every)),
            [ipo_loss(part(chosen, s), part(rejected, s), pairs=5) for s in cuts],
        ),
        (
            kto_loss(part(chosen, every), desirable, 0.1),
            [kto_loss(part(chosen, s), desirable[s], 0.1, rows=5) for s in cuts],
        ),
    ):
        assert sum(result.loss.item() for result in parts) == pytest.approx(whole.loss.item(), rel=1e-5)
        assert summarise(result.stats for result in parts) == pytest.approx(
            summarise([whole.stats]), rel=1e-5, abs=1e-6
        )


@given(st.lists(st.integers(0, 4), min_size=2, max_size=24).filter(lambda prompts: len(set(prompts)) > 1))
def test_a_borrowed_completion_is_always_of_another_prompt(prompts: list[int]) -> None:
    partners = mismatched_partners(prompts)
    assert all(prompts[row] != prompts[partner] for row, partner in enumerate(partners))
    if max(prompts.count(prompt) for prompt in prompts) * 2 <= len(prompts):
        assert sorted(partners) == list(range(len(prompts)))


@given(st.integers(1, 6), st.integers(1, 20), st.randoms(use_true_random=False))
def test_where_one_prompt_has_most_rows_it_borrows_all_others_in_turn(
    others: int, more: int, source: random.Random
) -> None:
    prompts = ["most"] * (others + more) + [f"other {place}" for place in range(others)]
    source.shuffle(prompts)
    lent = Counter(
        partner for prompt, partner in zip(prompts, mismatched_partners(prompts), strict=True) if prompt == "most"
    )
    assert len(lent) == others
    assert max(lent.values()) - min(lent.values()) <= 1


def test_kto_on_one_prompt_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="raise the batch size"):
        mismatched_partners(["a", "a"])
