"""What the kind `process` is configured with, and what its references are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from verifiers.base import KindConfig, Strict
from verifiers.lent import InlineVerifier, Needs
from verifiers.process.splitting import Split
from verifiers.thinking import Section

MAX_STEPS = 256

Aggregate = Literal["min", "product", "mean", "last"]


class StepBackend(Strict):
    """A process reward model on a server that an operator configured."""

    model_config = ConfigDict(frozen=True)
    backend: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="The name of a backend that serves a process reward model (`assay backends add`).",
        examples=["math-prm-7b"],
    )


class ProcessConfig(KindConfig):
    """Where the steps come from, what scores them, and what their scores become."""

    is_part: ClassVar[bool] = False

    scorer: Annotated[str, Field(max_length=120)] | InlineVerifier | StepBackend = Field(
        description="What scores the steps: a backend that serves a process reward model, or a verifier, given as "
        "`name@version` or as a kind with its configuration.",
        examples=[{"backend": "math-prm-7b"}, "step-judge@1", {"kind": "regex", "config": {"pattern": "="}}],
    )
    shows: Literal["step", "prefix"] = Field(
        "step",
        description="What a verifier reads as the completion: the step alone, or everything up to the step's end.",
    )
    split: Split = Field(
        "blank_line",
        description="Where steps end. blank_line: at blank lines; pattern: at matches of `pattern`; numbered: before "
        "lines numbered 1, 2, 3 and so on (`1.`, `2)`, `Step 3:`); given: the reference has them.",
    )
    pattern: str | None = Field(
        None,
        description="For `split: pattern`: a regular expression (RE2) of what stands between steps.",
        examples=["\\n+"],
    )
    max_steps: int = Field(
        64, ge=1, le=MAX_STEPS, description="Most steps of a completion; what comes later counts to the last one."
    )
    aggregate: Aggregate = Field("min", description="What the steps' scores become: the item's score.")
    threshold: float = Field(
        0.5, description="A step that scores less is wrong; `first_wrong` in the detail is the first."
    )
    empty: float = Field(0.0, description="What a completion scores that has no step.")
    system: str | None = Field(
        None,
        max_length=20_000,
        description="For a backend: a system message for prompts that have none. null: the one that such models were "
        "trained with.",
    )
    section: Section = Field(
        "whole",
        description="Where steps are sought. whole: in everything; final: in what follows the thinking part.",
    )

    def needs(self) -> Needs:
        """See `KindConfig.needs`."""
        if isinstance(self.scorer, StepBackend):
            return Needs(backends={"/scorer/backend": self.scorer.backend}, backend_types=("reward", "local"))
        return Needs({"/scorer": self.scorer})


class GivenSteps(Strict):
    """The reference under `split: given`."""

    steps: list[str] = Field(
        max_length=MAX_STEPS, description="The steps, word for word as they stand in the completion, in order."
    )
    reference: Any = Field(None, description="What a verifier compares with.")


def aggregated(scores: Sequence[float], how: Aggregate) -> float:
    """One score of several, of which there is at least one; infinite where a number cannot hold it."""
    match how:
        case "min":
            return min(scores)
        case "product":
            return math.prod(scores)
        case "mean":
            try:
                return math.fsum(scores) / len(scores)
            except OverflowError:  # of the sum alone
                return math.fsum(score / len(scores) for score in scores)
        case "last":
            return scores[-1]
