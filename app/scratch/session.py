"""Running statements that are not trusted in a session of their own, under the service's own clock."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from app.scratch.rows import Header, encoded_row, encoded_table
from app.scratch.wire import Connection, ServerError, TooMuchError, error_of
from sandbox.cell.values import encode
from verifiers.base import GivingWay, clip
from verifiers.databases import DatabaseDeadlineError, DatabaseRun, RunFault, RunLimits

log = structlog.get_logger()

SETTINGS = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    # A policy that hides rows, as statements may leave behind, ends a look at a table with an error.
    "row_security": "off",
    "application_name": "assay item",
}
"""Of every session, and what RESET goes back to: a setting of the role's or the database's does not count."""
WALL_PER_CPU = 4.0
POLL_S = 0.05
CANCEL_S = 2.0
"""How long a session may take to end after it was asked to, and again after it was told to."""
DISK_AFTER_S = 0.5
"""A run that takes longer has the size of its database looked at."""
_OVERHEAD = 256 * 1024
"""Bytes of messages other than rows: notices, completions, errors."""

_TABLES = r"""
SELECT n.nspname, c.relname, c.relkind OPERATOR(pg_catalog.=) 'p' FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE (c.relkind OPERATOR(pg_catalog.=) 'r' OR c.relkind OPERATOR(pg_catalog.=) 'p')
AND NOT c.relispartition AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema' AND n.nspname OPERATOR(pg_catalog.!~) '^pg_'
ORDER BY n.nspname, c.relname
"""
"""Every operator by its schema: one of the statements' own, for two names, say, would be a closer match."""

_READ_TAGS = frozenset((b"SELECT", b"EXPLAIN", b"SHOW", b"SET", b"BEGIN", b"COMMIT", b"ROLLBACK", b"DISCARD"))
"""How statements say that they are done (CommandComplete) that change nothing themselves. VACUUM is none: it may
change how rows lie without taking a transaction's number."""
_OWN_TIMEOUTS = frozenset(("57P05", "25P03", "25P04"))
"""A session that ends itself by a time-out, which it may set: while idle, idle in a transaction, of a transaction."""


class LostError(Exception):
    """The server went away, or cannot serve now; not the doing of the statements."""


class CrowdedError(LostError):
    """What all sessions share is used up; alone, the statements may have enough of it."""


@dataclass(slots=True)
class Clock:
    """How much time a session has used: of a processor where its process can be seen from here, and by the clock.

    What it spends waiting for a processor does not count, where that can be seen: a busy host changes no verdict.
    """

    pid: int | None
    started: float = field(default_factory=time.monotonic)
    _before: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self._before = self._read()

    def _read(self) -> tuple[float, float]:
        """Seconds on a processor, and waiting for one (proc, schedstat); zero where there is nothing to see."""
        if self.pid is None:
            return 0.0, 0.0
        try:
            fields = Path(f"/proc/{self.pid}/schedstat").read_bytes().split()
        except OSError:  # it has just ended
            return 0.0, 0.0
        return int(fields[0]) / 1e9, int(fields[1]) / 1e9

    def broken(self, limits: RunLimits) -> RunFault | None:
        """The limit that is used up, if one is."""
        used, waited = (now - then for now, then in zip(self._read(), self._before, strict=True))
        if used > limits.cpu_s:
            return RunFault.CPU
        passed = time.monotonic() - self.started - max(0.0, waited)
        return RunFault.WALL if passed > WALL_PER_CPU * limits.cpu_s else None


@dataclass(slots=True)
class Session:
    """A session that statements of one run have to themselves."""

    connection: Connection
    limits: RunLimits
    local: bool
    """Whether the server runs on this host, and its processes can be seen."""
    terminate: Callable[[int], Awaitable[None]]
    """Ends the session with this pid, whatever it does."""
    too_large: Callable[[], Awaitable[bool]]
    """Whether the database takes more of the disk than it may."""
    over: bool = False
    """Whether it has ended by itself, with nothing running and no transaction open, and has only read.

    That is by what its statements say of themselves: functions may still have changed something, see `Server.mark`.
    """

    async def run(self, sql: str, *, contents: bool, deadline: float) -> DatabaseRun:
        """Run statements to their end, or to that of their time. The session is of no use afterwards.

        Raises `LostError`, `DatabaseDeadlineError`.
        """
        self.connection.left = self.limits.result_bytes + _OVERHEAD + 64 * self.limits.rows
        reader = _Reader(self.connection, self.limits)
        work = asyncio.create_task(reader.run(sql, contents))
        clock = Clock(self.connection.pid if self.local else None)
        fault: RunFault | None = None
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=POLL_S)
                if work.done():
                    break
                late = time.monotonic() > deadline
                fault = clock.broken(self.limits)
                if fault is None and not late and time.monotonic() - clock.started > DISK_AFTER_S:
                    fault = RunFault.DISK if await self.too_large() else None
                if late or fault is not None:
                    await self._end(work)
                    if fault is None:
                        raise DatabaseDeadlineError
                    return DatabaseRun(fault)
            return work.result()
        finally:
            if not work.done():
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            self.over = fault is None and self.connection.idle and reader.only_read
            if self.over:
                self.connection.close()
            else:
                self.connection.abort()

    async def _end(self, work: asyncio.Task[DatabaseRun]) -> None:
        """Cancel, then terminate: statements may catch the one, but not the other."""
        try:
            await self.connection.cancel()
        except OSError as error:
            log.warning("a session could not be asked to end", reason=type(error).__name__)
        await asyncio.wait({work}, timeout=CANCEL_S)
        if work.done():
            return
        await self.terminate(self.connection.pid)
        await asyncio.wait({work}, timeout=CANCEL_S)
        if not work.done():
            log.error("a session does not end", pid=self.connection.pid)


class _Reader:
    """Reads what statements return, within limits."""

    def __init__(self, connection: Connection, limits: RunLimits) -> None:
        self._connection = connection
        self._limits = limits
        self._rows = limits.rows
        self._bytes = limits.result_bytes
        self._turn = GivingWay()
        self.only_read = True

    async def run(self, sql: str, contents: bool) -> DatabaseRun:
        """See `Session.run`."""
        try:
            table = await self._execute(sql)
            tables = await self._contents() if contents else b"null"
        except ServerError as error:
            return _of_error(error)
        except _StopError as stop:
            return DatabaseRun(stop.fault, stop.message)
        except TooMuchError:
            return DatabaseRun(RunFault.OUTPUT)
        except (EOFError, OSError) as error:
            raise LostError(f"the session was lost: {type(error).__name__}") from None
        return DatabaseRun(result=b"[" + (table or b"null") + b"," + tables + b"]")

    async def _execute(self, sql: str) -> bytes | None:
        """The rows of the last statement that returns any, encoded. Raises the first error."""
        header: Header | None = None
        rows: list[bytes] = []
        fault: Exception | None = None
        async for kind, body in self._connection.messages(sql):
            if kind == b"E":
                fault = fault or error_of(body)
                if isinstance(fault, ServerError) and fault.fatal:
                    raise fault
            elif kind in (b"G", b"H", b"W"):
                fault = fault or _StopError(RunFault.REFUSED, "COPY from or to the client is refused")
            elif kind == b"C":
                self.only_read = self.only_read and body.split(b" ")[0].rstrip(b"\0") in _READ_TAGS
            elif kind == b"T":
                header, rows = Header(body), []
            elif kind == b"D" and header is not None:
                await self._turn.over()
                self._bytes -= len(body)
                if self._bytes < 0:
                    raise _StopError(RunFault.OUTPUT)
                if len(rows) >= self._rows:
                    raise _StopError(RunFault.ROWS)
                rows.append(encoded_row(header.row(body)))
        if fault is not None:
            raise fault
        if header is None:
            return None
        self._last = len(rows)
        return encoded_table(header.names, rows)

    async def _contents(self) -> bytes:
        """What another session would find: every table, encoded.

        What is open is rolled back, and everything that the statements have set in this session is as it was.
        """
        for reset in ("ROLLBACK", "DISCARD ALL"):
            await self._execute(reset)
        tables: list[bytes] = []
        for schema, name, partitioned in await self._names():
            only = "" if partitioned else "ONLY "
            table = await self._execute(f"SELECT * FROM {only}{quoted(schema)}.{quoted(name)}")  # noqa: S608
            self._rows -= self._last
            known = name if schema == "public" else f"{schema}.{name}"
            tables.append(b"[" + encode(known, limit_bytes=4096) + b"," + (table or b"null") + b"]")
        return b"[" + b",".join(tables) + b"]"

    async def _names(self) -> list[tuple[str, str, bool]]:
        header: Header | None = None
        found: list[tuple[str, str, bool]] = []
        async for kind, body in self._connection.messages(_TABLES):
            if kind == b"E":
                raise error_of(body)
            if kind == b"T":
                header = Header(body)
            elif kind == b"D" and header is not None:
                if len(found) >= self._rows:
                    raise _StopError(RunFault.ROWS)
                schema, name, partitioned = header.row(body)
                found.append((schema, name, partitioned))
        return found


class _StopError(Exception):
    """The statements went beyond a bound."""

    def __init__(self, fault: RunFault, message: str = "") -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message


def quoted(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def _of_error(error: ServerError) -> DatabaseRun:
    """What an error says of the statements. Raises `LostError` where it says nothing of them."""
    if error.fatal:
        if error.code in _OWN_TIMEOUTS:
            return DatabaseRun(RunFault.CRASHED, "the session ended itself")
        raise LostError(f"the server ended the session: {clip(error.message)}")
    if not error.raised and error.code == "53200" and "shared memory" in error.message:
        raise CrowdedError("the memory that sessions share is used up")
    if not error.raised and error.code == "53100":
        raise LostError("the disk of the server for throw-away databases is full")
    message = clip(re.sub(r"assay_\d+_\w+", "this database", error.message), 300)
    return DatabaseRun(_FAULTS.get(error.code, RunFault.ERROR), message)


_FAULTS = {
    "42501": RunFault.REFUSED,
    "53200": RunFault.MEMORY,
    "53400": RunFault.DISK,
}
"""Of SQLSTATEs: insufficient privilege, out of memory, a configured limit (of temporary files) exceeded."""
