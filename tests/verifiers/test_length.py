from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT, InProcessGuard, NoGuard, configured, score
from verifiers import length
from verifiers.base import ConfigError, ErrorType, Outcome
from verifiers.length import count_words

DAPO = {"unit": "tokens", "min": 0, "max": 20_480, "max_ramp": 4_096}
LIMITS = st.integers(0, 1_000)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (0, 0.0),
        (16_384, 0.0),
        (17_408, -0.25),
        (18_432, -0.5),
        (20_479, -4095 / 4096),
        (20_480, -1.0),
        (50_000, -1.0),
    ],
)
async def test_the_overlong_ramp_of_dapo(tokens: int, expected: float) -> None:
    """Equation 13 with L_max 20,480 and L_cache 4,096."""
    verdict = await score("length", DAPO, completion="", tokens=tokens)
    assert (verdict.outcome, verdict.score) == (Outcome.SCORED, expected)
    assert verdict.detail == {"stage": "length", "length": tokens}


@pytest.mark.parametrize(
    ("config", "completion", "expected"),
    [
        ({}, "", -1.0),
        ({}, "a", 0.0),
        ({}, "a" * 65_536, 0.0),
        ({}, "a" * 73_728, -0.5),
        ({}, "a" * 81_920, -1.0),
        ({}, "\x00\ud800", 0.0),
        ({"scale": "bonus"}, "a", 1.0),
        ({"scale": "bonus"}, "", 0.0),
        ({"max": 3, "max_ramp": 0}, "abc", 0.0),
        ({"max": 3, "max_ramp": 0}, "abcd", -1.0),
        ({"max": 10}, "a" * 8, 0.0),
        ({"max": 10}, "a" * 9, -0.5),
        ({"max": 10}, "a" * 10, -1.0),
        ({"max": 4}, "a" * 4, 0.0),
        ({"min": 2, "max": None}, "a", -1.0),
        ({"min": 2, "max": None}, "ab", 0.0),
        ({"min": 2, "min_ramp": 4, "max": None}, "ab", -1.0),
        ({"min": 2, "min_ramp": 4, "max": None}, "abc", -0.75),
        ({"min": 2, "min_ramp": 4, "max": None}, "abcdef", 0.0),
        ({"unit": "words", "max": 2, "max_ramp": 0}, " one\ntwo ", 0.0),
        ({"unit": "words", "max": 2, "max_ramp": 0}, "one two three", -1.0),
        ({"unit": "characters", "max": 2, "max_ramp": 0}, "é😀", 0.0),
        ({"max": 3, "max_ramp": 0, "section": "final"}, "<think>abcd</think>abc", 0.0),
        ({"max": 3, "max_ramp": 0, "section": "final"}, "<think>abcd</think>abcd", -1.0),
        ({"unit": "words", "max": 1, "max_ramp": 0, "section": "final"}, "<think>a b</think>c", 0.0),
    ],
)
async def test_scores(config: dict[str, Any], completion: str, expected: float) -> None:
    verdict = await score("length", config, completion=completion)
    assert verdict.score == expected
    assert str(verdict.score) != "-0.0"


@pytest.mark.parametrize(("scale", "lowest"), [("penalty", -1.0), ("bonus", 0.0)])
async def test_thinking_that_never_ends_has_no_final_section(scale: str, lowest: float) -> None:
    verdict = await score("length", {"section": "final", "scale": scale}, completion="<think>a")
    assert (verdict.outcome, verdict.score) == (Outcome.UNPARSEABLE, lowest)


async def test_tokens_must_be_sent_where_they_are_counted() -> None:
    verdict = await score("length", {"unit": "tokens"}, completion="a")
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert verdict.error.message == "tokens: send the completion's length in tokens, which this verifier reads"


@given(low=LIMITS, low_ramp=LIMITS, free=LIMITS, high_ramp=LIMITS, lengths=st.tuples(LIMITS, LIMITS))
async def test_the_penalty_grows_away_from_the_range(
    low: int, low_ramp: int, free: int, high_ramp: int, lengths: tuple[int, int]
) -> None:
    first, last = low + low_ramp, low + low_ramp + free
    config = {"unit": "tokens", "min": low, "min_ramp": low_ramp, "max": last + high_ramp, "max_ramp": high_ramp}
    shorter, longer = sorted(lengths)
    lower, upper = [
        (await score("length", config, completion="", tokens=tokens)).score or 0.0 for tokens in (shorter, longer)
    ]
    assert -1 <= lower <= 0
    assert (lower == 0) == (first <= shorter <= last)
    assert upper <= lower if shorter >= first else True
    assert lower <= upper if longer <= last else True
    bonus = await score("length", {**config, "scale": "bonus"}, completion="", tokens=shorter)
    assert bonus.score == 1 + lower


@given(text=ANY_TEXT, size=st.integers(1, 20))
def test_words_are_those_of_split(text: str, size: int) -> None:
    chunk, length._CHUNK = length._CHUNK, size
    try:
        assert count_words(text) == len(text.split())
    finally:
        length._CHUNK = chunk


@pytest.mark.parametrize(
    ("config", "message", "pointer"),
    [
        ({"min": 0, "max": None}, "no length is too short or too long: give min or max", "/max"),
        ({"min": 10, "max": 5, "max_ramp": 0}, "max is below min", "/max"),
        ({"min": 2, "max": 10, "max_ramp": 9}, "the ramps, 0 and 9, leave no length without a penalty", "/max_ramp"),
        ({"min": 9, "max": 10}, "the ramps, 0 and 2, leave no length without a penalty: shorten one", "/max_ramp"),
        ({"min_ramp": 70_000}, "the ramps, 70000 and 16384, leave no length without a penalty", "/max_ramp"),
        (
            {"unit": "tokens", "section": "final"},
            "an item's tokens are those of the whole completion",
            "/section",
        ),
    ],
)
def test_configurations_that_cannot_work(config: dict[str, Any], message: str, pointer: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        configured("length", config)
    assert raised.value.pointer == pointer


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"unit": "bytes"}, "'characters', 'words' or 'tokens'"),
        ({"min": -1}, "greater than or equal to 0"),
        ({"max": 2**31}, "less than or equal to"),
        ({"max_ramp": 1.5}, "valid integer"),
        ({"scale": "linear"}, "'penalty' or 'bonus'"),
        ({"section": "thinking"}, "'final' or 'whole'"),
        ({"maximum": 5}, "Extra inputs"),
    ],
)
def test_configurations_that_the_schema_refuses(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configured("length", config)


async def test_only_the_words_of_a_long_completion_are_counted_in_a_worker() -> None:
    guard = InProcessGuard()
    long = "a " * 40_000
    assert (await score("length", {"unit": "words", "max": None}, guard, completion=long)).detail["length"] == 40_000
    assert len(guard.payloads) == 1
    await score("length", {}, NoGuard(), completion="a" * 1_000_000)
    await score("length", DAPO, NoGuard(), completion="a" * 1_000_000, tokens=5)
