"""From what a request names to a compiled verifier.

A bare name is looked up in the database for every batch, so that a new version counts at once; lookups that
arrive while one is under way share the next one. `name@version` never changes and is cached. That something does
not exist is never cached.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from app import wire
from app.errors import Problem
from app.store import verifiers as store
from app.store.database import Connection, Database
from app.store.tables import BUILTIN_PROJECT
from verifiers.base import KINDS, ConfigError, Verifier, explain, pointer

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
REFERENCE = re.compile(rf"({NAME})(?:@([1-9][0-9]{{0,8}}))?")
"""A verifier by name: `math` (its latest version) or `math@3`."""

MAX_COMPILED = 1024
"""Compiled verifiers kept by one process."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A verifier ready to verify. `version_id` is what its scores are recorded under."""

    version_id: UUID
    label: str
    kind: str
    revision: int
    verifier: Verifier
    caches: bool


def compile_config(kind: str, config: Any, at: str = "") -> tuple[Verifier, dict[str, Any]]:
    """The verifier of a kind and configuration, and that configuration with its defaults filled in.

    `at` is where the two stand in the request. Raises `Problem`: 422 for an unknown kind, a configuration that its
    schema refuses, or one that cannot work.
    """
    cls = KINDS.get(kind)
    if cls is None:
        raise Problem(
            "invalid-config",
            f"no kind {wire.quote(kind)}; GET /kinds lists: {', '.join(sorted(KINDS))}",
            pointer=f"{at}/kind",
        )
    try:
        parsed = cls.Config.model_validate(config)
        return cls(parsed), parsed.model_dump(mode="json", by_alias=True)
    except ValidationError as error:
        location, message = explain(error, config)
        where = f"{at}/config{pointer(location)}"
        raise Problem("invalid-config", f"{where}: {message}", pointer=where) from None
    except ConfigError as error:
        raise Problem("invalid-config", str(error), pointer=f"{at}/config{error.pointer}") from None


def config_sha256(kind: str, config: Any) -> bytes:
    """What makes two configurations the same: the SHA-256 of their JSON with sorted keys."""
    canonical = wire.encode([kind, _sorted(config)])
    return hashlib.sha256(canonical.encode()).digest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(element) for element in value]
    return value


class Registry:
    """Resolves names and inline configurations for one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._compiled: OrderedDict[tuple[object, ...], Resolved] = OrderedDict()
        self._asked: dict[tuple[UUID, str], asyncio.Future[UUID | None]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def resolve(self, project_id: UUID, reference: str) -> Resolved:
        """The verifier that `name` or `name@version` means to a project. Raises `Problem` (404)."""
        match = REFERENCE.fullmatch(reference)
        if match is None:
            raise unknown_verifier(reference, "/verifier")
        name, number = match.groups()
        if number is None:
            found = await self._latest(project_id, name)
            if found is None:
                raise unknown_verifier(reference, "/verifier")
            return await self.by_id(project_id, found)
        cached = self._get((project_id, name, int(number)))
        if cached is not None:
            return cached
        async with self._database.begin() as connection:
            version = await store.get_numbered(connection, project_id, name, int(number))
        if version is None:
            raise unknown_verifier(reference, "/verifier")
        return self._keep((project_id, name, int(number)), _compiled(version))

    async def by_id(self, project_id: UUID, version_id: UUID) -> Resolved:
        """A version that the project may see, by its id. Raises `Problem` (404)."""
        cached = self._get((project_id, version_id))
        if cached is not None:
            return cached
        async with self._database.begin() as connection:
            version = await store.get(connection, project_id, version_id)
        if version is None:
            raise unknown_verifier(str(version_id))
        return self._keep((project_id, version_id), _compiled(version))

    async def inline(self, project_id: UUID, kind: str, config: Any) -> Resolved:
        """A verifier sent with a request; its configuration is recorded once, so that its scores can be replayed."""
        as_sent = (project_id, kind, config_sha256(kind, config))
        cached = self._get(as_sent)
        if cached is not None:
            return cached
        verifier, complete = compile_config(kind, config, at="/verifier")
        digest = config_sha256(kind, complete)
        async with self._database.begin() as connection:
            version_id = await store.ensure_inline(connection, project_id, kind, wire.encode(complete), digest)
        return self._keep(as_sent, _resolved(version_id, f"{kind}@inline", kind, verifier))

    def _get(self, key: tuple[object, ...]) -> Resolved | None:
        found = self._compiled.get(key)
        if found is not None:
            self._compiled.move_to_end(key)
        return found

    def _keep(self, key: tuple[object, ...], resolved: Resolved) -> Resolved:
        self._compiled[key] = resolved
        if len(self._compiled) > MAX_COMPILED:
            self._compiled.popitem(last=False)
        return resolved

    async def _latest(self, project_id: UUID, name: str) -> UUID | None:
        asked = self._asked.get((project_id, name))
        if asked is None:
            asked = self._asked[project_id, name] = asyncio.get_running_loop().create_future()
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look_up(), name="verifier lookup")
        return await asyncio.shield(asked)

    async def _look_up(self) -> None:
        # A lookup answers only those who asked before it began: what was registered meanwhile must count.
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await store.latest(self._database, list(asked))
            except Exception as error:
                for future in asked.values():
                    future.set_exception(error)
                continue
            for key, future in asked.items():
                future.set_result(found.get(key))


def _compiled(version: store.Version) -> Resolved:
    verifier, _ = compile_config(version.kind, version.config)
    return _resolved(version.id, version.label, version.kind, verifier)


def _resolved(version_id: UUID, label: str, kind: str, verifier: Verifier) -> Resolved:
    return Resolved(version_id, label, kind, verifier.revision, verifier, verifier.cache != "none")


def unknown_verifier(reference: str, pointer: str | None = None) -> Problem:
    detail = f"no verifier {wire.quote(reference)}; GET /verifiers lists those of this project"
    return Problem("unknown-verifier", detail, pointer=pointer)


async def register_builtins(connection: Connection) -> None:
    """Register every kind with its defaults under its own name; a default that changed becomes a new version."""
    for kind, cls in sorted(KINDS.items()):
        _, config = compile_config(kind, {})
        await store.register(
            connection,
            project_id=BUILTIN_PROJECT,
            name=kind,
            kind=kind,
            config=wire.encode(config),
            config_sha256=config_sha256(kind, config),
            description=wire.encode((cls.__doc__ or "").strip().split("\n\n")[0]),
            examples="[]",
        )
