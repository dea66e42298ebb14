"""What a reader sees of an answer: text that is not displayed follows no instruction, and breaks none.

Without this, keywords in an HTML comment count as given, words of invisible characters make up a length, and a
forbidden word passes with a zero-width space inside.
"""

from __future__ import annotations

import unicodedata

import regex

from verifiers.invisible import without_invisible

_LINE_ENDS = regex.compile(r"\r\n?|[\u2028\u2029]")
_FENCE = regex.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", regex.MULTILINE)
_LONG_RUN = regex.compile(r"\p{M}{31}")
"""More marks on one letter than any language has (UAX 15, section 13); sorting them takes quadratic time."""
_OPEN, _CLOSE = "<!--", "-->"


def displayed(text: str) -> str:
    """A text with one sort of line end, without invisible characters and without HTML comments outside code.

    In Unicode's form NFC: a letter and its accent are one character, however they were sent.
    """
    return _without_comments(composed(_LINE_ENDS.sub("\n", text)))


def composed(text: str) -> str:
    """The text without invisible characters and in NFC, but for one with runs of marks that would take too long."""
    if text.isascii():
        return text
    text = without_invisible(text)
    return text if _LONG_RUN.search(text) else unicodedata.normalize("NFC", text)


def _without_comments(text: str) -> str:
    start = text.find(_OPEN)
    if start < 0:
        return text
    kept: list[str] = []
    at = 0
    fences = iter(_fences(text))
    fence = next(fences, None)
    while start >= 0:
        while fence is not None and fence[1] <= start:
            fence = next(fences, None)
        in_code = text[start - 1 : start] == "`" or (fence is not None and fence[0] <= start)
        end = start + len(_OPEN)
        if not in_code:
            close = text.find(_CLOSE, end)
            if close < 0:
                break
            end = close + len(_CLOSE)
            kept.append(text[at:start])
            at = end
        start = text.find(_OPEN, end)
    return "".join([*kept, text[at:]])


def _fences(text: str) -> list[tuple[int, int]]:
    """Where code fences begin and end (CommonMark 0.31, section 4.5); one that is not closed ends with the text."""
    found: list[tuple[int, int]] = []
    opened: regex.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            if fence[1][0] == "~" or "`" not in fence[2]:
                opened = fence
        elif fence[1].startswith(opened[1]) and not fence[2].strip():
            found.append((opened.start(), fence.end()))
            opened = None
    return found if opened is None else [*found, (opened.start(), len(text))]
