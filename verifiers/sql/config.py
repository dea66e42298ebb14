"""The configuration of the kind `sql`: the fixture, how rows are compared, and what a candidate may use."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from verifiers.base import KindConfig
from verifiers.databases import RunLimits

Dialect = Literal["sqlite", "postgresql"]
Compare = Literal["auto", "rows", "state", "both"]
Columns = Literal["position", "name", "any"]

MAX_SETUP = 8 * 2**20
"""Characters of a fixture's script."""


class SqlLimits(KindConfig):
    """Bounds of one candidate's statements, and of a gold query's."""

    cpu_s: float = Field(
        5.0,
        ge=0.05,
        le=120.0,
        description="Seconds of CPU time. Four times as many by the clock end it too; on a PostgreSQL of your own, "
        "whose CPU time cannot be seen from here, only the clock does.",
    )
    rows: int = Field(
        10_000,
        ge=1,
        le=200_000,
        description="Rows that a query may return, and that all tables together may hold where they are compared.",
    )
    result_kb: int = Field(2_048, ge=1, le=8_192, description="KiB of such rows.")
    memory_mb: int = Field(
        256,
        ge=16,
        le=8_192,
        description="MiB of memory of SQLite. That of PostgreSQL is bounded by ASSAY_SCRATCH_MEMORY_MB.",
    )

    def limits(self) -> RunLimits:
        """The same, as databases take them."""
        return RunLimits(self.cpu_s, self.rows, self.result_kb * 1024, self.memory_mb)


class SqlConfig(KindConfig):
    """The database and how results are compared."""

    dialect: Dialect = Field(
        "sqlite",
        description="sqlite: a database in memory, in the sandbox. postgresql: a throw-away database on a server "
        "that holds nothing else.",
    )
    setup: str = Field(
        "",
        max_length=MAX_SETUP,
        description="SQL that makes the fixture: tables and their rows. A reference may add its own. Of a dump, take "
        "one with INSERT: there is nothing to COPY from.",
        examples=["CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2);"],
    )
    compare: Compare = Field(
        "auto",
        description="rows: what the last query returns. state: what all tables hold afterwards. both: each must be "
        "right. auto: state for a reference with statements or state, and for a gold query that changes data; "
        "else rows.",
    )
    ordered: bool | Literal["auto"] = Field(
        "auto",
        description="Whether the order of rows counts. auto: where the gold query has an ORDER BY of its own, not "
        "inside parentheses; for given rows it does not count. Rows that are equal by that ORDER BY must still come "
        "in the gold's order, so let it tell all rows apart. Tables have no order.",
    )
    columns: Columns = Field(
        "position",
        description="How columns find each other. position: first with first, whatever their names. name: by name, "
        "in any order, upper and lower case alike. any: in whatever order makes the rows equal. Their number must "
        "always be the same. Columns of tables, under state, always go by name.",
    )
    types: Literal["strict", "tolerant"] = Field(
        "tolerant",
        description="tolerant: numbers are compared by value, whole or not, true as 1 and false as 0; in a column "
        "that holds numbers, or dates and times, on one side, text of the other side that spells one counts as it. "
        "strict: an integer, a real or decimal number, a boolean, text, bytes, and dates and times are different.",
    )
    tolerance: float | None = Field(
        None,
        ge=0.0,
        le=0.1,
        description="Largest difference of a number from the expected one, relative to it; absolute where zero is "
        "expected. Two integers must always be equal. null: 1e-9 where either is floating point, 1e-14 for decimals.",
    )
    limits: SqlLimits = Field(default_factory=SqlLimits, description="Bounds of each run.")
