"""Code in a completion, found as SandboxFusion finds it: the first fenced block of the language, else the first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Found = Literal["fenced", "incomplete_fenced", "heuristic", "empty"]

FENCE = "```"
ALIASES = {
    "python": ("python", "py", "python3"),
    "cpp": ("cpp", "c++"),
    "nodejs": ("javascript", "js"),
    "go": ("go",),
    "java": ("java",),
    "bash": ("bash", "sh", "shell"),
    "typescript": ("typescript",),
    "rust": ("rust", "rs"),
    "c": ("c",),
}
"""What a fence may call each language, in any case."""

_DEFINITION = re.compile(r"(?:def|class) ")
_BEFORE_DEFINITION = re.compile(r"(?:import|from|#)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: what its fence calls the language, and its text."""

    label: str
    code: str
    closed: bool


def code_of(completion: str, language: str) -> tuple[str, Found]:
    """The code and how it was found; without any, an empty text."""
    blocks = _blocks(completion)
    for found, wanted in (("fenced", True), ("incomplete_fenced", False)):
        chosen = [block for block in blocks if block.closed is wanted]
        if chosen:
            named = [block for block in chosen if block.label.lower() in ALIASES.get(language, ())]
            return (named or chosen)[0].code, found  # type: ignore[return-value]
    loose = _loose(completion, language)
    return (loose, "heuristic") if loose else ("", "empty")


def _blocks(completion: str) -> list[Block]:
    blocks: list[Block] = []
    label: str | None = None
    inside: list[str] = []
    for line in completion.split("\n"):
        if label is None:
            _, fence, rest = line.partition(FENCE)
            if fence:
                label, inside = rest.strip(), []
        elif line.lstrip().startswith(FENCE):
            blocks.append(Block(label, "\n".join(inside), closed=True))
            label = None
        else:
            inside.append(line)
    if label is not None and inside:
        blocks.append(Block(label, "\n".join(inside), closed=False))
    return blocks


def _loose(completion: str, language: str) -> str:
    """Code without a fence: the first definition with what is indented below it, and imports right before it."""
    lines = [line for line in completion.split("\n") if line.strip()]
    if language == "bash":
        return "\n".join(lines) + "\n" if lines else ""
    if language != "python":
        return ""
    for position, line in enumerate(lines[:-1]):
        if _DEFINITION.match(line) and lines[position + 1][0].isspace():
            first, last = position, position + 1
            while first and _BEFORE_DEFINITION.match(lines[first - 1]):
                first -= 1
            while last < len(lines) and lines[last][0].isspace():
                last += 1
            return "\n".join(lines[first:last]) + "\n"
    return ""
