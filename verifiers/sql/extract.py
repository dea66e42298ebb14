"""Finding the SQL in a completion."""

from __future__ import annotations

import re

from verifiers.base import Item, Outcome, Verdict
from verifiers.code.extract import MAX_MARKS, blocks
from verifiers.sql.reference import is_sendable
from verifiers.thinking import final_section

MAX_CHARS = 100_000
"""Characters of a candidate's statements."""
MAX_TEXT = 1_000_000
"""Characters of a completion in which code blocks are sought."""

_TAGS = frozenset(("sql", "sqlite", "sqlite3", "postgresql", "postgres", "psql", "pgsql", "plpgsql"))
_TAG = re.compile(r"[^a-z]*([a-z0-9]+)")


def candidate(item: Item) -> str | Verdict:
    """The statements that a completion gives: its last code block marked as SQL, else its last block, else all of it.

    The verdict where it gives none.
    """
    text = final_section(item)
    if text is None:
        return _failed(Outcome.UNPARSEABLE, "the thinking part never ends")
    if len(text) > MAX_TEXT:
        return _failed(Outcome.OUTPUT_EXCEEDED, f"the completion has more than {MAX_TEXT} characters")
    if "```" in text or "~~~" in text:
        if text.count("```") + text.count("~~~") > MAX_MARKS:
            return _failed(Outcome.REJECTED, f"more than {MAX_MARKS} code fences")
        text = _fenced(text)
    text = text.strip()
    if not text:
        return _failed(Outcome.UNPARSEABLE, "there is no SQL")
    if len(text) > MAX_CHARS:
        return _failed(Outcome.OUTPUT_EXCEEDED, f"the SQL has more than {MAX_CHARS} characters")
    if not is_sendable(text):
        return _failed(Outcome.UNPARSEABLE, "the SQL holds NUL, or half of a surrogate pair")
    return text


def _fenced(text: str) -> str:
    marked: str | None = None
    last: str | None = None
    for info, block in blocks(text):
        last = block
        tag = _TAG.match(info.lower())
        if tag is not None and tag[1] in _TAGS:
            marked = block
    found = last if marked is None else marked
    return text if found is None else found


def _failed(outcome: Outcome, why: str) -> Verdict:
    return Verdict(outcome, 0.0, {"stage": "extract", "error": why})
