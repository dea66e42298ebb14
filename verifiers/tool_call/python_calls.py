"""Calls in Python's syntax: `[f(a=1), g.h(b=["x"])]`, or one without the brackets.

A reader of this little language alone: names, literals, nothing that could be evaluated. It takes time in proportion
to the text. Read as Python would read it, so that what the reader makes of it is what an interpreter would.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

from verifiers.json_schema.text import MAX_DEPTH, MAX_DIGITS
from verifiers.tool_call.calls import MAX_CALLS, Call, CallError

_TOKEN = re.compile(
    r"[ \t\n\r\f]*+(?:"
    r"(?P<string>[A-Za-z]{0,2}+(?:"
    r'"""(?:[^"\\]++|\\.|"(?!""))*+"""'
    r"|'''(?:[^'\\]++|\\.|'(?!''))*+'''"
    r'|"(?!"")(?:[^"\\\n]++|\\.)*+"'
    r"|'(?!'')(?:[^'\\\n]++|\\.)*+'))"
    r"|(?P<number>(?:\d[\d_]*+(?:\.[\d_]*+)?|\.\d[\d_]*+)(?:[eE][+-]?\d++)?(?![\w.]))"
    r"|(?P<name>[^\W\d]\w*+)"
    r"|(?P<mark>\*\*|[][(){},:=.+-]))",
    re.DOTALL,
)
_ASSIGNED = re.compile(r"\s*+=(?!=)")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|N\{|.)", re.DOTALL)
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": ""}
_CONSTANTS: dict[str, Any] = {"True": True, "False": False, "None": None}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class NotCallsError(ValueError):
    """The text is not in this form at all."""


def python_calls(text: str) -> list[Call]:
    """The calls that the whole text writes.

    Raises `NotCallsError` where it is something else, and `CallError` where it is calls that cannot be accepted:
    arguments without a name, a name twice, what is no literal.
    """
    reader = _Reader(text)
    calls = reader.calls()
    if reader.refused is not None:
        raise CallError(reader.refused)
    return calls


def python_literal(text: str) -> Any:
    """The value of a Python literal. Raises `CallError`."""
    reader = _Reader(text)
    try:
        value = reader.value(0)
        reader.expect("")
    except NotCallsError:
        raise CallError("not a Python literal") from None
    if reader.refused is not None:
        raise CallError(reader.refused)
    return value


class _Reader:
    """Reads words from the left. What is Python but cannot be accepted is noted in `refused`, and read on."""

    def __init__(self, text: str) -> None:
        self.refused: str | None = "a NUL, which Python does not read" if "\0" in text else None
        self._text = text.replace("\r\n", "\n").replace("\r", "\n")
        self._at = 0
        self._sort: str = ""
        self._word = ""
        self._next()

    def calls(self) -> list[Call]:
        """The whole text: a call, or several in brackets."""
        if self._word != "[" or self._sort != "mark":
            calls = [self._call()]
            self.expect("")
            return calls
        self._next()
        calls = []
        while not calls or self._word == ",":
            if calls:
                self._next()
                if self._is("]"):
                    break
            calls.append(self._call())
            if len(calls) > MAX_CALLS:
                raise CallError(f"more than {MAX_CALLS} calls")
        self._take("]")
        self.expect("")
        return calls

    def value(self, depth: int) -> Any:
        """A literal."""
        if depth > MAX_DEPTH:
            raise CallError(f"nested deeper than {MAX_DEPTH} levels")
        sort, word = self._sort, self._word
        if sort == "string":
            return self._strings()
        if sort == "number":
            self._next()
            return self._number(word)
        if word in ("+", "-") and sort == "mark":
            self._next()
            signed = self._sort == "number"
            number = self.value(depth + 1)
            if not signed or number is None:
                self._refuse("a sign stands before something that is no number")
                return None
            return -number if word == "-" else number
        if sort == "name":
            return self._named(depth)
        if sort == "mark" and word in _CLOSING:
            self._next()
            return self._braces(depth) if word == "{" else self._sequence(word, depth)
        raise NotCallsError

    def expect(self, word: str) -> None:
        """The next word must be this one; the empty one is the end of the text."""
        if not self._is(word):
            raise NotCallsError

    def _is(self, word: str) -> bool:
        return self._word == word and self._sort in ("mark", "end")

    def _take(self, word: str) -> None:
        self.expect(word)
        self._next()

    def _next(self) -> None:
        match = _TOKEN.match(self._text, self._at)
        if match is not None:
            self._sort = match.lastgroup or ""
            self._word = match[self._sort]
            if self._sort == "name" and not self._word.isascii():
                self._word = unicodedata.normalize("NFKC", self._word)
            self._at = match.end()
        elif self._text[self._at :].strip():
            raise NotCallsError
        else:
            self._sort, self._word, self._at = "end", "", len(self._text)

    def _refuse(self, why: str) -> None:
        if self.refused is None:
            self.refused = why

    def _path(self) -> str:
        """A name, or several joined by dots."""
        if self._sort != "name":
            raise NotCallsError
        parts = [self._word]
        self._next()
        while self._is("."):
            self._next()
            if self._sort != "name":
                raise NotCallsError
            parts.append(self._word)
            self._next()
        return ".".join(parts)

    def _call(self) -> Call:
        name = self._path()
        self._take("(")
        return Call(name, self._arguments(0))

    def _arguments(self, depth: int) -> dict[str, Any]:
        """What stands between the parentheses of a call, the closing one included."""
        arguments: dict[str, Any] = {}
        while not self._is(")"):
            if self._is("**"):
                self._next()
                self.value(depth + 1)
                self._refuse("** stands for arguments that are not written out")
            elif self._sort == "name" and _ASSIGNED.match(self._text, self._at):
                name = self._word
                self._next()
                self._take("=")
                if name in arguments:
                    self._refuse(f"the argument {name!r} is given twice")
                arguments[name] = self.value(depth + 1)
            else:
                self.value(depth + 1)
                self._refuse("an argument has no name")
            if not self._is(")"):
                self._take(",")
        self._next()
        return arguments

    def _named(self, depth: int) -> Any:
        """A constant; or a variable or another call, neither of which is a value."""
        path = self._path()
        if path in _CONSTANTS:
            return _CONSTANTS[path]
        self._refuse(f"{path!r} is no value: values are literals")
        if self._is("("):
            if depth > MAX_DEPTH:
                raise CallError(f"nested deeper than {MAX_DEPTH} levels")
            self._next()
            self._arguments(depth + 1)
        return None

    def _sequence(self, opening: str, depth: int) -> Any:
        """A list or a tuple, both of which are arrays; or a value in parentheses."""
        closing = _CLOSING[opening]
        values: list[Any] = []
        commas = 0
        while not self._is(closing):
            values.append(self.value(depth + 1))
            if not self._is(closing):
                self._take(",")
                commas += 1
        self._next()
        return values[0] if opening == "(" and len(values) == 1 and not commas else values

    def _braces(self, depth: int) -> Any:
        """A dict whose keys are strings."""
        members: dict[str, Any] = {}
        while not self._is("}"):
            key = self.value(depth + 1)
            if not self._is(":"):
                self._refuse("a set is no value of JSON")
            else:
                self._next()
                value = self.value(depth + 1)
                if not isinstance(key, str):
                    self._refuse("a dict's key is no string")
                elif key in members:
                    self._refuse(f"the key {key!r} is given twice")
                else:
                    members[key] = value
            if not self._is("}"):
                self._take(",")
        self._next()
        return members

    def _number(self, digits: str) -> int | float | None:
        if (
            not digits.isascii()
            or "__" in digits
            or digits.endswith("_")
            or "_." in digits
            or "._" in digits
            or "_e" in digits.lower()
        ):
            raise NotCallsError
        digits = digits.replace("_", "")
        if digits.isdecimal():
            if len(digits) > MAX_DIGITS or (digits[0] == "0" and digits.strip("0")):
                self._refuse("an integer that Python does not read, or that is too long")
                return None
            return int(digits)
        number = float(digits)
        if not math.isfinite(number):
            self._refuse("a number is too large")
        return number

    def _strings(self) -> str:
        """One string, or several that stand side by side."""
        parts = []
        while self._sort == "string":
            parts.append(self._string(self._word))
            self._next()
        text = "".join(parts)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                self._refuse("a string holds a lone surrogate")
        return text

    def _string(self, word: str) -> str:
        quotes = min(word.find(mark) for mark in "\"'" if mark in word)
        prefix, quoted = word[:quotes].lower(), word[quotes:]
        if prefix not in ("", "r", "u"):
            self._refuse(f"a string with the prefix {prefix!r} is no plain string")
        width = 3 if len(quoted) >= 6 and quoted[:3] == quoted[0] * 3 else 1
        text = quoted[width:-width]
        return text if prefix == "r" or "\\" not in text else _ESCAPE.sub(self._unescaped, text)

    def _unescaped(self, escape: re.Match[str]) -> str:
        code = escape[1]
        if code in ("x", "u", "U", "N"):
            self._refuse("an escape that Python does not read")
            return ""
        if code == "N{":
            self._refuse("a character is given by its name")
            return ""
        if len(code) > 1 and code[0] in "xuU":
            number = int(code[1:], 16)
        elif code[0] in "01234567":
            number = int(code, 8)
        else:
            return _PLAIN_ESCAPES.get(code, code if code in "\\'\"" else "\\" + code)
        if number > 0x10FFFF:
            self._refuse("a character that does not exist")
            return ""
        return chr(number)
