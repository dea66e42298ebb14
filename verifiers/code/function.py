"""Tests by calling one of the program's functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from sandbox.base import Calls, Run, Sandbox
from verifiers.base import BadItemError, Context, Outcome, clip
from verifiers.code.bulk import compared, value_payload
from verifiers.code.marks import PASSED, WRONG, Mark, of_status
from verifiers.code.reference import FunctionCase, FunctionTests
from verifiers.code.suite import Settings, Suite
from verifiers.code.value import INLINE_BYTES, Rules, brief, brief_encoded, difference

_SHOWN_CHARS = 1_000
_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"))


class FunctionSuite(Suite):
    """The function is called once for each case, and what it returns is compared here, not there."""

    loading: ClassVar[str] = "load"

    def __init__(self, tests: FunctionTests, language: str, rules: Rules, limit_bytes: int) -> None:
        super().__init__(len(tests.cases))
        self._entry_point = tests.entry_point
        self._calls = [_call(case, index, language) for index, case in enumerate(tests.cases)]
        self._expected = [case.expected for case in tests.cases]
        self._rules = rules
        self._limit_bytes = limit_bytes

    def task(self) -> Calls:
        """See `Suite.task`."""
        return Calls(self._entry_point, self._calls)

    def mark(self, index: int, run: Run) -> Mark | None:
        """See `Suite.mark`."""
        failed = of_status(run)
        if failed is not None:
            return failed
        if len(run.value) > INLINE_BYTES:
            return None
        return _mark(difference(run.value, self._expected[index], self._rules, self._limit_bytes))

    async def settle(
        self, unmarked: Mapping[int, Run], settings: Settings, sandbox: Sandbox, ctx: Context
    ) -> dict[int, Mark]:
        """See `Suite.settle`."""
        payloads = [
            value_payload(run.value, self._expected[index], self._rules, self._limit_bytes)
            for index, run in unmarked.items()
        ]
        differences = await compared("compare_value", payloads, ctx)
        return {index: _mark(found) for index, found in zip(unmarked, differences, strict=True)}

    def shown(self, index: int, run: Run) -> dict[str, str]:
        """See `Suite.shown`."""
        shown = {
            "input": clip(self._calls[index][:_SHOWN_CHARS].decode()),
            "expected": clip(brief(self._expected[index])),
        }
        return shown | {"output": clip(brief_encoded(run.value))} if run.value else shown


def _mark(difference: str | None) -> Mark:
    if difference is None:
        return PASSED
    return Mark(Outcome.REJECTED, "protocol", clip(difference)) if difference else WRONG


def _call(case: FunctionCase, index: int, language: str) -> bytes:
    if case.kwargs and language != "python":
        raise BadItemError(f"reference/cases/{index}/kwargs: {language} has no keyword arguments")
    try:
        return _encoder.encode([case.args, case.kwargs]).encode()
    except (ValueError, TypeError, RecursionError):
        raise BadItemError(f"reference/cases/{index}: the arguments cannot be written as JSON") from None
