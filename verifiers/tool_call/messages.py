"""The calls of a completion: of a text, or of each message that the assistant wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from verifiers.base import Item, Message
from verifiers.thinking import OPEN, Section, prompt_tail
from verifiers.tool_call.calls import MAX_CALLS, Call, CallError, arguments_of
from verifiers.tool_call.text import read_text
from verifiers.tool_call.tools import Tools

_TAG = re.compile(r"</?think>")


def read_turns(item: Item, section: Section, tools: Tools) -> list[list[Call]]:
    """The calls of each of the assistant's messages, in order; a text is one message. Raises `CallError`."""
    opened = section == "final" and prompt_tail(item).endswith(OPEN)
    if isinstance(item.completion, str):
        turns = [_of_text(item.completion, section, tools, opened=opened)]
    else:
        written = [message for message in item.completion if message.role == "assistant"]
        turns = [
            _of_message(message, section, tools, opened=opened and index == 0)
            for index, message in enumerate(written)
        ]
    if sum(map(len, turns)) > MAX_CALLS:
        raise CallError(f"more than {MAX_CALLS} calls")
    return turns


def _of_text(text: str, section: Section, tools: Tools, *, opened: bool) -> list[Call]:
    if section == "whole":
        return read_text(text, tools)
    earlier, final = spoken(text, opened=opened)
    if final is None:
        raise CallError("the thinking part never ends")
    if read_text(earlier, tools):
        raise CallError("a call stands before the last thinking part")
    return read_text(final, tools)


def spoken(text: str, *, opened: bool) -> tuple[str, str | None]:
    """What a text says outside its thinking: before the last part of it, and after; None where that never ends.

    The final section is that of `verifiers.thinking.final_section`. What was said between two thoughts is no part of
    it, but whoever runs the calls of this text would find those there too. A first `</think>` that nothing opened
    ends a thought that the chat template opened.
    """
    earlier: list[str] = []
    thinking, at = opened, 0
    for number, tag in enumerate(_TAG.finditer(text)):
        closes = tag[0] != OPEN
        if not thinking and (number or not closes):
            earlier.append(text[at : tag.start()])
        thinking, at = not closes, tag.end()
    return "\n".join(earlier), None if thinking else text[at:]


def _of_message(message: Message, section: Section, tools: Tools, *, opened: bool) -> list[Call]:
    """A message's calls: those that its fields hold, or else those in its text."""
    calls = list(_structured(message))
    if calls and not message.text:
        return calls
    said = _of_text(message.text, section, tools, opened=opened)
    if calls and said:
        raise CallError("calls stand in the message's text and in its fields")
    return calls or said


def _structured(message: Message) -> Iterator[Call]:
    """The calls of `tool_calls` (OpenAI), its forerunner `function_call`, and of parts `tool_use` (Anthropic)."""
    extra = message.model_extra or {}
    entries = extra.get("tool_calls")
    if entries is not None:
        if not isinstance(entries, list):
            raise CallError("tool_calls is no list")
        if len(entries) > MAX_CALLS:
            raise CallError(f"more than {MAX_CALLS} calls")
        yield from map(_entry, entries)
    if extra.get("function_call") is not None:
        yield _function(extra["function_call"])
    if isinstance(message.content, list):
        for part in message.content:
            if part.get("type") == "tool_use":
                yield _function({"name": part.get("name"), "arguments": part.get("input")})


def _entry(entry: Any) -> Call:
    if not isinstance(entry, dict) or entry.get("type", "function") != "function":
        raise CallError("an entry of tool_calls is no call of a function")
    return _function(entry.get("function"))


def _function(function: Any) -> Call:
    if not isinstance(function, dict):
        raise CallError("a call has no function")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise CallError("a call's name is no string")
    if not isinstance(function.get("arguments"), str | dict):
        raise CallError("the arguments are no JSON object")
    return Call(name, arguments_of(function["arguments"]))
