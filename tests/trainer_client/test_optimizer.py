"""AdamW, its schedule, and float32 copies of weights of lower precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer_client.config import OptimizerSection
from trainer_client.optimizer import Optimizer, factor
from trainer_client.training_errors import NotFiniteError


def layer(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3).to(dtype)


def optimizer(model: Any, rate: float = 0.1, **section: Any) -> Optimizer:
    return Optimizer(model, OptimizerSection(**section), rate, 10)


def backward(model: Any, optimizer: Optimizer, by: float = 1.0) -> None:
    (by * model(torch.ones(2, 4, dtype=model.weight.dtype)).float().square().sum()).backward()
    optimizer.collect()


def test_an_update_is_adamw_with_a_bounded_norm() -> None:
    model, other = layer(), layer()
    mine = optimizer(model, max_grad_norm=0.5, weight_decay=0.1)
    theirs = torch.optim.AdamW(other.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        backward(model, mine)
        other(torch.ones(2, 4)).square().sum().backward()
        wanted = torch.nn.utils.clip_grad_norm_(other.parameters(), 0.5)
        assert mine.step() == pytest.approx(float(wanted))
        theirs.step()
        theirs.zero_grad()
    assert torch.equal(model.weight, other.weight)


def test_small_updates_of_bfloat16_weights_are_not_lost() -> None:
    model = layer(torch.bfloat16)
    before = model.weight.detach().clone()
    mine = optimizer(model, rate=1e-5)
    for _ in range(300):
        backward(model, mine)
        mine.step()
    moved = (model.weight.float() - before.float()).abs().max()
    assert moved > 1e-3  # each of the 300 updates is below half of what bfloat16 resolves there
    assert model.weight.grad is None


def test_gradients_of_several_passes_add_up_in_float32() -> None:
    model = layer(torch.bfloat16)
    mine = optimizer(model)
    backward(model, mine, 1.0)
    backward(model, mine, 1e-3)
    one = layer(torch.bfloat16)
    (one(torch.ones(2, 4, dtype=torch.bfloat16)).float().square().sum()).backward()
    wanted = one.weight.grad.float() * 1.001
    found = mine.weights[0].grad
    assert found is not None
    assert torch.allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_optimizer_goes_on_to_the_bit(dtype: torch.dtype) -> None:
    def train(model: Any, mine: Optimizer, steps: int) -> None:
        for _ in range(steps):
            backward(model, mine)
            mine.step()

    straight = layer(dtype)
    train(straight, whole := optimizer(straight, schedule="cosine", warmup_steps=2), 6)
    first = layer(dtype)
    train(first, before := optimizer(first, schedule="cosine", warmup_steps=2), 3)
    second = layer(dtype)
    second.load_state_dict(first.state_dict())
    after = optimizer(second, schedule="cosine", warmup_steps=2)
    after.load_state_dict(before.state_dict())
    train(second, after, 3)
    assert torch.equal(second.weight, straight.weight)
    assert after.learning_rate == whole.learning_rate


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_stay_where_a_gradient_is_not_finite(bad: float) -> None:
    model = layer()
    before = model.weight.detach().clone()
    mine = optimizer(model)
    backward(model, mine, bad)
    with pytest.raises(NotFiniteError):
        mine.step()
    assert torch.equal(model.weight, before)


def test_only_weights_that_need_gradients_are_updated() -> None:
    model = layer()
    model.bias.requires_grad_(False)
    assert len(optimizer(model).weights) == 1


@given(st.sampled_from(["constant", "linear", "cosine"]), st.integers(0, 30), st.integers(0, 20), st.integers(1, 40))
def test_a_schedule_warms_up_and_never_leaves_0_to_1(schedule: Any, done: int, warmup: int, steps: int) -> None:
    section = OptimizerSection(schedule=schedule, warmup_steps=warmup)
    value = factor(section, done, steps)
    assert 0 <= value <= 1
    if done < warmup:
        assert value == (done + 1) / warmup
    elif schedule == "constant":
        assert value == 1


def test_a_schedule_reaches_0_at_its_end() -> None:
    for schedule in ("linear", "cosine"):
        section = OptimizerSection(schedule=schedule, warmup_steps=2)
        assert factor(section, 2, 12) == 1
        assert factor(section, 7, 12) == pytest.approx(0.5)
        assert factor(section, 12, 12) == pytest.approx(0, abs=1e-9)
