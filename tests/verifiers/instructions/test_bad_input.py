"""Malformed configurations and references, each with its message."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.verifiers.support import InProcessGuard, score
from verifiers.base import ErrorType, explain
from verifiers.instructions import InstructionsConfig
from verifiers.instructions.instruction import MAX_COPIED, MAX_NUMBER, MAX_PHRASE, MAX_PHRASES
from verifiers.instructions.languages import CODES


@pytest.mark.parametrize(
    ("config", "place", "message"),
    [
        ({"mode": "lenient"}, ("mode",), "Input should be 'strict' or 'loose'"),
        ({"reward": 1}, ("reward",), "Input should be 'all' or 'fraction'"),
        ({"section": "all"}, ("section",), "Input should be 'final' or 'whole'"),
        ({"language": "en"}, ("language",), "Extra inputs are not permitted"),
    ],
)
def test_malformed_configuration(config: dict[str, Any], place: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        InstructionsConfig.model_validate(config)
    assert explain(raised.value, config) == (place, message)


def one(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"instruction_id_list": [name], "kwargs": [kwargs]}


WORDS = "length_constraints:number_words"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, "reference: Input should be a valid dictionary"),
        ("a", "reference: Input should be a valid dictionary"),
        ({}, "reference/instruction_id_list: Field required"),
        (
            {"instruction_id_list": []},
            "reference/instruction_id_list: List should have at least 1 item after validation, not 0",
        ),
        ({"instruction_id_list": "a"}, "reference/instruction_id_list: Input should be a valid list"),
        ({"instruction_id_list": [1]}, "reference/instruction_id_list/0: Input should be a valid string"),
        (
            {"instruction_id_list": ["punctuation:no_comma"] * 65},
            "reference/instruction_id_list: List should have at most 64 items after validation, not 65",
        ),
        (
            {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [[]]},
            "reference/kwargs/0: Input should be a valid dictionary",
        ),
        (
            {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}, {}]},
            "reference/kwargs: has 2 entries for 1 instructions",
        ),
        (
            {"instruction_id_list": ["punctuation:no_comma", "startend:quotation"], "kwargs": [None]},
            "reference/kwargs: has 1 entries for 2 instructions",
        ),
        (
            {"instruction_id_list": ["startend:quotation", "keywords:existance"]},
            "reference/instruction_id_list/1: there is no instruction 'keywords:existance';"
            " did you mean 'keywords:existence'?",
        ),
        (one("\ud800"), "reference/instruction_id_list/0: there is no instruction '\\ud800'"),
        (
            one("punctuation:no_comma", n=1),
            "reference/kwargs/0/n: Extra inputs are not permitted (punctuation:no_comma takes none)",
        ),
        (
            one("punctuation:no_comma", **{str(i): i for i in range(200)}),
            "reference/kwargs/0: has 200 arguments, more than are known",
        ),
        (
            one(WORDS, relation="at least"),
            f"reference/kwargs/0/num_words: Field required ({WORDS} takes num_words, relation)",
        ),
        (
            one(WORDS, num_words=None, relation="at least"),
            f"reference/kwargs/0/num_words: Field required ({WORDS} takes num_words, relation)",
        ),
        (
            one(WORDS, num_words="3", relation="at least"),
            f"reference/kwargs/0/num_words: Input should be a valid integer ({WORDS} takes num_words, relation)",
        ),
        (
            one(WORDS, num_words=True, relation="at least"),
            f"reference/kwargs/0/num_words: Input should be a valid integer ({WORDS} takes num_words, relation)",
        ),
        (
            one(WORDS, num_words=3.5, relation="at least"),
            f"reference/kwargs/0/num_words: Input should be a valid integer ({WORDS} takes num_words, relation)",
        ),
        (
            one(WORDS, num_words=-1, relation="at least"),
            "reference/kwargs/0/num_words: Input should be greater than or equal to 0"
            f" ({WORDS} takes num_words, relation)",
        ),
        (
            one(WORDS, num_words=MAX_NUMBER + 1, relation="at least"),
            "reference/kwargs/0/num_words: Input should be less than or equal to 1000000"
            f" ({WORDS} takes num_words, relation)",
        ),
        (
            one(WORDS, num_words=3, relation="at most"),
            "reference/kwargs/0/relation: Input should be 'less than' or 'at least'"
            f" ({WORDS} takes num_words, relation)",
        ),
        (
            one("keywords:existence", keywords="a"),
            "reference/kwargs/0/keywords: Input should be a valid list (keywords:existence takes keywords)",
        ),
        (
            one("keywords:existence", keywords=[]),
            "reference/kwargs/0/keywords: List should have at least 1 item after validation, not 0"
            " (keywords:existence takes keywords)",
        ),
        (
            one("keywords:existence", keywords=["a"] * (MAX_PHRASES + 1)),
            "reference/kwargs/0/keywords: List should have at most 100 items after validation, not 101"
            " (keywords:existence takes keywords)",
        ),
        (
            one("keywords:existence", keywords=["a", " "]),
            "reference/kwargs/0/keywords/1: must not be blank (keywords:existence takes keywords)",
        ),
        (
            one("keywords:existence", keywords=["a" * (MAX_PHRASE + 1)]),
            "reference/kwargs/0/keywords/0: must have at most 500 characters (keywords:existence takes keywords)",
        ),
        (
            one("keywords:letter_frequency", letter="ab", let_frequency=1, let_relation="at least"),
            "reference/kwargs/0/letter: must be one character"
            " (keywords:letter_frequency takes letter, let_frequency, let_relation)",
        ),
        (
            one("first_word:first_word_answer", first_word="!"),
            "reference/kwargs/0/first_word: must hold a letter or a digit"
            " (first_word:first_word_answer takes first_word)",
        ),
        (
            one("length_constraints:nth_paragraph_first_word", num_paragraphs=2, nth_paragraph=3, first_word="a"),
            "reference/kwargs/0: nth_paragraph is larger than num_paragraphs"
            " (length_constraints:nth_paragraph_first_word takes num_paragraphs, nth_paragraph, first_word)",
        ),
        (
            one("length_constraints:nth_paragraph_first_word", num_paragraphs=2, nth_paragraph=0, first_word="a"),
            "reference/kwargs/0/nth_paragraph: Input should be greater than or equal to 1"
            " (length_constraints:nth_paragraph_first_word takes num_paragraphs, nth_paragraph, first_word)",
        ),
        (
            one("length_constraints:word_range"),
            "reference/kwargs/0: give min, max or both (length_constraints:word_range takes min, max)",
        ),
        (
            one("length_constraints:word_range", min=3, max=2),
            "reference/kwargs/0: min is larger than max (length_constraints:word_range takes min, max)",
        ),
        (
            one("count:word_count_range", min_words=3, max_words=2),
            "reference/kwargs/0: min_words is larger than max_words"
            " (count:word_count_range takes min_words, max_words)",
        ),
        (
            one("repetition:ngrams", max_share=1.5),
            "reference/kwargs/0/max_share: Input should be less than or equal to 1"
            " (repetition:ngrams takes n, max_share)",
        ),
        (
            one("repetition:ngrams", n=51),
            "reference/kwargs/0/n: Input should be less than or equal to 50 (repetition:ngrams takes n, max_share)",
        ),
        (
            one("punctuation:forbidden", marks=["ab"]),
            "reference/kwargs/0/marks/0: must be one punctuation mark (punctuation:forbidden takes marks)",
        ),
        (
            one("punctuation:forbidden", marks=["a"]),
            "reference/kwargs/0/marks/0: must be one punctuation mark (punctuation:forbidden takes marks)",
        ),
        (
            one("combination:repeat_prompt", prompt_to_repeat="?"),
            "reference/kwargs/0/prompt_to_repeat: must hold a letter or a digit"
            " (combination:repeat_prompt takes prompt_to_repeat)",
        ),
        (
            one("copy:copy", prompt_to_repeat="a" * (MAX_COPIED + 1)),
            "reference/kwargs/0/prompt_to_repeat: must have at most 100000 characters"
            " (copy:copy takes prompt_to_repeat)",
        ),
        (
            one("new:copy_span_idx", prompt_to_repeat="abc", n_start=2, n_end=1),
            "reference/kwargs/0: the span holds no word (new:copy_span_idx takes prompt_to_repeat, n_start, n_end)",
        ),
        (
            one("copy:repeat_phrase", phrase="two words", small_n=1),
            "reference/kwargs/0: phrase must have three words or more (copy:repeat_phrase takes phrase, small_n)",
        ),
        (
            one("detectable_format:headings", min=1, level=7),
            "reference/kwargs/0/level: Input should be less than or equal to 6"
            " (detectable_format:headings takes min, max, level)",
        ),
        (
            one("language:response_language", language="English"),
            f"reference/kwargs/0/language: must be one of these ISO 639-1 codes: {' '.join(CODES)}"
            " (language:response_language takes language)",
        ),
    ],
)
async def test_malformed_reference(reference: Any, message: str) -> None:
    verdict = await score("instructions", guard=InProcessGuard(), completion="A text.", reference=reference)
    assert verdict.score is None
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert not verdict.error.retryable
    assert verdict.error.message == message


async def test_integers_may_come_as_floats_and_unused_arguments_as_null() -> None:
    """As a table of kwargs with one column for each argument holds them."""
    reference = one(WORDS, num_words=2.0, relation="at least", keywords=None, letter=None)
    assert (await score("instructions", completion="Two words.", reference=reference)).score == 1.0


async def test_kwargs_may_be_left_out_where_none_are_taken() -> None:
    reference = {"instruction_id_list": ["punctuation:no_comma", "startend:quotation"]}
    assert (await score("instructions", completion='"Two words."', reference=reference)).score == 1.0
