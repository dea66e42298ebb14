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
from app.auth import Scope
from app.errors import Problem
from app.kind_pages.docstring import summary
from app.store import verifiers as store
from app.store.database import Connection, Database
from app.store.tables import BUILTIN_PROJECT
from verifiers.base import KINDS, ConfigError, KindConfig, Verifier, explain, pointer
from verifiers.lent import Backends, Cost, InlineVerifier, Needs, Other

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
    cost: Cost = Cost.LOOP


@dataclass(frozen=True, slots=True)
class Compiled:
    """A verifier of a kind and configuration, that configuration with its defaults filled in, and what it needs."""

    verifier: Verifier
    config: dict[str, Any]
    needs: Needs


def compile_config(kind: str, config: Any, at: str = "") -> Compiled:
    """The verifier of a kind and configuration. `at` is where the two stand in the request.

    Raises `Problem`: 422 for an unknown kind, a configuration that its schema refuses, or one that cannot work.
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
        needs = parsed.needs() if isinstance(parsed, KindConfig) else Needs()
        return Compiled(cls(parsed), parsed.model_dump(mode="json", by_alias=True), needs)
    except ValidationError as error:
        location, message = explain(error, config)
        where = f"{at}/config{pointer(location)}"
        raise Problem("invalid-config", f"{where}: {message}", pointer=where) from None
    except ConfigError as error:
        raise Problem("invalid-config", str(error), pointer=f"{at}/config{error.pointer}") from None


def inline_scope(kind: str, config: Any) -> Scope:
    """The scope that sending this kind and configuration with a request takes, that of its parts included."""
    cls = KINDS.get(kind)
    if cls is None or not issubclass(cls.Config, KindConfig):
        return "score"
    if cls.Config.inline_scope == "register" or cls.Config.is_part:  # only what may be no part is made of parts
        return cls.Config.inline_scope
    try:
        needs = cls.Config.model_validate(config).needs()
    except ValidationError:  # told when it is compiled
        return "score"
    if needs.backends and "chat" in needs.backend_types:  # as the kind `judge` does, it spends tokens
        return "register"
    inline = (
        inline_scope(part.kind, part.config) for part in needs.verifiers.values() if isinstance(part, InlineVerifier)
    )
    return "register" if "register" in inline else "score"


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

    def __init__(self, database: Database, backends: Backends | None = None) -> None:
        self._database = database
        self._backends = backends
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
        compiled = compile_config(kind, config, at="/verifier")
        await self.check_needs(project_id, compiled.needs, at="/verifier/config")
        digest = config_sha256(kind, compiled.config)
        async with self._database.begin() as connection:
            version_id = await store.ensure_inline(connection, project_id, kind, wire.encode(compiled.config), digest)
        return self._keep(as_sent, _resolved(version_id, f"{kind}@inline", kind, compiled))

    async def part(self, project_id: UUID, part: Other) -> Resolved:
        """A verifier that another one is made of. Raises `Problem`.

        One given by its configuration is not recorded: the verifier that holds it is.
        """
        if isinstance(part, str):
            return await self.resolve(project_id, part)
        digest = config_sha256(part.kind, part.config)
        key = ("part", digest)
        cached = self._get(key)
        if cached is not None:
            return cached
        compiled = compile_config(part.kind, part.config)
        version_id = UUID(bytes=config_sha256(part.kind, compiled.config)[:16])
        return self._keep(key, _resolved(version_id, f"{part.kind}@inline", part.kind, compiled))

    async def check_needs(self, project_id: UUID, needs: Needs, at: str) -> None:
        """Raise `Problem` (422) unless what a configuration at `at` needs exists and can be used."""
        for place, part in needs.verifiers.items():
            kind = (
                part.kind
                if isinstance(part, InlineVerifier)
                else await self._named_part(project_id, part, at + place)
            )
            if isinstance(part, InlineVerifier):
                inner = compile_config(part.kind, part.config, at + place)
                await self.check_needs(project_id, inner.needs, f"{at}{place}/config")
            config = KINDS[kind].Config
            if issubclass(config, KindConfig) and not config.is_part:
                raise Problem("invalid-config", f"the kind {kind} cannot be part of another", pointer=at + place)
        for place, name in needs.backends.items():
            types = needs.backend_types
            if self._backends is not None and [type for type in types if await self._backends.exists(name, type)]:
                continue
            detail = f"no backend {wire.quote(name)}; an operator adds one with 'assay backends add'"
            if self._backends is not None and await self._backends.exists(name):
                detail = (
                    f"the backend {wire.quote(name)} is not of the type {' or '.join(types)}, which this kind asks"
                )
            raise Problem("invalid-config", detail, pointer=at + place)

    async def _named_part(self, project_id: UUID, name: str, at: str) -> str:
        """The kind of a part's `name@version`."""
        match = REFERENCE.fullmatch(name)
        try:
            found = await self.resolve(project_id, name)
        except Problem as problem:
            if problem.status >= 500:
                raise
            raise Problem("invalid-config", problem.detail, pointer=at) from None
        if match is None or match[2] is None:
            version = found.label if "@" in found.label else f"{name}@1"
            detail = f"name a version, which never changes: {version}"
            raise Problem("invalid-config", detail, pointer=at)
        return found.kind

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
    return _resolved(version.id, version.label, version.kind, compile_config(version.kind, version.config))


def _resolved(version_id: UUID, label: str, kind: str, compiled: Compiled) -> Resolved:
    verifier = compiled.verifier
    return Resolved(version_id, label, kind, verifier.revision, verifier, verifier.cache != "none", cost_of(compiled))


def cost_of(compiled: Compiled) -> Cost:
    """What verifying an item takes."""
    if compiled.needs.backends:
        return Cost.BACKEND
    if compiled.verifier.sandboxed:
        return Cost.SANDBOX
    return Cost.WORKER if compiled.verifier.guarded and compiled.verifier.cache != "none" else Cost.LOOP


def unknown_verifier(reference: str, pointer: str | None = None) -> Problem:
    detail = f"no verifier {wire.quote(reference)}; GET /verifiers lists those of this project"
    return Problem("unknown-verifier", detail, pointer=pointer)


async def register_builtins(connection: Connection) -> None:
    """Register every kind with its defaults under its own name; a default that changed becomes a new version.

    A kind whose configuration has a required field has no defaults to be registered with.
    """
    for kind, cls in sorted(KINDS.items()):
        if any(field.is_required() for field in cls.Config.model_fields.values()):
            continue
        config = compile_config(kind, {}).config
        await store.register(
            connection,
            project_id=BUILTIN_PROJECT,
            name=kind,
            kind=kind,
            config=wire.encode(config),
            config_sha256=config_sha256(kind, config),
            description=wire.encode(summary(cls)),
            examples="[]",
        )
