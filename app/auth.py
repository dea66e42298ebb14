"""API keys and what they may do. A key belongs to one project; nothing of another project is visible to it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Literal, get_args
from uuid import UUID

from app.errors import Problem
from app.store import keys as store
from app.store.database import Database
from app.store.projects import Project

Scope = Literal["score", "register", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

KEY_PREFIX = "assay_"
ENVIRONMENT_KEY_NAME = "ASSAY_API_KEY"
"""The name of the key that the environment sets; a new value replaces the old one."""
FIRST_KEY_NAME = "first"
"""The name of the key that is made where the environment sets none."""

TRUST_S = 1.0
"""How long a key and its project's policy are believed before the database is asked again."""
MAX_KNOWN = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: a key, its project, and its scopes."""

    key_id: UUID
    project: Project
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Raise `Problem` (403) unless the key has the scope."""
        if scope not in self.scopes:
            raise Problem("forbidden", f"this key lacks the scope {scope!r}; an admin key can make one that has it")


def new_secret() -> str:
    """A fresh API key: 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is stored of a key. The keys are random, so that a plain hash suffices and costs microseconds."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Authenticator:
    """Finds the principal of a key. A revocation made elsewhere counts within `TRUST_S`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._finding: dict[bytes, asyncio.Task[Principal | None]] = {}

    async def principal(self, header: str | None) -> Principal:
        """The principal of an Authorization header. Raises `Problem` (401)."""
        scheme, _, secret = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Problem("unauthorized", "send an API key as 'Authorization: Bearer <key>'")
        hashed = digest(secret.strip())
        known = self._known.get(hashed)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        finding = self._finding.get(hashed)
        if finding is None:
            finding = self._finding[hashed] = asyncio.create_task(self._find(hashed), name="key lookup")
            finding.add_done_callback(lambda _: self._finding.pop(hashed, None))
        found = await asyncio.shield(finding)
        if found is None:
            raise Problem("unauthorized", "this API key is unknown or revoked")
        return found

    async def _find(self, hashed: bytes) -> Principal | None:
        self._known.pop(hashed, None)
        async with self._database.begin() as connection:
            found = await store.find(connection, hashed)
        if found is None:
            return None
        key, project = found
        principal = Principal(key.id, project, frozenset(key.scopes))
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[hashed] = (principal, time.monotonic() + TRUST_S)
        return principal

    def forget(self) -> None:
        """Believe nothing of what was known: a key was revoked or a policy changed in this process."""
        self._known.clear()
