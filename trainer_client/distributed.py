"""Several processes that train one model: each samples, scores and computes its share, and all make the same update.

Started by `torchrun --nproc_per_node 2 -m trainer_client.cli grpo ...`, or `sft`. Each process holds the whole model.
In `grpo` it sees the whole rollout: groups are exchanged once scored, so that advantages, counts and degenerate
groups are those of one process. Losses are divided by counts over all, so that their gradients add up. What is
different is the order in which floats are added.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


class World:
    """The processes of a run, and this one's place among them."""

    def __init__(self) -> None:
        """Joins the others where torchrun has started this process; else there is one."""
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    @property
    def leads(self) -> bool:
        """Whether this process is the one that evaluates, keeps the record and writes checkpoints."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of `items`: a run of neighbours; the parts of all processes in order are `items`."""
        count = len(items)
        return items[count * self.rank // self.size : count * (self.rank + 1) // self.size]

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, in their order."""
        if self.size == 1:
            return list(items)
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, list(items))
        return [item for part in parts for item in part]

    def from_leader(self, value: T) -> T:
        """The leader's value."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def sum_gradients(self, weights: Iterable[Tensor]) -> None:
        """Add up the gradients of all processes, in place; a weight without one counts as 0."""
        if self.size == 1:
            return
        weights = list(weights)
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def leave(self) -> None:
        """End what `__init__` began."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()
