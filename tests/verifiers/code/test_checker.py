from __future__ import annotations

from typing import Any

import pytest

from sandbox.base import Sandbox
from tests.verifiers.code.support import stdio
from tests.verifiers.support import assert_sound, score
from verifiers.base import Outcome, Verdict

SUM = "import sys\na, b = open('output').read().split()\nsys.exit(int(a) + int(b) != int(open('input').read()))"
"""Accepts two numbers whose sum is the input."""
CASES = [("7", "3 4"), ("9", "4 5")]


async def checked(sandbox: Sandbox, completion: str, checker: Any, **config: Any) -> Verdict:
    reference = stdio(*CASES, checker=checker)
    verdict = await score("code", config, sandbox=sandbox, completion=completion, reference=reference)
    assert_sound(verdict)
    return verdict


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("print(0, input())", Outcome.CORRECT),
        ("n = int(input())\nprint(n, 0)", Outcome.CORRECT),
        ("print(3, 4)", Outcome.INCORRECT),
        ("print('x', 'y')", Outcome.INCORRECT),
        ("print(7)", Outcome.INCORRECT),
        ("pass", Outcome.INCORRECT),
        ("print(0, input())\nexit(1)", Outcome.CRASHED),
        ("open('expected')", Outcome.CRASHED),
        ("open('output', 'w').write('0 7')\nopen('expected', 'w').write('0 7')", Outcome.INCORRECT),
        ("import os\nos.write(1, b'\\xff\\x00 1')", Outcome.INCORRECT),
    ],
)
async def test_a_checker_decides(sandbox: Sandbox, completion: str, outcome: Outcome) -> None:
    assert (await checked(sandbox, completion, SUM)).outcome is outcome


async def test_the_first_rejected_case_is_shown(sandbox: Sandbox) -> None:
    checker = "import sys\nprint('not seven', file=sys.stderr)\nsys.exit('7' not in open('output').read())"
    verdict = await checked(sandbox, "print(input())", checker)
    assert (verdict.detail["index"], verdict.detail["why"], verdict.detail["passed"]) == (1, "not seven", 1)
    assert (await checked(sandbox, "print(input())", checker, reward="fraction")).score == 0.5


@pytest.mark.parametrize(
    ("checker", "message"),
    [
        ("import sys\nsys.exit(2)", "on case 0 it neither accepted (exit status 0) nor rejected (1): exit status 2"),
        ("nonsense", "on case 0 it neither accepted (exit status 0) nor rejected (1): NameError: name 'nonsense'"),
        ("def f(", "on case 0 it neither accepted"),
        (
            "import ctypes\nctypes.string_at(0)",
            "on case 0 it neither accepted (exit status 0) nor rejected (1): signal 11",
        ),
        ("print('x' * 3_000_000)", "on case 0 it neither accepted (exit status 0) nor rejected (1): output"),
        ("import sys\nsys.exit(2 if open('input').read() == '9' else 0)", "on case 1 it neither accepted"),
    ],
)
async def test_a_checker_at_fault_is_a_bad_item(sandbox: Sandbox, checker: str, message: str) -> None:
    verdict = await checked(sandbox, "print(0, input())", checker)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == ("bad_item", False)
    assert verdict.error.message.startswith(f"reference/checker: {message}")


async def test_checkers_in_another_language(sandbox: Sandbox) -> None:
    code = (
        '#include <fstream>\nint main() { std::ifstream in("input"), out("output"); long n, a, b;\n'
        "in >> n; if (!(out >> a >> b)) return 1; return a + b != n; }"
    )
    checker = {"language": "cpp", "code": code}
    verdict = await checked(sandbox, "print(0, input())", checker)
    if verdict.error is not None and "this sandbox has no" in verdict.error.message:
        pytest.skip(verdict.error.message)
    assert verdict.score == 1.0
    assert (await checked(sandbox, "print(1, input())", checker)).score == 0.0
    broken = await checked(sandbox, "print(0, input())", {"language": "cpp", "code": "int main() { return x; }"})
    assert broken.error is not None
    assert broken.error.message.startswith("reference/checker: cannot be compiled: main.cpp:1")


async def test_a_program_that_fails_is_not_checked(sandbox: Sandbox) -> None:
    assert (await checked(sandbox, "exit(3)", "import sys\nsys.exit(2)")).outcome is Outcome.CRASHED
