"""The kind `reward_model`: one number from a model that was trained on preferences."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import (
    ConfigError,
    Context,
    ErrorType,
    Example,
    GivingWay,
    Item,
    KindConfig,
    Outcome,
    Verdict,
    clip,
    past_deadline,
    register,
)
from verifiers.conversation import Said, conversation, sendable
from verifiers.lent import BackendError, Backends, Needs, Reward
from verifiers.reward_model.normalising import LEAST_DEVIATION, Normalise, fit, normalised
from verifiers.thinking import Section, section

STAGE = "reward_model"
BATCH = 32
"""Conversations of one request to the backend."""
BATCH_CHARS = 1_000_000
"""Characters after which a request takes no further conversation."""
MAX_REFERENCE_SCORES = 10_000
AT_ONCE = 32
"""Requests of one call of `verify` that are under way or wait for the backend."""


class RewardModelConfig(KindConfig):
    """The model, and what becomes of its raw score."""

    backend: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="The name of a backend that serves a reward model (`assay backends add`).",
        examples=["skywork-8b"],
    )
    normalise: Normalise = Field(
        "none",
        description="What the score is. none: the raw score; standard: (raw - mean) / deviation; sigmoid: the "
        "logistic function of that, between 0 and 1.",
    )
    mean: float = Field(0.0, description="Mean of a reference set's raw scores; for `standard` and `sigmoid`.")
    deviation: float = Field(
        1.0, ge=LEAST_DEVIATION, description="Standard deviation of a reference set's raw scores; likewise."
    )
    reference_scores: list[float] | None = Field(
        None,
        max_length=MAX_REFERENCE_SCORES,
        description="Raw scores of a reference set, from which mean and deviation are taken in place of those above; "
        "likewise.",
        examples=[[2.5, -1.25, 7.0]],
    )
    clip: tuple[float, float] | None = Field(
        None,
        strict=False,  # JSON has no tuples
        description="Lowest and highest score, after normalising. null: no bounds.",
        examples=[[-5, 5]],
    )
    system: str | None = Field(
        None, max_length=20_000, description="A system message for prompts that have none. null: none is added."
    )
    section: Section = Field(
        "final",
        description="final: the model reads what follows the thinking part, and nothing where that never ends; "
        "whole: everything.",
    )

    def needs(self) -> Needs:
        """See `KindConfig.needs`."""
        return Needs(backends={"/backend": self.backend}, backend_types=("reward", "local"))


@register
class RewardModel:
    """Score with a reward model: a sequence classifier that reads the conversation and gives one number.

    ```json
    {"backend": "skywork-8b", "normalise": "standard", "mean": 3.1, "deviation": 4.2, "clip": [-5, 5]}
    ```

    The model reads the prompt's messages and the completion by its own chat template. The completion may be empty and
    is scored like any other; one whose thinking never ends has an empty final section. Texts longer than the model
    reads are cut from their beginning where Assay serves the model itself, and `truncated` in `detail` says so; other
    servers refuse them, which leaves the item unscored with `context_overflow`. Where a text spells out a special
    token of a model that Assay serves (`<|im_end|>`), that is made harmless, so a completion cannot end its own turn.

    A reward model prefers what its training data preferred, length often among it, and says nothing of truth. Its
    scores mean something only within one prompt, and only for the model that they come from.

    ## Normalising

    The score of most models has no scale: one gives -20 to 20, another 0 to 1. What normalises it is fixed with the
    version: score a reference set of some hundred completions with `normalise: none` first, and give its raw scores
    as `reference_scores`, or their `mean` and `deviation` (that of the population). Scores that are all the same fit
    nothing and are refused. Normalising never changes an order. The raw score stays in `components`.

    ## Outcomes

    Every score has the outcome `scored`, stage `reward_model`. `components.raw` is what the model gave, `tokens` in
    `detail` what it read. Whatever goes wrong leaves the item `unscored`: `backend_unavailable`, `backend_fault`
    (among it a score that is not a finite number), `context_overflow`, or `bad_item` where the model's template
    refuses the conversation. Verdicts are reused; the same text scored alone and among others differs by rounding
    (within 1e-4 in single precision, 0.05 in bfloat16).
    """

    kind: ClassVar[str] = "reward_model"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = False
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = RewardModelConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = ()
    guarded: ClassVar[Sequence[str]] = ()
    sandboxed: ClassVar[bool] = False

    def __init__(self, config: RewardModelConfig) -> None:
        self._config = config
        self._mean, self._deviation = config.mean, config.deviation
        if config.clip is not None and config.clip[0] >= config.clip[1]:
            raise ConfigError("the first number must be below the second", "/clip")
        given = (config.mean, config.deviation) != (0.0, 1.0)
        if config.normalise == "none" and (given or config.reference_scores is not None):
            raise ConfigError("mean and deviation mean nothing without it; set standard or sigmoid", "/normalise")
        if config.reference_scores is not None:
            if given:
                message = "mean and deviation are taken from these scores; leave out one or the other"
                raise ConfigError(message, "/reference_scores")
            try:
                fitted = fit(config.reference_scores)
            except ValueError as error:
                raise ConfigError(str(error), "/reference_scores") from None
            self._mean, self._deviation = fitted.mean, fitted.deviation

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order. Requests run at once, as far as the backend's bounds allow."""
        if ctx.backends is None:
            message = "this process reaches no backends"
            return [Verdict.unscored(ErrorType.BACKEND_UNAVAILABLE, message, retryable=True)] * len(items)
        verdicts = [past_deadline()] * len(items)
        left = iter(enumerate(items))
        workers = min(AT_ONCE, -(-len(items) // BATCH))
        turn = GivingWay()
        await asyncio.gather(*(self._work(left, verdicts, ctx.backends, ctx.deadline, turn) for _ in range(workers)))
        return verdicts

    async def _work(
        self,
        left: Iterator[tuple[int, Item]],
        verdicts: list[Verdict],
        backends: Backends,
        deadline: float,
        turn: GivingWay,
    ) -> None:
        """Take items from `left`, which several workers share, and enter their verdicts."""
        while time.monotonic() < deadline:
            places: list[int] = []
            said: list[list[Said]] = []
            cuts: list[bool] = []
            chars = 0
            while len(said) < BATCH and chars < BATCH_CHARS and (taken := next(left, None)) is not None:
                messages, cut = self._conversation(taken[1])
                chars += sum(len(message["content"]) for message in messages)
                places.append(taken[0])
                said.append(messages)
                cuts.append(cut)
                await turn.over()
            if not said:
                return
            rewards = await backends.rewards(self._config.backend, said, deadline=deadline)
            for place, reward, cut in zip(places, rewards, cuts, strict=True):
                verdicts[place] = self._verdict(reward, cut)

    def _conversation(self, item: Item) -> tuple[list[Said], bool]:
        text = section(item, self._config.section) or ""
        return sendable(conversation(item, text, self._config.system))

    def _verdict(self, reward: Reward, cut: bool) -> Verdict:
        config = self._config
        if reward.error is not None or reward.score is None:
            return unscored(reward.error or no_number(config.backend))
        score = normalised(reward.score, config.normalise, self._mean, self._deviation)
        if config.clip is not None:
            score = min(max(score, config.clip[0]), config.clip[1])
        if not math.isfinite(reward.score) or not math.isfinite(score):
            return unscored(no_number(config.backend))
        detail = {
            "stage": STAGE,
            **({} if reward.tokens is None else {"tokens": reward.tokens}),
            **({"truncated": True} if reward.truncated or cut else {}),
        }
        return Verdict(Outcome.SCORED, score, detail, components={"raw": reward.score})


def no_number(backend: str) -> BackendError:
    """The error for a score that is not a finite number."""
    message = f"the backend {backend} gave a score that is not a finite number"
    return BackendError(ErrorType.BACKEND_FAULT, message, retryable=False)


def unscored(error: BackendError) -> Verdict:
    """The verdict for an item that a backend left without a score."""
    verdict = Verdict.unscored(error.type, clip(str(error), 500), retryable=error.retryable)
    return replace(verdict, detail={"stage": STAGE})
