"""What a kind's docstring says: a sentence, and Markdown with sections of its own."""

from __future__ import annotations

import inspect
import re

from verifiers.base import Verifier

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def summary(kind: type[Verifier]) -> str:
    """The first paragraph of the kind's docstring, on one line: what the kind does."""
    return " ".join(_text(kind).split("\n\n", 1)[0].split())


def prose(kind: type[Verifier]) -> tuple[str, dict[str, str]]:
    """What follows the summary: the text before the first `##` heading, and the text below each."""
    _, _, rest = _text(kind).partition("\n\n")
    before, *parts = _HEADING.split(rest)
    return before.strip(), {title: text.strip() for title, text in zip(parts[::2], parts[1::2], strict=True)}


def _text(kind: type[Verifier]) -> str:
    return inspect.cleandoc(kind.__doc__ or "")
