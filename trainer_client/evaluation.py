"""The held-out evaluation of a policy that is being trained: what it draws, and how far it is from where it began."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from trainer_client.assembly import Parts, memory_of
from trainer_client.config import Config
from trainer_client.data import Row
from trainer_client.heldout import HeldOut
from trainer_client.logprobs import values_of
from trainer_client.model import Reference
from trainer_client.rollout import Completion


def evaluator(config: Config, parts: Parts, reference: Reference | None, client: Any) -> HeldOut | None:
    """What scores the held-out prompts with the current policy; None where there are none, or it is turned off.

    `reference` is the first policy; None leaves `heldout/kl` out.
    """
    if not parts.held_out.rows or config.evaluation.every == 0:
        return None
    drawing = _Drawing(config, parts, reference)
    return HeldOut(
        parts.held_out.rows, config.evaluation, client, drawing.draw, run=config.run,
        measure=None if reference is None else drawing.distance,
    )  # fmt: skip


class _Drawing:
    def __init__(self, config: Config, parts: Parts, reference: Reference | None) -> None:
        self._config = config
        self._parts = parts
        self._reference = reference

    def draw(self, rows: Sequence[Row], step: int) -> list[list[Completion]]:
        """Completions of each row; with the same random numbers each time, so that only the policy differs."""
        section = self._config.evaluation
        drawn: list[list[Completion]] = [[] for _ in rows]
        keys = [f"{self._config.seed}/heldout/{row.number}" for row in rows]
        with memory_of("sampling.rows", self._config.sampling.rows):
            for finished in self._parts.sampler.generate(
                self._parts.held_out.ids[: len(rows)], keys, section.samples, temperature=section.temperature,
                max_new_tokens=section.max_new_tokens,
            ):  # fmt: skip
                for completion in finished:
                    drawn[completion.prompt].append(completion)
        return [sorted(group, key=lambda completion: completion.sample) for group in drawn]

    def distance(self, rows: Sequence[Row], drawn: Sequence[Sequence[Completion]]) -> dict[str, float]:
        """The divergence from the first policy in nats a token, on what was drawn (k3, arXiv 2402.03300)."""
        prompts = [self._parts.held_out.ids[place] for place, group in enumerate(drawn) for _ in group]
        tokens = [completion.token_ids for group in drawn for completion in group]
        total = 0.0
        size = self._config.sampling.rows
        for start in range(0, len(tokens), size):
            part = slice(start, start + size)
            assert self._reference is not None  # noqa: S101 - `evaluator` sees to it
            with memory_of("sampling.rows", size):
                mine = values_of(self._parts.model, prompts[part], tokens[part], self._config.sampling.temperature)
                with self._reference.model() as model:
                    first = values_of(model, prompts[part], tokens[part], self._config.sampling.temperature)
            total += math.fsum(
                math.expm1(b - a) - (b - a)
                for own, theirs in zip(mine, first, strict=True)
                for a, b in zip(own, theirs, strict=True)
            )
        return {"kl": total / max(sum(map(len, tokens)), 1)}
