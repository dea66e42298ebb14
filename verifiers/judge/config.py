"""The configuration of the kind `judge`, and the form of an item's reference."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from verifiers.base import KindConfig, Strict
from verifiers.lent import Needs
from verifiers.thinking import Section

MAX_CRITERIA = 64
"""Of a rubric, or a list of principles."""
MAX_PANEL = 8
MAX_SAMPLES = 32
MAX_SEATS = 64
"""Votes of one item: judges times samples."""
MAX_TEXT = 4_000
"""Characters of a criterion, a principle, or the instructions."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds a lone surrogate, which is not a character")
    return text


Mode = Literal["pointwise", "pairwise", "rubric", "principles", "equivalence"]
Told = Annotated[str, AfterValidator(_not_blank)]
"""Text that a judge reads as it is."""
BackendName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Bound = Annotated[float, Field(ge=-1e6, le=1e6)]


class ScaleConfig(KindConfig):
    """The numbers that a judge may give."""

    min: Bound = Field(1.0, description="The lowest number.")
    max: Bound = Field(10.0, description="The highest number.")
    integer: bool = Field(True, description="Whole numbers only.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min >= self.max:
            raise ValueError("min must be below max")
        if self.integer and not (self.min.is_integer() and self.max.is_integer()):
            raise ValueError("the bounds of whole numbers must be whole numbers; or set integer to false")
        return self


class Criterion(KindConfig):
    """One of the criteria of a rubric, answered yes or no."""

    text: Told = Field(
        max_length=MAX_TEXT,
        description="What the completion must do, as a statement that is true or false of it.",
        examples=["Names the capital of France."],
    )
    weight: Bound = Field(
        1.0, description="What a yes adds; below zero for a fault. Weights are measured against the positive ones."
    )


Criteria = Annotated[list[Criterion], Field(max_length=MAX_CRITERIA, fail_fast=True)]
Principles = Annotated[
    list[Annotated[Told, Field(max_length=MAX_TEXT)]], Field(max_length=MAX_CRITERIA, fail_fast=True)
]


class MarkerConfig(KindConfig):
    """Where a judge's verdict stands in its answer, as your own template asks for it."""

    pattern: str = Field(
        description="RE2 with a group that holds the verdict (of several, the first that holds anything). The last "
        "match with a verdict on offer counts; what matches in a completion is blotted out before the judge sees it.",
        examples=[r"\[\[(A|B|C)\]\]"],
    )
    words: dict[str, str] = Field(
        default_factory=dict,
        max_length=20,
        description="What the group may hold, each with what it means: yes, no, A, B, tie, or a number.",
        examples=[{"C": "tie"}],
    )


class JudgeConfig(KindConfig):
    """The judges, what they are asked, and what becomes of their answers."""

    inline_scope: ClassVar[Literal["score", "register"]] = "register"

    backend: BackendName = Field(
        description="The name of a chat model that an operator added (`assay backends add`).", examples=["judge-70b"]
    )
    mode: Mode = Field(
        "pointwise",
        description="pointwise: a number on `scale`. pairwise: the completion against the one in the reference. "
        "rubric: weighted criteria. principles: principles, fulfilled or not. equivalence: whether it gives the "
        "answer in the reference.",
    )
    instructions: Told | None = Field(
        None,
        max_length=MAX_TEXT,
        description="What the judge should look at, in a few sentences; goes into the template.",
        examples=["Judge whether a beginner would understand the answer."],
    )
    scale: ScaleConfig = Field(
        default_factory=lambda: ScaleConfig(), description="pointwise, and a rubric's overall judgement."
    )
    criteria: Criteria = Field(
        default_factory=list, description="rubric: the criteria, unless each item's reference has its own."
    )
    combine: Literal["explicit", "overall"] = Field(
        "explicit",
        description="rubric. explicit: every criterion gets a yes or no, and the weights of the yeses are added. "
        "overall: the judge reads the criteria and gives one number on `scale`.",
    )
    principles: Principles = Field(
        default_factory=list,
        description="principles: the principles, unless each item's reference has its own.",
        examples=[["The answer says where it is uncertain."]],
    )
    require: Literal["fraction", "all"] = Field(
        "fraction", description="principles. fraction: the share that is fulfilled. all: 1 if every one is, else 0."
    )
    calls: Literal["each", "all"] = Field(
        "each", description="rubric and principles. each: a call for every criterion. all: one call for all of them."
    )
    swap: bool = Field(
        True,
        description="pairwise: ask in both orders; where the two answers disagree, it is a tie. Twice the calls.",
    )
    normalise: bool = Field(
        True,
        description="Scores lie between 0 and 1. false: the number on the scale, or the sum of weights, as it is.",
    )
    template: Told | None = Field(
        None,
        description="The prompt, in Jinja2; null: the mode's own. What it can name is listed on this page. How to "
        "answer is added at its end, unless `marker` is given.",
        examples=["{{ instructions }}\n\n{{ prompt }}\n\n{{ completion }}"],
    )
    system: Told | None = Field(
        None, max_length=MAX_TEXT, description="The system message; null: one that says what a judge is."
    )
    output: Literal["auto", "schema", "marker", "logprobs"] = Field(
        "auto",
        description="How the judge says its verdict. schema: JSON that the server enforces. marker: a line at the "
        "end of its answer. logprobs: the probabilities of its first token, without any reasoning. auto: schema "
        "where the server has it, else marker.",
    )
    marker: MarkerConfig | None = Field(
        None,
        description="For a template of your own that says how to answer; null: a line with a code that no completion "
        "can foresee.",
    )
    explain: bool = Field(True, description="The judge gives its reasons before its verdict.")
    panel: list[BackendName] = Field(
        default_factory=list, max_length=MAX_PANEL - 1, description="More judges, who vote beside `backend`."
    )
    samples: int = Field(
        1, ge=1, le=MAX_SAMPLES, description="Votes of each judge; more than one takes a temperature above 0."
    )
    vote: Literal["majority", "mean"] | None = Field(
        None,
        description="majority: a verdict stands if more than half of all votes are for it. mean: of the votes, if "
        "more than half of them are there. null: mean for numbers, else majority. Of probabilities, majority makes a "
        "yes or no, mean keeps them.",
    )
    temperature: float = Field(0.0, ge=0.0, le=2.0, description="Of sampling; 0: the likeliest answer.")
    top_p: float = Field(1.0, gt=0.0, le=1.0, description="Nucleus sampling.")
    seed: int | None = Field(
        0, ge=0, le=2**31 - 1, description="Sample number i is drawn with seed + i. null: no seed is sent."
    )
    max_tokens: int = Field(1024, ge=1, le=65_536, description="Most tokens of an answer, its reasons included.")
    max_chars: int = Field(
        24_000,
        ge=200,
        le=400_000,
        description="Most characters that are shown of each text (prompt, completion, reference); of a longer one, "
        "the middle is left out, and the judge is told.",
    )
    section: Section = Field(
        "final", description="final: what follows the completion's thinking part, if there is one; whole: everything."
    )

    def needs(self) -> Needs:
        """See `KindConfig.needs`."""
        more = {f"/panel/{position}": name for position, name in enumerate(self.panel)}
        return Needs(backends={"/backend": self.backend, **more}, backend_types=("chat",))


class JudgeReference(Strict):
    """What an item brings for the judge beside its prompt."""

    answer: str | int | float | None = Field(
        None, description="The right answer, or one to look at.", examples=["Paris"]
    )
    completion: str | None = Field(None, description="pairwise: the completion to compare with.")
    criteria: Criteria | None = Field(None, description="rubric: this item's criteria.")
    principles: Principles | None = Field(None, description="principles: this item's principles.")


Reference = str | int | float | JudgeReference | None
"""A text or number alone is the completion to compare with (pairwise), or else the answer."""
