"""Where the answers are in a completion's final section.

Where there are `<answer>` tags, only what is inside them counts. Boxes (`\\boxed{42}`) come first; without one,
explicit claims (`The answer is 42`, `**Answer:** 42`, or a last line `#### 42` or `A: 42`); without one, all that a
tag holds, or the last line. Only the last `WINDOW` characters are looked at, and every scan is linear in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

WINDOW = 131_072
"""Characters at the end of the final section in which an answer is sought."""
MAX_PLACES = 16
"""Boxes, or claims, that are looked at, from the last one back."""
MAX_BRACES = 1_500
"""Braces and escapes within all boxes, scanned for their ends in milliseconds."""
MAX_CLAIM = 200
"""Characters of a claim that is taken for an answer where there are others."""
MAX_SENTENCE = 1_000
"""Characters of a claim or of a last line."""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of the text that was searched."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Found:
    """Every answer that the strongest form gives, or why there is none."""

    answers: tuple[Span, ...] = ()
    form: str = "none"
    """box, claim, tag, line, whole or none."""
    missing: str = ""

    def __bool__(self) -> bool:
        """Whether the search is over: there are answers, or it is known that there are none."""
        return bool(self.answers or self.missing)

    def moved(self, offset: int) -> Found:
        """The same in a text that begins `offset` characters earlier."""
        spans = (Span(span.text, span.start + offset, span.end + offset) for span in self.answers)
        return Found(tuple(spans), self.form, self.missing)


_NOTHING = Found()
"""Nothing of a form: the next one is tried."""
_END_MARKS = (
    "</s>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "<end_of_turn>", "<eos>",
    "<｜end▁of▁sentence｜>",
)  # fmt: skip
_MAX_END_MARKS = 16
_TAG, _TAG_END = "<answer>", "</answer>"

_BOX = re.compile(r"\\f?box(?:ed)?[ \t\n]{0,8}\{")
_BRACE = re.compile(r"\\{1,2}f?box(?:ed)?[ \t\n]{0,8}\{|\\.|[{}]", re.DOTALL)
_BLANK = re.compile(r"(?:\\[hv]?phantom\s?\{[^{}]*\}|\\q?quad|\\[ ,;!]|[\s_?~.])*")
_CLAIM = re.compile(
    r"s?(?:[ \t*_]{0,4}[:=]|[ \t*_]{1,4}(?:[^\n.:=?!]{0,60}?[ \t])??(?:is|are|be|equals|IS)\b[ \t]{0,4}:?)"
    r"[ \t*_:]{0,8}"
)
_LEAD = re.compile(r"(?:Therefore|Thus|Hence|So|Then|Finally)\b,?")
_NEGATION = re.compile(r"\b(?:not|never|cannot)\b|n['’]t\b")
_LAST_LINE_MARK = re.compile(r"[ \t]{0,8}(?:#{4}|[*_]{0,2}A[*_]{0,2}:)[ \t*_]{0,8}")
_CUT = re.compile(
    r"(?P<maths>\$\$?|\\[()\[\]])|\.(?=[\s*_\"')]|\Z)|!(?=[*_\"')\s]{0,4}\Z)"
    r"|,? (?:because|since|as|which|where|when|after|given|I hope)\b|[,;] (?:so|and so|then|hence)\b"
)
_DISPLAY = re.compile(r"\s*(?:\$\$(?P<dollars>.*?)\$\$|\\\[(?P<brackets>.*?)\\\])", re.DOTALL)
_CLAIMS = ("answer", "Answer", "ANSWER", "correct option", "correct choice")


def find_answers(text: str) -> Found:
    """The answers of a final section, by tag, box, claim or last line."""
    return _in_window(text, _tags)


def find_box(text: str) -> Found:
    """The answers in boxes only."""
    return _in_window(text, lambda window: _boxes(window) or Found(missing="no box"))


def find_whole(text: str) -> Found:
    """The whole text as the answer."""
    span = _stripped(text, 0, _end(text))
    return Found((span,), "whole") if span.text else Found(missing="the completion is empty")


def _in_window(text: str, find: Callable[[str], Found]) -> Found:
    end = _end(text)
    offset = max(0, end - WINDOW)
    found = find(text[offset:end])
    return found.moved(offset) if offset else found


def _end(text: str) -> int:
    """Where the text ends before the marks that a tokenizer puts at the end of a sequence."""
    end = len(text)
    if ">" not in text[-100:]:
        return end
    for _ in range(_MAX_END_MARKS):
        tail = text[max(0, end - 100) : end]
        end -= len(tail) - len(tail.rstrip())
        mark = next((mark for mark in _END_MARKS if text.endswith(mark, 0, end)), None)
        if mark is None:
            break
        end -= len(mark)
    return end


def _tags(text: str) -> Found:
    """The answers in the last tags; of a text without any, its boxes, claims or last line."""
    if _TAG not in text:
        return _boxes(text) or _claims(text)
    opened = _last_places(text, (_TAG,))
    answers: dict[str, Span] = {}
    braces = 0
    for start, stop in zip(opened, [*opened[1:], len(text)], strict=True):
        end = text.find(_TAG_END, start, stop)
        if end < 0 and stop < len(text):
            continue  # only spoken of
        if end < 0:
            return Found(missing="the answer's tag is never closed")
        inside = _stripped(text, start + len(_TAG), end)
        braces += sum(map(inside.text.count, "{}\\"))
        if braces > MAX_BRACES and len(opened) > 1:
            return Found(missing="too many braces in several answer tags")
        found = _boxes(inside.text) or _said(inside.text)
        if not found.answers:
            return Found(missing=found.missing or "the answer's tag is empty")
        for span in found.moved(inside.start).answers:
            answers[span.text] = span
    return Found(tuple(answers.values()), "tag")


def _boxes(text: str) -> Found:
    """The last boxes that are filled. A box that is never closed means that there is no answer at all."""
    starts = _last_places(text, ("\\boxed", "\\fbox"))
    if not starts:
        return _NOTHING
    if text.rstrip().endswith(("\\boxed", "\\fbox")):
        return Found(missing="the last box is cut off")
    boxes: list[Span] = []
    budget = MAX_BRACES
    end = 0
    for start in starts:
        if start < end:
            continue  # inside the last one
        end, content, used = _box_end(text, start, budget)
        budget -= used
        if budget < 0:
            return Found(missing="too many braces to find the end of the box")
        if end < 0:
            return Found(missing="the last box is cut off")
        if content:
            boxes.append(_stripped(text, content, end - 1))
    filled = tuple(box for box in boxes if len(box.text) > MAX_SENTENCE or not _BLANK.fullmatch(box.text))
    return Found(filled, "box") if filled or not boxes else Found(missing="the box is empty")


def _box_end(text: str, start: int, budget: int) -> tuple[int, int, int]:
    """The ends of a box and of its opening brace, and how many braces and escapes lie within.

    -1 for the end of a box that is never closed; 0 for the content of what only speaks of a box.
    """
    opening = _BOX.match(text, start)
    if opening is None:
        return start, 0, 0
    depth = 1
    for count, event in enumerate(_BRACE.finditer(text, opening.end())):
        sign = event.group()
        depth += (sign[-1] == "{" and sign != "\\{") - (sign == "}")
        if not depth:
            return event.end(), opening.end(), count
        if count >= budget:
            return -1, 0, budget + 1
    return -1, 0, 0


def _claims(text: str) -> Found:
    """Answers after words such as `the answer is`, else the last line."""
    return _said_in(text) or _in_last_line(text)


def _said(text: str) -> Found:
    """Answers after words such as `the answer is`, else the whole text."""
    return _said_in(text) or Found((_stripped(text, 0, len(text)),) if text else (), "tag")


def _said_in(text: str) -> Found:
    claims: list[Span] = []
    for place in _last_places(text, _CLAIMS):
        subject = len("answer") if text[place] in "aA" else len("correct option")
        if claim := _CLAIM.match(text, place + subject, place + MAX_SENTENCE):
            start = place + subject if _NEGATION.search(claim.group()) else claim.end()
            claims.append(_sentence(text, start))
    short = tuple(span for span in claims if 0 < len(span.text) <= MAX_CLAIM)
    if short or (claims and claims[-1].text):
        return Found(short or (claims[-1],), "claim")
    return _NOTHING


def _in_last_line(text: str) -> Found:
    line = _last_line(text)
    if mark := _LAST_LINE_MARK.match(line.text):
        said = _sentence(text, line.start + mark.end())
        return Found((said,), "claim") if said.text else Found(missing="the last line ends before its answer")
    if not line.text or len(line.text) > MAX_SENTENCE:
        return Found(missing="no box, no claim, and no short last line")
    lead = _LEAD.match(line.text)
    line = _stripped(line.text, lead.end() if lead else 0, len(line.text), line.start)
    return Found((_without_end(line),), "line")


def _last_places(text: str, words: tuple[str, ...]) -> list[int]:
    """Where the last `MAX_PLACES` occurrences of the words begin, in ascending order."""
    places: list[int] = []
    for word in words:
        at = len(text)
        for _ in range(MAX_PLACES):
            at = text.rfind(word, 0, at)
            if at < 0:
                break
            places.append(at)
    return sorted(places)[-MAX_PLACES:]


def _sentence(text: str, start: int) -> Span:
    """The rest of the sentence from `start` on; where the line ends there, the display or line that follows."""
    stop = min(len(text), start + MAX_SENTENCE)
    if display := _DISPLAY.match(text, start, stop):
        return _stripped(text, *display.span(display.lastgroup or 0))
    end = text.find("\n", start, stop)
    if end >= 0 and not text[start:end].strip(" \t*_:"):
        start = end + len(text[end:stop]) - len(text[end:stop].lstrip())
        end = text.find("\n", start, stop)
    return _without_end(_stripped(text, start, stop if end < 0 else end))


def _without_end(span: Span) -> Span:
    """Up to the end of the sentence or to a reason that follows, outside maths."""
    inside = False
    for sign in _CUT.finditer(span.text):
        if sign.group("maths"):
            inside = sign.group() in ("\\(", "\\[") or (sign.group()[0] == "$" and not inside)
        elif not inside:
            return _stripped(span.text, 0, sign.start(), span.start)
    return span


def _last_line(text: str) -> Span:
    """The last line that is not blank; the whole display where it ends one."""
    end = len(text.rstrip())
    start = text.rfind("\n", 0, end) + 1
    for opener, closer in (("\\[", "\\]"), ("$$", "$$")):
        if text.endswith(closer, 0, end):
            opened = text.rfind(opener, max(0, end - MAX_SENTENCE), end - len(closer))
            if 0 <= opened < start:
                return _stripped(text, opened + len(opener), end - len(closer))
    return _stripped(text, start, end)


def _stripped(text: str, start: int, end: int, offset: int = 0) -> Span:
    piece = text[start:end]
    kept = piece.strip()
    start += len(piece) - len(piece.lstrip())
    return Span(kept, start + offset, start + offset + len(kept))
