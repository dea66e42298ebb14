"""The tests of an item, as its reference gives them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from verifiers.base import BadItemError, Strict, parse_reference
from verifiers.code.config import Language

MAX_TESTS = 10_000
"""Cases, or asserts."""
MAX_CODE = 1_000_000
"""Characters of one piece of code."""

Compare = Literal["tokens", "exact", "lines", "float"]
Code = Annotated[str, Field(max_length=MAX_CODE)]
"""Source text. (The bound also makes pydantic refuse lone surrogates.)"""
WrittenCode = Annotated[str, Field(min_length=1, max_length=MAX_CODE)]
MAX_PATH = 200

_NAME = re.compile(r"[^\W\d]\w*")
_PATH = re.compile(r"(?:[^\W\d]|\$)[\w$]*(\(\))?(\.(?:[^\W\d]|\$)[\w$]*(\(\))?)*")


def _name(text: str) -> str:
    if len(text) > MAX_PATH or not _NAME.fullmatch(text):
        raise PydanticCustomError("name", "must be the name of a function")
    return text


def _path(text: str) -> str:
    if len(text) > MAX_PATH or not _PATH.fullmatch(text) or text.endswith(")"):
        raise PydanticCustomError("path", "must be the name of a function, or lead to one, as Solution().add does")
    return text


Name = Annotated[str, AfterValidator(_name)]
Path = Annotated[str, AfterValidator(_path)]
"""A function: its name, or how to reach it through attributes and calls without arguments."""


class StdioCase(Strict):
    """What the program reads from standard input, and what it must write to standard output."""

    stdin: str = Field("", description="What the program reads.")
    stdout: str = Field(description="What it must write.")


class Checker(Strict):
    """A program that decides whether an output is right."""

    language: Language = Field("python", description="Of the checker.")
    code: WrittenCode = Field(description="Exits with 0 to accept the file `output`, with 1 to reject it.")


class StdioTests(Strict):
    """The program is run once for each case."""

    type: Literal["stdio"]
    cases: Annotated[list[StdioCase], Field(min_length=1, max_length=MAX_TESTS, fail_fast=True)] = Field(
        description="Inputs and outputs."
    )
    compare: Compare = Field("tokens", description="How an output is compared with `stdout`.")
    checker: WrittenCode | Checker | None = Field(None, description="Decides in place of `compare`. Text is Python.")


class FunctionCase(Strict):
    """Arguments of a call, and what it must return."""

    args: list[Any] = Field(default_factory=list, description="Arguments by position.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments by name.")
    expected: Any = Field(description="What the call must return.")


class FunctionTests(Strict):
    """One of the program's functions is called once for each case."""

    type: Literal["function"]
    entry_point: Path = Field(description="The function's name, or what leads to it, as `Solution().add` does.")
    cases: Annotated[list[FunctionCase], Field(min_length=1, max_length=MAX_TESTS, fail_fast=True)] = Field(
        description="Calls and their results."
    )


class AssertTests(Strict):
    """Statements of Python about what the program defines, each a test."""

    type: Literal["asserts"]
    asserts: Annotated[list[WrittenCode], Field(min_length=1, max_length=MAX_TESTS, fail_fast=True)] = Field(
        description="Statements, each a test.", examples=[["assert add(1, 2) == 3"]]
    )
    entry_point: Name | None = Field(None, description="The function under test, where a builtin has its name.")
    setup: Code = Field("", description="Python that runs before each test.")


class ScriptTests(Strict):
    """Python that defines `check(candidate)`, called with one of the program's functions: HumanEval's form."""

    type: Literal["script"]
    entry_point: Path = Field(description="The function that `check` is called with.")
    code: WrittenCode = Field(description="Defines `check(candidate)`.")


class PytestTests(Strict):
    """Files of tests for pytest, which import the program as `solution`."""

    type: Literal["pytest"]
    files: dict[str, str] = Field(
        min_length=1, description="Texts by path; one at least is named `test_*.py` or `*_test.py`."
    )


Tests: TypeAlias = StdioTests | FunctionTests | AssertTests | ScriptTests | PytestTests
REFERENCE: TypeAdapter[Tests] = TypeAdapter(Annotated[Tests, Field(discriminator="type")])
_FORMS: dict[str, TypeAdapter[Any]] = {
    "stdio": TypeAdapter(StdioTests),
    "function": TypeAdapter(FunctionTests),
    "asserts": TypeAdapter(AssertTests),
    "script": TypeAdapter(ScriptTests),
    "pytest": TypeAdapter(PytestTests),
}
_LANGUAGES: dict[str, frozenset[Language]] = {
    "function": frozenset(("python", "javascript")),
    "asserts": frozenset(("python",)),
    "script": frozenset(("python",)),
    "pytest": frozenset(("python",)),
}
"""Languages of the forms that cannot test every one."""


def read_tests(value: Any, language: Language) -> Tests:
    """The tests that a reference gives for a program in `language`. Raises `BadItemError`."""
    if not isinstance(value, dict):
        raise BadItemError("reference: must be an object that says by its type what sort of tests it holds")
    form = value.get("type")
    adapter = _FORMS.get(form) if isinstance(form, str) else None
    if adapter is None:
        raise BadItemError(f"reference/type: must be one of {', '.join(_FORMS)}")
    tests: Tests = parse_reference(adapter, value)
    languages = _LANGUAGES.get(tests.type)
    if languages is not None and language not in languages:
        raise BadItemError(
            f"reference/type: {tests.type} tests are for {' and '.join(sorted(languages))}, and the verifier is for "
            f"{language}; use stdio"
        )
    return tests
