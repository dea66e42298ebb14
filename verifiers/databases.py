"""PostgreSQL databases that live as long as one item, on a server that holds nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class RunFault(StrEnum):
    """Why statements were not run to their end. Each is their own doing."""

    ERROR = "error"
    """The database says that they are wrong; `message` has its words."""
    REFUSED = "refused"
    """They ask for what no statement may do here."""
    CPU = "cpu"
    WALL = "wall"
    """They ran out of time by the clock."""
    MEMORY = "memory"
    DISK = "disk"
    ROWS = "rows"
    OUTPUT = "output"
    """What they return is larger than it may be."""
    STATEMENTS = "statements"
    """There are more of them than may be."""
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Bounds of one run."""

    cpu_s: float
    rows: int
    result_bytes: int
    memory_mb: int


@dataclass(frozen=True, slots=True)
class DatabaseRun:
    """What became of statements that were run on a fixture of their own."""

    fault: RunFault | None = None
    message: str = ""
    result: bytes = b""
    """Encoded by `sandbox.values`: `[table or null, [[name, table], ...] or null]`: the rows of the last statement
    that returns any, and the contents of all tables where these were asked for. A table is `[column names, rows]`.
    Cells are None, bool, int, float, Decimal, str, bytes, and for other types pairs of the type's name and the text.
    """


class FixtureError(Exception):
    """The fixture cannot be made; the message says why."""


class DatabaseUnavailableError(Exception):
    """There is no server for throw-away databases now; the message says why and what to do."""


class DatabaseDeadlineError(Exception):
    """The deadline passed first."""


class Databases(Protocol):
    """Makes a database from a fixture, runs statements in it as a role that can do nothing else, and drops it."""

    async def run(self, setup: str, sql: str, *, contents: bool, limits: RunLimits, deadline: float) -> DatabaseRun:
        """Run statements in a fresh copy of the fixture that `setup` makes; `contents` asks for all tables' rows.

        A fault of the server is tried once more. Returns or raises by `deadline` (`time.monotonic()` seconds), give
        or take the time to end a session. Raises `FixtureError`, `DatabaseUnavailableError`, `DatabaseDeadlineError`.
        """
        ...
