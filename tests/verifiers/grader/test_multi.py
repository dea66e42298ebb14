"""Several graders and a formula."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.verifiers.grader.support import alike, check, grade, multi
from tests.verifiers.grader.test_models import number
from tests.verifiers.judge.scripted import Scripted, answer, says
from tests.verifiers.support import configured
from verifiers.base import ConfigError, ErrorType, Outcome
from verifiers.composite.formula import MAX_CHARS, FormulaError, parse
from verifiers.grader.multi import OF_FORMULAS

NAME = alike("fuzzy_match", "{{sample.output_json.name}}", "{{item.name}}")
EMAIL = check("eq", "{{sample.output_json.email}}", "{{item.email}}")
ROW = {"name": "abcd", "email": "a@b"}
BOTH = multi("(name + email) / 2", name=NAME, email=EMAIL)


async def test_a_formula_of_two_graders() -> None:
    verdict = await grade(BOTH, '{"name": "abxd", "email": "a@b"}', ROW)
    assert (verdict.score, verdict.outcome) == (0.875, Outcome.SCORED)
    assert verdict.components == {"name": 0.75, "email": 1.0}
    assert verdict.detail == {
        "stage": "multi",
        "graders": {
            "name": {"outcome": "scored", "score": 0.75, "stage": "text_similarity"},
            "email": {"outcome": "correct", "score": 1.0, "stage": "string_check"},
        },
    }


async def test_openais_own_example_of_tool_calls() -> None:
    grader = multi(
        "0.5 * function_name + 0.5 * arguments",
        function_name=check("eq", "get_acceptors", "{{sample.output_tools[0].function.name}}"),
        arguments=check("eq", '{"smiles": "{{item.smiles}}"}', "{{sample.output_tools[0].function.arguments}}"),
    )

    def calling(name: str, arguments: str) -> list[dict[str, Any]]:
        call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
        return [{"role": "assistant", "content": None, "tool_calls": [call]}]

    row = {"smiles": "CCO"}
    assert (await grade(grader, calling("get_acceptors", '{"smiles": "CCO"}'), row)).score == 1.0
    assert (await grade(grader, calling("get_acceptors", '{"smiles": "C"}'), row)).score == 0.5
    assert (await grade(grader, calling("other", "{}"), row)).score == 0.0
    assert (await grade(grader, "I call nothing.", row)).score == 0.0


@pytest.mark.parametrize(
    ("formula", "sample", "value"),
    [
        ("(name + email) / 2", '{"name": "abcd"}', 0.5),
        ("(name + email) / 2", "no JSON", 0.0),
        ("1 - email + 0 * name", "no JSON", 0.0),
        ("1 - email + 0 * name", '{"name": "abcd"}', 0.0),
        ("1 - email + 0 * name", '{"name": "", "email": "other"}', 1.0),
        ("2 * email - 1 + 0 * name", '{"name": "abcd"}', -1.0),
        ("(email - 0.5) * (name - 0.5)", "no JSON", -0.25),
        ("1 / email + 0 * name", "no JSON", 1.0),
    ],
)
async def test_being_unreadable_never_pays(formula: str, sample: str, value: float) -> None:
    verdict = await grade(multi(formula, name=NAME, email=EMAIL), sample, ROW)
    assert verdict.score == value


async def test_the_end_of_a_models_range_that_is_worse_counts() -> None:
    asked = [{"role": "user", "content": "{{sample.output_json.x}}"}]
    grader = multi("0 - m", m=number(range=[-2, 5], input=asked))
    verdict = await grade(grader, "no JSON", {}, backends=Scripted(says(result=1)))
    assert (verdict.score, verdict.components) == (-5.0, {"m": -2.0})


@pytest.mark.parametrize(
    ("formula", "sample"),
    [
        ("1 / email + 0 * name", '{"name": "abcd", "email": "other"}'),
        ("log(email) + name", '{"name": "abcd", "email": "other"}'),
        ("sqrt(0 - name) + email", '{"name": "abcd", "email": "a@b"}'),
        ("exp(name * 1000) + email", '{"name": "abcd", "email": "a@b"}'),
        ("9 ^ 9 ^ 9 ^ (9 + name + email)", '{"name": "abcd", "email": "a@b"}'),
        ("1e308 * 10 * name + email", '{"name": "abcd", "email": "a@b"}'),
        ("(0 - 8) ^ (name / 3) + email", '{"name": "abcd", "email": "a@b"}'),
        ("min(1, 1 / (1 - name)) + email", '{"name": "abcd", "email": "a@b"}'),
    ],
)
async def test_a_formula_without_a_value_is_no_score(formula: str, sample: str) -> None:
    verdict = await grade(multi(formula, name=NAME, email=EMAIL), sample, ROW)
    assert verdict.error is not None
    assert (verdict.score, verdict.error.type) == (None, ErrorType.VERIFIER_FAULT)
    assert verdict.error.message.startswith("calculate_output has no value at name = ")
    assert verdict.detail["fault"] == "other_error"
    assert verdict.detail["graders"]["name"]["outcome"] == "scored"


async def test_a_grader_without_a_score_leaves_the_whole_without_one() -> None:
    grader = multi("m + email + 0 * name", m=number(input=[{"role": "user", "content": "?"}]), name=NAME, email=EMAIL)
    sample = '{"name": "abcd", "email": "a@b"}'
    broken = await grade(grader, sample, ROW, backends=Scripted(answer("no JSON")))
    assert broken.error is not None
    assert broken.error.message.startswith("grader m: the judge's answer is not JSON")
    assert broken.detail["fault"] == "model_grader_parse_error"
    assert broken.detail["graders"]["m"]["error"] == "judge_unreadable"
    assert broken.detail["graders"]["email"]["score"] == 1.0
    whole = await grade(grader, sample, ROW, backends=Scripted(says(result=0.5)))
    assert whole.score == 1.5
    assert whole.detail["usage"] == {
        "a": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "cost": 0.5}
    }


async def test_the_tokens_of_a_model_that_is_asked_twice_are_added() -> None:
    asked = number(input=[{"role": "user", "content": "?"}])
    grader = multi("m + n", m=asked, n={**asked, "range": [0, 2]})
    verdict = await grade(grader, "x", {}, backends=Scripted(says(result=0.5)))
    assert verdict.score == 1.0
    assert verdict.detail["usage"]["a"] == {
        "prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220, "cost": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("formula", "graders", "message", "pointer"),
    [
        ("", {"a": check()}, "calculate_output: a number, a part or a parenthesis was expected", "/calculate_output"),
        ("a +", {"a": check()}, "was expected at the end", "/calculate_output"),
        ("a + b", {"a": check()}, "no part is named 'b'; there are a", "/calculate_output"),
        ("a", {"a": check(), "b": check()}, "calculate_output does not use the grader 'b'", "/graders/b"),
        ("1", {"a": check()}, "calculate_output does not use the grader 'a'", "/graders/a"),
        ("min(a, 1)", {"a": check(), "min": check()}, "'min' is a function of formulas", "/graders/min"),
        ("clip(a, 0, 1)", {"a": check()}, "no part is named 'clip'", "/calculate_output"),
        ("a ** 2", {"a": check()}, "was not expected", "/calculate_output"),
        ("a.real", {"a": check()}, "is no part of a formula", "/calculate_output"),
        ("log(a, 2)", {"a": check()}, "log takes 1 argument", "/calculate_output"),
        ("__import__('os')", {"a": check()}, "is no part of a formula", "/calculate_output"),
        ("(" * 10_000 + "a" + ")" * 10_000, {"a": check()}, "longer than", "/calculate_output"),
        ("(" * 400 + "a" + ")" * 400, {"a": check()}, "nested deeper than", "/calculate_output"),
        ("9" + "^9" * 400 + "^a", {"a": check()}, "nested deeper than", "/calculate_output"),
        ("a", {"a": {**check(), "input": "{{x}}"}}, "'x' is no path", "/graders/a/input"),
    ],
)
def test_what_is_no_multi_grader_is_refused(formula: str, graders: Any, message: str, pointer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured("grader", {"grader": multi(formula, **graders)})
    assert message in str(caught.value)
    assert caught.value.pointer == f"/grader{pointer}"


# What Python makes of a formula, with ** in place of ^. Its names are the functions of graders.
PYTHON: dict[str, Any] = {
    "__builtins__": {},
    **{name: getattr(math, name) for name in ("floor", "ceil", "exp", "sqrt", "log")},
    "min": min,
    "max": max,
    "abs": abs,
    "a": 0.5,
    "b": 2.0,
    "zero": 0.0,
}
SCORES = {name: PYTHON[name] for name in ("a", "b", "zero")}
numbers = st.floats(0, 20).map(lambda number: repr(round(number, 2)))
formulas = st.recursive(
    numbers | st.sampled_from(sorted(SCORES)),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "^", " ^ ", "^-", "*-", " - -"]), inner).map("".join),
        inner.map("({})".format),
        inner.map("-{}".format),
        st.tuples(st.sampled_from(["abs", "floor", "ceil", "exp", "sqrt", "log"]), inner).map(
            "{0[0]}({0[1]})".format
        ),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map("{0[0]}({0[1]}, {0[2]})".format),
    ),
    max_leaves=12,
)


def by_python(text: str) -> float | None:
    """The formula's value by Python itself; None where it has none that is real and finite on the way."""
    try:
        value = eval(text.replace("^", "**"), dict(PYTHON))  # noqa: S307 - only what is drawn above
    except (ArithmeticError, ValueError, TypeError):  # TypeError: of a complex number
        return None
    return None if isinstance(value, complex) or not math.isfinite(value) else float(value)


@given(formulas)
@example("-2^2")
@example("2^3^2")
@example("2^-1")
@example("-2^-2")
@example("2*3^2")
@example("(-2)^2")
@example("(-8)^(1/3)")
@example("0^-1")
@example("zero/zero")
@example("max(1, exp(10^3))")
@example("max(1, (-8)^0.5)")
def test_formulas_agree_with_python(text: str) -> None:
    try:
        formula = parse(text, SCORES, OF_FORMULAS)
    except FormulaError as error:
        assert "nested deeper" in str(error) or len(text) > MAX_CHARS
        return
    expected = by_python(text)
    try:
        value = formula(SCORES)
    except ArithmeticError:
        assert expected is None or "^" in text or "exp" in text, (
            "a step on the way may be too large, and hidden by min"
        )
        return
    assert math.isfinite(value)
    assert expected is not None
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)
