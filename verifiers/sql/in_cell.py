"""Runs in the sandbox: builds a fixture in memory with SQLite, and runs statements in forks of it.

The program of a job whose files are `sqltext.py`, `setup.sql` and `limits.json`. Loading it builds the fixture; each
call of `run` is a process of its own, so that no statement sees what another has left behind. What a call returns is
plain data: the statements are data here, and nothing of the expected result is.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from typing import Any

MAX_STATEMENTS = 1_000
MAX_VALUE_BYTES = 64 * 2**20
_STEPS = 1_000
"""Steps of SQLite's machine between two looks at the clock."""

Table = list[Any]
"""The names of the columns, and the rows."""

_REFUSED = {
    sqlite3.SQLITE_ATTACH: "ATTACH, and whatever else opens a file",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_CREATE_VTABLE: "CREATE VIRTUAL TABLE",
    sqlite3.SQLITE_DROP_VTABLE: "DROP of a virtual table",
}
_ALLOWED = frozenset(
    value
    for name, value in vars(sqlite3).items()
    if name.startswith(("SQLITE_CREATE_", "SQLITE_DROP_"))
    or name
    in (
        "SQLITE_ALTER_TABLE", "SQLITE_ANALYZE", "SQLITE_DELETE", "SQLITE_FUNCTION", "SQLITE_INSERT", "SQLITE_PRAGMA",
        "SQLITE_READ", "SQLITE_RECURSIVE", "SQLITE_REINDEX", "SQLITE_SAVEPOINT", "SQLITE_SELECT",
        "SQLITE_TRANSACTION", "SQLITE_UPDATE",
    )
) - set(_REFUSED)  # fmt: skip
_FUNCTIONS = frozenset(
    ("edit", "fts3_tokenizer", "load_extension", "random", "randomblob", "readfile", "sqlite_log", "writefile")
)
"""Refused: they leave SQLite, or give something else each time."""
_PRAGMAS = frozenset(
    (
        "application_id", "collation_list", "data_version", "database_list", "defer_foreign_keys",
        "foreign_key_check", "foreign_key_list", "foreign_keys", "freelist_count", "function_list", "index_info",
        "index_list", "index_xinfo", "integrity_check", "page_count", "quick_check", "recursive_triggers",
        "table_info", "table_list", "table_xinfo", "user_version",
    )
)  # fmt: skip
_IDLE_PRAGMAS = frozenset(
    (
        "auto_vacuum", "automatic_index", "busy_timeout", "cache_size", "cache_spill", "encoding", "journal_mode",
        "journal_size_limit", "locking_mode", "mmap_size", "optimize", "page_size", "secure_delete", "synchronous",
        "temp_store", "wal_autocheckpoint", "wal_checkpoint",
    )
)  # fmt: skip
"""Do nothing here, where they are common in dumps."""
_TABLES = frozenset(("sqlite_dbpage",))


def _statements(sql: str) -> list[str]:
    sql = sql.strip().rstrip(";")
    if ";" not in sql:
        return [sql]
    import sqltext  # type: ignore[import-not-found] # its patterns take as long to make as a small query to run

    found: list[str] = sqltext.statements(sql, "sqlite")
    return found


class StopError(Exception):
    """The statements went beyond a bound; its first argument names the bound."""


class Session:
    """The database, and the bounds of what is done with it."""

    def __init__(self, limits: dict[str, Any]) -> None:
        self._limits = limits
        self._refused = ""
        self._until = float("inf")
        self._late = False
        self._left = int(limits["result_bytes"])
        self._rows = int(limits["rows"])
        self._db = db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        db.text_factory = lambda data: data.decode("utf-8", "replace")
        db.execute(f"PRAGMA hard_heap_limit={int(limits['memory_bytes'])}")
        db.execute("PRAGMA trusted_schema=OFF")
        if sys.version_info >= (3, 12):
            db.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        for limit, value in (
            (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
            (sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
            (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 100),
            (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
        ):
            db.setlimit(limit, value)
        db.set_authorizer(self._authorize)
        db.set_progress_handler(self._look_at_clock, _STEPS)

    def build(self, setup: str) -> None:
        """Run the fixture's script. Raises whatever SQLite raises."""
        self._begin(self._limits["setup_cpu_s"])
        try:
            self._db.executescript(setup)
        except sqlite3.Error as error:
            raise RuntimeError(self._reason(error)) from None
        if self._db.in_transaction:
            self._db.commit()

    def run(self, sql: str, contents: bool) -> list[Any]:
        """`["ok", rows of the last statement that returns any, contents of all tables]`, or a fault and why."""
        self._begin(self._limits["cpu_s"])
        try:
            table = self._execute(sql)
            return ["ok", table, self._contents() if contents else None]
        except StopError as stop:
            return [*stop.args, ""]
        except MemoryError:
            return ["memory", ""]
        except (sqlite3.Error, sqlite3.Warning) as error:
            if self._late:
                return ["cpu", ""]
            return ["refused" if self._refused else "error", self._reason(error)]

    def _begin(self, cpu_s: float) -> None:
        self._until = time.process_time() + cpu_s

    def _execute(self, sql: str) -> Table | None:
        found = _statements(sql)
        if len(found) > MAX_STATEMENTS:
            raise StopError("statements")
        table: Table | None = None
        for statement in found:
            cursor = self._db.execute(statement)
            if cursor.description is not None:
                table = self._fetch(cursor)
        return table

    def _fetch(self, cursor: sqlite3.Cursor) -> Table:
        names = [column[0] for column in cursor.description]
        rows: list[list[Any]] = []
        for row in cursor:
            if len(rows) >= self._rows:
                raise StopError("rows")
            self._left -= 8 * len(row) + sum(map(_size, row))
            if self._left < 0:
                raise StopError("output")
            rows.append(list(row))
        return [names, rows]

    def _contents(self) -> list[list[Any]]:
        """What a later connection would find: every table by name. Temporary tables are gone by then."""
        if self._db.in_transaction:
            self._db.rollback()
        self._db.set_authorizer(None)
        schema = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'"
        found = []
        for name in sorted(row[0] for row in self._db.execute(schema)):
            quoted = '"' + name.replace('"', '""') + '"'
            table = self._fetch(self._db.execute(f"SELECT * FROM main.{quoted}"))  # noqa: S608 - it is quoted
            self._rows -= len(table[1])
            found.append([name, table])
        return found

    def _look_at_clock(self) -> int:
        self._late = self._late or time.process_time() > self._until
        return int(self._late)

    def _authorize(self, action: int, first: str | None, second: str | None, *_: Any) -> int:
        name = (first or "").lower()
        refused = ""
        if action == sqlite3.SQLITE_FUNCTION:
            if (second or "").lower() in _FUNCTIONS:
                refused = f"the function {second}"
        elif action == sqlite3.SQLITE_PRAGMA:
            if name in _IDLE_PRAGMAS:
                return sqlite3.SQLITE_IGNORE
            if name not in _PRAGMAS:
                refused = f"PRAGMA {name}"
        elif action in _REFUSED:
            refused = _REFUSED[action]
        elif action not in _ALLOWED:
            refused = f"action {action}"
        elif name in _TABLES:
            refused = f"the table {name}"
        if refused:
            self._refused = self._refused or refused
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    def _reason(self, error: BaseException) -> str:
        if self._refused:
            return f"{self._refused} is refused"
        return "it takes too long" if self._late else str(error)


def _size(cell: Any) -> int:
    """Bytes of what has no fixed size."""
    if isinstance(cell, str):
        return len(cell) if cell.isascii() else len(cell.encode("utf-8", "replace"))
    return len(cell) if isinstance(cell, bytes) else 0


def _read(name: str) -> str:
    with open(name, encoding="utf-8", newline="") as file:  # noqa: PTH123 - pathlib is one more import for each job
        return file.read()


_session = Session(json.loads(_read("limits.json")))
_session.build(_read("setup.sql"))


def run(sql: str, contents: bool) -> list[Any]:
    """See `Session.run`; the entry point of each call."""
    return _session.run(sql, contents)
