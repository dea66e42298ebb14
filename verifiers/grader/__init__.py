"""The kind `grader`: graders of OpenAI's API, as they are written there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, TypeAdapter

from verifiers.base import Context, Example, Item, Verdict, pointer, register
from verifiers.grader.cases import Grader as Compiled
from verifiers.grader.config import (
    GraderConfig,
    LabelModelGrader,
    MultiGrader,
    PythonGrader,
    ScoreModelGrader,
    SingleGrader,
    StringCheckGrader,
)
from verifiers.grader.cosine import Cosine
from verifiers.grader.models import LabelModel, ScoreModel
from verifiers.grader.multi import Multi
from verifiers.grader.python_code import PythonCode
from verifiers.grader.strings import StringCheck, TextSimilarity
from verifiers.grader.variables import Variables

_EQUAL = {
    "type": "string_check",
    "name": "exact",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
}
_FIELDS = {
    "type": "multi",
    "name": "both fields",
    "graders": {
        "name": {
            "type": "text_similarity",
            "input": "{{sample.output_json.name}}",
            "reference": "{{item.name}}",
            "evaluation_metric": "fuzzy_match",
        },
        "email": {
            "type": "string_check",
            "operation": "eq",
            "input": "{{sample.output_json.email}}",
            "reference": "{{item.email}}",
        },
    },
    "calculate_output": "(name + email) / 2",
}
_ITEM = {"name": "Ada Lovelace", "email": "ada@example.com"}


@register
class Grader:
    r"""Grade as OpenAI's graders do: string checks, similarity, models, Python, and formulas over them.

    The configuration holds the grader's JSON as OpenAI's API takes it, so that a grader that exists can be
    registered as it is; `POST /v1/fine_tuning/alpha/graders/run` and `/validate` [take the same](../graders.md).
    OpenAI is giving graders up; for new verifiers the other kinds say more of what they decide.

    ```json
    {"grader": {"type": "string_check", "name": "exact", "operation": "eq",
                "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}}
    ```

    ## Reference
    The dataset's row, which templates call `item`: an object such as `{"answer": "42"}`. A reference that is no
    object is called `{{item.reference}}`.

    ## Templates
    `{{ item.answer }}` and `{{ sample.output_text }}` are replaced by what they name; between the braces stands a
    path and nothing else, with steps such as `.name`, `[0]` and `['two words']`. Text stands as it is, any other
    value as JSON. Braces in what an item or a sample holds are text. A sample has

    - `output_text`: what the model wrote;
    - `output_json`: the same, read as JSON;
    - `output_tools`: the tool calls of its last message, for completions that are chat messages;
    - `choices`: one choice, as in a chat completion.

    ## Types
    - `string_check`: `eq`, `ne` (or `neq`), `like` (input contains reference), `ilike` (whatever the case).
    - `text_similarity`: the measures of the kind [`text`](text.md): `fuzzy_match` is its `ratio`, `rouge_1` its
      `token_f1`, and the others have their own names. ROUGE sees neither case nor punctuation, METEOR no case.
      `cosine` is that of the angle between the embeddings of both texts, by the model of the
      [backend](../backends.md#embeddings) that `model` names: from -1 to 1, and -1 for a sample that is empty.
    - `score_model`: `model` is the name of a [backend](../backends.md) of the type `chat`. It is asked for
      `{"steps": [...], "result": number}`; the number is cut to `range`.
    - `label_model`: likewise for one of `labels`; 1 where it is one of `passing_labels`.
    - `python`: `grade(sample, item)` in the [sandbox](../sandbox.md), as the kind [`python`](python.md) calls it,
      with those of the sandbox's packages that it imports.
    - `multi`: up to 10 graders and `calculate_output`, a formula over their names with `+ - * / ^`, parentheses and
      `min max abs floor ceil exp sqrt log`. Every grader must be used in it, and none can be `multi`.

    ## Faults
    `detail.fault` has OpenAI's word for what went wrong.

    - `sample_parse_error`: the sample is not JSON, has no such field, or called no tool, and a template names it. The
      candidate's doing: the lowest score (0, the low end of `range`, -1 of `cosine`). In a formula such a grader
      counts as either end of its scores, whichever makes the whole less, so that `1 - bad` pays nobody for being
      unreadable.
    - `invalid_variable_error`: the item lacks what a template names: `unscored`.
    - `model_grader_refusal_error`, `model_grader_parse_error`, `model_grader_server_error`: `unscored`, as for the
      kind [`judge`](judge.md). OpenAI gives 0 for an answer without a number. An embedding that is none, is all
      zeros, or has another length than the other text's is a `backend_fault`.
    - `python_grader_runtime_error`: the function raised, took too long, or returned no number; `unscored`. OpenAI
      gives 0. `python_grader_server_error`: the sandbox cannot run it now.
    - `other_error`: anything else, such as a formula without a value (a division by zero, a number too large).

    An empty text to look for, with `like`, would be in every text: from the item it is a `bad_item`, from the sample
    it scores 0.

    ## Verdict
    `components` has the score of each grader of a `multi`. `detail.usage` has the tokens of each model. Sent with a
    request instead of registered, a grader that asks a model or runs Python takes the scope `register`.
    """

    kind: ClassVar[str] = "grader"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = False
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = GraderConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="Paris", reference={"answer": "Paris"}), 1.0, {"grader": _EQUAL}),
        Example(Item(completion="London", reference={"answer": "Paris"}), 0.0, {"grader": _EQUAL}),
        Example(
            Item(completion='{"name": "Ada Lovelace", "email": "ada@example.org"}', reference=_ITEM),
            0.5,
            {"grader": _FIELDS},
        ),
        Example(Item(completion="Ada Lovelace", reference=_ITEM), 0.0, {"grader": _FIELDS}),
    )
    guarded: ClassVar[Sequence[str]] = ()
    sandboxed: ClassVar[bool] = False

    def __init__(self, config: GraderConfig) -> None:
        grader = config.grader
        if isinstance(grader, MultiGrader):
            graders = {
                name: _compiled(one, pointer(("grader", "graders", name))) for name, one in grader.graders.items()
            }
            self._grader: Compiled = Multi(grader, graders, "/grader")
        else:
            self._grader = _compiled(grader, "/grader")

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order."""
        return await self._grader.grade([Variables(item) for item in items], ctx)


def _compiled(grader: SingleGrader, where: str) -> Compiled:
    """The grader ready to grade. Raises `ConfigError`, its pointer within the JSON pointer `where`."""
    if isinstance(grader, StringCheckGrader):
        return StringCheck(grader, where)
    if isinstance(grader, ScoreModelGrader):
        return ScoreModel(grader, where)
    if isinstance(grader, LabelModelGrader):
        return LabelModel(grader, where)
    if isinstance(grader, PythonGrader):
        return PythonCode(grader, where)
    return (Cosine if grader.evaluation_metric == "cosine" else TextSimilarity)(grader, where)
