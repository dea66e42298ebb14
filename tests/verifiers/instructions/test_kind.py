"""The kind: strict and loose, all and fraction, the thinking part, components, hostile texts in bounded time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT, FaultyGuard, NoGuard, assert_sound, configured, score, score_all
from verifiers.base import GuardFault, Item
from verifiers.instructions import INLINE_CHARS, MAX_CHARS
from verifiers.instructions.instruction import INSTRUCTIONS

JSON = {"instruction_id_list": ["detectable_format:json_format"]}
TWO = {
    "instruction_id_list": ["keywords:existence", "keywords:existence", "punctuation:no_comma"],
    "kwargs": [{"keywords": ["sea"]}, {"keywords": ["hill"]}, None],
}


@pytest.mark.parametrize(
    ("completion", "loose"),
    [
        ("[1]", 1.0),
        ("Here it is:\n[1]", 1.0),
        ("[1]\nDone.", 1.0),
        ("Here it is:\n[1]\nDone.", 1.0),
        ("**[1]**", 1.0),
        ("Here it is:\n*[1]*\nDone.", 1.0),
        ("Here\nit is:\n[1]", 0.0),
        ("Here it is: [1]", 0.0),
        ("", 0.0),
    ],
)
async def test_loose_tries_what_ifeval_tries(completion: str, loose: float) -> None:
    strict = await score("instructions", completion=completion, reference=JSON)
    assert strict.score == float(completion == "[1]")
    assert (await score("instructions", {"mode": "loose"}, completion=completion, reference=JSON)).score == loose


async def test_loose_lets_each_instruction_choose_its_own_reading() -> None:
    reference = {
        "instruction_id_list": ["detectable_format:json_format", "keywords:existence"],
        "kwargs": [{}, {"keywords": ["here"]}],
    }
    assert (await score("instructions", {"mode": "loose"}, completion="Here:\n[1]", reference=reference)).score == 1.0


@settings(max_examples=60, deadline=None)
@given(text=st.text("a*\n ,[]1.", max_size=40) | ANY_TEXT)
async def test_what_is_followed_strictly_is_followed_loosely(text: str) -> None:
    asked = {name: cls for name, cls in INSTRUCTIONS.items() if not cls.model_fields and not cls.needs_language}
    reference = {"instruction_id_list": list(asked)}
    strict = await score("instructions", completion=text, reference=reference)
    loose = await score("instructions", {"mode": "loose"}, completion=text, reference=reference)
    assert strict.components.keys() == loose.components.keys()
    assert all(loose.components[name] >= share for name, share in strict.components.items())


async def test_each_instruction_is_a_component() -> None:
    verdict = await score("instructions", completion="By the sea.", reference=TWO)
    assert verdict.components == {
        "0:keywords:existence": 1.0,
        "1:keywords:existence": 0.0,
        "2:punctuation:no_comma": 1.0,
    }
    assert (verdict.outcome, verdict.score) == ("incorrect", 0.0)
    assert verdict.detail == {"stage": "instructions", "broken": {"1:keywords:existence": "'hill' does not occur"}}


@pytest.mark.parametrize(
    ("completion", "outcome", "share"),
    [
        ("Sea and hill", "correct", 1.0),
        ("Sea", "partial", 2 / 3),
        ("Sea, yes", "partial", 1 / 3),
        ("No, no", "incorrect", 0.0),
    ],
)
async def test_fraction(completion: str, outcome: str, share: float) -> None:
    verdict = await score("instructions", {"reward": "fraction"}, completion=completion, reference=TWO)
    assert (verdict.outcome, verdict.score) == (outcome, share)


async def test_the_thinking_part_is_not_the_answer() -> None:
    thought = "<think>sea, hill</think>"
    assert (await score("instructions", completion=thought + "Sea and hill", reference=TWO)).score == 1.0
    assert (await score("instructions", completion=thought, reference=TWO)).score == 0.0
    whole = await score("instructions", {"section": "whole"}, completion=thought, reference=TWO)
    assert whole.detail["broken"] == {"2:punctuation:no_comma": "',' occurs"}
    endless = await score("instructions", completion="<think>sea hill", reference=TWO)
    assert (endless.outcome, endless.score) == ("unparseable", 0.0)
    assert set(endless.components.values()) == {0.0}


async def test_a_text_without_words_follows_nothing() -> None:
    for text in ("", "\n", "...", "!?", "\x00", "\ud800", "🎉"):
        verdict = await score("instructions", {"mode": "loose", "reward": "fraction"}, completion=text, reference=TWO)
        assert verdict.score == 0.0
        assert verdict.detail["broken"]["2:punctuation:no_comma"] == "the text is blank"


async def test_line_ends_of_either_kind() -> None:
    reference = {"instruction_id_list": ["paragraphs:paragraphs2"]}
    assert (await score("instructions", completion="One.\r\n\r\nTwo.", reference=reference)).score == 1.0


async def test_small_items_are_judged_at_once_and_large_ones_by_workers() -> None:
    verifier = configured("instructions")
    small, large = Item(completion="a" * 100, reference=TWO), Item(completion="a" * INLINE_CHARS, reference=TWO)
    [verdict] = await score_all(verifier, [small], NoGuard())
    assert verdict.score == 0.0
    judged, slow = await score_all(verifier, [small, large], FaultyGuard(GuardFault.CPU))
    assert (judged.outcome, slow.outcome, slow.score) == ("incorrect", "timeout", 0.0)
    text = {"instruction_id_list": ["copy:copy"], "kwargs": [{"prompt_to_repeat": "a" * INLINE_CHARS}]}
    [slow] = await score_all(verifier, [Item(completion="a", reference=text)], FaultyGuard(GuardFault.WALL))
    assert slow.score is None
    phrases = {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["a"] * INLINE_CHARS}]}
    [slow] = await score_all(verifier, [Item(completion="a", reference=phrases)], FaultyGuard(GuardFault.WALL))
    assert slow.score is None


async def test_too_long_a_completion() -> None:
    verdict = await score("instructions", completion="a" * (MAX_CHARS + 1), reference=TWO)
    assert (verdict.outcome, verdict.score) == ("output_exceeded", 0.0)
    assert set(verdict.components.values()) == {0.0}


def arguments(name: str) -> dict[str, Any]:
    """Some arguments for any instruction."""
    given: dict[str, Any] = {
        "keywords": ["a b a"], "forbidden_words": ["zz"], "keyword": "zz", "keyword1": "zz", "keyword2": "zz",
        "words": ["zz"], "where": "last", "of": "sentence", "options": ["zz", "zy"], "phrases": ["zz"],
        "marks": [";"], "letter": "z", "relation": "at least", "let_relation": "at least", "case": "title",
        "capital_relation": "at least", "prompt_to_repeat": "a b c " * 9_000, "phrase": "a b a", "language": "de",
        "section_spliter": "SECTION", "end_phrase": "a b", "start_phrase": "a b", "first_word": "a",
        "last_word": "a", "postscript_marker": "P.S.", "min": 3, "n_start": 0, "n_end": 5, "n": 2,
    }  # fmt: skip
    fields = INSTRUCTIONS[name].model_fields
    return {key: given.get(key, 3) for key, field in fields.items() if key in given or field.is_required()}


LONG = 20_000
NAMES = list(INSTRUCTIONS)
EVERY: list[dict[str, Any]] = [
    {"instruction_id_list": some, "kwargs": [arguments(name) for name in some]} for some in (NAMES[:60], NAMES[60:])
]
"""Every instruction, in two references."""
HOSTILE = [
    " " * LONG, "\n" * LONG, "a " * (LONG // 2), "* " * (LONG // 2), "*" * LONG,
    "[" * LONG, "<<a" * (LONG // 3), ". " * (LONG // 2), "Mr.\t" * (LONG // 4),
    "a." * (LONG // 2), "a-" * (LONG // 2), '"' * LONG, "```\n" * (LONG // 4),
    "|-" * (LONG // 2), "P.S.\n" * (LONG // 5), "# a\n" * (LONG // 4), "1." * (LONG // 2),
    "a" * LONG, "\ud800\x00" * (LONG // 2), "e\u0301" * (LONG // 2), "漢。" * (LONG // 2),
    "SECTION 1\n" * (LONG // 10), "`" * LONG, "a\u0301\t" * (LONG // 3), "_a" * (LONG // 2),
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:6]))
async def test_a_hostile_text_is_read_in_bounded_time(text: str) -> None:
    """Every instruction at once on a tenth of what a completion may hold: time in proportion takes some 0.2 s."""
    for reference in EVERY:
        began = time.process_time()
        verdict = await score("instructions", completion=text, reference=reference)
        assert time.process_time() - began < 2.0
        assert_sound(verdict)
        assert verdict.score is not None, verdict.error


@settings(max_examples=40, deadline=None)
@given(completion=ANY_TEXT, prompt=st.none() | ANY_TEXT)
async def test_every_instruction_reads_every_text(completion: str, prompt: str | None) -> None:
    for reference in EVERY:
        verdict = await score(
            "instructions", {"reward": "fraction"}, completion=completion, prompt=prompt, reference=reference
        )
        assert_sound(verdict)
        assert verdict.score is not None, verdict.error
        assert len(verdict.components) == len(reference["instruction_id_list"])
        broken = verdict.detail.get("broken", {})
        assert all(0 < len(why) < 120 for why in broken.values())
        assert {name for name, share in verdict.components.items() if not share} == set(broken)
