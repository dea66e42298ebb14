"""TRL (GRPOTrainer, RLOOTrainer, and what follows them: Unsloth, axolotl).

The line to change:

    GRPOTrainer(..., reward_funcs=reward_func("math"))

An unscored completion is None: TRL leaves it out of its group's mean and gives it no advantage. Components and the
share of unscored completions reach TRL's metrics, and outcomes its table of completions. Checked against TRL 1.16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer_client.adapters.scoring import async_reward_client, reference_column, reward_client, scored, scored_async
from trainer_client.calls import Verifier
from trainer_client.results import Verdict

DEADLINE_S = 120.0


def reward_func(
    verifier: Verifier,
    *,
    reference: str | None = None,
    run: str | None = None,
    name: str | None = None,
    deadline_s: float = DEADLINE_S,
) -> Reward:
    """A reward function. `reference` names the dataset's column to compare with, `name` the metric."""
    return Reward(verifier, reference, run, name, deadline_s)


def async_reward_func(
    verifier: Verifier,
    *,
    reference: str | None = None,
    run: str | None = None,
    name: str | None = None,
    deadline_s: float = DEADLINE_S,
) -> AsyncReward:
    """The same as a coroutine function: TRL runs several of them at the same time."""
    return AsyncReward(verifier, reference, run, name, deadline_s)


class _Reward:
    """What TRL calls with a local batch. An object, since TRL names its metrics after it and may pickle it."""

    def __init__(
        self, verifier: Verifier, reference: str | None, run: str | None, name: str | None, deadline_s: float
    ) -> None:
        self.__name__ = name or (verifier if isinstance(verifier, str) else "assay")
        self._verifier = verifier
        self._reference = reference
        self._run = run
        self._deadline_s = deadline_s

    def _items(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        references = reference_column(columns, self._reference) or [None] * len(completions)
        lengths = [None] * len(completions) if completion_ids is None else [len(ids) for ids in completion_ids]
        return [
            {"prompt": prompt, "completion": completion, "reference": reference, "tokens": tokens}
            for prompt, completion, reference, tokens in zip(prompts, completions, references, lengths, strict=True)
        ]

    def _options(self, trainer_state: Any) -> dict[str, Any]:
        step = getattr(trainer_state, "global_step", None)
        return {"run": self._run, "step": step if self._run else None, "deadline_s": self._deadline_s}

    def _rewards(self, verdicts: Sequence[Verdict], log_extra: Any, log_metric: Any) -> list[float | None]:
        if log_metric is not None:
            log_metric(f"{self.__name__}/unscored", sum(v.score is None for v in verdicts) / len(verdicts))
            for component in sorted({name for verdict in verdicts for name in verdict.components}):
                values = [v.components[component] for v in verdicts if component in v.components]
                log_metric(f"{self.__name__}/{component}", sum(values) / len(values))
        if log_extra is not None:
            log_extra(f"{self.__name__}_outcome", [verdict.outcome for verdict in verdicts])
        return [verdict.score for verdict in verdicts]


class Reward(_Reward):
    """See `reward_func`."""

    def __call__(
        self,
        *,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        trainer_state: Any = None,
        log_extra: Any = None,
        log_metric: Any = None,
        **columns: Any,
    ) -> list[float | None]:
        items, options = self._items(prompts, completions, completion_ids, columns), self._options(trainer_state)
        verdicts = scored(lambda: reward_client().score(self._verifier, items, **options), len(items))
        return self._rewards(verdicts, log_extra, log_metric)


class AsyncReward(_Reward):
    """See `async_reward_func`."""

    async def __call__(
        self,
        *,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        trainer_state: Any = None,
        log_extra: Any = None,
        log_metric: Any = None,
        **columns: Any,
    ) -> list[float | None]:
        items, options = self._items(prompts, completions, completion_ids, columns), self._options(trainer_state)
        verdicts = await scored_async(async_reward_client().score(self._verifier, items, **options), len(items))
        return self._rewards(verdicts, log_extra, log_metric)
