"""AdamW with a schedule, a bound on the gradient's norm, and float32 copies of weights of lower precision."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from trainer_client.config import OptimizerSection
from trainer_client.training_errors import NotFiniteError


class Optimizer:
    """Updates the weights of a model that need gradients.

    Weights in bfloat16 have 8 bits, so that most updates at usual learning rates would round to nothing: those are
    kept in float32 here too, which is where gradients are added up and updates are made (mixed precision, arXiv
    1710.03740).
    """

    def __init__(self, model: Any, section: OptimizerSection, learning_rate: float, steps: int) -> None:
        """`steps` is how many updates the schedule is for."""
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._masters = [weight if _is_float32(weight) else _master(weight) for weight in self._weights]
        self._adam = torch.optim.AdamW(
            self._masters, lr=learning_rate, betas=section.betas, eps=section.eps, weight_decay=section.weight_decay
        )
        self._section = section
        self._learning_rate = learning_rate
        self._steps = steps
        self._done = 0

    @property
    def learning_rate(self) -> float:
        """That of the next update."""
        return self._learning_rate * factor(self._section, self._done, self._steps)

    def collect(self) -> None:
        """Take over the gradients of a backward pass; call it after each one."""
        for weight, master in zip(self._weights, self._masters, strict=True):
            if master is not weight and weight.grad is not None:
                gradient = weight.grad.float()
                master.grad = gradient if master.grad is None else master.grad.add_(gradient)
                weight.grad = None

    @property
    def weights(self) -> list[Tensor]:
        """What is updated, with the gradients that the next update will use."""
        return self._masters

    def step(self) -> float:
        """Update the weights and forget the gradients; answers the gradient's norm before it was bounded.

        Raises `NotFiniteError` where a gradient is NaN or infinite; the weights stay as they were.
        """
        norm = float(torch.nn.utils.clip_grad_norm_(self._masters, self._section.max_grad_norm))
        if not math.isfinite(norm):
            raise NotFiniteError("a gradient is NaN or infinite")
        for group in self._adam.param_groups:
            group["lr"] = self.learning_rate
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        self._done += 1
        self._write_back()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """All that it remembers."""
        return {
            "adam": self._adam.state_dict(),
            "masters": [
                None if master is weight else master.detach()
                for weight, master in zip(self._weights, self._masters, strict=True)
            ],
            "done": self._done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self._adam.load_state_dict(state["adam"])
        for master, saved in zip(self._masters, state["masters"], strict=True):
            if saved is not None:
                master.data.copy_(saved)
        self._done = state["done"]

    def _write_back(self) -> None:
        for weight, master in zip(self._weights, self._masters, strict=True):
            if master is not weight:
                weight.data.copy_(master.data)


def factor(section: OptimizerSection, done: int, steps: int) -> float:
    """What the learning rate is multiplied by after `done` of `steps` updates: a warm-up, then the schedule."""
    if done < section.warmup_steps:
        return (done + 1) / section.warmup_steps
    if section.schedule == "constant":
        return 1.0
    share = min((done - section.warmup_steps) / max(steps - section.warmup_steps, 1), 1.0)
    return 1 - share if section.schedule == "linear" else (1 + math.cos(math.pi * share)) / 2


def _is_float32(weight: Tensor) -> bool:
    return weight.dtype in (torch.float32, torch.float64)


def _master(weight: Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(weight.detach().float().clone())
