"""Regular expressions with bounded cost: RE2, which is linear, and behind it `regex`, which is not."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal, TypeAlias

import re2
import regex

MAX_CHARS = 4_096
"""Characters of a pattern."""
MAX_BACKTRACKING_CHARS = 1_000
"""Characters of a pattern that RE2 cannot take; `regex` takes some 5 microseconds a character to compile."""
MAX_GROUPS = 200
"""Groups of such a pattern: `regex` compiles nested ones by recursion."""
MAX_UNROLLED = 10_000
"""Characters of such a pattern once `regex` has unrolled its counted repetitions."""
MAX_MEMORY = 2**20
"""Bytes that RE2 may use for one pattern. A pattern that needs more is refused within 5 ms."""
BACKTRACK_S = 3.0
"""CPU seconds of one search with `regex`: less than a guarded worker has."""

Mode = Literal["search", "fullmatch"]
Group = int | str
"""A group by its number (0 is the whole match) or by its name."""

_BEYOND_RE2 = (
    "invalid perl operator",
    "invalid escape sequence",
    "invalid named capture group",
    "invalid repetition size",
    "bad repetition operator",
    "pattern too large",
)
"""How RE2's messages begin where a pattern may be right and only beyond RE2."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_COUNT = re.compile(r"([\s\S]?)\{(\d+)")
_FLAG_X_OR_V1 = re.compile(r"(?<!\\)(?:\\\\)*\(\?\w*(?:x|V1)")


class PatternError(ValueError):
    """A pattern that cannot be used; says why."""


class BacktrackError(Exception):
    """A search with `regex` took longer than `BACKTRACK_S`."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A pattern compiled with RE2: a search takes time in proportion to the text."""

    compiled: re2._Regexp
    steps: int
    """States that one byte of the text may visit, at about 4 ns each in the worst case."""

    def matches(self, text: str, mode: Mode) -> bool:
        """Whether the pattern matches somewhere in `text`, or all of it. A lone surrogate is read as U+FFFD."""
        find = self.compiled.search if mode == "search" else self.compiled.fullmatch
        return find(_utf8(text)) is not None

    def found(self, text: str, mode: Mode, group: Group) -> Iterator[str]:
        """What the group holds of each match, in order; matches of the empty text, or without the group, are none."""
        encoded = _utf8(text)
        if mode == "fullmatch":
            full = self.compiled.fullmatch(encoded)
            matches = iter([] if full is None else [full])
        else:
            matches = self.compiled.finditer(encoded)
        for match in matches:
            if match.group(0) and (held := match.group(group)) is not None:
                yield held.decode(errors="replace")

    def searches(self, text: str, limit: int) -> int:
        """How many searches it takes to find every match, up to `limit`."""
        return sum(1 for _ in islice(self.compiled.finditer(_utf8(text)), limit))


@dataclass(frozen=True, slots=True)
class Backtracking:
    """A pattern that needs `regex`: a search may take for ever, so it belongs in a guarded worker."""

    compiled: regex.Pattern[str]

    def matches(self, text: str, mode: Mode) -> bool:
        """As `Linear.matches`. Raises `BacktrackError`; some steps of the engine do not look at the clock."""
        find = self.compiled.search if mode == "search" else self.compiled.fullmatch
        try:
            return find(readable(text), timeout=BACKTRACK_S) is not None
        except TimeoutError:
            raise BacktrackError from None

    def found(self, text: str, mode: Mode, group: Group) -> Iterator[str]:
        """As `Linear.found`. Raises `BacktrackError`."""
        text = readable(text)
        try:
            if mode == "fullmatch":
                full = self.compiled.fullmatch(text, timeout=BACKTRACK_S)
                matches = iter([] if full is None else [full])
            else:
                matches = self.compiled.finditer(text, timeout=BACKTRACK_S)
            for match in matches:
                held = match.group(group)
                if match.group(0) and held is not None:
                    yield held
        except TimeoutError:
            raise BacktrackError from None


Pattern: TypeAlias = Linear | Backtracking


@lru_cache(maxsize=256)
def compile_linear(source: str, *, captures: bool = False) -> Linear | str:
    """Compile with RE2, in a few milliseconds at most; a pattern beyond RE2 gives RE2's message instead.

    Without `captures` its groups hold nothing, and a search is some ten times as fast.

    Raises `PatternError` for a pattern that no engine takes.
    """
    if len(source) > MAX_CHARS:
        raise PatternError(f"the pattern has {len(source)} characters, {MAX_CHARS} are allowed")
    if _SURROGATE.search(source):
        raise PatternError("the pattern holds a lone surrogate, which is not a character")
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    options.never_capture = not captures
    try:
        compiled = re2.compile(source, options)
    except re2.error as error:
        message: str = error.args[0].decode("utf-8", "replace")
        if message.startswith(_BEYOND_RE2):
            return message
        raise PatternError(f"the pattern is not valid: {message}") from None
    return Linear(compiled, max(compiled.programsize, compiled.reverseprogramsize))


def compile_pattern(source: str, *, captures: bool = False) -> Pattern:
    """Compile with RE2, or with `regex` where a pattern needs what RE2 has not, such as look-around.

    Raises `PatternError`. Takes some 10 milliseconds at most.
    """
    linear = compile_linear(source, captures=captures)
    return linear if isinstance(linear, Linear) else _compile_backtracking(source, linear)


@lru_cache(maxsize=64)
def _compile_backtracking(source: str, from_re2: str) -> Backtracking:
    if _FLAG_X_OR_V1.search(source):  # x could hide a count from _unrolled; V1 nests sets by deep recursion
        raise PatternError("the pattern uses a flag of regex, x (verbose) or V1, that is not supported")
    groups = source.count("(")
    if len(source) > MAX_BACKTRACKING_CHARS or groups > MAX_GROUPS or _unrolled(source) > MAX_UNROLLED:
        raise PatternError(f"the pattern is too large for backtracking, and RE2 cannot take it: {from_re2}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about set operators that a later version may read
        try:
            return Backtracking(regex.compile(source))
        except (regex.error, ValueError, OverflowError) as error:
            raise PatternError(f"the pattern is not valid: {error} (RE2: {from_re2})") from None


def _unrolled(source: str) -> int:
    """Upper bound on the pattern's length once `regex` has unrolled its counted repetitions.

    A count after a character or a set adds to it; one after a group multiplies everything before it.
    """
    size = len(source)
    for before, digits in _COUNT.findall(source):
        if before in ("", ")"):
            size *= max(1, int(digits))
        else:
            size += int(digits)
    return size


def readable(text: str) -> str:
    """The text as patterns see it: a lone surrogate, which is not a character, is U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return readable(text).encode()
