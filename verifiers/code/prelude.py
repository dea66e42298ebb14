"""The part of a prompt that tests may use: its imports and helpers, such as HumanEval's `poly` beside `find_zero`.

They bind to the prompt's, never to the completion's own, which could redefine them. Nothing is parsed here, since a
prompt may be anything; the sandbox does that.
"""

from __future__ import annotations

import re

from verifiers.code.extract import blocks

MAX_CHARS = 100_000
"""Characters of a prompt in which code is sought."""

_DEFINED = re.compile(
    r"^(?:(?:async[ \t]+)?def[ \t]+(\w+)|class[ \t]+(\w+)|(\w+)[ \t]*(?::[^=\n]*)?=[^=]"
    r"|(?:from[ \t][^\n]*?)?import[ \t]([^\n]*))",
    re.MULTILINE,
)
"""Names that a line binds."""
_ENTRY = re.compile(r"^(?:(?:async[ \t]+)?def|class)[ \t]+(\w+)", re.MULTILINE)
_LAST_FUNCTION = re.compile(r"^(?:async[ \t]+)?def[ \t]+(\w+)", re.MULTILINE)
_WORD = re.compile(r"\w+")
_CODE_LINE = re.compile(
    r"^(?:from[ \t]+[\w.]+[ \t]+import\b|import[ \t]+[\w.]+[ \t]*(?:$|,|as\b)|(?:async[ \t]+)?def[ \t]+\w+[ \t]*\("
    r"|class[ \t]+\w+[ \t]*[(:]|@[\w.]+|\w+[ \t]*(?::[^=\n]*)?=[^=])",
    re.MULTILINE,
)
"""What no line of prose begins with."""


def continued(prompt: str) -> str | None:
    """The function that a code prompt ends with, which the completion continues."""
    names = _LAST_FUNCTION.findall(prompt[-MAX_CHARS:])
    return names[-1] if names else None


def prelude(prompt: str, entry_point: str, tests: str) -> str:
    """What stands before `entry_point` in the prompt's code, where the tests use any of it; else nothing."""
    if len(prompt) > MAX_CHARS:
        return ""
    for code in [*(block for _, block in blocks(prompt)), prompt]:
        for found in _ENTRY.finditer(code):
            if found[1] == entry_point:
                return _where_used(_helpers(code[: found.start()]), tests)
    return ""


def _helpers(before: str) -> str:
    """The code before a function, without the words before that and without the function's decorators."""
    start = _CODE_LINE.search(before)
    if start is None:
        return ""
    lines = before[start.start() :].splitlines()
    while lines and (not lines[-1].strip() or lines[-1].startswith("@")):
        lines.pop()
    return "\n".join(lines)


def _where_used(helpers: str, tests: str) -> str:
    defined = {word for names in _DEFINED.findall(helpers) for name in names for word in _WORD.findall(name)}
    return helpers if defined and not defined.isdisjoint(_WORD.findall(tests)) else ""
