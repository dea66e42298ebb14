"""Normal forms of text, for comparisons that should not see case, spacing or ways of writing a character."""

from __future__ import annotations

import unicodedata
from typing import Literal

import regex
from pydantic import Field

from verifiers.base import KindConfig

_PUNCTUATION = regex.compile(r"[\p{P}\p{S}]+")
_ARTICLES = regex.compile(r"\b(?:a|an|the)\b", regex.IGNORECASE)

LINEAR_CHARS = 32_768
"""Characters normalised in a few milliseconds, where time grows with length only."""
QUADRATIC_CHARS = 1_000
"""The same for Unicode normalisation: sorting a long run of combining marks takes quadratic time in CPython."""


class Normalisation(KindConfig):
    """What a comparison does not see. Applied in the order of the fields to completion and reference alike."""

    unicode: Literal["none", "NFC", "NFKC"] = Field(
        "none",
        description="Unicode normalisation form: `NFC` joins letters and accents; `NFKC` also drops styles, so that "
        "`①` is `1`.",
    )
    ignore_case: bool = Field(False, description="Fold case by Unicode: `STRASSE` equals `straße`.")
    ignore_punctuation: bool = Field(
        False, description="Remove punctuation and symbols (Unicode categories P and S)."
    )
    ignore_articles: bool = Field(False, description="Remove the English words a, an and the.")
    whitespace: Literal["strip", "collapse", "keep"] = Field(
        "strip",
        description="`strip`: none at either end; `collapse`: also one space for any run inside; `keep`: all of it "
        "counts.",
    )

    @property
    def only_strips(self) -> bool:
        """Whether white space at the ends is all that normalisation can change."""
        return self.whitespace != "collapse" and not (
            self.ignore_case or self.ignore_punctuation or self.ignore_articles or self.unicode != "none"
        )

    def normal(self, text: str) -> str:
        """`text` as the comparison sees it."""
        if self.unicode != "none" and not text.isascii():
            text = unicodedata.normalize(self.unicode, text)
        if self.ignore_case:
            text = text.casefold()
        if self.ignore_punctuation:
            text = _PUNCTUATION.sub("", text)
        if self.ignore_articles:
            text = _ARTICLES.sub(" ", text)
        if self.whitespace == "collapse":
            return " ".join(text.split())
        return text.strip() if self.whitespace == "strip" else text

    def costly(self, text: str) -> bool:
        """Whether `normal` may take more than a few milliseconds."""
        if self.only_strips:
            return False
        limit = LINEAR_CHARS if self.unicode == "none" or text.isascii() else QUADRATIC_CHARS
        return len(text) > limit
