"""Characters that nobody sees: with them a completion could hide a word, take one word for two, or seem not empty."""

from __future__ import annotations

import regex

_IGNORABLE = regex.compile(r"\p{Default_Ignorable_Code_Point}+")
"""Zero-width spaces and joiners, soft hyphens, variation selectors, tags, fillers (a property of Unicode's)."""
_SEEN = regex.compile(r"[^\s\p{Cc}\p{Default_Ignorable_Code_Point}\u2800]")


def without_invisible(text: str) -> str:
    """The text without the characters that are not displayed. White space stays."""
    return text if text.isascii() else _IGNORABLE.sub("", text)


def is_seen(text: str) -> bool:
    """Whether any character of the text leaves a mark."""
    return _SEEN.search(text) is not None
