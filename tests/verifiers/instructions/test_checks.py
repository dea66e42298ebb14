"""Every instruction: texts that follow it, and texts that do not, with the reason given."""

from __future__ import annotations

from typing import Any

import pytest

from tests.verifiers.support import score
from verifiers.instructions.instruction import INSTRUCTIONS

YES = ""
PROMPT = {"prompt_to_repeat": "Say  hello,\nplease."}
TWICE = {"keyword": "war", "frequency": 2}
LETTER = {"letter": "#", "let_frequency": 2}

CASES: dict[str, list[tuple[dict[str, Any], str, str]]] = {
    # IFEval
    "keywords:existence": [
        ({"keywords": ["cat", "New York"]}, "A Cat in\nNew  York.", YES),
        ({"keywords": ["cat"]}, "Concatenate.", "'cat' does not occur"),
        ({"keywords": ["a", "c++", ".*"]}, "A C++ text", "'.*' does not occur"),
    ],
    "keywords:frequency": [
        ({**TWICE, "relation": "at least"}, "War! (war)", YES),
        ({**TWICE, "relation": "at least"}, "war, toward, warm", "1 times 'war', at least 2 asked"),
        ({**TWICE, "relation": "less than"}, "war, toward, warm", YES),
        ({**TWICE, "relation": "less than"}, "war war", "2 times 'war', less than 2 asked"),
    ],
    "keywords:forbidden_words": [
        ({"forbidden_words": ["war", "c++"]}, "Warm c", YES),
        ({"forbidden_words": ["war", "c++"]}, "I know C++.", "'c++' occurs"),
        ({"forbidden_words": ["की"]}, "कीमत", YES),
        ({"forbidden_words": ["की"]}, "राम की बात", "'की' occurs"),
    ],
    "keywords:letter_frequency": [
        ({**LETTER, "let_relation": "at least"}, "#a #b", YES),
        ({**LETTER, "let_relation": "at least"}, "#a b", "1 times '#', at least 2 asked"),
        ({"letter": "Q", "let_frequency": 2, "let_relation": "at least"}, "Qq", YES),
        ({"letter": "q", "let_frequency": 2, "let_relation": "less than"}, "Qq", "2 times 'q', less than 2 asked"),
    ],
    "length_constraints:number_sentences": [
        ({"num_sentences": 2, "relation": "at least"}, "1. Dr. No left. He ran.", YES),
        ({"num_sentences": 2, "relation": "at least"}, "Dr. No left.", "1 sentences, at least 2 asked"),
        ({"num_sentences": 2, "relation": "less than"}, "No end\n\nNo stop", "2 sentences, less than 2 asked"),
    ],
    "length_constraints:number_words": [
        ({"num_words": 3, "relation": "at least"}, "Don't be well-known.", YES),
        ({"num_words": 4, "relation": "at least"}, "Don't be well-known.", "3 words, at least 4 asked"),
        ({"num_words": 3, "relation": "less than"}, "one two three", "3 words, less than 3 asked"),
    ],
    "length_constraints:number_paragraphs": [
        ({"num_paragraphs": 2}, "One.\n***\nTwo ***bold*** ****** too.", YES),
        ({"num_paragraphs": 2}, "***\nOne.\n* * *\nTwo.\n***", YES),
        ({"num_paragraphs": 2}, "One. *** Two.", YES),
        ({"num_paragraphs": 2}, "One.\n***\n***\nTwo.", "a paragraph is blank"),
        ({"num_paragraphs": 2}, "One.\n\nTwo.", "1 paragraphs between dividers, 2 asked"),
    ],
    "length_constraints:nth_paragraph_first_word": [
        ({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "it"}, "\n\nOne.\n\n \n\n**It** is.", YES),
        (
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "it"},
            "It.\n\nIt's two.",
            "paragraph 2 does not begin with 'it'",
        ),
        ({"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "it"}, "One.\n\nIt is.", "2 paragraphs, 3 asked"),
    ],
    "detectable_content:number_placeholders": [
        ({"num_placeholders": 2}, "[name], [the address 1]", YES),
        ({"num_placeholders": 1}, "[] [ ] [1] [a](b) [\na]\n- [x] done", "0 placeholders, at least 1 asked"),
    ],
    "detectable_content:postscript": [
        ({"postscript_marker": "P.S."}, "Text.\n\n*p. s.* more", YES),
        ({"postscript_marker": "P.S."}, "Text. P.S. more", YES),
        ({"postscript_marker": "P.S."}, "Text.\nP.S.\nmore", YES),
        ({"postscript_marker": "P.P.S"}, "Text.\nP.P.S.: more", YES),
        ({"postscript_marker": "P.S."}, "Text.\nP.P.S. more", "there is no postscript that begins with 'P.S.'"),
        ({"postscript_marker": "P.S."}, "The app.s. more", "there is no postscript that begins with 'P.S.'"),
        ({"postscript_marker": "P.S."}, "P.S. more", "there is no postscript that begins with 'P.S.'"),
        ({"postscript_marker": "P.S."}, "Text.\nP.S.", "there is no postscript that begins with 'P.S.'"),
    ],
    "detectable_format:number_bullet_lists": [
        ({"num_bullets": 3}, "* one\n  - **two**\n+ three\n*no*\n---\n* * *\n-5\n```\n- code\n```", YES),
        ({"num_bullets": 2}, "* one", "1 bullet points, 2 asked"),
    ],
    "detectable_format:constrained_response": [
        ({}, "I see. My answer is no. My answer is no.", YES),
        ({}, "My answer is yes. My answer is no.", "2 of the options, 1 asked"),
        ({}, "No.", "0 of the options, 1 asked"),
    ],
    "detectable_format:number_highlighted_sections": [
        ({"num_highlights": 3}, "*a b* **c** ***d***", YES),
        ({"num_highlights": 1}, "2 * 3 * 4, ** **, *\n*, * a *, \\*b*, **c*", "0 highlights, at least 1 asked"),
        ({"num_highlights": 2}, "***one***", "1 highlights, at least 2 asked"),
    ],
    "detectable_format:multiple_sections": [
        ({"section_spliter": "Day", "num_sections": 2}, "Plan:\n**Day 1**: go\n# Day 2\nstay", YES),
        ({"section_spliter": "Day", "num_sections": 2}, "Day 1\na\nDay 2\nb\n***\nDay 1\nc\nDay 2\nd", YES),
        ({"section_spliter": "D+", "num_sections": 1}, "DD 1\na", "0 sections in order, 1 asked"),
        (
            {"section_spliter": "Day", "num_sections": 2},
            "On Day 1 and Day 2 we rest.",
            "0 sections in order, 2 asked",
        ),
        ({"section_spliter": "Day", "num_sections": 2}, "Day 1\nDay 2\nb", "Day 1 is empty"),
        ({"section_spliter": "Day", "num_sections": 2}, "Day 1\na\nDay 2", "the last section is empty"),
        ({"section_spliter": "Day", "num_sections": 2}, "Day 1\na\nDay 1\nb", "1 sections in order, 2 asked"),
        ({"section_spliter": "Day", "num_sections": 2}, "day 1\na\nday 2\nb", "0 sections in order, 2 asked"),
    ],
    "detectable_format:json_format": [
        ({}, '{"a": [1]}', YES),
        ({}, '\n```json\n[1, "a"]\n```\n', YES),
        ({}, '```{"a": 1}```', YES),
        ({}, '"text"', "neither an object nor an array"),
        ({}, 'Here: {"a": 1}', "not JSON: Expecting value at line 1, column 1"),
        ({}, "[NaN]", "not JSON: NaN is not JSON"),
        ({}, '{"a": 1, "a": 2}', "not JSON: an object has the same name twice"),
        ({}, "[" * 5_000 + "1", "not JSON: nested deeper than 64 levels"),
    ],
    "detectable_format:title": [
        ({}, "<<A song>>\nLa la.", YES),
        ({}, "<<>> <<<>>> << >> <<a\nb>>", "there is no <<title>>"),
    ],
    "combination:two_responses": [
        ({}, "One.\n******\nTwo.", YES),
        ({}, "******\nOne.******Two.\n******", YES),
        ({}, "One.\n******\n**one**", "the two answers are the same"),
        ({}, "One.\n*******\nTwo.", "1 answers separated by six asterisks, 2 asked"),
        ({}, "One.\n******\n\n******\nTwo.", "3 answers separated by six asterisks, 2 asked"),
        ({}, "One.\n******\n!", "an answer is empty"),
    ],
    "combination:repeat_prompt": [
        (PROMPT, "say hello, please.\n\nHello!", YES),
        (PROMPT, "Say hello, please.", "nothing follows the text to repeat"),
        (PROMPT, "OK. Say hello, please. Hello!", "does not begin with the text to repeat"),
        (PROMPT, "Say hello please. Hello!", "does not begin with the text to repeat"),
    ],
    "startend:end_checker": [
        ({"end_phrase": "Any questions?"}, 'Text. any\nquestions?"', YES),
        ({"end_phrase": "end."}, "The weekend.", "does not end with 'end.'"),
        ({"end_phrase": "end."}, "The end. Yes.", "does not end with 'end.'"),
    ],
    "change_case:capital_word_frequency": [
        ({"capital_frequency": 3, "capital_relation": "at least"}, "I saw U.S. DON'T", YES),
        (
            {"capital_frequency": 2, "capital_relation": "at least"},
            "A McDonald 42",
            "1 words in capital letters, at least 2 asked",
        ),
        (
            {"capital_frequency": 1, "capital_relation": "less than"},
            "COVID-19",
            "1 words in capital letters, less than 1 asked",
        ),
    ],
    "change_case:english_capital": [
        ({}, "THE RIVER RUNS DOWN TO THE SEA, AND WE DON'T FOLLOW IT.", YES),
        ({}, "THE RIVER RUNS DOWN to THE SEA.", "'to' is not in upper case"),
        ({}, "DER FLUSS FLIESST DURCH DAS TAL BIS ZUM MEER UND NICHT WEITER.", "the language seems to be de"),
        ({}, "42", "there is no letter that has case"),
    ],
    "change_case:english_lowercase": [
        ({}, "the river runs down to the sea, and we don't follow it.", YES),
        ({}, "The river runs down to the sea.", "'The' is not in lower case"),
        ({}, "der fluss fließt durch das tal bis zum meer und nicht weiter.", "the language seems to be de"),
    ],
    "punctuation:no_comma": [
        ({}, "One; two.", YES),
        ({}, "One, two.", "',' occurs"),
        ({}, "今日は、元気。", "'、' occurs"),
        ({}, "نعم، لا", "'،' occurs"),
    ],
    "startend:quotation": [
        ({}, ' "A text." ', YES),
        ({}, "“A text.”", YES),
        ({}, '"A text.', "not in double quotation marks"),
        ({}, "'A text.'", "not in double quotation marks"),
        ({}, 'a "', "not in double quotation marks"),
    ],
    # open-instruct's IFEvalG
    "letters:letter_counting2": [({**LETTER, "let_relation": "at least"}, "#a #b", YES)],
    "letters:letter_counting": [
        ({"N": 3, "relation": "at least"}, "éa1 ж!", YES),
        ({"N": 3, "relation": "less than"}, "abc", "3 letters, less than 3 asked"),
    ],
    "keywords:word_once": [
        ({"keyword": "war"}, "War toward", YES),
        ({"keyword": "war"}, "war war", "2 times 'war', 1 asked"),
    ],
    "keywords:word_count_different_numbers": [
        ({**TWICE, "relation": "at least"}, "war war", YES),
        ({**TWICE, "relation": "at least"}, "war war war", "3 times 'war', 2 asked"),
        (TWICE, "war", "1 times 'war', 2 asked"),
    ],
    "keywords:exclude_word_harder": [
        ({"keyword": "war"}, "toward", YES),
        ({"keyword": "war"}, "To War!", "'war' occurs"),
    ],
    "count:count_increment_word": [
        ({"keyword1": "a", "keyword2": "b"}, "a b B", YES),
        ({"keyword1": "a", "keyword2": "b"}, "a b", "1 times 'b', 2 asked"),
        ({"keyword1": "a", "keyword2": "b"}, "b b", "0 times 'a', 1 asked"),
    ],
    "keywords:no_adjacent_consecutive": [
        ({}, "Cats do eat. 1 2 Zebra [", "'cats' comes before 'do'"),
        ({}, "Dogs can eat a zebra.", YES),
    ],
    "keywords:keyword_specific_position": [
        ({"keyword": "ran", "n": 2, "m": 2}, "Dr. No left. He ran.", YES),
        ({"keyword": "ran", "n": 2, "m": 3}, "No. He ran.", "word 3 of sentence 2 is not 'ran'"),
        ({"keyword": "ran", "n": 3, "m": 1}, "No. He ran.", "2 sentences, the keyword is asked in number 3"),
    ],
    "keywords:start_end": [
        ({}, "End it at the end", YES),
        ({}, "End it at the end.", "something follows the last word"),
        ({}, "End", "the first and the last word differ"),
    ],
    "first_word:first_word_answer": [
        ({"first_word": "well"}, "**Well**, yes.", YES),
        ({"first_word": "well"}, "Well-known.", "does not begin with 'well'"),
    ],
    "first_word:first_word_sent": [
        ({"first_word": "we"}, "We go. We see!", YES),
        ({"first_word": "we"}, "We go. They see!", "sentence 2 does not begin with 'we'"),
    ],
    "last_word:last_word_answer": [
        ({"last_word": "end"}, "This is the **End**!", YES),
        ({"last_word": "end"}, "The weekend", "does not end with 'end'"),
    ],
    "last_word:last_word_sent": [
        ({"last_word": "end"}, "An end. The end!", YES),
        ({"last_word": "end"}, "An end. No.", "sentence 2 does not end with 'end'"),
    ],
    "paragraphs:paragraphs": [
        ({}, "One.\n***\nTwo.", YES),
        ({}, "One.\n\nTwo.", "1 paragraphs between dividers, 2 asked"),
    ],
    "paragraphs:paragraphs2": [
        ({}, "One.\n\n\nTwo.", YES),
        ({}, "One.\nTwo.", "1 paragraphs, 2 asked"),
    ],
    "count:lowercase_counting": [
        ({"N": 2}, "Two small ones", YES),
        ({"N": 2}, "two small ones", "3 words in lower case, at most 2 asked"),
    ],
    "count:counting_composition": [
        ({"n_sent": 2, "n_words": 2}, "A b. C d.\n* * *\nA b. C d.\n***\nA b! C d?", YES),
        ({"n_sent": 1, "n_words": 2}, "A b.\n***\nC d.", "2 paragraphs between dividers, 3 asked"),
        ({"n_sent": 2, "n_words": 2}, "A b.\n***\nA b.\n***\nA b.", "1 sentences in a paragraph, 2 asked"),
        ({"n_sent": 1, "n_words": 3}, "A b.\n***\nA b.\n***\nA b.", "2 words in a sentence, 3 asked"),
    ],
    "count:count_unique": [
        ({}, "One, two, three, done.", YES),
        ({}, "The cat saw the dog.", "'the' occurs twice"),
    ],
    "detectable_format:square_brackets": [
        ({}, "[Hello], [world]!", YES),
        ({}, "[Hello] world", "'world' is not in brackets of its own"),
        ({}, "[Hello world]", "'Hello' is not in brackets of its own"),
    ],
    "detectable_format:bigram_wrapping": [
        ({}, "<<I am>> <<at home.>> <<Now>>", YES),
        ({}, "<<I am>> home", "'home' is outside the brackets"),
        ({}, "<<I>> <<am home>>", "brackets do not hold two words each"),
        ({}, "<<I am home>>", "brackets do not hold two words each"),
    ],
    "detectable_format:sentence_hyphens": [
        ({}, "We go.-They see it.-Done.", YES),
        ({}, "We go. They see.", "sentences are separated by white space"),
        ({}, "We go", "no sentences are joined by hyphens"),
    ],
    "copy:copy": [
        (PROMPT, "say hello, please.", YES),
        (PROMPT, "Say hello, please. Hello!", "not the text to copy"),
    ],
    "copy:copying_simple": [(PROMPT, "Say hello, please.", YES), (PROMPT, "Hello!", "not the text to copy")],
    "copy:copying_multiple": [
        ({**PROMPT, "N": 2}, "Say hello, please.\n******\nSay hello, please.", YES),
        ({**PROMPT, "N": 2}, "Say hello, please.", "1 parts separated by six asterisks, 2 asked"),
        ({**PROMPT, "N": 2}, "Say hello, please.******no", "a part is not the text to copy"),
    ],
    "new:copy_span_idx": [
        ({"prompt_to_repeat": "Say hello now", "n_start": 4, "n_end": 8}, "hello", YES),
        ({"prompt_to_repeat": "Say hello now", "n_start": 4, "n_end": 8}, "hell", YES),
        ({"prompt_to_repeat": "Say hello now", "n_start": 4, "n_end": 8}, "Say hello", "not the span to copy"),
    ],
    "copy:repeat_phrase": [
        ({"phrase": "the big cat", "small_n": 2}, "The red cat, the\nold cat. A big cat.", YES),
        ({"phrase": "the big cat", "small_n": 2}, "The red cat.", "1 variants of the phrase, 2 asked"),
        ({"phrase": "the big cat", "small_n": 1}, "The red cat. The big cat.", "'the big cat' occurs unchanged"),
    ],
    "punctuation:punctuation_dot": [({}, "One! Two", YES), ({}, "3.5", "'.' occurs")],
    "punctuation:punctuation_exclamation": [({}, "One. Two", YES), ({}, "One! Two", "'!' occurs")],
    # IFBench and common training constraints
    "count:word_count_range": [
        ({"min_words": 2, "max_words": 3}, "one two", YES),
        ({"min_words": 2, "max_words": 3}, "one", "1 words, 2 to 3 asked"),
    ],
    "length_constraints:word_range": [
        ({"min": 2, "max": 3}, "one two three", YES),
        ({"min": 2}, "one", "1 words, at least 2 asked"),
        ({"max": 0}, "one", "1 words, at most 0 asked"),
    ],
    "length_constraints:sentence_range": [
        ({"min": 2, "max": 2}, "One. Two.", YES),
        ({"max": 1}, "One. Two.", "2 sentences, at most 1 asked"),
    ],
    "length_constraints:words_per_sentence": [
        ({"min": 1, "max": 2}, "One. Two words.", YES),
        ({"max": 2}, "One. Now three words.", "3 words in sentence 2, at most 2 asked"),
    ],
    "length_constraints:paragraph_range": [
        ({"min": 2}, "One.\n\nTwo.", YES),
        ({"min": 2}, "One.", "1 paragraphs, at least 2 asked"),
    ],
    "length_constraints:character_range": [
        ({"max": 4}, " four\n", YES),
        ({"max": 3}, "four", "4 characters, at most 3 asked"),
    ],
    "keywords:count_range": [
        ({"keyword": "war", "min": 1, "max": 2}, "war war", YES),
        ({"keyword": "war", "max": 1}, "war war", "2 times 'war', at most 1 asked"),
    ],
    "keywords:position": [
        ({"words": ["yes", "no"], "where": "first"}, "No, never.", YES),
        ({"words": ["yes"], "where": "first"}, "No.", "the first word of the answer is none of those asked"),
        ({"words": ["thank you"], "where": "last", "of": "sentence"}, "I thank you. We thank you!", YES),
        (
            {"words": ["you"], "where": "last", "of": "sentence"},
            "I thank you. Bye.",
            "the last word of sentence 2 is none of those asked",
        ),
        (
            {"words": ["sure"], "where": "first", "of": "paragraph", "nth": 2, "forbidden": True},
            "Sure.\n\nSure.",
            "the first word of paragraph 2 is a forbidden one",
        ),
        ({"words": ["a"], "where": "first", "of": "paragraph", "nth": 2}, "A.", "there is no paragraph 2"),
    ],
    "change_case:casing": [
        ({"case": "upper"}, "ДА 42!", YES),
        ({"case": "upper"}, "Да", "'Да' is not in upper case"),
        ({"case": "lower"}, "da 42!", YES),
        ({"case": "lower"}, "4 + 2", "there is no letter that has case"),
        ({"case": "title"}, "The Old Man And 42 漢字", YES),
        ({"case": "title"}, "The old Man", "'old' does not begin with a capital"),
    ],
    "startend:start_checker": [
        ({"start_phrase": "My answer is"}, "**my answer** is no.", YES),
        ({"start_phrase": "#"}, "# Title", YES),
        ({"start_phrase": "My answer"}, "The my answer", "does not begin with 'My answer'"),
    ],
    "startend:forbidden_start": [
        ({"phrases": ["sure", "of course"]}, "Surely. Of course.", YES),
        ({"phrases": ["sure", "of course"]}, "Of course!", "begins with 'of course'"),
    ],
    "punctuation:forbidden": [
        ({"marks": [";", "—"]}, "One, two.", YES),
        ({"marks": [";", "—"]}, "One—two", "'—' occurs"),
    ],
    "detectable_format:bullet_list": [
        ({"min": 1}, "- one", YES),
        ({"min": 1}, "1. one", "0 bullet points, at least 1 asked"),
    ],
    "detectable_format:numbered_list": [
        ({"min": 2, "max": 2}, "1. one\n2) two\n3.5 no", YES),
        ({"min": 2}, "- one", "0 numbered items, at least 2 asked"),
    ],
    "detectable_format:headings": [
        ({"min": 2, "max": 2}, "# One\n## Two\n#no\n```\n# code\n```", YES),
        ({"min": 1, "level": 3}, "# One\n## Two", "0 headings of level 3, at least 1 asked"),
    ],
    "detectable_format:table": [
        ({"columns": 2, "min_rows": 1}, "| a | b |\n|:--|--:|\n| c | d |", YES),
        ({}, "a | b\n-|-\nc | d\n\nend", YES),
        ({}, "| a | b |\n| c | d |", "there is no table"),
        ({"columns": 3}, "| a | b |\n|---|---|\n| c | d |", "a table of 2 columns, 3 asked"),
        ({"min_rows": 2}, "| a | b |\n|---|---|\n| c | d |\n| | |", "a table of 1 rows, at least 2 asked"),
    ],
    "detectable_format:code_block": [
        ({"language": "Python"}, "```python\nx = 1\n```", YES),
        ({"language": "python"}, "```js\nx\n```", "0 code fences marked 'python', at least 1 asked"),
        ({}, "```\nopen", "0 code fences, at least 1 asked"),
        ({}, "text\n```\n\n```", "0 code fences, at least 1 asked"),
        ({"min": 0, "max": 0}, "No code.", YES),
    ],
    "detectable_format:choice": [
        ({"options": ["yes", "no"]}, "I say No.", YES),
        ({"options": ["yes", "no"]}, "Yes and no", "2 of the options, 1 asked"),
        ({"options": ["yes", "no"], "only": True}, " **No.**", YES),
        ({"options": ["yes", "no"], "only": True}, "I say no", "the answer is not just one of the options"),
    ],
    "detectable_format:json_output": [
        ({"required_keys": ["a", "b"]}, '{"a": 1, "b": null}', YES),
        ({"required_keys": ["a", "b"]}, '{"a": 1}', "the key 'b' is missing"),
        ({"required_keys": ["a"]}, "[1]", "not an object"),
        ({"source": "fenced"}, "Here:\n```json\n[1]\n```\nDone.", YES),
        ({"source": "fenced"}, "[1]", "there is no closed code fence with JSON"),
        ({}, "3", "neither an object nor an array"),
    ],
    "repetition:ngrams": [
        ({"n": 2}, "one two three", YES),
        ({"n": 2}, "one two one two", "0.333 of the 2-grams repeat, 0 may"),
        ({"n": 2, "max_share": 0.5}, "one two one two", YES),
        ({}, "one", YES),
    ],
    "repetition:no_repeated_sentences": [
        ({}, "One. Two.", YES),
        ({}, "One two. ONE two!", "'ONE two!' occurs twice"),
    ],
    "repetition:no_repeated_lines": [
        ({}, "one\n\n\ntwo\n---\n---", YES),
        ({}, "- one\n* One", "'* One' occurs twice"),
    ],
    "copy:no_copy": [
        ({"prompt_to_repeat": "one two three", "n": 3}, "one two four", YES),
        ({"prompt_to_repeat": "one two three", "n": 2}, "Zero, one two.", "'one two' is copied"),
    ],
}
"""Of the language of an answer there is a file of its own."""


@pytest.mark.parametrize(
    ("name", "kwargs", "text", "reason"), [(name, *case) for name, cases in CASES.items() for case in cases]
)
async def test_instruction(name: str, kwargs: dict[str, Any], text: str, reason: str) -> None:
    reference = {"instruction_id_list": [name], "kwargs": [kwargs]}
    verdict = await score("instructions", completion=text, reference=reference)
    assert verdict.detail.get("broken", {}) == ({f"0:{name}": reason} if reason else {})
    assert verdict.score == float(not reason)


def test_every_instruction_is_followed_and_broken() -> None:
    elsewhere = {"language:response_language"}
    aliases = {"letters:letter_counting2"}
    assert CASES.keys() | elsewhere == INSTRUCTIONS.keys()
    for name, cases in CASES.items():
        assert any(reason == YES for *_, reason in cases), name
        assert name in aliases or any(reason for *_, reason in cases), name
