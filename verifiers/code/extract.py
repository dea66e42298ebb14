"""Finding the program in a completion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from verifiers.base import BadItemError, Item, Outcome
from verifiers.code.config import Language
from verifiers.code.decided import failed
from verifiers.thinking import final_section

MAX_CHARS = 1_000_000
"""Characters of what a completion says after its thinking part, or of a prompt and its continuation."""
MAX_MARKS = 10_000
"""Times that ``` or ~~~ may stand in a completion."""

Fence = Literal["last", "first", "whole"]

_TAGS: dict[Language, frozenset[str]] = {
    "python": frozenset(("python", "py")),
    "javascript": frozenset(("javascript", "js", "node", "mjs", "cjs")),
    "typescript": frozenset(("typescript", "ts")),
    "c": frozenset(("c",)),
    "cpp": frozenset(("cpp", "c++", "cc", "cxx")),
    "java": frozenset(("java",)),
    "go": frozenset(("go", "golang")),
    "rust": frozenset(("rust", "rs")),
    "bash": frozenset(("bash", "sh", "shell")),
}
"""How a block of each language is marked. What follows is not read: `python3` is `python` and `c++17` is `c++`."""
_MARK = re.compile(r"```|~~~")
_FENCE = re.compile(r"(`{3,}|~{3,})([^\n]*)")
_TAG = re.compile(r"[^a-z]*([a-z]+(?:\+\+|#)?)")
_MAX_INDENT = 3


def program(item: Item, *, language: Language, fence: Fence, prefix: Literal["none", "prompt"]) -> bytes:
    """The program that a completion gives. Raises `DecidedError` where it gives none, `BadItemError`."""
    source = _continued(item) if prefix == "prompt" else _given(item, language, fence)
    return source.encode("utf-8", "surrogatepass")


def _continued(item: Item) -> str:
    if item.prompt is None:
        raise BadItemError("prompt: send the one that the completion continues")
    completion, prompt = item.text, item.prompt_text
    if len(prompt) + len(completion) > MAX_CHARS:
        raise failed(
            Outcome.OUTPUT_EXCEEDED, "extract", f"prompt and completion have more than {MAX_CHARS} characters"
        )
    if not completion.strip():
        raise failed(Outcome.UNPARSEABLE, "extract", "the completion is empty")
    return prompt + completion


def _given(item: Item, language: Language, fence: Fence) -> str:
    text = final_section(item)
    if text is None:
        raise failed(Outcome.UNPARSEABLE, "extract", "the thinking part never ends")
    if len(text) > MAX_CHARS:
        raise failed(Outcome.OUTPUT_EXCEEDED, "extract", f"the completion has more than {MAX_CHARS} characters")
    if fence != "whole":
        text = fenced(text, language, fence)
    if not text.strip():
        raise failed(Outcome.UNPARSEABLE, "extract", "there is no code")
    return text


def fenced(text: str, language: Language, fence: Literal["last", "first"]) -> str:
    """The inside of the code block that counts, or `text` where it has no block. Raises `DecidedError`."""
    if "```" not in text and "~~~" not in text:
        return text
    if text.count("```") + text.count("~~~") > MAX_MARKS:
        raise failed(Outcome.REJECTED, "extract", f"more than {MAX_MARKS} code fences")
    marked: list[str] = []
    unmarked: list[str] = []
    found = list(blocks(text))
    for info, block in found:
        tag = _TAG.match(info.lower())
        if tag is None:
            unmarked.append(block)
        elif tag[1] in _TAGS[language]:
            marked.append(block)
    if not found:
        return text
    fitting = marked or unmarked
    if not fitting:
        raise failed(Outcome.UNPARSEABLE, "extract", f"no code block is {language}, or not marked")
    return fitting[-1 if fence == "last" else 0]


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The info string and the inside of every fenced block (CommonMark 0.31, section 4.5), one cut off included."""
    opened: re.Match[str] | None = None
    end = 0
    for mark in _MARK.finditer(text):
        start = mark.start()
        if start < end:
            continue
        line = _line_start(text, start)
        if line is None:
            continue
        fence = _FENCE.match(text, start)
        if fence is None:
            raise AssertionError("three marks are a fence")
        end = fence.end()
        marks, info = fence[1], fence[2].strip()
        if opened is None:
            if marks[0] == "~" or "`" not in info:
                opened = fence
        elif marks.startswith(opened[1]) and not info:
            yield opened[2].strip(), text[opened.end() + 1 : line]
            opened = None
    if opened is not None:
        yield opened[2].strip(), text[opened.end() + 1 :]


def _line_start(text: str, start: int) -> int | None:
    """Where the line begins on which a fence may stand at `start`; None where something is before it."""
    before = text[max(0, start - _MAX_INDENT - 1) : start]
    indent = before.rpartition("\n")[2]
    if indent.strip(" ") or len(indent) > _MAX_INDENT:
        return None
    return start - len(indent)
