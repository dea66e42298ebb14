from __future__ import annotations

from typing import Any

import pytest

from tests.verifiers.code.support import asserts, function, script, stdio
from tests.verifiers.support import score
from verifiers.base import ErrorType
from verifiers.code.reference import MAX_CODE, MAX_TESTS, AssertTests, StdioTests, read_tests

CASE = {"stdin": "1", "stdout": "2"}
FILES = {"type": "pytest", "files": {"test_a.py": "def test_a(): pass"}}


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, "reference: must be an object that says by its type what sort of tests it holds"),
        ("assert f(1) == 1", "reference: must be an object"),
        ([CASE], "reference: must be an object"),
        ({}, "reference/type: must be one of stdio, function, asserts, script, pytest"),
        ({"type": "unittest"}, "reference/type: must be one of stdio, function, asserts, script, pytest"),
        ({"type": ["stdio"]}, "reference/type: must be one of"),
        ({"type": "\ud800"}, "reference/type: must be one of"),
        ({"type": "stdio"}, "reference/cases: Field required"),
        (stdio(), "reference/cases: List should have at least 1 item"),
        ({"type": "stdio", "cases": {}}, "reference/cases: Input should be a valid list"),
        ({"type": "stdio", "cases": [{}]}, "reference/cases/0/stdout: Field required"),
        (
            {"type": "stdio", "cases": [CASE, {"stdout": 5}]},
            "reference/cases/1/stdout: Input should be a valid string",
        ),
        ({"type": "stdio", "cases": [CASE | {"args": []}]}, "reference/cases/0/args: Extra inputs are not permitted"),
        (
            {"type": "stdio", "cases": [CASE] * (MAX_TESTS + 1)},
            "reference/cases: List should have at most 10000 items",
        ),
        (
            stdio(("", ""), compare="fuzzy"),
            "reference/compare: Input should be 'tokens', 'exact', 'lines' or 'float'",
        ),
        (stdio(("", ""), checker=""), "reference/checker: String should have at least 1 character"),
        (stdio(("", ""), checker={"code": "x", "language": "cobol"}), "reference/checker/language: Input should be"),
        (stdio(("", ""), tolerance=1), "reference/tolerance: Extra inputs are not permitted"),
        (stdio(("\ud800", "")), "reference/cases/0/stdin: holds a lone surrogate other than U+DC80 to U+DCFF"),
        (stdio(("", ""), ("", "\ud800")), "reference/cases/1/stdout: holds a lone surrogate other than"),
        (function(), "reference/cases: List should have at least 1 item"),
        (function(([], 1), entry_point=""), "reference/entry_point: must be the name of a function"),
        (function(([], 1), entry_point="a b"), "reference/entry_point: must be the name of a function"),
        (function(([], 1), entry_point="f()"), "reference/entry_point: must be the name of a function"),
        (
            function(([], 1), entry_point="f(1).g"),
            "reference/entry_point: must be the name of a function",
        ),
        (function(([], 1), entry_point="a..b"), "reference/entry_point: must be the name of a function"),
        (function(([], 1), entry_point="f\n"), "reference/entry_point: must be the name of a function"),
        (
            function(([], 1), entry_point="f" * 201),
            "reference/entry_point: must be the name of a function",
        ),
        (
            function(([], 1), entry_point="\ud800"),
            "reference/entry_point: must be the name of a function",
        ),
        (
            {"type": "function", "entry_point": "f", "cases": [{"args": []}]},
            "reference/cases/0/expected: Field required",
        ),
        (
            {"type": "function", "entry_point": "f", "cases": [{"args": {}, "expected": 1}]},
            "reference/cases/0/args: Input",
        ),
        (function(([10**5_000], 1)), "reference/cases/0: the arguments cannot be written as JSON"),
        (asserts(), "reference/asserts: List should have at least 1 item"),
        (asserts("assert f() == 1", ""), "reference/asserts/1: String should have at least 1 character"),
        (
            asserts("\ud800"),
            "reference/asserts/0: Input should be a valid string, unable to parse raw data as a unicode",
        ),
        (
            asserts("assert f() == 1", setup="\ud800"),
            "reference/setup: Input should be a valid string, unable to parse",
        ),
        (
            asserts("assert f() == 1", setup="x" * (MAX_CODE + 1)),
            "reference/setup: String should have at most 1000000",
        ),
        (asserts("assert f() == 1", entry_point="a.b"), "reference/entry_point: must be the name of a"),
        (script("", "f") | {"code": ""}, "reference/code: String should have at least 1 character"),
        (script("", "f") | {"code": "assert f()"}, "reference/code: does not define check(candidate)"),
        (
            script("assert candidate()", "check"),
            "reference/entry_point: cannot be 'check', which the tests call something",
        ),
        (script("assert candidate()", "candidate"), "reference/entry_point: cannot be 'candidate'"),
        (script("assert candidate()", "f.g()"), "reference/entry_point: must be the name of a function"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
async def test_references_that_cannot_be_used(reference: Any, message: str) -> None:
    verdict = await score("code", completion="def f(): return 1", reference=reference)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.BAD_ITEM, False)
    assert verdict.error.message.startswith(message)
    assert len(verdict.error.message) < 600


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "reference/files: Dictionary should have at least 1 item"),
        ({"tests.py": ""}, "reference/files: none is named test_*.py or *_test.py"),
        ({"test_a.txt": ""}, "reference/files: none is named test_*.py or *_test.py"),
        ({"test_a.py": 5}, "reference/files/test_a.py: Input should be a valid string"),
        ({"test_a.py": "", "solution.py": ""}, "reference/files: 'solution.py' is a file of the program's"),
        ({"test_a.py": "", "words.txt": ""}, "reference/files: 'words.txt' is a file of the program's"),
        ({"../test_a.py": ""}, "reference/files/..~1test_a.py: the path of a file has an empty part, '.' or '..'"),
        ({"test_a.py": "\ud800"}, "reference/files/test_a.py: the file or its name holds a lone surrogate"),
    ],
)
async def test_files_for_pytest_that_cannot_be_used(files: Any, message: str) -> None:
    config = {"allow_forgeable": True, "files": {"words.txt": "a"}}
    verdict = await score("code", config, completion="x", reference={"type": "pytest", "files": files})
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert verdict.error.message.startswith(message)


@pytest.mark.parametrize(
    ("language", "reference", "message"),
    [
        (
            "cpp",
            function(([], 1)),
            "function tests are for javascript and python, and the verifier is for cpp; use stdio",
        ),
        (
            "javascript",
            asserts("assert f()"),
            "asserts tests are for python, and the verifier is for javascript; use",
        ),
        (
            "java",
            script("assert candidate()"),
            "script tests are for python, and the verifier is for java; use stdio",
        ),
        ("bash", FILES, "pytest tests are for python, and the verifier is for bash; use stdio"),
    ],
)
async def test_forms_that_a_language_has_not(language: str, reference: Any, message: str) -> None:
    verdict = await score("code", {"language": language}, completion="x", reference=reference)
    assert verdict.error is not None
    assert verdict.error.message.startswith(f"reference/type: {message}")


async def test_javascript_has_no_keyword_arguments() -> None:
    reference = {"type": "function", "entry_point": "f", "cases": [{"kwargs": {"a": 1}, "expected": 1}]}
    verdict = await score("code", {"language": "javascript"}, completion="x", reference=reference)
    assert verdict.error is not None
    assert verdict.error.message == "reference/cases/0/kwargs: javascript has no keyword arguments"


@pytest.mark.parametrize("entry_point", ["f", "_f1", "größe", "Solution().add", "a.b.c", "A().b().c", "$f", "a.$b"])
def test_ways_to_a_function(entry_point: str) -> None:
    assert read_tests(function(([], 1), entry_point=entry_point), "javascript").type == "function"


def test_what_may_be_left_out() -> None:
    tests = read_tests({"type": "stdio", "cases": [{"stdout": "a"}]}, "python")
    assert isinstance(tests, StdioTests)
    assert (tests.cases[0].stdin, tests.compare, tests.checker) == ("", "tokens", None)
    others = read_tests({"type": "asserts", "asserts": ["assert f()"]}, "python")
    assert isinstance(others, AssertTests)
    assert (others.setup, others.entry_point) == ("", None)


def test_ten_thousand_cases() -> None:
    tests = read_tests(stdio(*[("1", "2")] * MAX_TESTS), "python")
    assert isinstance(tests, StdioTests)
    assert len(tests.cases) == MAX_TESTS
