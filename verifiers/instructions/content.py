"""Instructions on what the answer holds: beginnings, endings, placeholders, punctuation.

Where the public checkers are wrong:

- `number_placeholders` counts `[]`, `[ ]`, `[1]`, links and whatever lies between two distant brackets. Here a
  placeholder is on one line, has a letter in it, and is neither a link nor a ticked box.
- `postscript` finds `p.s.` anywhere, also inside `app.s.`, and accepts an answer that is nothing else. Here the
  marker begins a line or follows a sentence, with text before it and after it. `P.P.S` is no `P.S.`.
- `no_comma` knows one comma. Here those of other scripts, and what looks like one, are commas too.
- `quotation` accepts a pair of marks with nothing inside, only straight ones, and `"Hi," he said, "bye"`. Here
  `“...”` will do, and the first mark is closed by the last.
- `end_checker` accepts a phrase that is the end of a longer word.
"""

from __future__ import annotations

from typing import Annotated

import regex
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from verifiers.instructions.instruction import (
    MAX_PHRASES,
    Count,
    Instruction,
    Phrase,
    Phrases,
    Word,
    instruction,
    named,
)
from verifiers.instructions.reading import Reading, folded, has_word, normal

COMMAS = ",，،、︐︑﹐﹑､՝߸፣᠂⸲⸴⹁⹌꓾꘍꛵"
DOTS = ".。．｡…․‥﹒︒۔։።"
EXCLAMATIONS = "!！‼⁈⁉¡❕❗❢﹗︕ǃ՜߹"
"""Marks of the name in any script, and what looks like them."""

_PLACEHOLDER = regex.compile(r"\[([^\[\]\n]*+)\](?!\()")
_TICKED = regex.compile(r"^[ \t]*+(?:[*+-]|\d{1,9}[.)])[ \t]++\[[xX]\](?!\()", regex.MULTILINE)
_LETTER = regex.compile(r"\p{L}")
_QUOTES = (('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"), ("「", "」"))
_BEFORE_OPENING = ("", *'([{—–-/"“')
_LOW = regex.compile(r"‚(?=\s|$)")
"""A quotation mark that looks like a comma and opens nothing."""
_AROUND = " \t\n\"'“”‘’«»*_"
_START = regex.compile(r"^[ \t*_>\"'“‘(-]*+|(?<=[.!?…\"'”’)*_])[ \t]++", regex.MULTILINE)
"""Before what begins a line, or follows a sentence."""


def _mark(value: str) -> str:
    if len(value) != 1 or value.isalnum() or value.isspace():
        raise PydanticCustomError("mark", "must be one punctuation mark")
    return value


@instruction("detectable_content:number_placeholders")
class Placeholders(Instruction):
    """At least so many placeholders in square brackets, such as `[address]`."""

    num_placeholders: Count

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        ticked = len(_TICKED.findall(reading.text))
        count = sum(1 for found in _PLACEHOLDER.finditer(reading.text) if _LETTER.search(found[1])) - ticked
        held = count >= self.num_placeholders
        return "" if held else f"{count} placeholders, at least {self.num_placeholders} asked"


@instruction("detectable_content:postscript")
class Postscript(Instruction):
    """After the text comes a postscript: on a line of its own or after a sentence, this marker and what it says."""

    postscript_marker: Word

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        letters = "".join(self.postscript_marker.casefold().split())
        for start in _START.finditer(reading.text):
            end = _spelt(reading.text, start.end(), letters)
            if end and has_word(reading.text[: start.end()]) and has_word(reading.text[end:]):
                return ""
        return f"there is no postscript that begins with {named(self.postscript_marker)}"


@instruction("startend:end_checker")
class EndPhrase(Instruction):
    """The answer ends with this phrase, in any case; quotation marks may follow."""

    end_phrase: Phrase

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        phrase = normal(self.end_phrase)
        text = normal(reading.text)
        for ending in (text, text.rstrip(_AROUND)):
            if ending.endswith(phrase) and not (phrase[0].isalnum() and ending[: -len(phrase)][-1:].isalnum()):
                return ""
        return f"does not end with {named(self.end_phrase)}"


@instruction("startend:start_checker")
class StartPhrase(Instruction):
    """The answer begins with this phrase, in any case."""

    start_phrase: Phrase

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        held = _starts(reading.text, self.start_phrase)
        return "" if held else f"does not begin with {named(self.start_phrase)}"


@instruction("startend:forbidden_start")
class ForbiddenStart(Instruction):
    """The answer begins with none of these words or phrases, in any case."""

    phrases: Phrases

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        found = [phrase for phrase in self.phrases if _starts(reading.text, phrase)]
        return f"begins with {named(found[0])}" if found else ""


@instruction("startend:quotation")
class Quotation(Instruction):
    """The whole answer stands in double quotation marks."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        text = reading.text.strip()
        pairs = [pair for pair in _QUOTES if text.startswith(pair[0]) and text.endswith(pair[1])]
        wrapped = has_word(text) and any(_encloses(text, *pair) for pair in pairs)
        return "" if wrapped else "not in double quotation marks"


@instruction("punctuation:no_comma")
class NoComma(Instruction):
    """No commas, of any script."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return _without(reading.text, COMMAS) or (
            "a low quotation mark as a comma" if _LOW.search(reading.text) else ""
        )


@instruction("punctuation:punctuation_dot")
class NoDot(Instruction):
    """No full stops, decimal points included."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return _without(reading.text, DOTS)


@instruction("punctuation:punctuation_exclamation")
class NoExclamation(Instruction):
    """No exclamation marks."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return _without(reading.text, EXCLAMATIONS)


@instruction("punctuation:forbidden")
class NoMarks(Instruction):
    """None of these punctuation marks."""

    marks: Annotated[
        list[Annotated[str, AfterValidator(_mark)]], Field(min_length=1, max_length=MAX_PHRASES, fail_fast=True)
    ]

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return _without(reading.text, "".join(self.marks))


def _encloses(text: str, first: str, last: str) -> bool:
    """Whether the mark with which a text begins is closed by the one with which it ends, and not before.

    A straight mark opens where white space, a bracket, a dash or the beginning of emphasis is before it.
    """
    depth = 0
    for mark in regex.finditer(f"[{first}{last}]", text[:-1]):
        start, end = mark.span()
        opens = mark[0] == first
        if first == last and start:
            before = text[max(0, start - 4) : start]
            before = before.rstrip("*_") if text[end].isalnum() else before
            opens = before[-1:] in _BEFORE_OPENING or before[-1:].isspace()
        depth += 1 if opens else -1
        if depth == 0:
            return False
    return True


def _without(text: str, marks: str) -> str:
    found = [mark for mark in marks if mark in text]
    return f"{named(found[0])} occurs" if found else ""


def _spelt(text: str, at: int, letters: str) -> int:
    """Where letters end that stand in a text at a place, spaced or not; 0 where they do not."""
    for letter in letters:
        if text[at : at + 1] in (" ", "\t"):
            at += 1
        if text[at : at + 1].casefold() != letter:
            return 0
        at += 1
    return 0 if text[at : at + 1].isalnum() else at


def _starts(text: str, phrase: str) -> bool:
    if has_word(phrase):
        asked = folded(phrase)
        return folded(text[: 8 * len(phrase) + 1_000])[: len(asked)] == asked
    return normal(text[: 8 * len(phrase) + 1_000]).startswith(normal(phrase))
