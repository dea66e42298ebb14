"""The reference of the kind `sql`: a gold query, given rows, gold statements, or given contents of tables."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from verifiers.base import BadItemError, parse_reference
from verifiers.sql.config import MAX_SETUP
from verifiers.strict import Strict

MAX_SQL = 200_000
"""Characters of a gold query or gold statements."""
MAX_ROWS = 20_000
MAX_COLUMNS = 1_000
MAX_TABLES = 1_000
_LARGE_SQL, _LARGE_ROWS = 1_000, 500


class Blob(Strict):
    """Bytes, as hexadecimal digits."""

    hex: str = Field(description="Two digits for each byte.", pattern=r"^([0-9A-Fa-f]{2})*$", examples=["00ff"])


Cell = bool | int | float | str | Blob | None
Row = Annotated[list[Cell], Field(fail_fast=True, max_length=MAX_COLUMNS)]
NamedRow = dict[str, Cell]


def _alike(rows: list[list[Cell] | dict[str, Cell]]) -> list[list[Cell] | dict[str, Cell]]:
    """Rows of one form and width."""
    first = rows[0] if rows else None
    for row in rows:
        if isinstance(row, dict) is not isinstance(first, dict):
            raise PydanticCustomError("alike", "rows must be all lists or all objects")
        if isinstance(row, dict) and isinstance(first, dict) and row.keys() != first.keys():
            raise PydanticCustomError("alike", "rows that are objects must have the same names")
        if isinstance(first, list) and len(row) != len(first):
            raise PydanticCustomError("alike", "rows that are lists must have the same length")
    return rows


Rows = Annotated[list[Row | NamedRow], Field(fail_fast=True, max_length=MAX_ROWS), AfterValidator(_alike)]
"""Each row as a list of its cells, or as an object by the names of columns; dates, UUIDs and the like as text."""


class _Fixture(Strict):
    setup: str = Field(
        "", max_length=MAX_SETUP, description="SQL that is run after the configuration's setup, for this item alone."
    )


class GoldQuery(_Fixture):
    """A query whose rows the candidate's must equal; or statements that change data, see compare."""

    query: str = Field(
        min_length=1, max_length=MAX_SQL, description="The gold query.", examples=["SELECT count(*) FROM orders"]
    )


class GivenRows(_Fixture):
    """The rows that the candidate's query must return."""

    rows: Rows = Field(
        description="Each a list of cells, or an object by the names of columns.", examples=[[[1, "Ada"], [2, None]]]
    )
    columns: Annotated[list[str], Field(max_length=MAX_COLUMNS)] | None = Field(
        None, description="Names of the columns, where they count and the rows are lists."
    )

    @model_validator(mode="after")
    def _as_many_columns(self) -> GivenRows:
        if self.columns is not None and any(len(row) != len(self.columns) for row in self.rows[:1]):
            raise PydanticCustomError("columns", "there must be as many columns as each row has cells")
        return self


class GoldStatements(_Fixture):
    """Statements after which every table must hold what it holds after the candidate's."""

    statements: str = Field(
        min_length=1,
        max_length=MAX_SQL,
        description="The gold statements.",
        examples=["DELETE FROM orders WHERE paid"],
    )


class GivenState(_Fixture):
    """What tables must hold afterwards, by name; those that are not named must hold what the fixture gave them."""

    state: Annotated[dict[str, Rows], Field(min_length=1, max_length=MAX_TABLES)] = Field(
        description="Rows by the names of tables.", examples=[{"orders": [{"id": 1, "paid": 1}]}]
    )


Reference = GoldQuery | GivenRows | GoldStatements | GivenState
_FORMS = ("query", "rows", "statements", "state")


def _form(value: Any) -> str | None:
    if not isinstance(value, dict):
        return next((f"tagged {form}" for form in _FORMS if hasattr(value, form)), None)
    found = [form for form in _FORMS if form in value]
    return f"tagged {found[0]}" if len(found) == 1 else None


REFERENCE: TypeAdapter[Reference] = TypeAdapter(
    Annotated[
        Annotated[GoldQuery, Tag("tagged query")]
        | Annotated[GivenRows, Tag("tagged rows")]
        | Annotated[GoldStatements, Tag("tagged statements")]
        | Annotated[GivenState, Tag("tagged state")],
        Discriminator(
            _form,
            custom_error_type="form",
            custom_error_message="must be an object with one of 'query', 'rows', 'statements' and 'state'",
        ),
    ]
)


def read_reference(value: Any) -> Reference:
    """The reference of an item. Raises `BadItemError`."""
    reference: Reference = parse_reference(REFERENCE, value)
    for name in ("setup", "query", "statements"):
        text = getattr(reference, name, "")
        if not is_sendable(text):
            raise BadItemError(f"reference/{name}: holds NUL, or half of a surrogate pair, which no SQL can")
    return reference


def is_large(value: Any) -> bool:
    """Whether reading the reference may take longer than a few milliseconds. Itself takes microseconds."""
    if not isinstance(value, dict):
        return False
    text = value.get("query") or value.get("statements") or ""
    rows = value.get("rows") or ()
    if isinstance(state := value.get("state"), dict):
        rows = [row for table in state.values() if isinstance(table, list) for row in table]
    return (isinstance(text, str) and len(text) > _LARGE_SQL) or (isinstance(rows, list) and len(rows) > _LARGE_ROWS)


def is_sendable(sql: str) -> bool:
    """Whether a database can be given the text at all."""
    if "\0" in sql:
        return False
    try:
        sql.encode()
    except UnicodeEncodeError:
        return False
    return True
