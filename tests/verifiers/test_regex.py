from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT, InProcessGuard, NoGuard, assert_sound, configured, score, score_all
from verifiers.base import ConfigError, ErrorType, Item, Outcome
from verifiers.regex import patterns
from verifiers.regex.patterns import (
    MAX_BACKTRACKING_CHARS,
    MAX_CHARS,
    Backtracking,
    Linear,
    PatternError,
    compile_pattern,
)

LOOKAHEAD = r"^(?!.*sorry).*\d$"


@pytest.mark.parametrize(
    ("config", "completion", "expected"),
    [
        ({"pattern": "b"}, "abc", 1.0),
        ({"pattern": "^b"}, "abc", 0.0),
        ({"pattern": "B"}, "abc", 0.0),
        ({"pattern": "B", "flags": "i"}, "abc", 1.0),
        ({"pattern": "^b", "flags": "m"}, "a\nb", 1.0),
        ({"pattern": "a.b"}, "a\nb", 0.0),
        ({"pattern": "a.b", "flags": "s"}, "a\nb", 1.0),
        ({"pattern": "b$"}, "ab\n", 0.0),
        ({"pattern": "b", "mode": "fullmatch"}, "abc", 0.0),
        ({"pattern": "a|abc", "mode": "fullmatch"}, "abc", 1.0),
        ({"pattern": "b", "negate": True}, "abc", 0.0),
        ({"pattern": "x", "negate": True}, "abc", 1.0),
        ({"pattern": "a.c"}, "a\x00c", 1.0),
        ({"pattern": r"a\x00c"}, "a\x00c", 1.0),
        ({"pattern": "^a.c$"}, "a\ud800c", 1.0),
        ({"pattern": r"^a\x{fffd}c$"}, "a\ud800c", 1.0),
        ({"pattern": "^a.c$"}, "a😀c", 1.0),
        ({"pattern": "^(.)(?=c)"}, "\ud800c", 1.0),
        ({"pattern": r"^\d+$"}, "٣", 0.0),
        ({"pattern": "42"}, "<think>42</think>41", 1.0),
        ({"pattern": "42", "section": "final"}, "<think>42</think>41", 0.0),
        ({"pattern": LOOKAHEAD}, "it is 4", 1.0),
        ({"pattern": LOOKAHEAD}, "sorry, it is 4", 0.0),
        ({"pattern": r"(\w+) \1", "mode": "fullmatch"}, "go go", 1.0),
        ({"pattern": r"(\w+) \1", "mode": "fullmatch"}, "go to", 0.0),
        ({"pattern": r"(?P<a>\w)(?P=a)", "flags": "i"}, "Aa", 1.0),
        ({"pattern": ".{2000,}", "flags": "s"}, "a" * 2000, 1.0),
    ],
)
async def test_scores(config: dict[str, Any], completion: str, expected: float) -> None:
    verdict = await score("regex", config, completion=completion)
    assert verdict.score == expected
    assert verdict.detail["matched"] is (bool(expected) != config.get("negate", False))


async def test_the_reference_is_the_pattern_where_none_is_configured() -> None:
    verifier = configured("regex", {"mode": "fullmatch", "flags": "i"})
    items = [Item(completion="ABC", reference=pattern) for pattern in ("a.c", "a", r"(?=A)...", "a..")]
    assert [v.score for v in await score_all(verifier, items)] == [1.0, 0.0, 1.0, 1.0]


async def test_outcomes() -> None:
    linear = await score("regex", {"pattern": "a"}, completion="a")
    assert (linear.outcome, linear.detail) == (Outcome.CORRECT, {"stage": "re2", "matched": True})
    backtracking = await score("regex", {"pattern": "(?=a)"}, completion="b")
    assert (backtracking.outcome, backtracking.detail) == (Outcome.INCORRECT, {"stage": "regex", "matched": False})
    unfinished = await score("regex", {"pattern": "a", "section": "final", "negate": True}, completion="<think>b")
    assert (unfinished.outcome, unfinished.score) == (Outcome.UNPARSEABLE, 0.0)


CHOICE = {"pattern": r"answer is \(?([A-D])\b", "group": 1}
ANSWER = {"pattern": r"<answer>(?P<answer>.*?)</answer>", "group": "answer", "flags": "s"}
BEHIND = {"pattern": r"(?<=answer is )(\w+)", "group": 1}


@pytest.mark.parametrize(
    ("config", "completion", "reference", "outcome"),
    [
        (CHOICE, "So the answer is (B).", "B", Outcome.CORRECT),
        (CHOICE, "So the answer is B.", " B\n", Outcome.CORRECT),
        (CHOICE, "So the answer is (B).", ["A", "B"], Outcome.CORRECT),
        (CHOICE, "So the answer is (B).", "C", Outcome.INCORRECT),
        (CHOICE, "So the answer is (B).", "b", Outcome.INCORRECT),
        ({**CHOICE, "flags": "i"}, "so the ANSWER IS (b).", "B", Outcome.CORRECT),
        (CHOICE, "B", "B", Outcome.UNPARSEABLE),
        (CHOICE, "", "B", Outcome.UNPARSEABLE),
        (CHOICE, "The answer is A. The answer is B.", "B", Outcome.REJECTED),
        (CHOICE, "The answer is B. The answer is B.", "B", Outcome.CORRECT),
        ({**CHOICE, "several": "last"}, "The answer is A. The answer is B.", "B", Outcome.CORRECT),
        ({**CHOICE, "several": "last"}, "The answer is B. The answer is A.", "B", Outcome.INCORRECT),
        ({**CHOICE, "several": "first"}, "The answer is B. The answer is A.", "B", Outcome.CORRECT),
        (ANSWER, "<answer>\nParis\n</answer>", "Paris", Outcome.CORRECT),
        (ANSWER, "<answer>Paris</answer><answer>Rome</answer>", "Paris", Outcome.REJECTED),
        (ANSWER, "<answer></answer>", "Paris", Outcome.INCORRECT),
        ({"pattern": r"\d+", "group": 0}, "It is 42", "42", Outcome.CORRECT),
        ({"pattern": r"(\d+)|none", "group": 1}, "none, none, 42", "42", Outcome.CORRECT),
        ({"pattern": r"(\d+)|none", "group": 1}, "none", "42", Outcome.UNPARSEABLE),
        ({"pattern": r"(\d*)", "group": 1}, "é42é", "42", Outcome.CORRECT),
        ({"pattern": "is (.*)", "group": 1, "mode": "fullmatch"}, "is a", "a", Outcome.CORRECT),
        ({"pattern": "is (.*)", "group": 1, "mode": "fullmatch"}, "it is a", "a", Outcome.UNPARSEABLE),
        ({"pattern": "(.)", "group": 1}, "\ud800", "\ud800", Outcome.CORRECT),
        ({"pattern": "(.)", "group": 1}, "\x00", "\x00", Outcome.CORRECT),
        (BEHIND, "the answer is B", "B", Outcome.CORRECT),
        (BEHIND, "the answer is A, no, the answer is B", "B", Outcome.REJECTED),
        ({**BEHIND, "several": "last"}, "the answer is A, no, the answer is B", "B", Outcome.CORRECT),
        ({"pattern": r"(?=a)(\w)|b", "group": 1, "mode": "fullmatch"}, "a", "a", Outcome.CORRECT),
        ({**ANSWER, "section": "final"}, "<think><answer>A</answer></think><answer>B</answer>", "B", Outcome.CORRECT),
    ],
)
async def test_what_a_group_holds(config: dict[str, Any], completion: str, reference: Any, outcome: Outcome) -> None:
    verdict = await score("regex", config, completion=completion, reference=reference)
    assert (verdict.outcome, verdict.score) == (outcome, float(outcome is Outcome.CORRECT))
    if outcome in (Outcome.CORRECT, Outcome.INCORRECT):
        assert verdict.detail["answer"] in patterns.readable(completion)
    if outcome is Outcome.REJECTED:
        assert len(set(verdict.detail["answers"])) == 2


STEPS = {"pattern": r"Step \d+:"}


@pytest.mark.parametrize(
    ("config", "completion", "expected"),
    [
        ({**STEPS, "min_count": 2}, "Step 1: a Step 2: b", 1.0),
        ({**STEPS, "min_count": 3}, "Step 1: a Step 2: b", 0.0),
        ({**STEPS, "min_count": 3, "reward": "fraction"}, "Step 1: a Step 2: b", 2 / 3),
        ({**STEPS, "min_count": 3, "reward": "fraction"}, "Step 1: " * 9, 1.0),
        ({**STEPS, "min_count": 3, "reward": "fraction"}, "", 0.0),
        ({**STEPS, "min_count": 3, "max_count": 4, "reward": "fraction"}, "Step 1: " * 5, 0.0),
        ({**STEPS, "max_count": 1}, "Step 1: a Step 2: b", 0.0),
        ({**STEPS, "max_count": 1}, "Step 1: a", 1.0),
        ({**STEPS, "max_count": 1}, "", 0.0),
        ({**STEPS, "min_count": 0, "max_count": 0}, "", 1.0),
        ({**STEPS, "min_count": 0, "max_count": 0}, "Step 1:", 0.0),
        ({**STEPS, "min_count": 2, "negate": True}, "Step 1: a Step 2: b", 0.0),
        ({**STEPS, "min_count": 2, "negate": True}, "Step 1: a", 1.0),
        ({"pattern": "a*", "min_count": 2}, "é" * 50 + "aa", 0.0),
        ({"pattern": "a*", "min_count": 2}, "aébaé", 1.0),
        ({"pattern": "(?=a)a", "min_count": 3}, "aaa", 1.0),
        ({"pattern": "(?=a)a", "min_count": 4}, "aaa", 0.0),
        ({"pattern": "aa", "min_count": 2}, "aaa", 0.0),
        ({"min_count": 2}, "go go", 1.0),
    ],
)
async def test_how_often_a_pattern_matches(config: dict[str, Any], completion: str, expected: float) -> None:
    verdict = await score("regex", config, completion=completion, reference="go")
    assert verdict.score == expected
    assert (verdict.outcome is Outcome.PARTIAL) == (0 < expected < 1)
    assert verdict.detail["count"] <= 5


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, "reference: send the text, or a list of texts, that the group must hold"),
        (5, "reference: send the text, or a list of texts, that the group must hold"),
        (["B", 5], "reference: send the text, or a list of texts, that the group must hold"),
        ([], "reference: must hold 1 to 1000 texts of 50000 characters in all"),
        (["B"] * 1001, "reference: must hold 1 to 1000 texts of 50000 characters in all"),
        ("B" * 50_001, "reference: must hold 1 to 1000 texts of 50000 characters in all"),
        ("", "reference: an expected text is empty"),
        (["B", " "], "reference: an expected text is empty"),
    ],
)
async def test_bad_expected_texts(reference: Any, message: str) -> None:
    verdict = await score("regex", CHOICE, completion="the answer is B", reference=reference)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.message) == (ErrorType.BAD_ITEM, message)


@pytest.mark.parametrize(
    ("config", "message", "pointer"),
    [
        ({"group": 1}, "with a group the reference is the expected text: give a pattern", "/group"),
        ({**CHOICE, "negate": True}, "what a group holds is compared, and cannot be negated", "/negate"),
        ({**CHOICE, "min_count": 2}, "what a group holds is compared, and matches are not counted", "/group"),
        ({**CHOICE, "group": 2}, "the pattern has no group 2; it has 1", "/group"),
        (
            {**ANSWER, "group": "Answer"},
            "the pattern has no group Answer; it has 1, of which named: answer",
            "/group",
        ),
        ({**BEHIND, "group": "x"}, "the pattern has no group x; it has 1", "/group"),
        ({**STEPS, "several": "last"}, "several goes with a group", "/several"),
        ({**STEPS, "min_count": 2, "mode": "fullmatch"}, "matches are counted with mode search", "/mode"),
        ({**STEPS, "min_count": 2, "max_count": 1}, "max_count is below min_count", "/max_count"),
        ({**STEPS, "min_count": 0}, "no count is too small or too large: give min_count or max_count", "/min_count"),
        ({**STEPS, "reward": "fraction"}, "a fraction goes with a min_count above 1, and without negate", "/reward"),
        (
            {**STEPS, "min_count": 2, "reward": "fraction", "negate": True},
            "a fraction goes with a min_count above 1, and without negate",
            "/reward",
        ),
    ],
)
def test_fields_that_do_not_go_together(config: dict[str, Any], message: str, pointer: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configured("regex", config)
    assert (str(raised.value), raised.value.pointer) == (message, pointer)


@given(
    pattern=st.text(st.sampled_from("ab|*+?()[]^$.\\dw:"), min_size=1, max_size=12),
    text=ANY_TEXT | st.text(st.sampled_from("ab1é ")),
    group=st.sampled_from([0, 1]),
)
async def test_any_group_of_any_pattern_gives_a_verdict(pattern: str, text: str, group: int) -> None:
    try:
        verifier = configured("regex", {"pattern": pattern, "group": group})
    except (ConfigError, ValueError):
        return
    [verdict] = await score_all(verifier, [Item(completion=text, reference="a")])
    assert_sound(verdict)
    assert verdict.score is not None
    [gold] = await score_all(verifier, [Item(completion=text, reference=verdict.detail.get("answer", "a") or "a")])
    assert gold.outcome in (verdict.outcome, Outcome.CORRECT)


@given(text=st.text(st.sampled_from("ab "), max_size=30), low=st.integers(0, 4), high=st.integers(0, 6))
async def test_counts_agree_with_python(text: str, low: int, high: int) -> None:
    if low > high:
        return
    count = len(re.findall("a+b?", text))
    verdict = await score("regex", {"pattern": "a+b?", "min_count": low, "max_count": high}, completion=text)
    assert verdict.score == (low <= count <= high)


@pytest.mark.parametrize("negate", [False, True])
async def test_a_search_that_does_not_end(monkeypatch: pytest.MonkeyPatch, negate: bool) -> None:
    monkeypatch.setattr(patterns, "BACKTRACK_S", 0.05)
    config = {"pattern": r"^(a|aa)+\1{2}[bc]$", "negate": negate}
    verdict = await score("regex", config, completion="a" * 100)
    assert (verdict.outcome, verdict.score, verdict.detail) == (Outcome.TIMEOUT, 0.0, {"stage": "regex"})


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, "reference: send a pattern, or give one in the verifier's configuration"),
        (5, "reference: Input should be a valid string"),
        (["a"], "reference: Input should be a valid string"),
        ("", "reference: String should have at least 1 character"),
        ("\ud800", "reference: Input should be a valid string, unable to parse raw data as a unicode string"),
        ("(", "reference: the pattern is not valid: missing ): ("),
        ("*a", "reference: the pattern is not valid: no argument for repetition operator: *"),
        ("[a", "reference: the pattern is not valid: missing ]: [a"),
        ("(?=a)(", "reference: the pattern is not valid: missing ) at position 6 (RE2: invalid perl operator: (?=)"),
        (r"(?=a)[b-a]", "reference: the pattern is not valid: bad character range at position 9"),
        (r"(?<=a)\p{Nope}", "reference: the pattern is not valid: unknown property"),
        ("(?x)a # b", "reference: the pattern uses a flag of regex, x (verbose) or V1, that is not supported"),
        (
            "(?V1)" + "[" * 200,
            "reference: the pattern uses a flag of regex, x (verbose) or V1, that is not supported",
        ),
        ("a" * (MAX_CHARS + 1), f"reference: the pattern has {MAX_CHARS + 1} characters, {MAX_CHARS} are allowed"),
        ("(?=a)" + "a" * MAX_BACKTRACKING_CHARS, "reference: the pattern is too large for backtracking"),
        ("(?=a)(?:(?:a{1000}){1000}){1000}", "reference: the pattern is too large for backtracking"),
    ],
)
async def test_bad_references(reference: Any, message: str) -> None:
    verdict = await score("regex", completion="anything", reference=reference)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.BAD_ITEM, False)
    assert verdict.error.message.startswith(message)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "the pattern is not valid: missing ): ("),
        ("a" * (MAX_CHARS + 1), f"the pattern has {MAX_CHARS + 1} characters, {MAX_CHARS} are allowed"),
        ("(?:(?:a{1000}){1000}){1000}", "the pattern is too large for backtracking, and RE2 cannot take it"),
        ("(?=a)" + "(" * 300 + ")" * 300, "the pattern is too large for backtracking"),
        (r"(?=a)\L<words>", "the pattern is not valid: undefined named list"),
    ],
)
def test_configurations_that_cannot_work(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match="^" + re.escape(message)) as raised:
        configured("regex", {"pattern": pattern})
    assert raised.value.pointer == "/pattern"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"pattern": ""}, "at least 1 character"),
        ({"group": -1}, "greater than or equal to 0"),
        ({"group": 201}, "less than or equal to 200"),
        ({"group": 1.5}, "valid integer"),
        ({"several": "all"}, "'reject', 'first' or 'last'"),
        ({"min_count": -1}, "greater than or equal to 0"),
        ({"max_count": 10_001}, "less than or equal to 10000"),
        ({"pattern": 5}, "valid string"),
        ({"pattern": "\ud800"}, "unicode"),
        ({"flags": "x"}, r"match pattern '\^\[ims\]\*\$'"),
        ({"mode": "match"}, "'search' or 'fullmatch'"),
        ({"regex": "a"}, "Extra inputs"),
    ],
)
def test_configurations_that_the_schema_refuses(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configured("regex", config)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*$",
        r"(.*)*x",
        r"^(?:(?:\w|\d)+)+$",
        "|".join(f"a{n}" for n in range(800)),
        "(" * 500 + "a" + ")" * 500,
        r"[01]*1[01]{20}2",
    ],
)
def test_patterns_that_ruin_other_engines_are_linear(pattern: str) -> None:
    compiled = compile_pattern(pattern)
    assert isinstance(compiled, Linear)
    assert compiled.matches("a" * 100_000 + "!", "fullmatch") is False


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<![\w-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![\w-])",
        r"^(?=.*[A-Z]{2,})(?=.*\d{2,}).{8,64}$",
        r"\Aa\Z",
        r"a++b",
        r"(?>a+)b",
        r"f\(?x\)?(?=y)",
        r"\pL{1000}",
    ],
)
def test_patterns_beyond_re2(pattern: str) -> None:
    assert isinstance(compile_pattern(pattern), Backtracking)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=x)a{1000000}",
        "(?=x)(?:a{100}){100}",
        "(?=x)(?:[ab]{100}){100}",
        r"(?=x)(?:a\\{1000}){1000}",
        "(?=x)(?:a(?#){1000}){1000}",
        "(?=x)(?:a{0001000}){0001000}",
        "(?=x)(?:a{1000,}){1000,}",
        "(?=x)(?:a\n{1000}){1000}",
        "(?=x)[(](?:a{100}[(]){1000}",
    ],
)
def test_counts_that_would_fill_the_memory_are_not_compiled(pattern: str) -> None:
    with pytest.raises(PatternError, match="too large"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("config", "completion", "reference"),
    [
        ({"pattern": "(?=a)"}, "a", None),
        ({}, "a", "(?=a)"),
        ({"pattern": "a"}, "a" * 300_000, None),
        ({"pattern": r"[^a-z]{1000}"}, "a" * 100, None),
        ({"pattern": "a.*b|a", "min_count": 2_000}, "a" * 2_000, None),
        ({"pattern": "a", "max_count": 1}, "a" * 1_000, None),
        ({"pattern": "(a).*b|(a)", "group": 1}, "a" * 1_000, "a"),
        ({"pattern": "(?:a|b)*(c)", "group": 1}, "ab" * 20_000, "c"),
    ],
)
async def test_what_may_be_slow_goes_to_a_worker(config: dict[str, Any], completion: str, reference: Any) -> None:
    guard = InProcessGuard()
    await score("regex", config, guard, completion=completion, reference=reference)
    assert len(guard.payloads) == 1


async def test_what_is_fast_or_refused_does_not() -> None:
    await score("regex", {"pattern": r"\b\d{4}\b"}, NoGuard(), completion="in 1999 " * 500)
    await score("regex", guard=NoGuard(), completion="a" * 1_000_000, reference="(")
    await score("regex", CHOICE, NoGuard(), completion="x " * 800 + "the answer is B", reference="B")
    await score("regex", {**STEPS, "min_count": 3}, NoGuard(), completion="Step 1: add. " * 5)


@given(text=ANY_TEXT)
async def test_an_escaped_text_matches_itself(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    if 0 < len(text) <= 100:
        config = {"pattern": re.escape(text), "mode": "fullmatch"}
        assert (await score("regex", config, completion=text)).score == 1.0


@given(pattern=st.text(st.sampled_from("ab|*+?()[]{}^$.\\dw=!<>:1,23"), min_size=1, max_size=15), text=ANY_TEXT)
async def test_any_pattern_gives_a_verdict_or_a_reason(pattern: str, text: str) -> None:
    verdict = await score("regex", completion=text, reference=pattern)
    if verdict.error is None:
        opposite = await score("regex", {"negate": True}, completion=text, reference=pattern)
        assert verdict.score is not None
        assert opposite.score == 1 - verdict.score
    else:
        assert verdict.error.type is ErrorType.BAD_ITEM
