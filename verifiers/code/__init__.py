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

from sandbox.base import Sandbox, SandboxError
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
from verifiers.in_sandbox import no_sandbox, sandbox_error

AT_ONCE = 256
"""Items of one batch that are prepared, or wait for the sandbox, at a time."""
INLINE_TESTS = 500
"""Tests of a reference that are read in a millisecond or two."""

_FUNCTION = {"type": "function", "entry_point": "add", "cases": [{"args": [1, 2], "expected": 3}]}


@register
class Code:
    """Run the program in the completion on tests, isolated, and compare outside what comes out of it.

    For programming problems. The program runs in the sandbox; expected values, the comparison and the verdict never
    enter the process that runs it.

    A completion's thinking part does not count. A code block that is cut off counts. Code blocks are CommonMark's: a
    fence stands at most three spaces from the margin, so that one in an indented docstring does not end a block.

    ## Configuration
    Limits hold for each case, call or test by itself; compiling has its own (20 s of CPU time, 1 GiB). CPU time comes
    first, and the wall-clock limit is at least as long, so that a busy host does not change a verdict.

    ## Reference
    An object; its `type` says what sort of tests it holds. At most 10,000 cases or asserts; none is a `bad_item`.
    `stdio` is for every language, `function` for Python and JavaScript, and the others are for Python.

    **stdio** runs the program once for each case. `compare` is `tokens` (what stands between white space is the
    same), `lines` (line by line, without white space at the ends of lines and empty lines at the end), `exact` (to
    the last byte), or `float` (tokens, with numbers among them by value; `nan` and `inf` only as text). A program
    that exits with another status than 0 has crashed, whatever it wrote. In `stdin` and `stdout`, U+DC80 to U+DCFF
    stand for the bytes 80 to FF, which no UTF-8 text holds alone.

    A `checker` decides in place of `compare`, where several outputs are right. It runs by itself after the program,
    with the files `input`, `output` and `expected` in its working folder. It exits with 0 to accept and with 1 to
    reject. Anything else is a fault: the checker is run once more with `expected` as the output, and where it accepts
    that, the output was at fault and is incorrect; else the item is a `bad_item`. An uncaught exception in Python is
    such a fault, although Python then exits with 1.

    **function** calls a function once for each case, in a process of its own. What it returns must be plain data; an
    exception is `crashed`. Values are compared with `expected` as follows, whatever the configuration: `true` is not
    1; the keys of a dict are compared as JSON writes them, so `{1: 2}` equals `{"1": 2}`; sets, bytes, complex
    numbers, Decimals, NaN and infinities equal nothing that JSON can say, and a set no list. Use `asserts` for those.
    In JavaScript there are no `kwargs`, and `undefined` is null.

    **asserts** and **script** run in a process of their own, in which calls of the program's functions stand for
    those in the other: arguments and results cross as plain data, arguments changed in place are changed in the test
    too, exceptions of Python's own types cross as such, and objects of the program's classes as handles. Names that
    the tests do not define are the program's, except those of builtins: name the `entry_point` where it is called
    `sum`. Where the prompt is code, or holds a code block with the entry point, helpers and imports before it are the
    prompt's, and never what the completion makes of them, as far as tests use them. HumanEval's `poly` is one.

    ## Outcomes
    The first test that does not pass decides, under `fraction` only where none passes.

    - `correct`, `incorrect`, `partial`: the program passed every test; gave a wrong answer, or one that is no plain
      data; passed some, under `fraction`.
    - `crashed`: it does not compile or load, exits with another status than 0, raises an exception, or is ended by a
      signal.
    - `timeout`: it used up its CPU time, or its wall-clock time by sleeping or waiting, which is never cached.
    - `memory_exceeded`, `output_exceeded`: it used up its memory; wrote or returned too much.
    - `rejected`: it answered a call with what is no answer, as a program does that reports to the sandbox in its own
      name; or has too many code fences.
    - `unparseable`: it is not there: no code, only code blocks of other languages, or a thinking part that never
      ends.

    `detail.stage` is `extract`, `compile`, `load`, `case` (stdio, function) or `test` (asserts, script, pytest), and
    `detail.fault` what happened, in one word: `wrong`, `failed`, `exit`, `signal`, `cpu`, `wall`, `memory`, `output`,
    `protocol`. With them come `why`, the numbers `passed` and `total`, and of the first test that does not pass its
    `index` and its `input`, `output` and `expected`, or its `test`, each cut to 200 characters. `detail: full` adds
    what became of each of the first 1,000 tests, and the ends of what the program wrote.

    Not the program's fault, and so `unscored`:

    - `bad_item`: the reference cannot be used, a test is broken whatever the program, or a checker is.
    - `unsplittable_test`: a test does what cannot be done from outside the program's process, or is for pytest, and
      `allow_forgeable` is false.
    - `sandbox_unavailable`: there is no sandbox here, or it has no such language or package; the message says what it
      has.
    - `sandbox_fault`: the sandbox failed, twice, in different cells.

    ## What can be forged
    Nothing that a program does in its own process passes a test of `stdio`, `function`, `asserts` or `script`: a pass
    is a right answer to every one of them, counted outside. Exiting early, patching builtins, objects that are equal
    to everything, printing a verdict, reading the tests: none has anything to reach.

    Tests may still ask too little. Where both sides of a comparison are the program's, as in `f(3) is Color.RED` or
    `decode(encode(x)) == x`, it can make both the same. And a prompt that quotes an earlier completion vouches for
    the helpers in it: define in the tests what they use besides the entry point.

    With `pytest`, and with tests that cannot be kept apart, program and tests share a process, so that a program can
    pass by changing pytest itself. That needs `allow_forgeable`, and the verdict says `"forgeable": true` in its
    detail. Tests that pytest skips have not passed; finding no test is a `bad_item`.

    ## Limits
    The program has at most 1,000,000 characters, and stands among at most 10,000 code fences. What it writes and
    returns in all tests together may have 64 MiB. After three tests that run out of time no other is run, and the
    rest counts as failed. An answer is right for the tests that there are: whoever prints the expected outputs of all
    of them passes, so keep tests out of prompts."""

    kind: ClassVar[str] = "code"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = CodeConfig
    reference: ClassVar[TypeAdapter[Any]] = REFERENCE
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="```python\ndef add(a, b):\n    return a + b\n```", reference=_FUNCTION), 1.0),
        Example(Item(completion="def add(a, b):\n    return a - b", reference=_FUNCTION), 0.0),
        Example(
            Item(
                completion="a, b = map(int, input().split())\nprint(a + b)",
                reference={"type": "stdio", "cases": [{"stdin": "5 0\n", "stdout": "5\n"}]},
            ),
            1.0,
        ),
        Example(
            Item(
                completion="def largest(numbers):\n    return numbers[-1]",
                reference={
                    "type": "asserts",
                    "asserts": ["assert largest([1, 2]) == 2", "assert largest([2, 1]) == 2"],
                },
            ),
            0.5,
            {"reward": "fraction"},
        ),
        Example(
            Item(
                prompt='def double(x):\n    """Twice x."""\n',
                completion="    return 2 * x\n",
                reference={
                    "type": "script",
                    "entry_point": "double",
                    "code": "def check(candidate):\n    assert candidate(2) == 4",
                },
            ),
            1.0,
            {"prefix": "prompt"},
        ),
        Example(
            Item(
                completion="print(3, 4)",
                reference={
                    "type": "stdio",
                    "cases": [{"stdin": "7\n", "stdout": "0 7\n"}],
                    "checker": "import sys\na, b = open('output').read().split()\n"
                    "sys.exit(int(a) + int(b) != int(open('input').read()))",
                },
            ),
            1.0,
        ),
        Example(
            Item(completion="while True: pass", reference={"type": "stdio", "cases": [{"stdout": ""}]}),
            0.0,
            {"limits": {"cpu_s": 0.2}},
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
                return no_sandbox()
            return await self._judged(suite, source, ctx.sandbox, ctx)
        except DecidedError as decided:
            return decided.verdict
        except BadItemError as error:
            return Verdict.bad_item(clip(str(error), 500))
        except SandboxError as error:
            return sandbox_error(error)

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
