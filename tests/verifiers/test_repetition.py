from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import InProcessGuard, NoGuard, configured, score
from verifiers.base import Outcome
from verifiers.repetition import MAX_CHARS, repeated_share


@pytest.mark.parametrize(
    ("config", "completion", "expected"),
    [
        ({}, "", 0.0),
        ({}, "one two three", 0.0),
        ({}, "one two three four", 0.0),
        ({}, "a b c d a b c d a b c", -0.5),
        ({}, "a a a a a", -0.5),
        ({"n": 1}, "a a a a", -0.75),
        ({"n": 2}, "a b a b a", -0.5),
        ({"n": 2}, "a  b\na b a", -0.5),
        ({"n": 1}, "a A", 0.0),
        ({"n": 1, "ignore_case": True}, "a A", -0.5),
        ({"n": 1, "unit": "characters", "ignore_case": True}, "aA", -0.5),
        ({"n": 1, "scale": "bonus"}, "a a a a", 0.25),
        ({"scale": "bonus"}, "", 1.0),
        ({"n": 2, "unit": "characters"}, "哈哈哈", -0.5),
        ({"n": 1, "unit": "characters"}, "\x00\x00\ud800\ud800", -0.5),
    ],
)
async def test_scores(config: dict[str, Any], completion: str, expected: float) -> None:
    verdict = await score("repetition", config, completion=completion)
    assert (verdict.outcome, verdict.score) == (Outcome.SCORED, expected)
    share = 1 - expected if config.get("scale") == "bonus" else -expected
    assert verdict.detail == {"stage": "ngrams", "repeated": share}
    assert str(verdict.score) != "-0.0"


@given(units=st.lists(st.sampled_from("abc")), n=st.integers(1, 20))
def test_the_share_counts_what_came_before(units: list[str], n: int) -> None:
    grams = [tuple(units[i : i + n]) for i in range(len(units) - n + 1)]
    repeated = sum(gram in grams[:i] for i, gram in enumerate(grams))
    assert repeated_share(units, n) == pytest.approx(repeated / len(grams) if grams else 0.0, abs=1e-12)


@pytest.mark.parametrize(("scale", "lowest"), [("penalty", -1.0), ("bonus", 0.0)])
async def test_a_completion_too_long_to_measure_gets_the_lowest_score(scale: str, lowest: float) -> None:
    verdict = await score("repetition", {"scale": scale}, completion="a" * (MAX_CHARS + 1))
    assert (verdict.outcome, verdict.score) == (Outcome.OUTPUT_EXCEEDED, lowest)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n": 0}, "greater than or equal to 1"),
        ({"n": 21}, "less than or equal to 20"),
        ({"n": "four"}, "valid integer"),
        ({"unit": "tokens"}, "'words' or 'characters'"),
        ({"scale": "share"}, "'penalty' or 'bonus'"),
        ({"ignore_case": 1}, "valid boolean"),
        ({"ngram": 3}, "Extra inputs"),
    ],
)
def test_configurations_that_the_schema_refuses(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configured("repetition", config)


async def test_a_long_completion_goes_to_a_worker() -> None:
    guard = InProcessGuard()
    assert (await score("repetition", {}, guard, completion="a b c d " * 5_000)).score == pytest.approx(-1, abs=0.001)
    assert len(guard.payloads) == 1
    await score("repetition", {}, NoGuard(), completion="a b c d " * 2_000)
