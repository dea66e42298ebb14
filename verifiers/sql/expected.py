"""What a reference asks for: which run of the database tells it, and the result that it comes to."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sandbox.cell.values import ValuesError, encode
from verifiers.base import BadItemError
from verifiers.sql.config import SqlConfig
from verifiers.sql.reference import Blob, GivenRows, GivenState, GoldQuery, GoldStatements, Reference
from verifiers.sql.sqltext import changes_data, depends_on_moment, is_ordered, makes_moments

MAX_KEPT = 256
MAX_KEPT_BYTES = 8 * 2**20
_MAX_REMEMBERED = 8_000
_MAX_GIVEN = 16 * 2**20


Need = tuple[str | None, bool]
"""Gold statements, and whether the contents of tables are needed that they leave behind."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is compared, and the gold statements that tell what is right; None where the reference itself does."""

    setup: str
    gold: str | None
    rows: bool
    state: bool
    ordered: bool
    given: bytes | None
    """Given rows or contents, encoded as `DatabaseRun.result` is; where contents are given, of the tables named."""
    transient: bool
    """The gold statements, or the fixture, may ask for the time."""

    @property
    def need(self) -> Need:
        """Equal for items of one fixture that need the same gold result."""
        return self.gold, self.state


def asked(reference: Reference, config: SqlConfig, *, of_moment: bool) -> Asked:
    """Read a reference by the configuration, whose own setup is `of_moment` or not (`sqltext.makes_moments`).

    Raises `BadItemError` where the two do not go together.
    """
    setup = "\n".join(filter(None, (config.setup, reference.setup)))
    compare = config.compare
    gold: str | None = None
    given: bytes | None = None
    match reference:
        case GoldQuery(query=gold):
            if compare == "auto":
                compare = "state" if _changes_data(gold, config.dialect) else "rows"
        case GoldStatements(statements=gold):
            compare = "state" if compare == "auto" else compare
        case GivenRows():
            if compare not in ("auto", "rows"):
                raise BadItemError(
                    f"reference/rows: compare is {compare}, which needs query, statements or state instead"
                )
            compare, given = "rows", _encoded([_given(reference.rows, reference.columns), None], "rows")
        case GivenState():
            if compare not in ("auto", "state"):
                raise BadItemError(f"reference/state: compare is {compare}, which needs query or statements instead")
            tables = [[name, _given(rows, None)] for name, rows in reference.state.items()]
            if len({name.lower() for name in reference.state}) < len(reference.state):
                raise BadItemError("reference/state: names a table twice")
            compare, given, gold = "state", _encoded([None, tables], "state"), ""
    if isinstance(reference, GivenRows) and config.columns == "name" and not _has_names(reference):
        raise BadItemError("reference/columns: columns are compared by name, so give them, or rows as objects")
    ordered = config.ordered
    if ordered == "auto":
        ordered = gold is not None and _is_ordered(gold, config.dialect)
    return Asked(
        setup,
        gold,
        compare in ("rows", "both"),
        compare in ("state", "both"),
        ordered,
        given,
        gold is not None and (of_moment or makes_moments(reference.setup) or depends_on_moment(gold, config.dialect)),
    )


def _changes_data(gold: str, dialect: str) -> bool:
    return (_known_changes if len(gold) <= _MAX_REMEMBERED else changes_data)(gold, dialect)


def _is_ordered(gold: str, dialect: str) -> bool:
    return (_known_order if len(gold) <= _MAX_REMEMBERED else is_ordered)(gold, dialect)


_known_changes = lru_cache(512)(changes_data)
_known_order = lru_cache(512)(is_ordered)
"""Completions of one prompt share their gold query."""


def _has_names(reference: GivenRows) -> bool:
    return reference.columns is not None or bool(reference.rows and isinstance(reference.rows[0], dict))


def _given(rows: list[Any], columns: list[str] | None) -> list[Any]:
    """A given table: its columns, its rows as lists, and that it is given."""
    if rows and isinstance(rows[0], dict):
        columns = list(rows[0])
        rows = [[row[name] for name in columns] for row in rows]
    return [columns, [[_cell(cell) for cell in row] for row in rows], True]


def _cell(cell: Any) -> Any:
    return bytes.fromhex(cell.hex) if isinstance(cell, Blob) else cell


def _encoded(value: Any, field: str) -> bytes:
    try:
        return encode(value, limit_bytes=_MAX_GIVEN)
    except ValuesError as error:
        raise BadItemError(f"reference/{field}: {error}") from None


class Kept:
    """Gold results by their key, the latest used ones, within a number and within bytes."""

    def __init__(self) -> None:
        self._results: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """The result that was put under the key, if it is still here."""
        found = self._results.get(key)
        if found is not None:
            self._results.move_to_end(key)
        return found

    def put(self, key: bytes, result: bytes) -> None:
        """Keep a result, in the place of older ones where need be."""
        if len(result) > MAX_KEPT_BYTES // 4 or key in self._results:
            return
        self._results[key] = result
        self._bytes += len(result)
        while len(self._results) > MAX_KEPT or self._bytes > MAX_KEPT_BYTES:
            self._bytes -= len(self._results.popitem(last=False)[1])
