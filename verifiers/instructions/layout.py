"""Instructions on the form of the answer: lists, highlights, sections, headings, tables, code, JSON.

Where the public checkers are wrong:

- `number_bullet_lists` counts `*emphasis*`, `---` and `-5` at the beginning of a line. Here a bullet is `*`, `-` or
  `+` and a space, outside code.
- `number_highlighted_sections` counts the empty ends of `**bold**` as a pair, `2 * 3 * 4` as a highlight and
  `***both***` twice. Here a highlight is emphasis as Markdown has it, on one line.
- `multiple_sections` takes the splitter for a pattern, counts mentions in running text ("see Section 2") and empty or
  repeated sections. Here a marker begins its line, the numbers 1 to N come in order, and each section says something.
- `constrained_response` accepts an answer with all three options. Here exactly one of them may occur.
- `json_format` accepts a bare string or number, NaN and duplicate names. Here the answer is an object or an array, as
  I-JSON (RFC 7493).
- `title` accepts `<<<>>>` and whatever lies between `<<` and `>>`. Here a title has a letter and no brackets.
- `square_brackets`, `bigram_wrapping` and `sentence_hyphens` look at parts of the answer, or break at punctuation.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import regex
from pydantic import Field

from verifiers.instructions.instruction import (
    Count,
    Instruction,
    Phrase,
    Phrases,
    Positive,
    Ranged,
    exactly,
    instruction,
    named,
)
from verifiers.instructions.reading import Reading, has_word, normal, occurrences, words
from verifiers.json_schema.text import NotJSONError, read

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")

_BULLET = regex.compile(r"[ \t]*+[*+-][ \t]++(?!(?:[*-][ \t]*+)++$)\S")
_NUMBERED = regex.compile(r"[ \t]*+\d{1,9}[.)][ \t]++\S")
_EMPHASIS = regex.compile(r"(?<![*\\])(\*{1,3})(?=[^\s*])([^*\n]++)(?<=\S)\1(?!\*)")
_TITLE = regex.compile(r"<<([^\n<>]++)>>")
_HEADING = regex.compile(r" {0,3}(#{1,6})[ \t]++\S")
_RULE_CELL = regex.compile(r"[ \t]*+:?-++:?[ \t]*+")
_BRACKETED = regex.compile(r"\[([^\[\]\s]++)\]")
_BIGRAM = regex.compile(r"<<([^<>]++)>>")
_JOINED = regex.compile(r"[.!?…]++[\"'”’)\]*_]*+-(?=\S)")
_DECORATION = " \t#*_>\"'“‘([{-•"
"""What may stand before a marker at the beginning of a line."""


@instruction("detectable_format:number_bullet_lists")
class NumberBullets(Instruction):
    """Exactly so many bullet points, nested ones included."""

    num_bullets: Count

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return exactly(_count(_BULLET, reading), self.num_bullets, "bullet points")


@instruction("detectable_format:bullet_list")
class BulletList(Ranged):
    """So many bullet points, nested ones included."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return self.outside(_count(_BULLET, reading), "bullet points")


@instruction("detectable_format:numbered_list")
class NumberedList(Ranged):
    """So many numbered items (`1.` or `1)`)."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return self.outside(_count(_NUMBERED, reading), "numbered items")


@instruction("detectable_format:headings")
class Headings(Ranged):
    """So many Markdown headings, of this level (1 to 6) or of any."""

    level: Annotated[Positive, Field(le=6)] | None = None

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        levels = [len(heading[1]) for line in reading.prose if (heading := _HEADING.match(line)) and has_word(line)]
        count = len(levels) if self.level is None else levels.count(self.level)
        return self.outside(count, "headings" if self.level is None else f"headings of level {self.level}")


@instruction("detectable_format:table")
class Table(Instruction):
    """A Markdown table of so many columns (or any number) with at least so many rows under its head."""

    columns: Positive | None = None
    min_rows: Count = 1

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        tables = _tables(reading.prose)
        if not tables:
            return "there is no table"
        fitting = [rows for columns, rows in tables if self.columns in (None, columns)]
        if not fitting:
            return f"a table of {tables[0][0]} columns, {self.columns} asked"
        held = max(fitting) >= self.min_rows
        return "" if held else f"a table of {max(fitting)} rows, at least {self.min_rows} asked"


@instruction("detectable_format:code_block")
class CodeBlock(Ranged):
    """So many closed code fences with something in them, marked with this language or with any; `min` is 1
    unless given."""

    min: Count | None = 1
    language: Phrase | None = None

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        asked = self.language and self.language.lower()
        count = sum(1 for language, code in reading.fences if has_word(code) and asked in (None, language))
        return self.outside(count, f"code fences marked {named(asked)}" if asked else "code fences")


@instruction("detectable_format:number_highlighted_sections")
class Highlights(Instruction):
    """At least so many highlights: `*text*`, `**text**` or `***text***`."""

    num_highlights: Count

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        count = sum(1 for found in _EMPHASIS.finditer(reading.text) if has_word(found[2]))
        return "" if count >= self.num_highlights else f"{count} highlights, at least {self.num_highlights} asked"


@instruction("detectable_format:multiple_sections")
class Sections(Instruction):
    """Sections 1 to `num_sections` in order, each begun by a line with the splitter, in its case, and its number."""

    section_spliter: Phrase
    num_sections: Positive

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        found = 0
        says = True
        for line in reading.lines:
            number, rest = self._marker(line)
            if number is not None:
                if not says:
                    return f"{self.section_spliter} {found} is empty"
                says = False
                if number == found + 1:
                    found += 1
            says = says or has_word(rest)
        if not says:
            return "the last section is empty"
        held = found >= self.num_sections
        return "" if held else f"{found} sections in order, {self.num_sections} asked"

    def _marker(self, line: str) -> tuple[int | None, str]:
        """The number of the section that begins on a line, if one does, and the rest of the line."""
        bare = line.lstrip(_DECORATION)
        if not bare.startswith(self.section_spliter):
            return None, line
        after = bare[len(self.section_spliter) :].lstrip(" \t")
        digits = regex.match(r"\d{1,6}+(?!\p{L})", after)
        return (int(digits[0]), after[digits.end() :]) if digits else (None, line)


@instruction("detectable_format:title")
class Title(Instruction):
    """A title in double angular brackets: `<<title>>`."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        held = any(has_word(title[1]) for title in _TITLE.finditer(reading.text))
        return "" if held else "there is no <<title>>"


@instruction("detectable_format:constrained_response")
class Constrained(Instruction):
    """Of `My answer is yes.`, `My answer is no.` and `My answer is maybe.`, exactly one occurs in any case,
    and as it is written here."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        found = [option for option in OPTIONS if reading.count(option)]
        if wrong := exactly(len(found), 1, "of the options"):
            return wrong
        return "" if found[0] in reading.text else f"{named(found[0])} is written otherwise"


@instruction("detectable_format:choice")
class Choice(Instruction):
    """One of these options occurs, whole and in any case, and none of the others, but as a part of it; with `only`,
    nothing else does."""

    options: Phrases
    only: bool = False

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        if self.only:
            answer = reading.text.strip(" \t\n\"'“”*_`").casefold()
            held = any(answer in (option.casefold(), f"{option}.".casefold()) for option in self.options)
            return "" if held else "the answer is not just one of the options"
        return exactly(sum(count > 0 for count in self._counts(reading).values()), 1, "of the options")

    def _counts(self, reading: Reading) -> dict[str, int]:
        """How often each option occurs by itself and not as part of another, as `agree` in `strongly agree`."""
        counts: dict[str, int] = {}
        for option in sorted(set(map(normal, self.options)), key=len, reverse=True):
            inside = sum(count * occurrences(longer, option) for longer, count in counts.items() if count)
            counts[option] = reading.count(option) - inside
        return counts


@instruction("detectable_format:json_format")
class JsonFormat(Instruction):
    """The whole answer is a JSON object or array, by itself or in one code fence."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        value, fault = _json(_unfenced(reading.text))
        return fault or ("" if isinstance(value, dict | list) else "neither an object nor an array")


@instruction("detectable_format:json_output")
class JsonOutput(Instruction):
    """JSON: the whole answer (by itself or in one code fence), or with `source: fenced` its last closed fence marked
    json or not at all; with `required_keys`, an object that has them."""

    source: Literal["whole", "fenced"] = "whole"
    required_keys: Phrases | None = None

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        if self.source == "whole":
            value, fault = _json(_unfenced(reading.text))
        else:
            code = [code for language, code in reading.fences if language in ("", "json")]
            value, fault = _json(code[-1]) if code else (None, "there is no closed code fence with JSON")
        if fault:
            return fault
        if self.required_keys is None:
            return "" if isinstance(value, dict | list) else "neither an object nor an array"
        if not isinstance(value, dict):
            return "not an object"
        missing = [key for key in self.required_keys if key not in value]
        return f"the key {named(missing[0])} is missing" if missing else ""


@instruction("detectable_format:square_brackets")
class SquareBrackets(Instruction):
    """Every word stands in square brackets of its own."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        together = [inside for inside in _BRACKETED.findall(reading.text) if len(words(inside)) > 1]
        outside = words(_BRACKETED.sub(" ", reading.text)) + together
        return f"{named(outside[0])} is not in brackets of its own" if outside else ""


@instruction("detectable_format:bigram_wrapping")
class Bigrams(Instruction):
    """Every two words stand in double angular brackets (`<<I am>> <<at home>>`), and the last one may be alone
    in its own."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        sizes = [len(pair[1].split()) for pair in _BIGRAM.finditer(reading.text)]
        outside = words(_BIGRAM.sub(" ", reading.text))
        if outside:
            return f"{named(outside[0])} is outside the brackets"
        held = all(size == 2 for size in sizes[:-1]) and sizes[-1:] < [3]
        return "" if held else "brackets do not hold two words each"


@instruction("detectable_format:sentence_hyphens")
class Hyphens(Instruction):
    """Sentences are joined by hyphens, without spaces."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        if len(reading.sentences) > 1:
            return "sentences are separated by white space"
        return "" if _JOINED.search(reading.text) else "no sentences are joined by hyphens"


def _count(pattern: regex.Pattern[str], reading: Reading) -> int:
    """How many lines begin as the pattern says and go on with a word."""
    starts = ((line, pattern.match(line)) for line in reading.prose)
    return sum(1 for line, start in starts if start and has_word(line[start.end() - 1 :]))


def _tables(lines: list[str]) -> list[tuple[int, int]]:
    """Columns and rows of each Markdown table (GitHub Flavored Markdown 0.29, section 4.10)."""
    tables: list[tuple[int, int]] = []
    inside = False
    head: list[str] = []
    for line in lines:
        cells = _cells(line)
        if inside and cells:
            columns, rows = tables[-1]
            tables[-1] = (columns, rows + any(map(has_word, cells)))
        elif cells and len(cells) == len(head) and all(map(_RULE_CELL.fullmatch, cells)):
            tables.append((len(cells), 0))
            inside = True
        else:
            inside = False
        head = cells
    return tables


def _cells(line: str) -> list[str]:
    line = line.strip()
    return line.removeprefix("|").removesuffix("|").split("|") if "|" in line else []


def _unfenced(text: str) -> str:
    """The inside of the one code fence that is the whole text, or the text itself."""
    text = text.strip()
    if not (text.startswith("```") and text.endswith("```") and len(text) >= 6):
        return text
    inside = text[3:-3]
    return inside[4:] if inside[:4].lower() == "json" else inside


def _json(text: str) -> tuple[Any, str]:
    """The value, and why there is none."""
    try:
        return read(text, "whole"), ""
    except NotJSONError as error:
        return None, f"not JSON: {error}"
