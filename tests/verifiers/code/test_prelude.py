from __future__ import annotations

import time

import pytest

from tests.verifiers.code.support import asserts, script
from verifiers.base import BadItemError, Item
from verifiers.code.prelude import continued, prelude
from verifiers.code.python_tests import of_asserts, of_script
from verifiers.code.reference import AssertTests, ScriptTests

CODE = '''import math


def poly(xs, x):
    """The value at x."""
    return sum(c * math.pow(x, i) for i, c in enumerate(xs))


def find_zero(xs):
    """Where it is zero."""
'''
HELPERS = CODE[: CODE.index("\n\n\ndef find_zero")]
USES = "assert abs(poly([1, 2], candidate([1, 2]))) < 1e-4"


@pytest.mark.parametrize(
    ("prompt", "helpers"),
    [
        (CODE, HELPERS),
        ("\n\n" + CODE, HELPERS),
        ("Complete this function.\n\n" + CODE, HELPERS),
        ("from the list of coefficients, find the zero.\n" + CODE, HELPERS),
        (f"Complete:\n```python\n{CODE}```\nThanks.", HELPERS),
        (f"```\npoly = 1\n```\n```python\n{CODE}```", HELPERS),
        (CODE.replace("def find_zero", "@cache\n@other(1)\n\ndef find_zero"), HELPERS),
        (CODE.replace("def find_zero", "async def find_zero"), HELPERS),
        (CODE + "    for i in (", HELPERS),
        ("poly = lambda xs, x: 0\ndef find_zero(xs):\n", "poly = lambda xs, x: 0"),
        ("poly: object = None\ndef find_zero(xs):\n", "poly: object = None"),
        ("from maths import poly\ndef find_zero(xs):\n", "from maths import poly"),
        (
            "from maths import (x,\n poly)\nimport poly\ndef find_zero(xs):\n",
            "from maths import (x,\n poly)\nimport poly",
        ),
        ("class poly:\n    pass\nclass find_zero:\n", "class poly:\n    pass"),
        # nothing that tests use, or no code
        ("import math\n\ndef find_zero(xs):\n", ""),
        ("def poly(xs): ...\n", ""),
        ("def find_zero(xs):\n    ...\ndef poly(xs): ...\n", ""),
        ("    def poly(): ...\n    def find_zero(): ...\n", ""),
        ("Write find_zero, which finds where poly is zero.", ""),
        ("poly is a function.\ndef find_zero(xs):\n", ""),
        ("", ""),
        ("x" * 100_001 + "\n" + CODE, ""),
    ],
)
def test_helpers_of_a_prompt(prompt: str, helpers: str) -> None:
    assert prelude(prompt, "find_zero", USES) == helpers


def test_the_function_that_a_prompt_ends_with() -> None:
    assert continued(CODE) == "find_zero"
    assert continued("Write a function.") is None


@pytest.mark.parametrize(
    "prompt",
    [
        "\n" * 90_000 + "x",
        "@\n" * 45_000 + "def find_zero(): ...",
        "def poly(): ...\n" + "@\n" * 40_000 + "def find_zero(): ...",
        "def find_zerox(): ...\n" * 4_000,
        "from " * 18_000,
        "import " * 12_000,
        "a" * 90_000,
        "a " * 45_000,
        "a:" * 45_000,
        "```\n" * 20_000,
    ],
    ids=lambda prompt: repr(prompt[:12]),
)
def test_no_prompt_takes_long(prompt: str) -> None:
    began = time.process_time()
    prelude(prompt, "find_zero", USES)
    continued(prompt)
    assert time.process_time() - began < 0.2


def test_a_script_calls_check_with_the_programs_function() -> None:
    tests = of_script(ScriptTests(**script(USES, "find_zero")), Item(prompt=CODE, completion=""))
    assert (tests.tests, tests.names, tests.aliases) == (
        ["check(candidate)"],
        ["find_zero"],
        {"candidate": "find_zero"},
    )
    assert tests.prelude == HELPERS


def test_a_script_may_test_a_method() -> None:
    tests = of_script(ScriptTests(**script("assert candidate(1)", "Solution().add")), Item(completion=""))
    assert (tests.tests, tests.names, tests.aliases) == (["check(Solution().add)"], ["Solution"], {})


def test_asserts_name_the_function_or_the_prompt_does() -> None:
    named = AssertTests(**asserts("assert find_zero([poly([1], 0)]) == 1", entry_point="find_zero"))
    unnamed = AssertTests(**asserts("assert find_zero([poly([1], 0)]) == 1"))
    item = Item(prompt=CODE, completion="")
    for tests in (of_asserts(named, item, "none"), of_asserts(unnamed, item, "prompt")):
        assert (tests.names, tests.prelude) == (["find_zero"], HELPERS)
    tests = of_asserts(unnamed, item, "none")
    assert (tests.names, tests.prelude) == ((), "")


def test_helpers_that_are_no_text() -> None:
    with pytest.raises(BadItemError, match=r"^prompt: its code holds a lone surrogate"):
        of_script(
            ScriptTests(**script(USES, "find_zero")),
            Item(prompt="# \ud800\n" + CODE.replace("The", "\ud800"), completion=""),
        )
