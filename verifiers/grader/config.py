"""The graders of OpenAI's API as they are written in JSON: what their client and their guide call a grader.

Source: the types `openai.types.graders` of the `openai` package 3.57, and the guide to graders, which between them
name every field here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from verifiers.base import KindConfig, pointer
from verifiers.grader.templates import MAX_TEMPLATE
from verifiers.judge.config import BackendName
from verifiers.lent import InlineVerifier, Needs
from verifiers.python import MAX_CODE

MAX_GRADERS = 10
"""Graders of a multi grader."""
MAX_MESSAGES = 64
MAX_LABELS = 100
MAX_SOURCE = MAX_CODE - 500
"""Characters of a Python grader: what the kind `python` takes, less the call that is added."""

ENTRY_POINT = "assay_call_grade"
CALL = f"""

def {ENTRY_POINT}(metadata, reference):
    return grade(metadata["sample"], reference)
"""
"""Added to a Python grader."""
CPU_S, WALL_S = 30.0, 120.0
"""Bounds of one call of it; OpenAI's guide allows two minutes by the clock."""

GraderName = Annotated[str, Field(max_length=200)]
Templated = Annotated[str, Field(max_length=MAX_TEMPLATE)]
Bound = Annotated[float, Field(ge=-1e6, le=1e6)]
NAME = "Yours to choose; echoed."
PASS_THRESHOLD = "For OpenAI's evals; kept, and without influence on the score."  # noqa: S105 - no password


class StringCheckGrader(KindConfig):
    """Compare two strings: 1 or 0."""

    type: Literal["string_check"]
    name: GraderName = Field("string_check", description=NAME)
    input: Templated = Field(description="A template.", examples=["{{sample.output_text}}"])
    reference: Templated = Field(description="A template.", examples=["{{item.answer}}"])
    operation: Literal["eq", "ne", "neq", "like", "ilike"] = Field(
        description="eq: input equals reference; ne, neq: it does not; like: input contains reference; ilike: the "
        "same whatever the case."
    )


Metric = Literal[
    "fuzzy_match",
    "bleu",
    "gleu",
    "meteor",
    "cosine",
    "rouge_1",
    "rouge_2",
    "rouge_3",
    "rouge_4",
    "rouge_5",
    "rouge_l",
]


class TextSimilarityGrader(KindConfig):
    """Measure how alike two texts are: 0 to 1."""

    type: Literal["text_similarity"]
    name: GraderName = Field("text_similarity", description=NAME)
    input: Templated = Field(description="A template.", examples=["{{sample.output_text}}"])
    reference: Templated = Field(description="A template.", examples=["{{item.answer}}"])
    evaluation_metric: Metric = Field(description="Which measure.")
    model: BackendName | None = Field(
        None,
        description="For `cosine`, and only for it: the name of a backend of the type `chat` whose model embeds "
        "texts. OpenAI's JSON has none, for its model is always text-embedding-3-large.",
    )
    pass_threshold: float | None = Field(None, description=PASS_THRESHOLD)


class TextPart(KindConfig):
    """A part of a message that is text."""

    type: Literal["input_text", "output_text"] = Field(description="Text; images and sound are not taken.")
    text: Templated = Field(description="A template.")


class GraderMessage(KindConfig):
    """A message to a model that grades."""

    role: Literal["system", "developer", "user", "assistant"] = Field(description="`developer` is sent as `system`.")
    content: Templated | TextPart | Annotated[list[Templated | TextPart], Field(min_length=1, max_length=32)] = Field(
        description="A template, or parts of text that hold templates."
    )
    type: Literal["message"] | None = Field(None, description="Always `message`.")

    @property
    def text(self) -> str:
        """Its template."""
        parts = self.content if isinstance(self.content, list) else [self.content]
        return "".join(part if isinstance(part, str) else part.text for part in parts)


Messages = Annotated[list[GraderMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
GradingModel = Annotated[BackendName, Field(description="The name of a backend of the type `chat`.")]


def _not_sent(effort: str | None) -> None:
    if effort is not None:
        raise PydanticCustomError("grader", "is not sent to models: leave it out, set it where the model is served")


class SamplingParams(KindConfig):
    """How a model that grades is sampled."""

    temperature: float | None = Field(None, ge=0, le=2, description="null: 0, the likeliest answer.")
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus sampling. null: 1.")
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="null: none is sent.")
    max_completions_tokens: int | None = Field(
        None, ge=1, le=65_536, description="Most tokens of an answer, its steps included. null: 4,096."
    )
    reasoning_effort: Annotated[str | None, AfterValidator(_not_sent)] = Field(
        None, description="Refused, for it is not sent: set it where the model is served."
    )


class ScoreModelGrader(KindConfig):
    """Ask a model for a number."""

    type: Literal["score_model"]
    name: GraderName = Field("score_model", description=NAME)
    model: GradingModel
    input: Messages = Field(description="What the model reads.")
    range: list[Bound] | None = Field(
        None, min_length=2, max_length=2, description="The lowest and the highest number. null: 0 and 1."
    )
    sampling_params: SamplingParams | None = Field(None, description="How the model is sampled.")
    pass_threshold: float | None = Field(None, description=PASS_THRESHOLD)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.range is not None and self.range[0] >= self.range[1]:
            raise PydanticCustomError("grader", "the lowest number of the range must be below the highest")
        return self


class LabelModelGrader(KindConfig):
    """Ask a model for a label: 1 where it is a passing one, else 0."""

    type: Literal["label_model"]
    name: GraderName = Field("label_model", description=NAME)
    model: GradingModel
    input: Messages = Field(description="What the model reads.")
    labels: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        min_length=1, max_length=MAX_LABELS, description="What the model may say."
    )
    passing_labels: list[str] = Field(max_length=MAX_LABELS, description="Those of the labels that score 1.")
    sampling_params: SamplingParams | None = Field(None, description="How the model is sampled.")

    @model_validator(mode="after")
    def _of_the_labels(self) -> Self:
        if len({label.strip().casefold() for label in self.labels}) < len(self.labels):
            raise PydanticCustomError("grader", "two labels differ in nothing but case or the space around them")
        if not set(self.passing_labels) <= set(self.labels):
            raise PydanticCustomError("grader", "a passing label is none of the labels")
        return self


class PythonGrader(KindConfig):
    """Call a Python function in the sandbox."""

    type: Literal["python"]
    name: GraderName = Field("python", description=NAME)
    source: str = Field(
        max_length=MAX_SOURCE,
        description="Python that defines `grade(sample, item)`, which returns a number.",
        examples=["def grade(sample, item):\n    return float(sample['output_text'] == item['answer'])"],
    )
    image_tag: str | None = Field(
        None, max_length=200, description="For OpenAI's images; kept. GET /sandbox lists the packages there are here."
    )

    def part(self, packages: Sequence[str] = ()) -> InlineVerifier:
        """The verifier of kind `python` that calls the function with what an item's metadata and reference hold."""
        config = {
            "code": self.source + CALL,
            "entry_point": ENTRY_POINT,
            "limits": {"cpu_s": CPU_S, "wall_s": WALL_S},
            "packages": list(packages),
        }
        return InlineVerifier(kind="python", config=config)


def _type_of(value: Any) -> str | None:
    """The tag of a grader in a union of them."""
    type = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"tagged {type}" if isinstance(type, str) else None


_SINGLE = (
    Annotated[StringCheckGrader, Tag("tagged string_check")]
    | Annotated[TextSimilarityGrader, Tag("tagged text_similarity")]
    | Annotated[ScoreModelGrader, Tag("tagged score_model")]
    | Annotated[LabelModelGrader, Tag("tagged label_model")]
    | Annotated[PythonGrader, Tag("tagged python")]
)
SingleGrader = Annotated[
    _SINGLE,
    Discriminator(
        _type_of,
        custom_error_type="grader_type",
        custom_error_message="must be a grader whose type is string_check, text_similarity, score_model, "
        "label_model or python",
    ),
]
Variable = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,60}$")]


class MultiGrader(KindConfig):
    """Combine the scores of several graders by a formula."""

    type: Literal["multi"]
    name: GraderName = Field("multi", description=NAME)
    graders: dict[Variable, SingleGrader] = Field(
        min_length=1, max_length=MAX_GRADERS, description="Each under the name that the formula calls it by."
    )
    calculate_output: str = Field(
        description="Names of graders, numbers, `+ - * / ^`, parentheses, and `min max abs floor ceil exp sqrt log`.",
        examples=["0.5 * name + 0.5 * email"],
    )


AnyGrader = Annotated[
    _SINGLE | Annotated[MultiGrader, Tag("tagged multi")],
    Discriminator(
        _type_of,
        custom_error_type="grader_type",
        custom_error_message="must be a grader whose type is string_check, text_similarity, score_model, "
        "label_model, python or multi",
    ),
]


class GraderConfig(KindConfig):
    """A grader, in OpenAI's JSON."""

    is_part: ClassVar[bool] = False

    grader: AnyGrader = Field(description="The grader, as OpenAI's `graders/run` takes it.")

    def singles(self) -> dict[str, Any]:
        """The graders that look at the sample, by their JSON pointer: those of a multi grader, or the only one."""
        if isinstance(self.grader, MultiGrader):
            return {pointer(("grader", "graders", name)): one for name, one in self.grader.graders.items()}
        return {"/grader": self.grader}

    def needs(self) -> Needs:
        """See `KindConfig.needs`."""
        singles = self.singles()
        return Needs(
            {f"{at}/source": one.part() for at, one in singles.items() if isinstance(one, PythonGrader)},
            {
                f"{at}/model": one.model
                for at, one in singles.items()
                if isinstance(one, ScoreModelGrader | LabelModelGrader | TextSimilarityGrader)
                and one.model is not None
            },
            backend_types=("chat",),
        )
