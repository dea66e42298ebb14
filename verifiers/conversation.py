"""Prompts and completions as the messages that a model on a backend reads."""

from __future__ import annotations

from collections.abc import Sequence

from verifiers.base import Item, Message, Prompt

Said = dict[str, str]

MAX_CHARS = 1_000_000
"""Characters of a conversation that are sent, from its end; no model reads more."""


def asked(prompt: Prompt | None, system: str | None = None) -> list[Said]:
    """The prompt's messages. `system` stands before them where they have no system message of their own."""
    said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else _said(prompt or ())
    if system is not None and not any(message["role"] == "system" for message in said):
        said.insert(0, {"role": "system", "content": system})
    return said


def conversation(item: Item, text: str, system: str | None = None) -> list[Said]:
    """The prompt's messages, those of the completion before the model's last, and `text` as the last one."""
    before: Sequence[Message] = ()
    if not isinstance(item.completion, str):
        last = max(place for place, message in enumerate(item.completion) if message.role == "assistant")
        before = item.completion[:last]
    return [*asked(item.prompt, system), *_said(before), {"role": "assistant", "content": text}]


def sendable(messages: Sequence[Said]) -> tuple[list[Said], bool]:
    """Messages that a server can take, and whether something was cut.

    At most `MAX_CHARS` in all, cut from the beginning; lone surrogates, which JSON in UTF-8 cannot hold, replaced.
    """
    left = MAX_CHARS
    kept: list[Said] = []
    cut = False
    for message in reversed(messages):
        content = message["content"]
        cut |= len(content) > left
        content = content[max(0, len(content) - left) :]
        left -= len(content)
        kept.append({"role": _readable(message["role"]), "content": _readable(content)})
    return kept[::-1], cut


def _said(messages: Sequence[Message]) -> list[Said]:
    return [{"role": message.role, "content": message.text} for message in messages]


def _readable(text: str) -> str:
    """A text with surrogate pairs joined, and lone ones replaced by U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
