"""What `asserts` and `script` references ask, in one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from verifiers.base import BadItemError, Item
from verifiers.code.prelude import continued, prelude
from verifiers.code.reference import AssertTests, ScriptTests

Prefix = Literal["none", "prompt"]


@dataclass(frozen=True, slots=True)
class PythonTests:
    """Statements of Python about what the program defines; the fields are those of `sandbox.base.Split`."""

    tests: Sequence[str]
    setup: str
    names: Sequence[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    prelude: str = ""


def of_asserts(tests: AssertTests, item: Item, prefix: Prefix) -> PythonTests:
    """Each assert is a test."""
    entry_point = tests.entry_point
    if entry_point is None and prefix == "prompt":
        entry_point = continued(item.prompt_text)
    if entry_point is None:
        return PythonTests(tests.asserts, tests.setup)
    helpers = prelude(item.prompt_text, entry_point, "\n".join([tests.setup, *tests.asserts]))
    return PythonTests(tests.asserts, tests.setup, [entry_point], prelude=_checked(helpers))


def of_script(tests: ScriptTests, item: Item) -> PythonTests:
    """One test, which calls `check`."""
    root = tests.entry_point.partition(".")[0].removesuffix("()")
    if root in ("check", "candidate"):
        raise BadItemError(f"reference/entry_point: cannot be {root!r}, which the tests call something else")
    if "check" not in tests.code:
        raise BadItemError("reference/code: does not define check(candidate)")
    helpers = _checked(prelude(item.prompt_text, root, tests.code))
    if root == tests.entry_point:
        return PythonTests(["check(candidate)"], tests.code, [root], {"candidate": root}, helpers)
    return PythonTests([f"check({tests.entry_point})"], tests.code, [root], prelude=helpers)


def _checked(helpers: str) -> str:
    try:
        helpers.encode()
    except UnicodeEncodeError:
        raise BadItemError("prompt: its code holds a lone surrogate, which is not a character") from None
    return helpers
