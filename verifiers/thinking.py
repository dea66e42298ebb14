"""Where a completion's thinking part ends and what it says to the reader begins."""

from __future__ import annotations

from verifiers.base import Item

OPEN = "<think>"
CLOSE = "</think>"
_TEMPLATE_TAIL = 64
"""Characters at the end of a prompt in which a template's opened thinking part is sought."""


def opened_by_prompt(item: Item) -> bool:
    """Whether the prompt ends with `<think>`: the chat template began the thinking part itself."""
    return item.prompt_text[-_TEMPLATE_TAIL:].rstrip().endswith(OPEN)


def final_section(item: Item) -> str | None:
    """The completion's text after its thinking part, or None where the thinking never ends.

    The last tag decides: after `</think>` (also a lone one, whose opening was in the prompt) comes the final
    section; after `<think>`, or where the prompt opened the thinking and nothing closes it, there is none. A
    completion without thinking is all final section.
    """
    text = item.text
    closed = text.rfind(CLOSE)
    if text.find(OPEN, closed + 1) >= 0:
        return None
    if closed >= 0:
        return text[closed + len(CLOSE) :]
    return None if opened_by_prompt(item) else text
