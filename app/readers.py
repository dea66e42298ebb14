"""Rows of a file as items to score: plain JSON lines, and the public formats of GSM8K, MATH and HumanEval.

A file is read as a stream, one row after the other; a row that cannot be used costs only itself.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from app import wire
from app.errors import Problem

MAX_ROW = wire.MAX_BODY
"""Bytes of one row."""
MAX_DEPTH = wire.MAX_DEPTH - 2
"""Nesting of one row: a request puts its item into an object and a list."""

COMPLETION_FIELDS = ("completion", "response", "output", "solution", "prediction")
"""Where a row of a public format is looked through for its completion, in this order."""
SEVERAL_FIELDS = ("completions", "samples")
"""Fields that hold a list of completions of one prompt."""

_FINAL_ANSWER = re.compile(r"(?:.*####|A:)\s*(\S.*)", re.DOTALL)
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Format(StrEnum):
    """What the rows of a file look like."""

    PLAIN = "plain"
    """The items of POST /score: id, prompt, completion, reference, group, ..."""
    GSM8K = "gsm8k"
    """question, answer ending in `#### N`; or ground_truth ending in `A: N`."""
    MATH = "math"
    """problem, solution with a box, and answer where the set has one; or question and gt."""
    HUMANEVAL = "humaneval"
    """task_id, prompt, canonical_solution, test, entry_point."""


class InputError(Exception):
    """The file cannot be opened, or not be read to its end."""


class RowError(Exception):
    """This row cannot be used; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How rows are understood."""

    format: Format | None = None
    """None: told for each row by its fields."""
    completion_field: str | None = None
    """The field that holds the completion, or a list of several; None: one of the usual names."""
    gold: bool = False
    """Score the data set's own answers instead of completions."""
    references: bool = False
    """Plain rows are references to check, with or without a completion."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file: its items, or the fault that keeps it from being scored."""

    line: int
    """Counted from 1, blank lines included."""
    items: Sequence[dict[str, Any]]
    """In the form of POST /score; several where the row has a list of completions."""
    several: bool = False
    fault: str | None = None


class Source:
    """A file of JSON lines, plain or gzip (told by its first bytes); `-` is standard input.

    Opened when `rows` is first asked for a row, and closed after its last one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: io.BufferedReader | None = None
        self.size: int | None = None
        """Bytes of the file, known once it is open; None for a pipe."""

    @property
    def name(self) -> str:
        """The file in messages."""
        return "standard input" if self._is_stdin else str(self._path)

    @property
    def _is_stdin(self) -> bool:
        return str(self._path) == "-"

    @property
    def position(self) -> int:
        """Bytes of the file (compressed, if it is) that were read so far; 0 for a pipe."""
        if self._file is None or self.size is None:
            return 0
        return self.size if self._file.closed else self._file.raw.tell()

    def rows(self, choice: Choice) -> Iterator[Row]:
        """The rows in order, blank lines left out. Raises `InputError`."""
        for number, line in self._lines():
            if not line.strip():
                continue
            try:
                items, several = parse_row(line, number, choice)
            except RowError as error:
                yield Row(number, (), fault=str(error))
            else:
                yield Row(number, items, several)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Lines by number; of one longer than `MAX_ROW` a byte more than that is left."""
        number = 0
        try:
            with self._open() as file:
                lines = _unpacked(file)
                while line := lines.readline(MAX_ROW + 1):
                    number += 1
                    if number == 1:
                        line = line.removeprefix(_BYTE_ORDER_MARK)
                    rest = line
                    while len(rest) > MAX_ROW and not rest.endswith(b"\n"):
                        rest = lines.readline(MAX_ROW + 1)
                    yield number, line.removesuffix(b"\n")
        except (OSError, EOFError, zlib.error) as error:
            after = f" after line {number}" if number else ""
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{self.name} cannot be read{after}: {reason}") from error

    def _open(self) -> io.BufferedReader:
        # not sys.stdin, whose lock the interpreter takes at exit, while a thread may be waiting for input
        file = open(0, "rb", closefd=False) if self._is_stdin else self._path.open("rb")  # noqa: SIM115 - rows closes it
        self._file = file
        self.size = os.fstat(file.fileno()).st_size if file.seekable() else None
        return file


def _unpacked(file: io.BufferedReader) -> io.BufferedIOBase:
    return gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == _GZIP_MAGIC else file


def parse_row(line: bytes, number: int, choice: Choice) -> tuple[list[dict[str, Any]], bool]:
    """The items of one row, and whether the row had a list of completions. Raises `RowError`."""
    if len(line) > MAX_ROW:
        raise RowError(f"longer than {MAX_ROW // 2**20} MiB")
    if wire.too_deep(line, MAX_DEPTH):
        raise RowError(f"nests deeper than {MAX_DEPTH} levels")
    try:
        row = wire.decode(line)
    except Problem as problem:
        raise RowError(problem.detail.replace(" line 1,", "")) from None
    if not isinstance(row, dict):
        raise RowError("not a JSON object")
    match choice.format or detect(row):
        case Format.GSM8K:
            return _items(_gsm8k(row), row, number, choice)
        case Format.MATH:
            return _items(_math(row), row, number, choice)
        case Format.HUMANEVAL:
            return _items(_humaneval(row), row, number, choice)
        case _:
            return _plain(row, number, choice)


def detect(row: Mapping[str, Any]) -> Format:
    """The format that a row's fields tell; plain where they tell none."""
    fields = row.keys()
    if {"task_id", "prompt", "test", "entry_point"} <= fields:
        return Format.HUMANEVAL
    if ("problem" in fields and fields & {"solution", "answer"}) or {"question", "gt"} <= fields:
        return Format.MATH
    if "question" in fields and ("ground_truth" in fields or "####" in str(row.get("answer"))):
        return Format.GSM8K
    return Format.PLAIN


@dataclass(frozen=True, slots=True)
class _Problem:
    """A row of a public format without its completion."""

    prompt: str
    reference: Any
    gold: str
    completion_fields: Sequence[str] = COMPLETION_FIELDS


def _gsm8k(row: Mapping[str, Any]) -> _Problem:
    name = "answer" if "answer" in row else "ground_truth"
    answer = _text(row, name)
    final = _FINAL_ANSWER.fullmatch(answer.rstrip().rpartition("\n")[2])
    if final is None:
        raise RowError(f"{name!r} does not end in '#### N'")
    return _Problem(_text(row, "question"), final[1].replace(",", ""), answer)


def _math(row: Mapping[str, Any]) -> _Problem:
    answered = next((name for name in ("answer", "gt") if name in row), None)
    reference = _boxed(_text(row, "solution")) if answered is None else _text(row, answered)
    gold = _text(row, "solution") if "solution" in row else f"\\boxed{{{reference}}}"
    # here `solution` is the data set's own, and would always score
    fields = [name for name in COMPLETION_FIELDS if name != "solution"]
    return _Problem(_text(row, "problem" if "problem" in row else "question"), reference, gold, fields)


def _boxed(solution: str) -> str:
    from verifiers.math.extract import find_box

    found = find_box(solution)
    if not found.answers:
        raise RowError("there is no 'answer', and 'solution' has no \\boxed{...} that is closed")
    return found.answers[-1].text


def _humaneval(row: Mapping[str, Any]) -> _Problem:
    reference = {"type": "script", "entry_point": _text(row, "entry_point"), "code": _text(row, "test")}
    return _Problem(_text(row, "prompt"), reference, _text(row, "canonical_solution"))


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise RowError(f"{name!r} is missing" if value is None else f"{name!r} is not a string")
    return value


def _items(
    problem: _Problem, row: Mapping[str, Any], number: int, choice: Choice
) -> tuple[list[dict[str, Any]], bool]:
    if choice.gold:
        completions, several = [problem.gold], False
    else:
        name = _completion_name(row, problem.completion_fields, choice)
        completions, several = _completions(row, name)
    named = next((str(row[field]) for field in ("id", "task_id", "unique_id", "idx") if field in row), None)
    shared = {"prompt": problem.prompt, "reference": problem.reference, "id": named, "group": row.get("group", named)}
    return _spread(shared, completions, several, number), several


def _plain(row: Mapping[str, Any], number: int, choice: Choice) -> tuple[list[dict[str, Any]], bool]:
    if choice.references:
        if "reference" not in row:
            raise RowError("'reference' is missing")
        return [dict(row)], False
    if choice.gold:
        raise RowError("a plain row has no answer of the data set's own to score with --gold")
    name = _completion_name(row, ("completion",), choice)
    completions, several = _completions(row, name)
    return _spread({key: row[key] for key in row if key != name}, completions, several, number), several


def _completion_name(row: Mapping[str, Any], usual: Sequence[str], choice: Choice) -> str:
    wanted = (*usual, *SEVERAL_FIELDS) if choice.completion_field is None else (choice.completion_field,)
    for name in wanted:
        if name in row:
            return name
    looked = " or ".join(repr(name) for name in wanted)
    raise RowError(f"no completion in {looked}: name its field with --completion-field")


def _completions(row: Mapping[str, Any], name: str) -> tuple[list[Any], bool]:
    """The completions of a row, and whether they came as a list. A list of chat messages is one completion."""
    value = row[name]
    if not isinstance(value, list) or (value and all(isinstance(part, dict) and "role" in part for part in value)):
        return [value], False
    if not value:
        raise RowError(f"{name!r} is an empty list")
    return value, True


def _spread(shared: dict[str, Any], completions: Sequence[Any], several: bool, number: int) -> list[dict[str, Any]]:
    """One item for each completion; those of one row are a group, by the row's own name or its line."""
    if not several:
        return [{**shared, "completion": completions[0]}]
    named, group = shared.get("id"), shared.get("group")
    if group is None:
        group = f"line {number}" if named is None else str(named)
    return [
        {**shared, "id": None if named is None else f"{named}/{sample}", "group": group, "completion": completion}
        for sample, completion in enumerate(completions)
    ]
