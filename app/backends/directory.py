"""The backends by name: what kinds are lent, an implementation of `verifiers.lent.Backends`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog

from app import wire
from app.backends.caller import Caller
from app.backends.config import BackendLimits
from app.backends.resolver import Lookup, system_lookup
from app.backends.secrets import Secret, SecretError, Vault
from app.errors import Problem
from app.store import backends as store
from app.store.database import Database
from verifiers.base import ErrorType
from verifiers.lent import BackendError

log = structlog.get_logger()

TRUST_S = 1.0
"""How long what is known of a name is believed before the database is asked again."""


def place(backend_id: object, url: str, header: str) -> str:
    """What a stored key is bound to."""
    return f"{backend_id}\n{url}\n{header}"


class Directory:
    """Finds backends for one process. One that is archived elsewhere is gone here within `TRUST_S`."""

    def __init__(self, database: Database, vault: Vault, *, workers: int = 1, lookup: Lookup = system_lookup) -> None:
        self.vault = vault
        self._database = database
        self._workers = workers
        self._lookup = lookup
        self._known: dict[str, tuple[Caller, float]] = {}
        self._retired: list[Caller] = []
        self._finding: dict[str, asyncio.Task[Caller | None]] = {}

    async def exists(self, name: str) -> bool:
        """See `verifiers.lent.Backends`. Raises `Problem` (503) where the database cannot be reached."""
        async with self._database.begin() as connection:
            return await store.find(connection, name) is not None

    async def post(self, name: str, body: Any, *, deadline: float) -> Any:
        """See `verifiers.lent.Backends`."""
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                caller = await self._caller(name)
        except (TimeoutError, Problem):
            raise _unavailable(f"the backend {name} could not be looked up", retryable=True) from None
        except SecretError as error:
            raise _unavailable(f"the backend {name} has no usable key: {error}", retryable=False) from None
        if caller is None:
            raise _unavailable(f"there is no backend {name} any more", retryable=False)
        return await caller.post(wire.encode(body).encode(), deadline=deadline)

    def forget(self, name: str) -> None:
        """Ask the database at the next request: the backend was changed in this process."""
        known = self._known.get(name)
        if known is not None:
            self._known[name] = (known[0], 0.0)

    async def close(self) -> None:
        """Close every connection."""
        for caller in [*(caller for caller, _ in self._known.values()), *self._retired]:
            await caller.close()
        self._known.clear()

    async def _caller(self, name: str) -> Caller | None:
        known = self._known.get(name)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        finding = self._finding.get(name)
        if finding is None:
            finding = self._finding[name] = asyncio.create_task(self._find(name), name="backend lookup")
            finding.add_done_callback(lambda done: self._found(name, done))
        return await asyncio.shield(finding)

    def _found(self, name: str, done: asyncio.Task[Caller | None]) -> None:
        self._finding.pop(name, None)
        if not done.cancelled():
            done.exception()  # whoever asked may have stopped waiting for it

    async def _find(self, name: str) -> Caller | None:
        async with self._database.begin() as connection:
            backend = await store.find(connection, name)
        known = self._known.pop(name, None)
        if known is not None and backend is not None and known[0].id == backend.id:
            caller = known[0]
        else:
            if known is not None:
                self._retired.append(known[0])
            await self._close_retired()
            if backend is None:
                return None
            caller = self._made(backend)
        self._known[name] = (caller, time.monotonic() + TRUST_S)
        return caller

    def _made(self, backend: store.Backend) -> Caller:
        headers: dict[str, str] = {}
        for member in backend.secrets:
            secret = Secret(**member)
            bound = place(backend.id, backend.url, secret.header)
            headers[secret.header] = secret.scheme + self.vault.value(secret.source, bound)
        return Caller(
            backend.id,
            backend.name,
            backend.url,
            BackendLimits.model_validate(backend.limits),
            headers,
            allow_private=backend.allow_private,
            lookup=self._lookup,
            workers=self._workers,
        )

    async def _close_retired(self) -> None:
        """Close those whose last request has ended."""
        idle = [caller for caller in self._retired if not caller.running]
        self._retired = [caller for caller in self._retired if caller.running]
        for caller in idle:
            await caller.close()


def _unavailable(message: str, *, retryable: bool) -> BackendError:
    return BackendError(ErrorType.BACKEND_UNAVAILABLE, message, retryable=retryable)
