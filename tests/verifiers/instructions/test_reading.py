"""Words, sentences, paragraphs and keywords, by rules that never change their mind."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.verifiers.support import ANY_TEXT
from verifiers.instructions.reading import _WORD, Reading, folded, has_word, normal, paragraphs, sentences, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop—it's a well-known rule.", ["Don't", "stop", "it's", "a", "well-known", "rule"]),
        ("**bold** _italic_ `code` (round) [square]", ["bold", "italic", "code", "round", "square"]),
        ("3.5% of 1,000 at 10:30", ["3.5", "of", "1,000", "at", "10:30"]),
        ("the U.S. and e.g. Spain", ["the", "U.S", "and", "e.g", "Spain"]),
        ("rock 'n' roll -- yes ...", ["rock", "n", "roll", "yes"]),
        ("end.Start and/or", ["end", "Start", "and", "or"]),
        ("यह हिन्दी में है", ["यह", "हिन्दी", "में", "है"]),
        ("می‌روم خانه", ["می‌روم", "خانه"]),
        ("漢字とab", ["漢", "字", "と", "ab"]),
        ("한국어 시험", ["한국어", "시험"]),
        ("- * # 🎉 —", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(ANY_TEXT)
def test_the_short_cut_finds_the_words_that_the_pattern_finds(text: str) -> None:
    assert words(text) == _WORD.findall(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Smith met Mr. Brown. They left!", ["Dr. Smith met Mr. Brown.", "They left!"]),
        ("On Jan. 5 he paid $3.50. Why?", ["On Jan. 5 he paid $3.50.", "Why?"]),
        ('"Why?" he asked. "Go." She left.', ['"Why?" he asked.', '"Go."', "She left."]),
        ("And so ... on and on. Wait... What?", ["And so ... on and on.", "Wait...", "What?"]),
        ("He lives in the U.S. The end.", ["He lives in the U.S.", "The end."]),
        ("The U.S. Senate met at 5 p.m. on Monday.", ["The U.S. Senate met at 5 p.m. on Monday."]),
        ("J. R. R. Tolkien wrote it. I am sure, and so am I. Yes.", 3),
        ("See No. 5. No. I do not.", ["See No. 5.", "No.", "I do not."]),
        (
            "Cats, dogs, etc. Then more. Cats etc. are pets.",
            ["Cats, dogs, etc.", "Then more.", "Cats etc. are pets."],
        ),
        ("all in lower case. no capitals. e.g. this", ["all in lower case.", "no capitals.", "e.g. this"]),
        ("one line\ngoes on. And\nends", ["one line goes on.", "And ends"]),
        ("A part\n\nAnother part", ["A part", "Another part"]),
        ("# A heading\nText.\n\n**Bold heading**\n\nMore. <<a title>>", ["Text.", "More.", "<<a title>>"]),
        ("<<A title>>\nText here", ["Text here"]),
        ("**Only a heading**", ["**Only a heading**"]),
        ("**What is this?**\nIt is.", ["**What is this?**", "It is."]),
        ("* " + "many words in emphasis " * 5, 1),
        ("*" + "many words in emphasis " * 5 + "end*\nIt is.", 2),
        ("1. First thing. And more.\n2. Second", ["1. First thing.", "And more.", "2. Second"]),
        ("- a\n- b\n  goes on\n- c", ["- a", "- b goes on", "- c"]),
        ("It was 2020. Then came 2021.", ["It was 2020.", "Then came 2021."]),
        ("यह है। वह है। क्या?", ["यह है।", "वह है।", "क्या?"]),
        ("今日は。元気？「はい！」と", 4),
        ("كيف حالك؟ بخير.", ["كيف حالك؟", "بخير."]),
        ("Yes!!! No?! (Maybe.) Fine", ["Yes!!!", "No?!", "(Maybe.)", "Fine"]),
        ("...\n\n***\n", []),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str] | int) -> None:
    found = sentences(text)
    assert (len(found) if isinstance(expected, int) else found) == expected


@given(ANY_TEXT)
def test_sentences_lose_no_word_but_those_of_headings(text: str) -> None:
    inside = [word for sentence in sentences(text) for word in words(sentence)]
    assert len(inside) <= len(words(text))
    if not any(mark in text for mark in "#*_<"):
        assert inside == words(text)
    assert bool(sentences(text)) == has_word(text)


@pytest.mark.parametrize(
    ("text", "phrase", "count"),
    [
        ("toward the war; War's end, post-war WARS", "war", 3),
        ("C++ and c++, not C", "C++", 2),
        ("a.b axb", "a.b", 1),
        ("New\n  York and new york", "New York", 2),
        ("don’t, Don't", "don't", 2),
        ("今日は良い日", "良い", 1),
        ("AIは道具", "AI", 1),
        ("हिन्दी हिन्द", "हिन्द", 1),
        ("snake_case and _case_", "case", 2),
        ("#one #two", "#", 2),
        ("aa aaa", "aa", 1),
        ("ha ha ha", "ha ha", 1),
        ("", "x", 0),
    ],
)
def test_keywords_are_found_whole(text: str, phrase: str, count: int) -> None:
    assert Reading(text).count(phrase) == count


def test_paragraphs_are_what_blank_lines_part() -> None:
    assert paragraphs("\n\n a \nb\n \t\n\n\nc\n") == ["a \nb", "c"]
    assert paragraphs(" \n ") == []


def test_fences_hold_code_and_the_rest_is_prose() -> None:
    reading = Reading("a\n```Python x\ncode\n~~~\n````\nb\n~~~\nmore\n~~~\n```\nopen")
    assert reading.fences == [("python", "code\n~~~"), ("", "more")]
    assert reading.prose == ["a", "b", "```", "open"]


@given(ANY_TEXT)
def test_every_text_can_be_read(text: str) -> None:
    reading = Reading(text)
    assert len(reading.words) >= has_word(text)
    assert "\n".join(reading.lines) == text
    assert all(part.strip() for part in reading.paragraphs)
    assert normal(normal(text)) == normal(text)
    assert isinstance(folded(text), list)
