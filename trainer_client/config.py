"""The one YAML file of a run: every field, its default and its bounds.

The defaults are those of docs/training/losses.md, which gives their sources. Unknown fields are refused, with the
name that was probably meant. Any field can be overridden as `section.field=value`, the value read as YAML.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic needs these before Python 3.12
    get_args,
)

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator, with_config
from typing_extensions import TypedDict

from trainer_client import algorithms
from trainer_client.alarms import AlarmSettings
from trainer_client.algorithms import ALGORITHMS, Algorithm
from trainer_client.overrides import overridden
from trainer_client.training_errors import ConfigError

Task = Literal["sft", "grpo", "dpo", "kto", "iterate", "eval"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the file: no unknown fields, no NaN, nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class LoraSection(Section):
    """Low-rank adapters by peft (arXiv 2106.09685) instead of all weights."""

    rank: Positive = 16
    alpha: Positive = 32
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | list[str] = "all-linear"


class ModelSection(Section):
    """The policy, and how it is loaded."""

    path: str = Field(min_length=1, description="A folder, or owner/name of a hub.")
    gguf_file: str | None = Field(None, description="The GGUF file in that folder to read the weights from.")
    tokenizer: str | None = Field(None, description="Where the tokenizer is, if not with the model.")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = Field("auto", description="`auto` is a GPU where there is one; or `cpu`, `cuda`, `cuda:1`.")
    attention: Literal["sdpa", "eager", "flash_attention_2"] | None = Field(
        None, description="null: what transformers chooses for the architecture"
    )
    gradient_checkpointing: bool = Field(False, description="Less memory for about a third more time.")
    lora: LoraSection | None = None


class DataSection(Section):
    """Prompts, with what verifies the answers to them."""

    train: str = Field(min_length=1, description="Rows of JSON lines, or one JSON array.")
    heldout: str | None = Field(None, description="Rows that are never trained on; or see hold_out.")
    hold_out: int = Field(0, ge=0, description="Rows to take from `train`, by the seed, and never train on.")
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    max_prompt_tokens: Positive | None = Field(None, description="The most tokens of a prompt; null: the context.")
    long_prompts: Literal["refuse", "drop"] = "refuse"

    @model_validator(mode="after")
    def _one_source(self) -> DataSection:
        if self.heldout is not None and self.hold_out:
            raise ValueError("give heldout (a file) or hold_out (rows taken from train), not both")
        return self


class ServiceSection(Section):
    """Where Assay is. The key is read from ASSAY_API_KEY, never from this file."""

    url: str | None = Field(None, description="null: ASSAY_URL.")
    deadline_s: float = Field(600.0, gt=0, description="How long one request may take, every try and wait included.")


class SamplingSection(Section):
    """How completions are drawn. The model's own generation config is ignored, but for its EOS ids."""

    max_new_tokens: Positive = 256
    temperature: float = Field(1.0, gt=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0: off.")
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list, description="Texts that end a completion; they stay a part of it."
    )
    eos: list[int] = Field(default_factory=list, description="More ids that end a completion.")
    rows: Positive = Field(256, description="The most completions that are generated side by side.")


@with_config(ConfigDict(extra="forbid"))
class InlineVerifier(TypedDict):
    """A kind with its configuration, used without registering it."""

    kind: str
    config: NotRequired[dict[str, Any]]


def _form_of(verifier: object) -> str | None:
    return "<name>" if isinstance(verifier, str) else "<inline>" if isinstance(verifier, dict) else None


Verifier = Annotated[
    Annotated[str, Field(min_length=1), Tag("<name>")] | Annotated[InlineVerifier, Tag("<inline>")],
    Discriminator(
        _form_of, custom_error_type="verifier", custom_error_message="must be a name, or {kind: NAME, config: {...}}"
    ),
]
"""`name` (the latest version), `name@version`, or a kind with its configuration."""


class RewardSection(Section):
    """One verifier whose score is a part of the reward."""

    verifier: Verifier | None = Field(None, description="null: the row's own `verifier`.")
    weight: float = 1.0
    normalise: bool = Field(False, description="Its advantage within the group counts, not its score (GDPO).")


class OptimizerSection(Section):
    """AdamW."""

    learning_rate: float | None = Field(None, gt=0, description="null: by task, see docs/training/losses.md.")
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)


class SftSection(Section):
    """Supervised fine-tuning on prompts and answers."""

    steps: Positive
    batch: Positive = 16
    micro_batch: Positive = 64
    answer: str = Field("answer", description="The field of a row that holds what to learn.")


class GrpoSection(Section):
    """GRPO and its family. `algorithm` sets every switch (algorithms.py); one that is given here overrides it."""

    algorithm: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "reinforce_pp"] = "grpo"
    steps: Positive = Field(description="Weight updates.")
    prompts: Positive = Field(8, description="Prompts of one rollout.")
    group: int = Field(8, ge=2, description="Completions of one prompt.")
    minibatches: Positive = Field(1, description="Updates that one pass over a rollout is divided into.")
    updates_per_rollout: Positive = Field(1, description="Passes over a rollout.")
    micro_batch: Positive = Field(64, description="The most completions of one forward and backward pass.")
    rewards: list[RewardSection] = Field(default_factory=lambda: [RewardSection()], min_length=1)
    refills: int = Field(3, ge=0, description="How many times a rollout is refilled under `resample`.")
    mask_truncated: bool = Field(False, description="Leave completions that were cut by length out of the loss.")
    step_scores: bool = Field(False, description="Advantages by step, from the `steps` of the verdicts (PRIME).")
    importance_cap: float | None = Field(
        None,
        gt=0,
        description="Weigh tokens by trainer over sampler probability, at most this; null: do not.",
    )
    max_unscored: Share = Field(0.9, description="Above this share of unscored completions the run stops.")
    advantage: algorithms.Advantage | None = Field(
        None, description="What a score is compared with. null, here and below: as `algorithm` has it."
    )
    deviation: bool | None = Field(None, description="Divide by the standard deviation of the group.")
    ratio: algorithms.Ratio | None = Field(None, description="Whose probability ratio weighs a token.")
    clip_low: float | None = Field(None, ge=0, le=1, description="A ratio is clipped at 1 less this,")
    clip_high: float | None = Field(None, ge=0, description="and at 1 plus this.")
    cap: float | None = Field(None, gt=0, description="The most that a ratio may be, in place of clipping (CISPO).")
    aggregate: algorithms.Aggregate | None = Field(None, description="What the loss is a mean over.")
    kl: algorithms.KL | None = Field(None, description="Where the distance from the reference counts.")
    unbiased_kl: bool | None = Field(None, description="Weigh the KL of the loss by the token's ratio.")
    beta: float | None = Field(None, ge=0, description="The weight of the KL; 0: no reference model.")
    degenerate: algorithms.Degenerate | None = Field(None, description="What becomes of a group of equal scores.")
    overlong_buffer: Share | None = Field(
        None, description="The share of the longest completion over which DAPO's penalty of length rises."
    )

    def switches(self) -> Algorithm:
        """The algorithm, with what is overridden here."""
        given = {
            field.name: value
            for field in dataclasses.fields(Algorithm)
            if (value := getattr(self, field.name, None)) is not None
        }
        return dataclasses.replace(ALGORITHMS[self.algorithm], **given)

    @model_validator(mode="after")
    def _fits_together(self) -> GrpoSection:
        if self.prompts % self.minibatches:
            raise ValueError(f"prompts ({self.prompts}) must be a multiple of minibatches ({self.minibatches})")
        if self.switches().ratio == "product" and (self.step_scores or self.importance_cap is not None):
            raise ValueError(
                "with ratio `product` (rloo) a completion is one action, and step_scores and importance_cap are by "
                "token: set ratio: token"
            )
        if self.step_scores and self.switches().kl == "reward" and self.switches().beta:
            raise ValueError("step_scores makes advantages without the KL in the reward: set kl: loss, or beta: 0")
        return self


class PreferenceSection(Section):
    """DPO, IPO and KTO, on pairs of a file or on what the policy samples (`iterate`)."""

    loss: Literal["dpo", "ipo", "kto"] = "dpo"
    steps: Positive | None = Field(None, description="null: one pass over the pairs.")
    batch: Positive = 16
    micro_batch: Positive = 64
    beta: float = Field(0.1, gt=0)
    nll: float = Field(0.0, ge=0, description="The weight of the log-likelihood of what was chosen.")
    desirable_weight: float = Field(1.0, ge=0)
    undesirable_weight: float = Field(1.0, ge=0)
    iterations: Positive = Field(1, description="Of `iterate`: how often answers are drawn and trained on.")
    prompts: Positive = Field(512, description="Prompts that one iteration samples.")
    group: int = Field(8, ge=2, description="Completions of one prompt.")
    rewards: list[RewardSection] = Field(default_factory=lambda: [RewardSection()], min_length=1)
    max_unscored: Share = Field(0.9, description="Above this share of unscored completions the run stops.")
    compare: Verifier | None = Field(None, description="A verifier for POST /compare; null: the scores are compared.")

    @model_validator(mode="after")
    def _fits_together(self) -> PreferenceSection:
        if self.nll and self.loss != "dpo":
            raise ValueError(f"nll belongs to the loss dpo, and the loss is {self.loss}: leave it out")
        if self.compare is not None and "rewards" in self.model_fields_set:
            raise ValueError("give compare or rewards, not both")
        if self.compare is not None and self.group > 64:
            raise ValueError("POST /compare takes 64 completions of a prompt at most: lower group, or use rewards")
        return self


class EvaluationSection(Section):
    """What the policy is measured by and never trained on."""

    every: int = Field(10, ge=0, description="Steps between evaluations; 0: none.")
    verifier: Verifier | None = Field(None, description="The held-out verifier; null: the row's own.")
    prompts: Positive | None = Field(None, description="How many held-out prompts; null: all of them.")
    samples: Positive = Field(1, description="Completions of one prompt.")
    pass_at: list[Positive] = Field(default_factory=lambda: [1])
    temperature: float = Field(1.0, ge=0, le=10, description="0: the most probable token.")
    max_new_tokens: Positive | None = Field(None, description="null: sampling.max_new_tokens.")
    kl: bool = Field(True, description="Measure the distance from the first policy, of which a copy is kept for it.")


class CheckpointsSection(Section):
    """What is kept to resume from."""

    every: Positive = Field(10, description="Steps between checkpoints.")
    keep: Positive = Field(2, description="How many are kept, besides those that an alarm would roll back to.")


class TrackingSection(Section):
    """What is recorded in the service's `/runs`."""

    enabled: bool = Field(True, description="false: metrics are kept in the run's folder alone.")
    samples: bool = Field(True, description="Record every completion, not only metrics.")
    metadata: dict[str, Any] = Field(default_factory=dict)


class Config(Section):
    """A run."""

    run: str = Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$", description="Its name, in /runs and in verdict rows.")
    folder: str = Field(min_length=1, description="Where checkpoints, spool and export go.")
    seed: int = Field(0, ge=0, lt=2**63)
    threads: Positive | None = Field(None, description="Of torch on a CPU; null: torch decides.")
    model: ModelSection
    data: DataSection
    service: ServiceSection = Field(default_factory=ServiceSection)
    sampling: SamplingSection = Field(default_factory=SamplingSection)
    optimizer: OptimizerSection = Field(default_factory=OptimizerSection)
    sft: SftSection | None = None
    grpo: GrpoSection | None = None
    preference: PreferenceSection | None = None
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    alarms: AlarmSettings = Field(default_factory=AlarmSettings)
    checkpoints: CheckpointsSection = Field(default_factory=CheckpointsSection)
    tracking: TrackingSection = Field(default_factory=TrackingSection)

    @model_validator(mode="after")
    def _sampler_is_known(self) -> Config:
        truncated = self.sampling.top_p < 1 or self.sampling.top_k > 0
        if truncated and self.grpo is not None and self.grpo.importance_cap is None:
            raise ValueError(
                "top_p and top_k change the distribution that completions come from, and the loss assumes the "
                "policy's own; leave them off, or set grpo.importance_cap (2 is usual) to correct for it"
            )
        return self

    def learning_rate(self, task: Task) -> float:
        """The one that is set, or the task's default."""
        if self.optimizer.learning_rate is not None:
            return self.optimizer.learning_rate
        if task == "sft":
            return 2e-5
        return 1e-5 if self.model.lora is not None else 1e-6


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a YAML file, with overrides of the form `section.field=value`. Raises `ConfigError`."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        fields = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{path}: must hold fields such as `run: my-run`; see docs/training/README.md")
    return from_fields(fields, overrides, where=str(path))


def from_fields(fields: dict[str, Any], overrides: Sequence[str] = (), *, where: str = "config") -> Config:
    """The configuration of plain data. Raises `ConfigError` that lists everything wrong with it."""
    for override in overrides:
        fields = overridden(fields, override)
    try:
        return Config.model_validate(fields)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {_explain(problem)}" for problem in error.errors())) from error


def _explain(problem: Any) -> str:
    """One line for one of pydantic's errors."""
    location = [part for part in problem["loc"] if not str(part).startswith("<")]  # without pydantic's tags
    name = ".".join(map(str, location))
    if problem["type"] == "extra_forbidden":
        hint = "; YAML has a space after a colon" if ":" in str(location[-1]) else _meant(location)
        return f"{name}: there is no such field{hint}"
    if problem["type"] == "missing":
        return f"{name}: is missing"
    if problem["type"] == "string_type" and not isinstance(problem["input"], list | dict):
        return f"{name}: must be a text, and YAML reads it as {problem['input']!r}: put it in quotes"
    said = problem["msg"].removeprefix("Value error, ")
    return f"{name}: {said}" if name else said


def _meant(location: Sequence[Any]) -> str:
    """A hint at the field that an unknown name was meant to be."""
    model: Any = Config
    for part in location[:-1]:
        if isinstance(part, str):
            model = _section_of(model.model_fields[part].annotation) if part in model.model_fields else None
        if model is None:
            return ""
    names = sorted(model.model_fields)
    close = difflib.get_close_matches(str(location[-1]), names, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"


def _section_of(annotation: Any) -> Any:
    """The section in an annotation such as `LoraSection | None` or `list[RewardSection]`, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_of(part)) is not None), None)
