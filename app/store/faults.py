"""Telling apart what can go wrong between us and PostgreSQL."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_PASSING = ("08", "25006", "40", "53", "57")
"""SQLSTATEs, or their first characters: connection exception, read-only transaction (a failover), transaction
rollback (deadlock, serialization), insufficient resources, operator intervention."""
_REFUSED_CLASSES = ("21", "22", "23", "44", "54", "P0")
"""SQLSTATE classes: cardinality, data exception, integrity, check option, program limit, raised by a trigger."""


def _sqlstate(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")


def may_pass(error: BaseException) -> bool:
    """Whether the database could not be reached, went away, or was busy: the same request may succeed later."""
    if isinstance(error, OSError | TimeoutError | PoolTimeoutError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and may_pass(error.orig))
    if isinstance(error, asyncpg.DataError):
        return False
    if isinstance(
        error, asyncpg.InterfaceError | asyncpg.InternalClientError
    ):  # the client's: "connection is closed"
        return True
    return _sqlstate(error).startswith(_PASSING)


def is_denied(error: BaseException) -> bool:
    """Whether the server does not let us in: a wrong user, password or database name."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return is_denied(error.orig)
    return _sqlstate(error).startswith(("28", "3D"))


def is_refused(error: BaseException) -> bool:
    """Whether the database (or its client library) refused a row for what the row holds."""
    return isinstance(error, asyncpg.DataError | UnicodeError) or _sqlstate(error).startswith(_REFUSED_CLASSES)
