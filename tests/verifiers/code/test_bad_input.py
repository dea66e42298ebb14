"""Input that no honest caller or model sends: each has an outcome, and a place in the documentation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.base import Sandbox
from tests.verifiers.code.support import asserts, function, script, stdio
from tests.verifiers.support import assert_sound, configured, score
from verifiers.base import Outcome, Verdict
from verifiers.code.extract import MAX_CHARS
from verifiers.code.reference import MAX_TESTS

ADD = function(([1, 2], 3), entry_point="add")
RIGHT = "def add(a, b):\n    return a + b\n"


async def judged(sandbox: Sandbox, completion: str, reference: Any, **config: Any) -> Verdict:
    verdict = await score("code", config, sandbox=sandbox, completion=completion, reference=reference)
    assert_sound(verdict)
    return verdict


def test_an_unknown_language_is_refused_at_registration() -> None:
    with pytest.raises(ValueError, match="Input should be 'python'"):
        configured("code", {"language": "brainfuck"})


@pytest.mark.parametrize(
    "reference", [stdio(), function(), asserts(), script("pass"), {"type": "pytest", "files": {}}]
)
async def test_no_tests_are_never_a_pass(sandbox: Sandbox, reference: Any) -> None:
    verdict = await judged(sandbox, "def f(): return 1", reference)
    assert verdict.error is not None
    assert verdict.error.type == "bad_item"


@pytest.mark.parametrize(
    "reference",
    [
        asserts("assert add(1, 2) == 3", "assert add(1, 2"),
        asserts("assert add(1, 2) == 3\x00"),
        asserts("add(1, 2)"),
        asserts("assert True", setup="1 / 0"),
        asserts("assert add(1, 2) == 3", setup="def f(:"),
        script("candidate(1, 2)", "add"),
        {"type": "script", "entry_point": "add", "code": "def check(candidate):\n    assert candidate(1, 2) =="},
        {"type": "script", "entry_point": "add", "code": "check = 5\nassert True"},
        asserts("(" * 10_000 + "1" + ")" * 10_000),
    ],
)
async def test_a_broken_test_is_never_a_score(sandbox: Sandbox, reference: Any) -> None:
    for completion in (RIGHT, "def add(a, b): return 0"):
        verdict = await judged(sandbox, completion, reference, stop_on_failure=False)
        assert verdict.score in (None, 0.0)
        if completion is RIGHT:
            assert verdict.error is not None, verdict
            assert verdict.error.type == "bad_item"


async def test_ten_thousand_cases(sandbox: Sandbox) -> None:
    cases = stdio(*[(f"{i}", f"{i}") for i in range(MAX_TESTS)])
    verdict = await judged(sandbox, "n = int(input())\nprint(n if n < 5 else 0)", cases)
    assert (verdict.detail["index"], verdict.detail["total"], verdict.score) == (5, MAX_TESTS, 0.0)
    calls = function(*[([i], i) for i in range(MAX_TESTS)])
    verdict = await judged(sandbox, "def f(n): return n if n < 7 else 0", calls)
    assert (verdict.detail["index"], verdict.score) == (7, 0.0)


async def test_a_thousand_cases_that_all_pass(sandbox: Sandbox) -> None:
    verdict = await judged(sandbox, "def f(n): return n", function(*[([i], i) for i in range(1_000)]))
    assert (verdict.score, verdict.detail["passed"]) == (1.0, 1_000)


async def test_an_input_of_fifty_megabytes(sandbox: Sandbox) -> None:
    big = "x" * (50 << 20)
    verdict = await judged(sandbox, "import sys\nprint(len(sys.stdin.read()))", stdio((big, str(50 << 20))))
    assert verdict.score == 1.0
    assert (await judged(sandbox, "pass", stdio((big, "1")))).score == 0.0


async def test_invalid_utf8_and_nul_both_ways(sandbox: Sandbox) -> None:
    raw = "\udcff\x00\udc80é\n"
    echo = "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())"
    assert (await judged(sandbox, echo, stdio((raw, raw), compare="exact"))).score == 1.0
    assert (await judged(sandbox, echo, stdio((raw, raw[:-1]), compare="exact"))).score == 0.0
    verdict = await judged(sandbox, "import sys\nsys.stdout.buffer.write(b'\\xff\\x00')", stdio(("", "a")))
    assert verdict.outcome is Outcome.INCORRECT
    assert verdict.detail["output"] == "\\xff\x00"


@pytest.mark.parametrize(
    "completion", ["\x00", "x = 1\x00", "x = '\ud800'", "\ud800", "é = \x00", "\ufeffx = 1", "\x0c"]
)
async def test_source_that_is_no_text(sandbox: Sandbox, completion: str) -> None:
    for reference in (ADD, stdio(("", "1")), asserts("assert add(1, 2) == 3")):
        verdict = await judged(sandbox, completion, reference)
        assert verdict.score == 0.0


async def test_a_value_with_nul_and_lone_surrogates(sandbox: Sandbox) -> None:
    reference = function((["\ud800\x00é"], "\ud800\x00é"))
    assert (await judged(sandbox, "def f(x): return x", reference)).score == 1.0
    assert (await judged(sandbox, "def f(x): return x + ''", reference)).score == 1.0
    assert (await judged(sandbox, "def f(x): return x[1:]", reference)).score == 0.0


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("", Outcome.UNPARSEABLE),
        ("   \n", Outcome.UNPARSEABLE),
        ("I am sorry, I cannot do that.", Outcome.CRASHED),
        ("```bash\nls\n```", Outcome.UNPARSEABLE),
        (f"```python\ndef add(a, b): return 0\n```\n```python\n{RIGHT}```", Outcome.CORRECT),
        (f"```python\n{RIGHT}```\n```python\ndef add(a, b): return 0\n```", Outcome.INCORRECT),
        (f"```python\n{RIGHT}```\n```\n3\n```", Outcome.CORRECT),
        (f"<think>```python\n{RIGHT}```</think>It adds.", Outcome.CRASHED),
        ("x" * 10_000_000, Outcome.OUTPUT_EXCEEDED),
        ("<think>" + "x" * 10_000_000 + f"</think>{RIGHT}", Outcome.CORRECT),
        ("```" * 100_000, Outcome.REJECTED),
        (RIGHT + "#" * (MAX_CHARS - len(RIGHT)), Outcome.CORRECT),
        ("(" * 200_000, Outcome.CRASHED),
        ("-" * 200_000 + "1", Outcome.CRASHED),
        ("x = " + "[" * 90 + "]" * 90 + "\n" + RIGHT, Outcome.CORRECT),
    ],
    ids=lambda value: repr(value[:25]) if len(str(value)) > 20 else "",
)
async def test_completions(sandbox: Sandbox, completion: str, outcome: Outcome) -> None:
    verdict = await judged(sandbox, completion, ADD)
    assert verdict.outcome is outcome, verdict
    assert len(json.dumps([verdict.detail, verdict.full])) < 20_000


@pytest.mark.parametrize("completion", ["x = 2 ** (10 ** 9)", "x = 'a' * (1 << 40)", "x = 1 << 100_000_000_000"])
async def test_compile_time_bombs(sandbox: Sandbox, completion: str) -> None:
    verdict = await judged(sandbox, completion + "\n" + RIGHT, ADD, limits={"cpu_s": 1.0})
    assert verdict.outcome in (Outcome.CRASHED, Outcome.TIMEOUT, Outcome.MEMORY_EXCEEDED)


async def test_a_value_that_is_too_large(sandbox: Sandbox) -> None:
    verdict = await judged(sandbox, "def add(a, b): return 'x' * (4 << 20)", ADD)
    assert verdict.score == 0.0
    deep = "def add(a, b):\n    x = []\n    for _ in range(100_000): x = [x]\n    return x"
    assert (await judged(sandbox, deep, ADD)).score == 0.0
    assert (await judged(sandbox, "def add(a, b): return 10 ** 100_000", ADD)).outcome is Outcome.INCORRECT
