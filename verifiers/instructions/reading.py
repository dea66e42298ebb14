"""A text as the instructions see it: its words, sentences, paragraphs and lines.

Everything here is plain rules over Unicode classes: the same text always reads the same, nothing is fetched, and the
time grows with the length of the text. Where the public checkers of IFEval read otherwise, and why this does not:

- A word keeps its apostrophes, hyphens and decimal points: `don't`, `well-known` and `3.5` are one word each. Theirs
  is `\\w+`, which makes two of each, and which breaks Hindi and other scripts at every vowel sign. Chinese and
  Japanese are written without spaces: there each character counts, as in a word processor.
- A sentence ends where its punctuation says so, at a blank line, and before a heading or an item of a list. Theirs
  needs a model that nltk downloads at run time, and knows no end of a sentence but the English ones.
- A keyword is found as a whole word. Theirs finds `war` in `toward`, and takes the keyword for a pattern.
"""

from __future__ import annotations

import html
import unicodedata
from functools import cached_property

import regex

from verifiers.instructions.displayed import composed

_CJK = r"[\p{Han}\p{Hiragana}\p{Katakana}ー々]"
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}ー々\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
"""Scripts that put no spaces between words."""
_JOINS = regex.compile(r"[\p{L}\p{N}\p{M}]")
_LETTER = r"[[\p{L}\p{N}\p{M}\u200c\u200d]--" + _CJK + "]"
_WORD = regex.compile(
    rf"(?V1){_CJK}"
    r"|(?<![\p{L}\p{N}])\p{L}(?:\.\p{L})++(?![\p{L}\p{N}])"  # U.S, e.g
    rf"|[[\p{{L}}\p{{N}}]--{_CJK}]{_LETTER}*+(?:(?:['’‐‑-]|(?<=\p{{N}})[.,:/](?=\p{{N}})){_LETTER}++)*+"
)
_AROUND = ".,;:!?\"'()*"
_HAS_WORD = regex.compile(r"[\p{L}\p{N}]")
_FENCE = regex.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)")
_OWN_LINE = regex.compile(r"[ \t]*(?:[*+•-][ \t]|\d{1,3}[.)][ \t]|#{1,6}[ \t])")
"""How a line begins that continues no sentence: an item of a list, a heading."""
_HEADING = regex.compile(r"#{1,6} .*|<<[^<>]*+>>|(\*{1,3}|_{1,2})[^*_]++\1:?")
_STOPS = ".!?…。！？।॥؟۔"
_ORDINAL = regex.compile(r"[\W_]*\d{1,3}")
MAX_HEADING = 12
"""Words of a heading; a longer one counts as a sentence."""
_CLOSING = "\"'”’»)]*_"
_STOP = regex.compile(rf"(?:[.!?…]++[{regex.escape(_CLOSING)}]*+(?=\s|$)|[。！？।॥؟۔]++[」』”’）\")*_]*+)")
_NEXT = regex.compile(r"[\s\"'“‘«(\[*_¿¡]*+(\S*)")
_INSIDE_WORDS = regex.compile(r"(?<=\w)[*_`~]++(?=\w)|</?[a-z]{1,10}>")
_FOREIGN = "аеорсухіјѕԁһԛԝѵӏοανρυιχ"
"""Cyrillic and Greek letters that look like Latin ones."""
_LOOK_ALIKES = str.maketrans(_FOREIGN, "aeopcyxijsdhqwvloavpuix")
_OTHER_SCRIPT = regex.compile(rf"(?V1)[[\p{{Cyrillic}}\p{{Greek}}]--[{_FOREIGN}]]")
_LETTERS = regex.compile(r"\p{L}++")
_LATIN = regex.compile(r"\p{Latin}")
_INITIALS = regex.compile(r"\p{L}(?:\.\p{L})*")

_BEFORE_NUMBERS = "no nr art sec ch jan feb mar apr jun jul aug sep sept oct nov dec"
_ALWAYS_FOLLOWED = """
mr mrs ms mx dr prof rev hon gen col capt cpt lt sgt maj st mt messrs mme mlle fr sra dra vs cf viz fig figs eq vol
approx e.g i.e p.s p.p.s al ph.d
"""
_MAY_END = """
inc ltd co corp jr sr dept est ave blvd rd nos pp p u.s u.k u.n e.u a.m p.m b.c a.d
"""
_BEGIN = """
the a an it he she they we you i this that these those there their our his her its my your but and however if when
while in on at as for so then also after before although because what why how who where no yes
"""
_NUMBERED = frozenset(_BEFORE_NUMBERS.split())
"""Abbreviations and words that a number may follow."""
_TITLES = frozenset(_ALWAYS_FOLLOWED.split())
"""Abbreviations that something always follows."""
_ENDINGS = frozenset(_MAY_END.split())
"""Abbreviations that may end a sentence: they do where the next word usually begins one."""
_STARTERS = frozenset(_BEGIN.split())


def words(text: str) -> list[str]:
    """The words of a text, without the punctuation and Markdown around them."""
    found: list[str] = []
    for token in text.split():
        bare = token.strip(_AROUND)
        if bare.isascii() and bare.isalnum():  # what the pattern would find, at a tenth of the time
            found.append(bare)
        else:
            found += _WORD.findall(token)
    return found


def folded(text: str) -> list[str]:
    """The words of a text for comparison: without regard to case or to the form of the apostrophe."""
    return words(composed(text).casefold().replace("’", "'"))


def has_word(text: str) -> bool:
    """Whether a letter or a digit is in the text."""
    return _HAS_WORD.search(text) is not None


def occurrences(plain: str, phrase: str) -> int:
    """How often a phrase stands, whole, in a text; both are `normal`."""
    starts, ends = _joins(phrase[0]), _joins(phrase[-1])
    count = 0
    at = plain.find(phrase)
    while at >= 0:
        end = at + len(phrase)
        whole = not (starts and _joins(plain[at - 1 : at])) and not (ends and _joins(plain[end : end + 1]))
        count += whole
        at = plain.find(phrase, end if whole else at + 1)
    return count


def normal(text: str) -> str:
    """A text for comparison: without regard to case, white space or the form of the apostrophe."""
    return " ".join(composed(text).casefold().replace("’", "'").split())


def resembled(text: str) -> str:
    """A normal text as it looks: without markup inside words, and with the plain letter for each that looks like it.

    So `wаr` with a Cyrillic letter, `𝐰𝐚𝐫`, `w**a**r` and `w&#97;r` are `war`. Words without a Latin letter stay where
    the text is really in Cyrillic or Greek letters.
    """
    text = _INSIDE_WORDS.sub("", html.unescape(text) if "&" in text else text)
    if text.isascii():
        return text
    plain = {ord(c): unicodedata.normalize("NFKC", c) for c in set(text) if not c.isascii()}
    text = normal(text.translate(plain))
    if _OTHER_SCRIPT.search(text) is None:
        return text.translate(_LOOK_ALIKES)
    return _LETTERS.sub(lambda word: word[0].translate(_LOOK_ALIKES) if _LATIN.search(word[0]) else word[0], text)


def _joins(character: str) -> bool:
    """Whether a word goes on with the character (which may be none at all), in a script with spaces."""
    return _JOINS.match(character) is not None and _UNSPACED.match(character) is None


class Reading:
    """One text, and its parts as far as they are asked for."""

    def __init__(self, text: str, prompt: str = "") -> None:
        self.text = text
        self.prompt = prompt
        """What the model was asked: text repeated from it is no text of the model's."""

    @cached_property
    def words(self) -> list[str]:
        """See `words`."""
        return words(self.text)

    @cached_property
    def folded(self) -> list[str]:
        """See `folded`."""
        return folded(self.text)

    @cached_property
    def plain(self) -> str:
        """See `normal`."""
        return normal(self.text)

    def count(self, phrase: str) -> int:
        """How often a word or phrase stands in the text: whole, in any case, with any white space inside."""
        return occurrences(self.plain, normal(phrase))

    @cached_property
    def _look(self) -> str:
        return resembled(self.plain)

    def most(self, phrase: str) -> int:
        """The same for what must not occur (often): whatever looks like the phrase counts too."""
        return max(self.count(phrase), occurrences(self._look, resembled(normal(phrase))))

    def most_letters(self, letter: str) -> int:
        """How often a letter, or something that looks like it, occurs."""
        text, letter = self.text.lower(), letter.lower()
        return max(text.count(letter), resembled(normal(text)).count(resembled(normal(letter)) or letter))

    @cached_property
    def lines(self) -> list[str]:
        """The lines, blank ones included."""
        return self.text.split("\n")

    @cached_property
    def paragraphs(self) -> list[str]:
        """The parts between blank lines."""
        return paragraphs(self.text)

    @cached_property
    def sentences(self) -> list[str]:
        """See `sentences`."""
        return sentences(self.text)

    @cached_property
    def fences(self) -> list[tuple[str, str]]:
        """The closed code fences (CommonMark 0.31, section 4.5): the language in lower case, and the code."""
        return self._fenced[0]

    @cached_property
    def prose(self) -> list[str]:
        """The lines outside closed code fences."""
        return self._fenced[1]

    @cached_property
    def _fenced(self) -> tuple[list[tuple[str, str]], list[str]]:
        fences: list[tuple[str, str]] = []
        prose: list[str] = []
        opened: tuple[str, str] | None = None
        inside: list[str] = []
        for line in self.lines:
            fence = _FENCE.fullmatch(line) if "```" in line or "~~~" in line else None
            marks, info = (fence[1], fence[2].strip()) if fence else ("", "")
            if opened is None:
                if marks and not (marks[0] == "`" and "`" in info):
                    opened, inside = (marks, info), [line]
                else:
                    prose.append(line)
            elif marks.startswith(opened[0]) and not info:
                fences.append((opened[1].split(" ")[0].lower(), "\n".join(inside[1:])))
                opened = None
            else:
                inside.append(line)
        return fences, prose if opened is None else prose + inside


def paragraphs(text: str) -> list[str]:
    """The parts of a text between blank lines, stripped. One without a letter or digit, such as `---`, is none."""
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    parts = ["\n".join(lines).strip() for lines in found]
    return [part for part in parts if has_word(part)]


def sentences(text: str) -> list[str]:
    """The sentences of a text, headings left out; a part without closing punctuation counts as one."""
    blocks = _blocks(text)
    said = [block for block in blocks if not _is_heading(block)] or blocks
    return [sentence for block in said for sentence in _in_block(block)]


def _is_heading(block: str) -> bool:
    """Whether a block is a short Markdown heading, a line in emphasis or a <<title>>, and no sentence."""
    return (
        _HEADING.fullmatch(block) is not None
        and block.rstrip("#*_> ")[-1:] not in _STOPS
        and block.count(" ") < MAX_HEADING
    )


def _blocks(text: str) -> list[str]:
    """The parts of a text that no sentence reaches across, each on one line with single spaces."""
    blocks: list[list[str]] = []
    joined = False
    for line in text.split("\n"):
        if not has_word(line):
            joined = False
            continue
        parts = line.split()
        heading = _HEADING.fullmatch(" ".join(parts)) is not None
        if joined and not heading and not _OWN_LINE.match(line):
            blocks[-1] += parts
        else:
            blocks.append(parts)
        joined = not heading
    return [" ".join(block) for block in blocks]


def _in_block(block: str) -> list[str]:
    found: list[str] = []
    start = 0
    for stop in _STOP.finditer(block):
        if _ends(block, start, stop):
            found.append(block[start : stop.end()].strip())
            start = stop.end()
    found.append(block[start:].strip())
    return [sentence for sentence in found if has_word(sentence)]


def _ends(block: str, start: int, stop: regex.Match[str]) -> bool:
    """Whether punctuation ends a sentence that began at `start`."""
    marks = stop[0].rstrip(_CLOSING)
    if marks[-1] in _STOPS[4:]:
        return True
    following = _NEXT.match(block, stop.end())
    after = following[1] if following else ""
    if not after:
        return True
    if after[0].islower() and (len(marks) < len(stop[0].rstrip("*_")) or marks.endswith(("..", "…"))):
        return False  # "Why?" he asked; and so ... on
    if marks != ".":
        return True
    at = max(block.rfind(" ", start, stop.start()) + 1, start)
    last = block[at : stop.start()].lstrip("\"'“‘«([*_")
    if at <= start + 1 and _ORDINAL.fullmatch(last):
        return False  # 1. the number of an item
    folded_last = last.lower()
    next_word = after.rstrip(".,;:!?").lower()
    if folded_last in _TITLES:
        return False
    if folded_last in _NUMBERED:
        return not after[0].isdigit()
    if folded_last == "etc":
        return after[0].isupper()
    if folded_last in _ENDINGS or (_INITIALS.fullmatch(last) and last[0].isupper() and last != "I"):
        return after[0].isupper() and next_word in _STARTERS
    return True
