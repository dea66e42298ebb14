from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT, InProcessGuard, NoGuard, configured, score
from verifiers.base import ConfigError, Outcome
from verifiers.invisible import is_seen

GOOD = "<think>6 * 7</think>\n<answer>42</answer>"
MARKS = {"name": "thought", "open": "<|begin_of_thought|>", "close": "<|end_of_thought|>"}
SHARE = {"reward": "fraction"}
STRICT = {"outside": "forbid"}
OWN_LINES = {"lines": True, "outside": "forbid"}
OPEN_R1 = "<think>\n6 * 7\n</think>\n<answer>\n42\n</answer>"
MARKERS = {"reward": "markers"}
SEARCH = {
    "sections": [{"name": "think", "max": None}, {"name": "search", "min": 0, "max": None}, "answer"],
    "ordered": False,
}


@pytest.mark.parametrize(
    ("config", "prompt", "completion", "expected"),
    [
        ({}, None, GOOD, 1.0),
        ({}, None, f"So: {GOOD} Done.", 1.0),
        (STRICT, None, GOOD, 1.0),
        (STRICT, None, f" \n{GOOD}\n", 1.0),
        (STRICT, None, f"So: {GOOD}", 0.0),
        (STRICT, None, f"{GOOD} Done.", 0.0),
        (STRICT, None, "<think>a</think> b <answer>42</answer>", 0.0),
        ({}, None, "", 0.0),
        ({}, None, "42", 0.0),
        ({}, None, "<think>6 * 7</think>", 0.0),
        ({}, None, "<think>6 * 7</think><answer>42", 0.0),
        ({}, None, "<think>6 * 7<answer>42</answer>", 0.0),
        ({}, None, "<think>6 * 7<answer>42</answer></think>", 0.0),
        ({}, None, "<think>6 * 7<answer></think>42</answer>", 0.0),
        ({}, None, "<answer>42</answer><think>6 * 7</think>", 0.0),
        ({"ordered": False}, None, "<answer>42</answer><think>6 * 7</think>", 1.0),
        ({"ordered": False}, None, "<answer>42<think>6 * 7</think></answer>", 0.0),
        ({}, None, "</think>6 * 7<think><answer>42</answer>", 0.0),
        ({}, None, "<think>a</think><answer>41</answer><answer>42</answer>", 0.0),
        ({}, None, "<think>a</think><think>b</think><answer>42</answer>", 0.0),
        ({}, None, "<think>a</think></think><answer>42</answer>", 0.0),
        ({}, None, "<think></think><answer>42</answer>", 0.0),
        ({}, None, "<think> \n</think><answer>42</answer>", 0.0),
        ({"non_empty": False}, None, "<think></think><answer></answer>", 1.0),
        ({}, None, "<THINK>a</THINK><answer>42</answer>", 0.0),
        ({}, "6 * 7?<think>", "a</think><answer>42</answer>", 1.0),
        ({}, "6 * 7?<think>\n", "a</think><answer>42</answer>", 1.0),
        ({}, "6 * 7?<think>\n", GOOD, 0.0),
        ({}, "6 * 7?", "a</think><answer>42</answer>", 0.0),
        ({}, "Use <think> and <answer>.", GOOD, 1.0),
        (STRICT, "6 * 7?<think>\n", "a</think><answer>42</answer>", 1.0),
        ({"sections": ["plan"]}, None, "<plan>\x00\ud800</plan>", 1.0),
        ({"sections": ["a", "ab"]}, None, "<a>1</a><ab>2</ab>", 1.0),
        ({"sections": [MARKS, "answer"]}, None, "<|begin_of_thought|>a<|end_of_thought|><answer>42</answer>", 1.0),
        ({"sections": [MARKS]}, "?<|begin_of_thought|>\n", "a<|end_of_thought|>", 1.0),
        (SHARE, None, GOOD, 1.0),
        (SHARE, None, "", 0.0),
        (SHARE, None, "42", 0.0),
        (SHARE, None, "<think>6 * 7</think>", 0.4),
        (SHARE, None, "<think> </think>", 0.2),
        (SHARE, None, "<answer>42</answer><think>6 * 7</think>", 0.8),
        ({**SHARE, **STRICT}, None, f"So: {GOOD}", 5 / 6),
        (OWN_LINES, None, OPEN_R1, 1.0),
        (OWN_LINES, None, f"\n  {OPEN_R1} \n", 1.0),
        (OWN_LINES, None, GOOD, 0.0),
        (OWN_LINES, None, "<think>\na\n</think><answer>\n42\n</answer>", 0.0),
        (OWN_LINES, None, "<think>\na\n</think>\n<answer>42\n</answer>", 0.0),
        (OWN_LINES, "6 * 7?<think>\n", "a\n</think>\n<answer>\n42\n</answer>", 1.0),
        (OWN_LINES, "6 * 7?<think>", "a</think>\n<answer>\n42\n</answer>", 0.0),
        (MARKERS, None, GOOD, 1.0),
        (MARKERS, None, "<answer>42</answer><think>a</think>", 1.0),
        (MARKERS, None, "<think>a</think><answer>42", 0.75),
        (MARKERS, None, "<think>a</think><answer>41</answer><answer>42</answer>", 0.5),
        (MARKERS, None, "42", 0.0),
        (MARKERS, None, "", 0.0),
        (MARKERS, "6 * 7?<think>\n", "a</think><answer>42</answer>", 1.0),
        (SEARCH, None, "<think>a</think><answer>42</answer>", 1.0),
        (SEARCH, None, "<think>a</think><search>b</search><think>c</think><answer>42</answer>", 1.0),
        (SEARCH, None, "<think>a</think><search>b</search><search>c</search><answer>42</answer>", 1.0),
        (SEARCH, None, "<search>b</search><answer>42</answer>", 0.0),
        (SEARCH, None, "<think>a<search>b</search></think><answer>42</answer>", 0.0),
        (SEARCH, None, "<think>a<think>b</think></think><answer>42</answer>", 0.0),
        (SEARCH, None, "<think>a</think><think>b<answer>42</answer>", 0.0),
        (SEARCH, None, "<think>a</think></search><answer>42</answer>", 0.0),
        (SEARCH, None, "<think>a</think><search> </search><answer>42</answer>", 0.0),
        (SEARCH, None, "<think>a</think><answer>41</answer><answer>42</answer>", 0.0),
        ({**SEARCH, "ordered": True}, None, "<think>a</think><search>b</search><answer>42</answer>", 1.0),
        (
            {**SEARCH, "ordered": True},
            None,
            "<think>a</think><search>b</search><think>c</think><answer>4</answer>",
            0.0,
        ),
        ({"sections": [{"name": "step", "min": 2, "max": 3}]}, None, "<step>a</step>", 0.0),
        ({"sections": [{"name": "step", "min": 2, "max": 3}]}, None, "<step>a</step>" * 2, 1.0),
        ({"sections": [{"name": "step", "min": 2, "max": 3}]}, None, "<step>a</step>" * 4, 0.0),
        ({"sections": [{"name": "a", "min": 0}]}, None, "anything", 1.0),
    ],
)
async def test_scores(config: dict[str, Any], prompt: str | None, completion: str, expected: float) -> None:
    verdict = await score("format", config, prompt=prompt, completion=completion)
    assert verdict.score == expected


async def test_outcomes_and_components() -> None:
    right = await score("format", completion=GOOD)
    assert (right.outcome, right.detail) == (Outcome.CORRECT, {"stage": "sections"})
    wrong = await score("format", completion="<think>a</think>")
    assert (wrong.outcome, wrong.detail["broken"]) == (
        Outcome.INCORRECT,
        ["answer", "answer:non_empty", "sections:order"],
    )
    partial = await score("format", SHARE, completion="<think>a</think>")
    assert (partial.outcome, partial.components) == (
        Outcome.PARTIAL,
        {"think": 1.0, "think:non_empty": 1.0, "answer": 0.0, "answer:non_empty": 0.0, "sections:order": 0.0},
    )


@given(
    completion=ANY_TEXT | st.text(st.sampled_from("<>/ab "), max_size=30), config=st.sampled_from([{}, SHARE, STRICT])
)
async def test_the_components_are_always_the_same_and_agree_with_the_score(
    completion: str, config: dict[str, Any]
) -> None:
    config = {**config, "sections": ["a", "b"]}
    verdict = await score("format", config, completion=completion)
    expected = await score("format", config, completion="")
    assert verdict.components.keys() == expected.components.keys()
    share = sum(verdict.components.values()) / len(verdict.components)
    assert verdict.score == (share if "reward" in config else float(share == 1))


@pytest.mark.parametrize(
    ("sections", "message", "pointer"),
    [
        (["think", "think"], "two sections are named think", "/sections/1"),
        (["thought", MARKS], "two sections are named thought", "/sections/1"),
        ([{"name": "a", "open": "#", "close": "#"}], "the marker # is part of another marker", "/sections/0"),
        (
            ["think", {"name": "b", "open": "<think", "close": "end"}],
            "the marker <think is part of another marker",
            "/sections/1",
        ),
        (["think", {"name": "b", "open": "x"}], "give both open and close, or neither for the tags", "/sections/1"),
        ([{"name": "b", "close": "x"}], "give both open and close, or neither for the tags", "/sections/0"),
        ([{"name": "b", "min": 2}], "max is below min", "/sections/0/max"),
    ],
)
def test_configurations_that_cannot_work(sections: Any, message: str, pointer: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as raised:
        configured("format", {"sections": sections})
    assert raised.value.pointer == pointer


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"sections": []}, "at least 1 item"),
        ({"sections": ["a"] * 17}, "at most 16 items"),
        ({"sections": ["<think>"]}, "match pattern"),
        ({"sections": ["think\n"]}, "match pattern"),
        ({"sections": [{"name": "a", "open": "", "close": "x"}]}, "at least 1 character"),
        ({"sections": [{"open": "x", "close": "y"}]}, "Field required"),
        ({"sections": [{"name": "a", "min": -1}]}, "greater than or equal to 0"),
        ({"sections": [{"name": "a", "max": 0}]}, "greater than or equal to 1"),
        ({"sections": [{"name": "a", "max": 10_001}]}, "less than or equal to 10000"),
        ({"lines": "yes"}, "valid boolean"),
        ({"reward": "partial"}, "'all', 'fraction' or 'markers'"),
        ({"sections": "think"}, "valid list"),
        ({"outside": "ignore"}, "'allow' or 'forbid'"),
        ({"tags": ["think"]}, "Extra inputs"),
    ],
)
def test_configurations_that_the_schema_refuses(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configured("format", config)


@given(text=ANY_TEXT.filter(lambda text: is_seen(text) and "<" not in text))
async def test_gold_scores_one_and_empty_scores_zero(text: str) -> None:
    gold = f"<think>\n{text}\n</think>\n<answer>\n{text}\n</answer>"
    for config in ({}, SHARE, STRICT, OWN_LINES, MARKERS):
        assert (await score("format", config, completion=gold)).score == 1.0
        assert (await score("format", config, completion="")).score == 0.0


@given(pieces=st.lists(st.sampled_from(["<a>", "</a>", "<b>", "</b>", "x", "\n", " "]), max_size=14))
async def test_allowing_more_never_breaks_a_rule(pieces: list[str]) -> None:
    text = "".join(pieces)
    strict = {"sections": ["a", "b"], "outside": "forbid", "lines": True}
    loose = {**strict, "sections": [{"name": "a", "min": 0, "max": None}, {"name": "b", "min": 0, "max": 5}]}
    before = (await score("format", strict, completion=text)).components
    after = (await score("format", loose, completion=text)).components
    assert all(after[name] >= holds for name, holds in before.items())


async def test_many_sections_go_to_a_worker() -> None:
    guard = InProcessGuard()
    verdict = await score("format", SEARCH, guard, completion="<think>a</think>" * 5_000 + "<answer>1</answer>")
    assert verdict.score == 1.0
    assert len(guard.payloads) == 1
    await score("format", SEARCH, NoGuard(), completion="<think>a</think>" * 500)
    await score("format", {}, NoGuard(), completion="<think>a</think>" * 20_000)


async def test_a_long_completion_goes_to_a_worker() -> None:
    guard = InProcessGuard()
    verdict = await score("format", guard=guard, completion="<think>" + "a" * 600_000 + "</think><answer>1</answer>")
    assert verdict.score == 1.0
    assert len(guard.payloads) == 1
