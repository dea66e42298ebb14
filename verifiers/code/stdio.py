"""Tests by standard input and output."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.base import Run, Sandbox, Stdio
from verifiers.base import BadItemError, Context, clip
from verifiers.code.bulk import compared, output_payload
from verifiers.code.checker import CheckerProgram
from verifiers.code.marks import PASSED, WRONG, Mark, of_status, text_of
from verifiers.code.output import INLINE_BYTES, at_a_glance, same_output
from verifiers.code.reference import StdioTests
from verifiers.code.suite import Settings, Suite

_SHOWN_BYTES = 1_000


class StdioSuite(Suite):
    """The program is run once for each case, and what it writes is compared or checked."""

    def __init__(self, tests: StdioTests, tolerance: float) -> None:
        super().__init__(len(tests.cases))
        self._inputs = [_bytes(case.stdin, index, "stdin") for index, case in enumerate(tests.cases)]
        self._outputs = [_bytes(case.stdout, index, "stdout") for index, case in enumerate(tests.cases)]
        self._compare = tests.compare
        self._tolerance = tolerance
        self._checker = None if tests.checker is None else CheckerProgram.of(tests.checker)

    def task(self) -> Stdio:
        """See `Suite.task`."""
        return Stdio(self._inputs)

    def mark(self, index: int, run: Run) -> Mark | None:
        """See `Suite.mark`."""
        failed = of_status(run)
        if failed is not None:
            return failed
        if self._checker is not None:
            return None
        output, expected, compare = run.stdout, self._outputs[index], self._compare
        if len(expected) > INLINE_BYTES[compare]:
            return PASSED if at_a_glance(output, expected, compare) else None
        return PASSED if same_output(output, expected, compare, self._tolerance) else WRONG

    async def settle(
        self, unmarked: Mapping[int, Run], settings: Settings, sandbox: Sandbox, ctx: Context
    ) -> dict[int, Mark]:
        """See `Suite.settle`."""
        if self._checker is not None:
            outputs = {
                index: (self._inputs[index], run.stdout, self._outputs[index]) for index, run in unmarked.items()
            }
            return await self._checker.check(outputs, settings, sandbox, ctx)
        payloads = [
            output_payload(run.stdout, self._outputs[index], self._compare, self._tolerance)
            for index, run in unmarked.items()
        ]
        same = await compared("compare_output", payloads, ctx)
        return {index: PASSED if equal else WRONG for index, equal in zip(unmarked, same, strict=True)}

    def shown(self, index: int, run: Run) -> dict[str, str]:
        """See `Suite.shown`."""
        return {
            "input": _brief(self._inputs[index]),
            "output": _brief(run.stdout),
            "expected": _brief(self._outputs[index]),
        }


def _brief(data: bytes) -> str:
    return clip(text_of(data[:_SHOWN_BYTES]))


def _bytes(text: str, index: int, field: str) -> bytes:
    """Text as UTF-8; a lone surrogate from U+DC80 to U+DCFF stands for the byte 80 to FF."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadItemError(
            f"reference/cases/{index}/{field}: holds a lone surrogate other than U+DC80 to U+DCFF, which stand for "
            "the bytes 80 to FF"
        ) from None
