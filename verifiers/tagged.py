"""What stands between tags: how many trainers' prompts ask for the answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Tag = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_.-]{0,60}$")]
"""A tag's name: `think` stands for `<think>` and `</think>`."""


def tagged(text: str, name: str) -> list[str] | None:
    """What stands between each `<name>` and its `</name>`, in order.

    None where a tag is not closed, closes nothing, or stands inside its like: what the answer is, is then anyone's
    guess. Takes time in proportion to the text.
    """
    opening, closing = f"<{name}>", f"</{name}>"
    found: list[str] = []
    at = 0
    while True:
        start, end = text.find(opening, at), text.find(closing, at)
        if start < 0 and end < 0:
            return found
        if start < 0 or end < start:
            return None
        inside = text[start + len(opening) : end]
        if opening in inside:
            return None
        found.append(inside)
        at = end + len(closing)
