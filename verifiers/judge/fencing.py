"""Showing a judge text that may be written against it: fenced, its markers made harmless, cut where it is long.

A chat template's own tokens are the worst of it: llama.cpp reads `<|im_end|>` inside a message as the token that ends
it, and a completion could go on with a turn of the judge's own. What is changed stays readable, and every change puts
as many characters as there were, so that `Shown.changed` tells how to undo it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from verifiers.base import GivingWay

MAX_LISTED = 50
"""Changes that are listed; the others are counted."""

_FLAT = str.maketrans({"<": "‹", ">": "›", "|": "¦", "｜": "¦", "[": "⟦", "]": "⟧", ":": "¦", "：": "¦", "#": "♯"})
_PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
_NAMES = [
    "s",
    "bos",
    "eos",
    "pad",
    "unk",
    "sop",
    "eop",
    "think",
    "thinking",
    "start_of_turn",
    "end_of_turn",
    "start_of_image",
]
_TAGS = [f"<{slash}{name}>" for name in _NAMES for slash in ("", "/")] + ["<<sys>>", "<</sys>>"]
_TOOLS = ["inst", "system_prompt", "available_tools", "tool_calls", "tool_results", "gmask"]
_BRACKETS = [f"[{slash}{name}]" for name in _TOOLS for slash in ("", "/")]
_ROLES = "system|user|assistant|human|judge|developer|tool|instructions?|response"

_UNPRINTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")
_UNSEEN = re.compile(
    "[\x80-\x84\x86-\x9f\u180e\u200b\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]+"
    "|[\u200c\u200d]{2,}|[\ufe00-\ufe0f]{2,}"
)
"""What nobody sees and no script needs: control characters, spaces without width, changes of writing direction, tags
and variation selectors in which text can be hidden, lone surrogates (which servers refuse). A single joiner or
selector belongs to emoji and to the scripts of Persia and India."""


def _literally(markers: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, markers)), re.IGNORECASE)


_MARKERS: Sequence[tuple[str, Sequence[str], re.Pattern[str]]] = (
    (
        "<",
        ("|>", "｜>"),
        re.compile(r"<[|｜][^<>\n]{1,60}[|｜]>"),
    ),  # ChatML, Llama 3, Phi, Command R, Granite, DeepSeek
    ("", ("<<<", ">>>"), re.compile(r"<{3,}|>{3,}")),  # our own fences
    ("<", _TAGS, _literally(_TAGS)),  # Llama 2, Gemma, reasoning models
    ("[", _BRACKETS, _literally(_BRACKETS)),  # Mistral, GLM
    ("[", ("]]",), re.compile(r"\[\[[^\[\]\n]{1,40}\]\]")),  # the verdict form of MT-Bench and many others
    (
        "",
        (":", "："),
        re.compile(
            rf"^[ \t>*_]{{0,8}}(?:\#{{1,6}}[ \t]*)?[*_]{{0,3}}(?:{_ROLES})[*_]{{0,3}}[ \t]?[:：]", re.I | re.M
        ),
    ),
    ("#", ("#",), re.compile(rf"^[ \t]{{0,8}}\#{{1,6}}[ \t]*(?:{_ROLES})[ \t]*$", re.I | re.M)),
)
"""Each pattern with a text that stands, and texts of which one stands, in lower case, wherever it matches: most texts
have none."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A text as the judge sees it, before its fence."""

    text: str
    changes: int = 0
    """Markers and characters that were made harmless."""
    changed: Sequence[tuple[int, str]] = ()
    """The first of them: where in the text (before it was cut), and what stood there."""
    left_out: int = 0
    """Characters that were cut from its middle."""


class _Changing:
    """A text in which matches are replaced, as many characters by as many."""

    def __init__(self, text: str) -> None:
        self.before = text
        self.text = text
        self.number = 0
        self.listed: dict[int, str] = {}

    async def replace(self, pattern: re.Pattern[str], harmless: Callable[[str], str]) -> None:
        parts: list[str] = []
        end = 0
        turn = GivingWay()
        for match in pattern.finditer(self.text):
            parts += (self.text[end : match.start()], harmless(match[0]))
            end = match.end()
            if len(parts) % 256 == 0:
                await turn.over()
            if len(self.listed) < MAX_LISTED:
                self.listed[match.start()] = self.before[match.start() : end]
        if parts:
            self.number += len(parts) // 2
            self.text = "".join(parts) + self.text[end:]


async def shown(text: str, most: int, verdicts: re.Pattern[str] | None = None) -> Shown:
    """Make a text harmless, and cut it to `most` characters.

    `verdicts` matches what would be a verdict if the judge repeated it. Takes time in proportion to `most`, and gives
    way to others where there is much to change.
    """
    kept, left_out = cut(text, most)
    head = most // 2
    changing = _Changing(kept)
    await changing.replace(_UNPRINTED, lambda run: run.translate(_PICTURES))
    if not kept.isascii():
        await changing.replace(_UNSEEN, lambda run: "\N{REPLACEMENT CHARACTER}" * len(run))
    lowered = changing.text.lower()
    for first, needles, pattern in _MARKERS:
        if first in lowered and any(needle in lowered for needle in needles):
            await changing.replace(pattern, lambda marker: marker.translate(_FLAT))
    if verdicts is not None:
        await changing.replace(verdicts, lambda verdict: "·" * len(verdict))
    kept, changed = changing.text, sorted(changing.listed.items())
    if left_out:
        kept = f"{kept[:head]}\n[{left_out:,} characters are left out here]\n{kept[head:]}"
        changed = [(at if at < head else at + left_out, what) for at, what in changed]
    return Shown(kept, changing.number, changed, left_out)


def cut(text: str, most: int) -> tuple[str, int]:
    """The text's beginning and end, `most` characters in all, and how many between them are left out.

    Both ends stay: the end has the answer, the beginning what it answers.
    """
    if len(text) <= most:
        return text, 0
    head = most // 2
    return text[:head] + text[len(text) - (most - head) :], len(text) - most


def fence(name: str, text: str, nonce: str) -> str:
    """The text between two lines that it cannot hold."""
    return f"<<<{name} {nonce}\n{text}\n{name} {nonce}>>>"


def nonce_for(texts: Sequence[str]) -> str:
    """Eight characters that stand in none of the texts, and are always the same for the same ones."""
    hashed = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        hashed.update(len(encoded).to_bytes(8, "big") + encoded)
    lowered = [text.casefold() for text in texts]
    for attempt in count():
        again = hashed.copy()
        again.update(attempt.to_bytes(8, "big"))
        nonce = again.hexdigest()[:8]
        if not any(nonce in text for text in lowered):
            return nonce
    raise AssertionError("count() does not end")
