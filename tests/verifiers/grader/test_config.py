"""Graders that cannot work, each with the field that is at fault; and those that are taken as OpenAI writes them."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import Problem
from app.registry import compile_config, inline_scope
from tests.verifiers.grader.support import alike, check, multi
from tests.verifiers.grader.test_models import label, number
from tests.verifiers.grader.test_python_code import python
from verifiers.base import load_kinds
from verifiers.grader.config import MAX_GRADERS

load_kinds()

CODE = "def grade(sample, item):\n    return 1"
WHICH = "must be a grader whose type is string_check, text_similarity, score_model, label_model"


@pytest.mark.parametrize(
    ("grader", "pointer", "message"),
    [
        (None, "", WHICH),
        ([], "", WHICH),
        ({}, "", WHICH),
        ({"type": "exact"}, "", WHICH),
        ({"type": 5}, "", WHICH),
        ({"type": "string_check"}, "/input", "Field required"),
        ({**check(), "operation": "equals"}, "/operation", "Input should be 'eq', 'ne', 'neq', 'like' or 'ilike'"),
        ({**check(), "input": 5}, "/input", "Input should be a valid string"),
        ({**check(), "more": 1}, "/more", "Extra inputs are not permitted"),
        ({**check(), "reference": "{{x}}"}, "/reference", "'x' is no path"),
        (alike("cosine"), "/model", "cosine compares embeddings: name the backend whose model gives them"),
        (alike("cosine", model="no name"), "/model", "String should match pattern"),
        (alike("bleu", model="a"), "/model", "bleu asks no model; only cosine does"),
        (alike("cosine", "{{x}}", model="a"), "/input", "'x' is no path"),
        (alike("rouge_6"), "/evaluation_metric", "Input should be 'fuzzy_match'"),
        (number(model="no name"), "/model", "String should match pattern"),
        (number(input=[]), "/input", "at least 1 item"),
        (number(input=[{"role": "tool", "content": "a"}]), "/input/0/role", "Input should be 'system'"),
        (
            number(input=[{"role": "user", "content": {"type": "input_image", "image_url": "x"}}]),
            "/input/0/content/type",
            "Input should be 'input_text' or 'output_text'",
        ),
        (number(input=[{"role": "user", "content": "{{item"}]), "/input/0/content", "a '{{' has no '}}'"),
        (number(range=[1, 1]), "", "the lowest number of the range must be below the highest"),
        (number(range=[0]), "/range", "at least 2 items"),
        (number(range=[0, 1e300]), "/range/1", "less than or equal to 1000000"),
        (number(sampling_params={"temperature": 3}), "/sampling_params/temperature", "less than or equal to 2"),
        (
            number(sampling_params={"reasoning_effort": "low"}),
            "/sampling_params/reasoning_effort",
            "is not sent to models: leave it out, set it where the model is served",
        ),
        (label(passing_labels=["great"]), "", "a passing label is none of the labels"),
        (label(labels=["a", "A "], passing_labels=[]), "", "two labels differ in nothing but case or the space"),
        (label(labels=[], passing_labels=[]), "/labels", "at least 1 item"),
        (multi("a", a=multi("b", b=check())), "/graders/a", "must be a grader whose type is string_check"),
        (multi("a", **{"a b": check()}), "/graders/a b", "String should match pattern"),
        (multi("1"), "/graders", "at least 1 item"),
        (
            multi("1", **{f"g{n}": check() for n in range(MAX_GRADERS + 1)}),
            "/graders",
            f"at most {MAX_GRADERS} items",
        ),
        (python("x"), "/source", "source defines no function grade(sample, item)"),
    ],
)
def test_refused_with_the_field_at_fault(grader: Any, pointer: str, message: str) -> None:
    with pytest.raises(Problem) as caught:
        compile_config("grader", {"grader": grader})
    assert message in caught.value.detail
    assert (caught.value.name, caught.value.pointer) == ("invalid-config", f"/config/grader{pointer}")


@pytest.mark.parametrize(
    "grader",
    [
        {"type": "string_check", "name": "name", "operation": "eq", "input": "input", "reference": "reference"},
        {**alike("bleu"), "pass_threshold": 0.9, "name": "n"},
        number(sampling_params={"reasoning_effort": None, "seed": 1, "top_p": 1, "temperature": 0}),
        number(range=[0, 1], pass_threshold=0.5),
        label(),
        {"type": "python", "source": CODE},
        python(CODE),
        multi("0.5*a+0.5*b", a=check(), b=python(CODE)),
    ],
)
def test_taken_as_openai_writes_it(grader: dict[str, Any]) -> None:
    written = compile_config("grader", {"grader": grader}).config["grader"]
    assert grader.keys() <= written.keys()
    assert compile_config("grader", {"grader": written}).config["grader"] == written


@pytest.mark.parametrize(
    ("grader", "scope"),
    [
        (check(), "score"),
        (alike("bleu"), "score"),
        (alike("cosine", model="a"), "register"),
        (number(), "register"),
        (label(), "register"),
        (python(CODE), "register"),
        (multi("a + b", a=check(), b=alike("bleu")), "score"),
        (multi("a + b", a=check(), b=number()), "register"),
        (multi("a + b", a=check(), b=alike("cosine", model="a")), "register"),
        (multi("a + b", a=check(), b=python(CODE)), "register"),
    ],
)
def test_what_runs_code_or_spends_tokens_takes_the_scope_to_register(grader: dict[str, Any], scope: str) -> None:
    assert inline_scope("grader", {"grader": grader}) == scope
