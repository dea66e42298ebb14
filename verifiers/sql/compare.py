"""Whether a result is the expected one: tables as lists or multisets of rows, and contents of whole databases.

A result of more than a few rows is compared in a guarded worker: one made on purpose can take long.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.cell.values import ValuesError, decode
from verifiers.sql import cells
from verifiers.sql.cells import Column, Comparable, Types
from verifiers.sql.config import Columns

MAX_ANY = 64
"""Columns among which an arrangement is sought; more are compared in their order."""
MAX_ARRANGEMENTS = 2_000
"""Partial arrangements of columns that are looked at."""

MAX_PAIRED = 500
"""Rows, alike but for their numbers, among which pairs are sought where sorting does not show them."""

MAX_QUICK = 16
"""Rows among which pairs are sought, or groups of rows that are paired anew, where the event loop waits for it."""

ComparableRow = tuple[Comparable, ...]


class TooLongError(Exception):
    """A comparison that was to be quick would not be."""


@dataclass(frozen=True, slots=True)
class Table:
    """Names of columns (None where they are not known) and rows. `given`: from JSON, which writes most as text."""

    names: list[str] | None
    rows: list[list[Any]]
    given: bool = False

    @property
    def width(self) -> int | None:
        """Columns, where that is known."""
        if self.names is not None:
            return len(self.names)
        return len(self.rows[0]) if self.rows else None

    def column(self, index: int) -> list[Any]:
        """The cells of one column."""
        return [row[index] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Result:
    """What statements returned, and what they left behind; None where that was not asked for, or there is none."""

    table: Table | None
    tables: dict[str, Table] | None


@dataclass(frozen=True, slots=True)
class Rules:
    """How results are compared."""

    columns: Columns
    ordered: bool
    types: Types
    quick: bool = False
    """Raise `TooLongError` rather than take more than some milliseconds, for results of some KiB."""


def read_result(data: bytes, limit_bytes: int) -> Result:
    """Decode what a database run returned (see `verifiers.databases.DatabaseRun.result`). Raises `ValuesError`.

    A third member of a table says that it was given. The names of a database's tables are in lower case.
    """
    value = decode(data, limit_bytes=limit_bytes)
    match value:
        case [None | list() as table, None | list() as tables]:
            found = None if tables is None else dict(_named(each) for each in tables)
            if found is not None and tables is not None and len(found) != len(tables):
                raise ValuesError("two tables of one name")
            return Result(None if table is None else _table(table), found)
        case _:
            raise ValuesError("no result of statements")


def _named(value: Any) -> tuple[str, Table]:
    match value:
        case [str(name), list() as table]:
            return name.lower(), _table(table)
        case _:
            raise ValuesError("no named table")


def _table(value: list[Any]) -> Table:
    match value:
        case [None | list() as names, list() as rows, *given]:
            table = Table(names, rows, given == [True])
        case _:
            raise ValuesError("no table")
    width = table.width
    if any(type(name) is not str for name in names or ()) or any(
        type(row) is not list or len(row) != width for row in rows
    ):
        raise ValuesError("no table")
    return table


def rows_differ(found: Table | None, expected: Table, rules: Rules) -> str | None:
    """In a few words why a query's rows are not the expected ones; None where they are."""
    if found is None:
        return "no statement returns rows"
    fault = _sizes_differ(found, expected)
    if fault:
        return fault
    width = found.width or 0
    if rules.columns == "name":
        order = _by_name(found, expected)
        if order is None:
            return "the names of the columns differ, or one is there twice"
    elif rules.columns == "any" and 1 < width <= MAX_ANY and expected.rows:
        return _some_order_differs(found, expected, rules)
    else:
        order = list(range(width))
    return _arranged_differ(found, expected, order, rules)


def tables_differ(
    found: dict[str, Table] | None, expected: dict[str, Table], types: Types, *, quick: bool = False
) -> str | None:
    """In a few words why the contents of a database are not the expected ones; None where they are."""
    if found is None:
        raise ValuesError("no contents of tables")
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            return f"there is no table {name}"
        if name not in expected:
            return f"there is a table {name}, which should not be"
        fault = _contents_differ(found[name], expected[name], types, quick)
        if fault:
            return f"table {name}: {fault}"
    return None


def _contents_differ(found: Table, expected: Table, types: Types, quick: bool) -> str | None:
    fault = _sizes_differ(found, expected)
    if fault:
        return fault.replace("returns", "has")
    rules = Rules("position" if expected.names is None else "name", ordered=False, types=types, quick=quick)
    order = list(range(found.width or 0)) if expected.names is None else _by_name(found, expected)
    if order is None:
        return "the names of its columns differ"
    return _arranged_differ(found, expected, order, rules)


def _sizes_differ(found: Table, expected: Table) -> str | None:
    if expected.width is not None and found.width != expected.width:
        return f"returns {found.width} columns, not {expected.width}"
    if len(found.rows) != len(expected.rows):
        return f"returns {len(found.rows)} rows, not {len(expected.rows)}"
    return None


def _by_name(found: Table, expected: Table) -> list[int] | None:
    """Which column of `found` is each of `expected`; None where names do not tell."""
    if found.names is None or expected.names is None:
        return None
    # by case as well where only that tells the expected ones apart, as it may in PostgreSQL
    fold = str.lower if is_told_apart(expected.names, str.lower) else str
    places = {fold(name): index for index, name in enumerate(found.names)}
    wanted = [fold(name) for name in expected.names]
    if len(places) != len(found.names) or len(set(wanted)) != len(wanted) or places.keys() != set(wanted):
        return None
    return [places[name] for name in wanted]


def is_told_apart(names: list[str], fold: Callable[[str], str] = str) -> bool:
    """Whether no name is there twice."""
    return len(set(map(fold, names))) == len(names)


def _arranged_differ(found: Table, expected: Table, order: Sequence[int], rules: Rules) -> str | None:
    """The same of tables whose columns have found each other: `order[j]` is that of `expected`'s column j."""
    if not expected.rows:
        return None
    left: list[Column] = []
    right: list[Column] = []
    for index, place in enumerate(order):
        one, other = cells.columns(found.column(place), expected.column(index), rules.types, given=expected.given)
        left.append(one)
        right.append(other)
    return _lines_differ(list(zip(*left, strict=True)), list(zip(*right, strict=True)), rules)


def _lines_differ(found: list[ComparableRow], expected: list[ComparableRow], rules: Rules) -> str | None:
    if rules.ordered:
        for index, (row, wanted) in enumerate(zip(found, expected, strict=True)):
            if not _same_row(row, wanted, rules.types):
                return f"row {index} differs"
        return None
    missing = _unmatched(found, expected, rules)
    return None if missing is None else f"the expected row {missing} is not there, or not as often"


def _same_row(row: ComparableRow, wanted: ComparableRow, types: Types) -> bool:
    return all(cells.same(cell, other, types) for cell, other in zip(row, wanted, strict=True))


def _unmatched(found: list[ComparableRow], expected: list[ComparableRow], rules: Rules) -> int | None:
    """The index of an expected row that has no found row of its own; None where all have, each another."""
    left = Counter(found)
    rest: list[int] = []
    for index, row in enumerate(expected):
        if left[row]:
            left[row] -= 1
        else:
            rest.append(index)
    if not rest:
        return None
    groups: defaultdict[ComparableRow, tuple[list[ComparableRow], list[int]]] = defaultdict(lambda: ([], []))
    for row in left.elements():
        groups[_without_numbers(row)][0].append(row)
    for index in rest:
        groups[_without_numbers(expected[index])][1].append(index)
    anew = 0
    for key, (rows, indices) in groups.items():
        if len(rows) < len(indices):
            return indices[0]
        unpaired = _pair(rows, [(index, expected[index]) for index in indices], rules)
        if unpaired is None:
            continue
        anew += 1
        if rules.quick and anew > MAX_QUICK:
            raise TooLongError
        # Rows that are equal were paired off first. Where others are merely close, that may have taken a row that
        # one of these needs, so all rows that differ in numbers alone are paired anew.
        all_rows = [row for row in found if _without_numbers(row) == key]
        wanted = [(index, row) for index, row in enumerate(expected) if _without_numbers(row) == key]
        if len(wanted) > MAX_PAIRED or _pair(all_rows, wanted, rules) is not None:
            return unpaired
    return None


def _without_numbers(row: ComparableRow) -> ComparableRow:
    return tuple((kind, None) if isinstance(value, int | float | Decimal) else (kind, value) for kind, value in row)


def _pair(rows: list[ComparableRow], wanted: list[tuple[int, ComparableRow]], rules: Rules) -> int | None:
    """Pair each wanted row with a row close to it, each with another; the index of one that stays alone, or None.

    Sorted rows mostly pair as they stand. Else it is a maximum matching, by augmenting paths (Berge 1957).
    """
    types = rules.types
    if not wanted:
        return None
    if len(rows) != len(wanted):
        return wanted[0][0]
    numeric = [place for place, (_, value) in enumerate(wanted[0][1]) if isinstance(value, int | float | Decimal)]
    if not numeric:
        return None
    rows = sorted(rows, key=lambda row: [row[place][1] for place in numeric])
    wanted = sorted(wanted, key=lambda each: [each[1][place][1] for place in numeric])
    apart = [index for row, (index, other) in zip(rows, wanted, strict=True) if not _same_row(row, other, types)]
    if not apart or len(rows) > MAX_PAIRED:
        return apart[0] if apart else None
    if rules.quick and len(rows) > MAX_QUICK:
        raise TooLongError
    close = [[place for place, row in enumerate(rows) if _same_row(row, other, types)] for _, other in wanted]
    owner: dict[int, int] = {}
    for start in range(len(wanted)):
        if not _augment(start, close, owner):
            return wanted[start][0]
    return None


def _augment(start: int, close: list[list[int]], owner: dict[int, int]) -> bool:
    """Give the wanted row `start` one of its rows, moving others to theirs where needed."""
    seen: set[int] = set()
    path: list[tuple[int, Iterator[int]]] = [(start, iter(close[start]))]
    taken: list[int] = []
    while path:
        _, choices = path[-1]
        for row in choices:
            if row in seen:
                continue
            seen.add(row)
            taken.append(row)
            if row not in owner:
                for (each, _), place in zip(path, taken, strict=True):
                    owner[place] = each
                return True
            path.append((owner[row], iter(close[owner[row]])))
            break
        else:
            path.pop()
            if taken:
                taken.pop()
    return False


def _some_order_differs(found: Table, expected: Table, rules: Rules) -> str | None:
    """None where some arrangement of the found columns makes the rows equal.

    Columns are placed one by one; after each, the rows must be equal as far as they are placed.
    """
    width = len(expected.rows[0])
    if _arranged_differ(found, expected, range(width), rules) is None:
        return None
    if rules.quick:
        raise TooLongError
    pairs: dict[tuple[int, int], tuple[Column, Column] | None] = {}

    def pair(place: int, index: int) -> tuple[Column, Column] | None:
        """Both columns, where their own cells are the same."""
        key = place, index
        if key not in pairs:
            both = cells.columns(found.column(place), expected.column(index), rules.types, given=expected.given)
            lines: list[list[ComparableRow]] = [[(cell,) for cell in column] for column in both]
            pairs[key] = None if _lines_differ(lines[0], lines[1], rules) else both
        return pairs[key]

    looked = 0
    path: list[Iterator[int]] = [iter(range(width))]
    placed: list[int] = []
    while path:
        for place in path[-1]:
            if place in placed or pair(place, len(placed)) is None:
                continue
            looked += 1
            if looked > MAX_ARRANGEMENTS:
                return "no arrangement of the columns was found that makes the rows equal"
            trial = [*placed, place]
            both = [pair(each, index) for index, each in enumerate(trial)]
            left = list(zip(*(columns[0] for columns in both if columns), strict=True))
            right = list(zip(*(columns[1] for columns in both if columns), strict=True))
            if _lines_differ(left, right, rules):
                continue
            if len(trial) == width:
                return None
            placed.append(place)
            path.append(iter(range(width)))
            break
        else:
            path.pop()
            if placed:
                placed.pop()
    return "no arrangement of the columns makes the rows equal"
