from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT, InProcessGuard, NoGuard, configured, score
from verifiers.base import ConfigError, ErrorType, Outcome
from verifiers.tagged import tagged
from verifiers.text import MAX_ALLOWED, MAX_COSTLY_CHARS, MAX_MEASURED_CHARS, MAX_REFERENCE_CHARS, ROUGE_N
from verifiers.text.similarity import MEASURES

MODES = sorted(MEASURES)
GUIDE = (
    "it is a guide to action which ensures that the military always obeys the commands of the party",
    "it is a guide to action that ensures that the military will forever heed party commands",
)
"""A translation and a reference, the first example of Papineni et al. 2002."""


@pytest.mark.parametrize(
    ("config", "completion", "reference", "expected"),
    [
        ({}, "Paris", "Paris", 1.0),
        ({}, " Paris\n", "Paris", 1.0),
        ({}, "Paris", "Paris\n", 1.0),
        ({}, "paris", "Paris", 0.0),
        ({}, "Paris.", "Paris", 0.0),
        ({}, "P aris", "Paris", 0.0),
        ({}, "", "Paris", 0.0),
        ({}, "", "", 1.0),
        ({}, "x", "", 0.0),
        ({}, "a\x00b", "a\x00b", 1.0),
        ({}, "a\x00b", "ab", 0.0),
        ({}, "\ud800", "\ud800", 1.0),
        ({}, "\ud800", "\ud801", 0.0),
        ({}, "b", ["a", "b"], 1.0),
        ({}, "ab", ["a", "b"], 0.0),
        ({"whitespace": "keep"}, "a ", "a", 0.0),
        ({"whitespace": "collapse"}, " a \n b ", "a b", 1.0),
        ({"whitespace": "collapse"}, "ab", "a b", 0.0),
        ({"ignore_case": True}, "STRASSE", "straße", 1.0),
        ({"unicode": "NFC"}, "e\u0301", "é", 1.0),
        ({}, "e\u0301", "é", 0.0),
        ({"unicode": "NFKC"}, "①", "1", 1.0),
        ({"unicode": "NFC"}, "①", "1", 0.0),
        ({"ignore_punctuation": True}, "“Paris”!", "Paris", 1.0),
        ({"ignore_punctuation": True}, "किताब", "कताब", 0.0),
        ({"ignore_articles": True, "whitespace": "collapse"}, "The cat", "cat", 1.0),
        ({"ignore_articles": True}, "theatre", "atre", 0.0),
        ({"mode": "contains"}, "It is Paris.", "Paris", 1.0),
        ({"mode": "contains"}, "It is Par is.", "Paris", 0.0),
        ({"mode": "contains"}, "42", "4", 1.0),
        ({"mode": "contains", "whole_words": True}, "42", "4", 0.0),
        ({"mode": "contains", "whole_words": True}, "42, 4", "4", 1.0),
        ({"mode": "contains", "whole_words": True}, "4", "4", 1.0),
        ({"mode": "contains", "whole_words": True}, "x4y 4z", "4", 0.0),
        ({"mode": "contains", "whole_words": True}, "aaab", "aab", 0.0),
        ({"mode": "contains"}, "<think>Paris</think>Rome", "Paris", 0.0),
        ({"mode": "contains", "section": "whole"}, "<think>Paris</think>Rome", "Paris", 1.0),
        ({"mode": "ratio"}, "abcd", "abxd", 0.75),
        ({"mode": "levenshtein"}, "abcd", "abxd", 0.75),
        ({"mode": "levenshtein"}, "abcd", ["zzzz", "abcx"], 0.75),
        ({"mode": "token_sort"}, "b a", "a b", 1.0),
        ({"mode": "token_f1"}, "a a b", "a b b", 2 / 3),
        ({"mode": "token_f1"}, "a", "a b c", 0.5),
        ({"mode": "rouge_l"}, "a x b c", "a b c d", 0.75),
        ({"mode": "rouge_l"}, "c b a", "a b c", 1 / 3),
        ({"mode": "rouge_2"}, "a b c", "a b d", 0.5),
        ({"mode": "rouge_2"}, "a b", "b a", 0.0),
        ({"mode": "rouge_3"}, "a b c d", "a b c x", 0.5),
        ({"mode": "rouge_4"}, "a b c d e", "x b c d e f", 0.4),
        ({"mode": "rouge_5"}, "a b c d e f", "a b c d e", 2 / 3),
        ({"mode": "rouge_5"}, "a b c d", "a b c d e", 0.0),
        # from NLTK 3.10 without synonyms, but for texts that are equal, of which it makes 0.5 and 0.9375
        ({"mode": "meteor"}, GUIDE[0], GUIDE[1], 0.6944444444444445),
        ({"mode": "meteor"}, "cats sat", "the cat sat", 0.6465517241379309),
        ({"mode": "meteor"}, "on the mat the cat sat", "the cat sat on the mat", 0.7106481481481481),
        ({"mode": "meteor"}, "walking quickly", "walks slow", 0.25),
        ({"mode": "meteor"}, "a", "a", 1.0),
        ({"mode": "meteor"}, "the cats", "the cat", 1.0),
        ({"mode": "meteor"}, "x", "a", 0.0),
        ({"mode": "bleu"}, "a b c d e", "a b c d e", 1.0),
        ({"mode": "bleu"}, "a b", "a b", 1.0),
        ({"mode": "bleu"}, "x", "a", 0.0),
        # from sacreBLEU 2.6 (tokenize none, effective order) and NLTK 3.10
        ({"mode": "bleu"}, "the cat the cat on the mat", "the cat sat on the mat", 0.30739407647563216),
        ({"mode": "bleu"}, "the the the", "the cat", 0.27516060407455223),
        ({"mode": "chrf"}, "the cat the cat on the mat", "the cat sat on the mat", 0.7118912409156092),
        ({"mode": "gleu"}, "the cat the cat on the mat", "the cat sat on the mat", 0.4090909090909091),
        ({"mode": "chrf"}, "東京", "東京都", 0.6363636363636362),
        ({"mode": "gleu"}, "a b c d x", "a b c d", 10 / 14),
        ({"mode": "ratio", "threshold": 0.75}, "abcd", "abxd", 1.0),
        ({"mode": "ratio", "threshold": 0.76}, "abcd", "abxd", 0.0),
        ({"tag": "answer"}, "so <answer> Paris\n</answer>.", "Paris", 1.0),
        ({"tag": "answer"}, "so <answer>Rome</answer>, not Paris", "Paris", 0.0),
        ({"tag": "answer"}, "<think><answer>Paris</answer></think><answer>Rome</answer>", "Paris", 0.0),
        ({"tag": "answer"}, "<answer>Paris</answer> <answer>Paris </answer>", "Paris", 1.0),
        ({"tag": "answer", "mode": "contains"}, "Paris: <answer>Rome</answer>", "Paris", 0.0),
        ({"tag": "answer", "mode": "token_f1"}, "a b c <answer>d e</answer>", "d f", 0.5),
        ({"tag": "answer"}, "<answer></answer>", "", 1.0),
    ],
)
async def test_scores(config: dict[str, Any], completion: str, reference: Any, expected: float) -> None:
    verdict = await score("text", config, completion=completion, reference=reference)
    assert verdict.score == pytest.approx(expected, abs=1e-12)


async def test_squad_normalisation_by_configuration() -> None:
    squad = {"ignore_case": True, "ignore_punctuation": True, "ignore_articles": True, "whitespace": "collapse"}
    assert (await score("text", squad, completion="The  Eiffel-Tower!", reference="eiffeltower")).score == 1.0


async def test_outcomes() -> None:
    exact = await score("text", completion="a", reference="a")
    assert (exact.outcome, exact.detail) == (Outcome.CORRECT, {"stage": "exact"})
    measured = await score("text", {"mode": "ratio"}, completion="a", reference="b")
    assert (measured.outcome, measured.score) == (Outcome.SCORED, 0.0)
    passed = await score("text", {"mode": "ratio", "threshold": 0.5}, completion="a", reference="a")
    assert (passed.outcome, passed.detail) == (Outcome.CORRECT, {"stage": "ratio", "similarity": 1.0})
    unfinished = await score("text", completion="<think>a", reference="a")
    assert (unfinished.outcome, unfinished.score) == (Outcome.UNPARSEABLE, 0.0)


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("Paris", Outcome.UNPARSEABLE),
        ("<answer>Paris", Outcome.UNPARSEABLE),
        ("Paris</answer>", Outcome.UNPARSEABLE),
        ("<answer>Paris</answer><answer>", Outcome.UNPARSEABLE),
        ("<answer>Paris</answer></answer>", Outcome.UNPARSEABLE),
        ("<answer><answer>Paris</answer></answer>", Outcome.UNPARSEABLE),
        ("</answer><answer>Paris</answer>", Outcome.UNPARSEABLE),
        ("<answer>Paris</answer><answer>Rome</answer>", Outcome.REJECTED),
        ("<answer>Rome</answer>" * 3 + "<answer>Paris</answer>", Outcome.REJECTED),
        ("<ANSWER>Paris</ANSWER>", Outcome.UNPARSEABLE),
        ("<answer>Paris</answer>", Outcome.CORRECT),
    ],
)
async def test_what_is_no_answer_in_a_tag(completion: str, outcome: Outcome) -> None:
    for mode in ("exact", "contains"):
        verdict = await score("text", {"tag": "answer", "mode": mode}, completion=completion, reference="Paris")
        assert verdict.outcome is outcome
        assert verdict.score == (outcome is Outcome.CORRECT)


@given(pieces=st.lists(st.sampled_from(["<a>", "</a>", "x", "<b>", " "]), max_size=12))
def test_tags_that_are_found_are_all_there_are(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = tagged(text, "a")
    regular = re.fullmatch(r"(?:(?:(?!</?a>).)*<a>((?:(?!</?a>).)*)</a>)*(?:(?!</?a>).)*", text, re.DOTALL)
    assert (found is not None) == bool(regular)
    if found is not None:
        assert found == re.findall(r"<a>(.*?)</a>", text, re.DOTALL)


@pytest.mark.parametrize(
    ("config", "reference", "message"),
    [
        ({}, None, "reference: must be a string or a list of strings"),
        ({}, 5, "reference: must be a string or a list of strings"),
        ({}, {"answer": "a"}, "reference: must be a string or a list of strings"),
        ({}, ["a", 5], "reference: must be a string or a list of strings"),
        ({}, [], f"reference: must hold 1 to {MAX_ALLOWED} strings"),
        ({}, ["a"] * (MAX_ALLOWED + 1), f"reference: must hold 1 to {MAX_ALLOWED} strings"),
        (
            {},
            "a" * (MAX_REFERENCE_CHARS + 1),
            f"reference: must hold at most {MAX_REFERENCE_CHARS} characters in all",
        ),
        (
            {},
            ["a" * MAX_REFERENCE_CHARS, "a"],
            f"reference: must hold at most {MAX_REFERENCE_CHARS} characters in all",
        ),
        (
            {"mode": "contains"},
            "",
            "reference: an allowed text is empty once normalised, and would match any completion",
        ),
        (
            {"mode": "contains"},
            ["a", " "],
            "reference: an allowed text is empty once normalised, and would match any",
        ),
        ({"mode": "contains", "whitespace": "keep"}, " ", "reference: an allowed text is empty once normalised"),
        ({"mode": "ratio"}, "", "reference: an allowed text is empty once normalised"),
        ({"ignore_punctuation": True}, "...", "reference: an allowed text is empty once normalised"),
        ({"ignore_articles": True}, "The", "reference: an allowed text is empty once normalised"),
    ],
)
async def test_bad_references(config: dict[str, Any], reference: Any, message: str) -> None:
    verdict = await score("text", config, completion="anything", reference=reference)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.BAD_ITEM, False)
    assert verdict.error.message.startswith(message)


@pytest.mark.parametrize(
    ("config", "message", "pointer"),
    [
        ({"threshold": 0.5}, "a threshold needs a measure, and exact is not one", "/threshold"),
        ({"mode": "contains", "threshold": 0.5}, "a threshold needs a measure", "/threshold"),
        ({"whole_words": True}, "whole_words goes with mode contains", "/whole_words"),
        ({"mode": "ratio", "whole_words": True}, "whole_words goes with mode contains", "/whole_words"),
    ],
)
def test_configurations_that_cannot_work(config: dict[str, Any], message: str, pointer: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        configured("text", config)
    assert raised.value.pointer == pointer


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mode": "token_set"}, "Input should be 'exact', 'contains', 'ratio'"),
        ({"mode": "ratio", "threshold": 0}, "greater than 0"),
        ({"mode": "ratio", "threshold": 1.5}, "less than or equal to 1"),
        ({"mode": "ratio", "threshold": float("nan")}, "finite"),
        ({"unicode": "NFD"}, "Input should be 'none', 'NFC' or 'NFKC'"),
        ({"section": "thinking"}, "Input should be 'final' or 'whole'"),
        ({"tag": "<answer>"}, "match pattern"),
        ({"tag": ""}, "match pattern"),
        ({"ignore_whitespace": True}, "Extra inputs are not permitted"),
    ],
)
def test_configurations_that_the_schema_refuses(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configured("text", config)


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None)
@given(a=ANY_TEXT, b=ANY_TEXT)
def test_measures_are_bounded_and_of_equal_texts_one(mode: Any, a: str, b: str) -> None:
    measure = MEASURES[mode]
    assert 0 <= measure(a)(b) <= 1
    if mode not in ("bleu", "chrf", "meteor"):  # their precision and recall do not weigh the same
        assert measure(a)(b) == pytest.approx(measure(b)(a), abs=1e-12)
    if len(a.split()) >= ROUGE_N.get(mode, 1):  # fewer words make no n-gram
        assert measure(a)(a) == pytest.approx(1, abs=1e-12)
        assert measure("")(a) == 0


WORDS = st.lists(st.sampled_from(["a", "b", "cc", "the"]), min_size=1, max_size=8).map(" ".join)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=40, deadline=None)
@given(text=WORDS, references=st.lists(WORDS, min_size=1, max_size=4))
async def test_several_references_count_as_the_most_similar(mode: str, text: str, references: list[str]) -> None:
    together = await score("text", {"mode": mode}, completion=text, reference=references)
    alone = [(await score("text", {"mode": mode}, completion=text, reference=each)).score for each in references]
    assert together.score == (None if None in alone else max(score for score in alone if score is not None))


@pytest.mark.parametrize("mode", ["exact", "contains", *MODES])
@settings(max_examples=40, deadline=None)
@given(text=st.text(min_size=1).filter(lambda text: text.strip() and "think>" not in text))
async def test_gold_scores_one_and_empty_scores_zero(mode: str, text: str) -> None:
    text = f"{'the ' * (ROUGE_N.get(mode, 1) - 1)}{text}"  # fewer words make no n-gram
    gold = await score("text", {"mode": mode}, completion=text, reference=text)
    assert gold.score == pytest.approx(1, abs=1e-12)
    assert (await score("text", {"mode": mode}, completion="", reference=text)).score == 0.0


async def test_one_word_of_the_reference_is_not_enough_for_any_measure() -> None:
    for mode in MODES:
        verdict = await score("text", {"mode": mode}, completion="the", reference="the cat sat on the mat")
        assert verdict.score is not None
        assert verdict.score < 0.5


async def test_a_completion_too_long_to_measure() -> None:
    verdict = await score("text", {"mode": "ratio"}, completion="a" * (MAX_MEASURED_CHARS + 1), reference="a")
    assert (verdict.outcome, verdict.score) == (Outcome.OUTPUT_EXCEEDED, 0.0)
    for mode in ("chrf", "meteor"):
        verdict = await score("text", {"mode": mode}, completion="a" * (MAX_COSTLY_CHARS + 1), reference="a")
        assert (verdict.outcome, verdict.detail["limit"]) == (Outcome.OUTPUT_EXCEEDED, MAX_COSTLY_CHARS)
    verdict = await score("text", {"mode": "ratio"}, completion="x" * MAX_MEASURED_CHARS + "</think>a", reference="a")
    assert verdict.score == 1.0


@pytest.mark.parametrize(
    ("config", "completion", "reference"),
    [
        ({}, "a" * 1_000_001, "a"),
        ({"mode": "contains"}, "a" * 1_000_001, "a"),
        ({"ignore_case": True}, "a" * 32_769, "a"),
        ({"unicode": "NFC"}, "e" + "\u0301\u0323" * 600, "a"),
        ({"unicode": "NFC"}, "a", "e" + "\u0301\u0323" * 600),
        ({"mode": "ratio"}, "ab" * 10_000, "ba" * 10_000),
        ({"mode": "rouge_l"}, "a b " * 5_000, ["b a " * 5_000]),
        ({"mode": "rouge_l"}, "a b " * 2_000, ["b a"] * 800),
        ({"mode": "contains"}, "ab" * 50_000, ["b" * 49] * 1_000),
        ({"mode": "contains", "whole_words": True}, "a" * 50_000, "a"),
        ({"ignore_case": True}, "a", ["b"] * 201),
        ({"mode": "chrf"}, "a" * 800, "a"),
        ({"mode": "bleu"}, "a b " * 800, "a"),
        ({"mode": "meteor"}, "a b " * 250, "a"),
        ({"mode": "gleu"}, "a", ["b"] * 51),
        ({"tag": "answer"}, "<answer></answer>" * 2_000, "a"),
    ],
)
async def test_what_may_be_slow_goes_to_a_worker(config: dict[str, Any], completion: str, reference: Any) -> None:
    guard = InProcessGuard()
    await score("text", config, guard, completion=completion, reference=reference)
    assert len(guard.payloads) == 1


@pytest.mark.parametrize(
    ("config", "completion", "reference"),
    [
        ({}, "é" * 1_000_000, "a" * 50_000),
        ({"unicode": "NFKC", "ignore_case": True}, "a" * 32_768, "A"),
        ({"mode": "ratio"}, "a" * 2_000, "a" * 2_000),
        ({"mode": "ratio"}, "a" * 50_000, "a" * MAX_REFERENCE_CHARS * 10),
    ],
)
async def test_what_is_fast_or_refused_does_not(config: dict[str, Any], completion: str, reference: Any) -> None:
    await score("text", config, NoGuard(), completion=completion, reference=reference)
