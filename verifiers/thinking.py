"""Where a completion's thinking part ends and what it says to the reader begins."""

from __future__ import annotations

from typing import Literal

from verifiers.base import Item

OPEN = "<think>"
CLOSE = "</think>"
_TEMPLATE_TAIL = 128
"""Characters at the end of a prompt in which a template's opened thinking part is sought."""

Section = Literal["final", "whole"]
"""Which part of a completion a kind reads: what follows the thinking, or everything."""


def prompt_tail(item: Item) -> str:
    """The end of the prompt, without white space, in which a chat template may have opened a section."""
    return item.prompt_text[-_TEMPLATE_TAIL:].rstrip()


def final_section(item: Item) -> str | None:
    """The completion's text after its thinking part, or None where the thinking never ends.

    The last tag decides: after `</think>` (also a lone one, whose opening was in the prompt) comes the final
    section; after `<think>`, or where the prompt opened the thinking and nothing closes it, there is none. A
    completion without thinking is all final section.
    """
    text = item.text
    if "think>" in text:  # one search instead of two for most completions
        closed = text.rfind(CLOSE)
        if text.find(OPEN, closed + 1) >= 0:
            return None
        if closed >= 0:
            return text[closed + len(CLOSE) :]
    return None if prompt_tail(item).endswith(OPEN) else text


def section(item: Item, which: Section) -> str | None:
    """The part of the completion that a kind was configured to read; None where there is no such part."""
    return item.text if which == "whole" else final_section(item)
