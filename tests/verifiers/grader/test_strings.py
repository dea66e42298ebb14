"""String checks and similarity."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.grader.support import alike, check, grade, graded
from tests.verifiers.support import ANY_TEXT, score
from verifiers.base import ErrorType, Outcome
from verifiers.grader.templates import MAX_RENDERED
from verifiers.text import MAX_MEASURED_CHARS, MAX_REFERENCE_CHARS


@pytest.mark.parametrize(
    ("operation", "sample", "answer", "value"),
    [
        ("eq", "Paris", "Paris", 1),
        ("eq", "Paris ", "Paris", 0),
        ("eq", "paris", "Paris", 0),
        ("eq", "", "", 1),
        ("eq", "1.0", 1.0, 1),
        ("eq", "a\x00\ud800", "a\x00\ud800", 1),
        ("ne", "Paris", "Paris", 0),
        ("ne", "Rome", "Paris", 1),
        ("neq", "Rome", "Paris", 1),
        ("like", "It is Paris.", "Paris", 1),
        ("like", "Paris", "It is Paris.", 0),
        ("like", "it is paris.", "Paris", 0),
        ("like", "100%", "100%", 1),
        ("like", "1000", "1%", 0),
        ("ilike", "it is PARIS.", "Paris", 1),
        ("ilike", "STRASSE", "straße", 1),
        ("ilike", "Rome", "Paris", 0),
    ],
)
async def test_operations(operation: str, sample: str, answer: Any, value: int) -> None:
    verdict = await grade(check(operation), sample, {"answer": answer})
    assert (verdict.score, verdict.outcome) == (value, "correct" if value else "incorrect")
    assert verdict.detail == {"stage": "string_check"}


@pytest.mark.parametrize("operation", ["like", "ilike"])
async def test_an_empty_text_is_not_found_in_everything(operation: str) -> None:
    verdict = await grade(check(operation), "anything", {"answer": ""})
    assert verdict.error is not None
    assert (verdict.error.type, verdict.detail["fault"]) == (ErrorType.BAD_ITEM, "other_error")
    turned = check(operation, "{{item.answer}}", "{{sample.output_text}}")
    assert [verdict.score for verdict in await graded(turned, "", "is", reference={"answer": "This"})] == [0.0, 1.0]


@pytest.mark.parametrize("operation", ["eq", "ne", "neq", "like", "ilike"])
async def test_a_sample_that_cannot_be_read_never_passes(operation: str) -> None:
    verdict = await grade(check(operation, "{{sample.output_json.x}}"), "not JSON", {"answer": "a"})
    assert (verdict.score, verdict.outcome) == (0.0, Outcome.UNPARSEABLE)
    assert verdict.detail["fault"] == "sample_parse_error"
    assert verdict.detail["message"].startswith("the sample is not JSON")


async def test_an_item_that_lacks_a_field_is_unscored_and_its_neighbours_are_not() -> None:
    verdict = await grade(check(), "a", {"other": "a"})
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.BAD_ITEM, False)
    assert verdict.error.message == "the item has no item.answer, which the grader names"
    assert verdict.detail == {"stage": "string_check", "fault": "invalid_variable_error"}


async def test_a_huge_sample_is_too_long() -> None:
    verdict = await grade(check("ne"), "x" * (MAX_RENDERED + 1), {"answer": "a"})
    assert (verdict.score, verdict.outcome) == (0.0, Outcome.OUTPUT_EXCEEDED)


async def test_nothing_is_graded_after_the_deadline() -> None:
    for verdict in await graded(check(), "a", "b", reference={"answer": "a"}, seconds=-1):
        assert verdict.error is not None
        assert verdict.error.type is ErrorType.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("metric", "mode", "config"),
    [
        ("fuzzy_match", "ratio", {}),
        ("bleu", "bleu", {}),
        ("gleu", "gleu", {}),
        ("meteor", "meteor", {"ignore_case": True}),
        ("rouge_1", "token_f1", {"ignore_case": True, "ignore_punctuation": True}),
        ("rouge_2", "rouge_2", {"ignore_case": True, "ignore_punctuation": True}),
        ("rouge_3", "rouge_3", {"ignore_case": True, "ignore_punctuation": True}),
        ("rouge_4", "rouge_4", {"ignore_case": True, "ignore_punctuation": True}),
        ("rouge_5", "rouge_5", {"ignore_case": True, "ignore_punctuation": True}),
        ("rouge_l", "rouge_l", {"ignore_case": True, "ignore_punctuation": True}),
    ],
)
async def test_a_measure_is_that_of_the_kind_text(metric: str, mode: str, config: dict[str, Any]) -> None:
    answer = "The quick brown fox jumps over the lazy dog."
    for sample in ("the quick brown fox jumped over a lazy dog", answer, "nothing", "", "<think>The quick"):
        verdict = await grade(alike(metric), sample, {"answer": answer})
        same = await score("text", {"mode": mode, "section": "whole", **config}, completion=sample, reference=answer)
        assert (verdict.score, verdict.outcome) == (same.score, Outcome.SCORED)
        assert (verdict.score == 1.0) == (sample == answer)


# from rouge-score 0.1.2, its stemmer off: words of letters and digits in lower case
ROUGE = ("The cat, it sat on the mat!", "A cat sat on the mat today.")


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("rouge_1", 0.7142857142857143),
        ("rouge_2", 0.5),
        ("rouge_3", 0.4),
        ("rouge_4", 0.25),
        ("rouge_5", 0.0),
        ("rouge_l", 0.7142857142857143),
    ],
)
async def test_rouge_is_that_of_the_package_that_defines_it(metric: str, value: float) -> None:
    verdict = await grade(alike(metric), ROUGE[0], {"answer": ROUGE[1]})
    assert verdict.score == pytest.approx(value, abs=1e-12)


async def test_a_reference_that_cannot_be_compared_with_is_whose_it_is() -> None:
    of_item = await grade(alike("rouge_5"), "a b c d e", {"answer": "a b"})
    assert of_item.error is not None
    assert of_item.error.type is ErrorType.BAD_ITEM
    turned = alike("rouge_5", "{{item.answer}}", "{{sample.output_text}}")
    of_sample = await grade(turned, "a b", {"answer": "a b c d e"})
    assert (of_sample.score, of_sample.outcome) == (0.0, Outcome.UNPARSEABLE)
    assert (
        await grade(alike("bleu", "{{item.answer}}", "{{sample.output_text}}"), " ", {"answer": "a"})
    ).score == 0.0
    long = "a " * (MAX_REFERENCE_CHARS // 2 + 1)
    assert (await grade(alike("bleu"), "a", {"answer": long})).score is None
    assert (
        await grade(alike("bleu", "{{item.answer}}", "{{sample.output_text}}"), long, {"answer": "a"})
    ).score == 0.0


async def test_a_text_too_long_to_be_measured_is_whose_it_is() -> None:
    long = "a" * (MAX_MEASURED_CHARS + 1)
    of_sample = await grade(alike("fuzzy_match"), long, {"answer": "a"})
    assert (of_sample.score, of_sample.outcome) == (0.0, Outcome.OUTPUT_EXCEEDED)
    of_item = await grade(alike("fuzzy_match", "{{item.answer}}", "{{sample.output_text}}"), "a", {"answer": long})
    assert of_item.error is not None
    assert of_item.error.type is ErrorType.BAD_ITEM


async def test_one_bad_item_among_many() -> None:
    completions = ['{"x": "a b"}', "no JSON", '{"x": "a c"}']
    found = await graded(alike("rouge_1", "{{sample.output_json.x}}"), *completions, reference={"answer": "a b"})
    assert [verdict.score for verdict in found] == [1.0, 0.0, 0.5]


@given(sample=ANY_TEXT, answer=ANY_TEXT, operation=st.sampled_from(["eq", "ne", "like", "ilike"]))
async def test_checks_are_pythons_own(sample: str, answer: str, operation: str) -> None:
    verdict = await grade(check(operation), sample, {"answer": answer})
    if not answer and operation in ("like", "ilike"):
        assert verdict.score is None
        return
    expected = {
        "eq": sample == answer,
        "ne": sample != answer,
        "like": answer in sample,
        "ilike": answer.casefold() in sample.casefold(),
    }[operation]
    assert verdict.score == float(expected)
