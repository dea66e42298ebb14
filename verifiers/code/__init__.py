"""The kind `code`: whether a program passes its tests.

A program is found in the completion (`extract`), run by the sandbox, and judged by one of five forms of tests:
`stdio`, `function`, `split` for asserts and scripts, `one_process` for pytest. What is expected, how it is compared
and what comes of it never enters the process that runs the program, but for pytest, which must be allowed.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, TypeAdapter

from sandbox.base import (
    Sandbox,
    SandboxDeadlineError,
    SandboxError,
    SandboxFaultError,
    SandboxUnavailableError,
)
from verifiers.base import (
    BadItemError,
    ConfigError,
    Context,
    ErrorType,
    Example,
    GivingWay,
    Item,
    Verdict,
    clip,
    past_deadline,
    register,
)
from verifiers.code.config import CodeConfig
from verifiers.code.decided import DecidedError
from verifiers.code.extract import program
from verifiers.code.files import FileError, encoded
from verifiers.code.function import FunctionSuite
from verifiers.code.judging import judge
from verifiers.code.one_process import SOLUTION, PytestSuite
from verifiers.code.python_tests import of_asserts, of_script
from verifiers.code.reference import (
    REFERENCE,
    AssertTests,
    FunctionTests,
    PytestTests,
    ScriptTests,
    StdioTests,
    Tests,
    read_tests,
)
from verifiers.code.split import SplitSuite
from verifiers.code.stdio import StdioSuite
from verifiers.code.suite import Settings, Suite
from verifiers.code.value import Rules

AT_ONCE = 256
"""Items of one batch that are prepared, or wait for the sandbox, at a time."""
INLINE_TESTS = 500
"""Tests of a reference that are read in a millisecond or two."""

_FUNCTION = {"type": "function", "entry_point": "add", "cases": [{"args": [1, 2], "expected": 3}]}


@register
class Code:
    """Run the program in the completion on tests, isolated, and compare outside what comes out of it."""

    kind: ClassVar[str] = "code"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = CodeConfig
    reference: ClassVar[TypeAdapter[Any]] = REFERENCE
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="def add(a, b):\n    return a + b", reference=_FUNCTION), 1.0),
        Example(Item(completion="def add(a, b):\n    return a - b", reference=_FUNCTION), 0.0),
        Example(
            Item(
                completion="```python\nprint(2 * int(input()))\n```",
                reference={"type": "stdio", "cases": [{"stdin": "21\n", "stdout": "42\n"}]},
            ),
            1.0,
        ),
    )
    guarded: ClassVar[Sequence[str]] = ("verifiers.code.bulk",)
    sandboxed: ClassVar[bool] = True

    def __init__(self, config: CodeConfig) -> None:
        if config.packages and config.language != "python":
            raise ConfigError("packages are Python's; the language is " + config.language, "/packages")
        try:
            files = encoded(config.files)
        except FileError as error:
            raise ConfigError(str(error), "/files" + error.pointer) from None
        limits = config.limits.limits()
        self._config = config
        self._settings = Settings(config.language, limits, files, frozenset(config.packages), config.stops)
        self._rules = Rules(config.int_equals_float, config.tuple_equals_list, config.value_tolerance)
        self._value_bytes = limits.output_kb * 1024

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order. Items run at once, as far as the sandbox has room."""
        if len(items) == 1:
            return [await self._verify_one(items[0], ctx)]
        verdicts = [past_deadline()] * len(items)
        turn = GivingWay()

        async def work(left: Iterator[int]) -> None:
            for index in left:
                if await turn.over() > ctx.deadline:
                    return
                try:
                    verdicts[index] = await self._verify_one(items[index], ctx)
                except Exception as error:  # one item's alone; the engine would try all of them again
                    verdicts[index] = _fault(error)

        left = iter(range(len(items)))
        await asyncio.gather(*(work(left) for _ in range(min(len(items), AT_ONCE))))
        return verdicts

    async def _verify_one(self, item: Item, ctx: Context) -> Verdict:
        try:
            if _is_large(item.reference):
                suite, source = await asyncio.to_thread(self._prepared, item)
            else:
                suite, source = self._prepared(item)
            if ctx.sandbox is None:
                raise SandboxUnavailableError("this process has no sandbox")
            return await self._judged(suite, source, ctx.sandbox, ctx)
        except DecidedError as decided:
            return decided.verdict
        except BadItemError as error:
            return Verdict.bad_item(clip(str(error), 500))
        except SandboxDeadlineError:
            return past_deadline()
        except SandboxFaultError as error:
            return Verdict.unscored(ErrorType.SANDBOX_FAULT, clip(str(error), 500), retryable=True)
        except SandboxError as error:
            return Verdict.unscored(ErrorType.SANDBOX_UNAVAILABLE, clip(str(error), 500), retryable=True)

    def _prepared(self, item: Item) -> tuple[Suite, bytes]:
        """The item's tests and program. Raises `DecidedError`, `BadItemError`."""
        config = self._config
        suite = self._suite(read_tests(item.reference, config.language), item)
        source = program(item, language=config.language, fence=config.fence, prefix=config.prefix)
        return suite, source

    def _suite(self, tests: Tests, item: Item) -> Suite:
        config = self._config
        match tests:
            case StdioTests():
                return StdioSuite(tests, config.float_tolerance)
            case FunctionTests():
                return FunctionSuite(tests, config.language, self._rules, self._value_bytes)
            case AssertTests():
                return SplitSuite(of_asserts(tests, item, config.prefix))
            case ScriptTests():
                return SplitSuite(of_script(tests, item))
            case PytestTests():
                return self._pytest(tests)

    def _pytest(self, tests: PytestTests) -> Suite:
        if not self._config.allow_forgeable:
            message = (
                "pytest runs in one process with the program, which could forge a pass; set allow_forgeable, or send "
                "asserts"
            )
            raise DecidedError(Verdict.unscored(ErrorType.UNSPLITTABLE_TEST, message, retryable=False))
        try:
            files = encoded(tests.files)
        except FileError as error:
            raise BadItemError(f"reference/files{error.pointer}: {error}") from None
        taken = {SOLUTION, *self._settings.files}
        if shared := sorted(taken.intersection(files)):
            raise BadItemError(
                f"reference/files: {clip(shared[0], 100)!r} is a file of the program's or the verifier's"
            )
        paths = [path for path in files if _holds_tests(path)]
        if not paths:
            raise BadItemError("reference/files: none is named test_*.py or *_test.py")
        return PytestSuite(files, paths)

    async def _judged(self, suite: Suite, source: bytes, sandbox: Sandbox, ctx: Context) -> Verdict:
        reward = self._config.reward
        verdict = await judge(suite, source, self._settings, reward, sandbox, ctx)
        unsplittable = verdict.error is not None and verdict.error.type is ErrorType.UNSPLITTABLE_TEST
        together = suite.together() if unsplittable and self._config.allow_forgeable else None
        if together is None:
            return verdict
        return await judge(together, source, self._settings, reward, sandbox, ctx)


def _is_large(reference: Any) -> bool:
    if not isinstance(reference, dict):
        return False
    tests = reference.get("cases") or reference.get("asserts")
    return isinstance(tests, list) and len(tests) > INLINE_TESTS


def _holds_tests(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))


def _fault(error: Exception) -> Verdict:
    """Ours: its type and place, without its message, which may quote the item."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    message = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
    return Verdict.unscored(ErrorType.VERIFIER_FAULT, message, retryable=False)
