"""/verifiers: registering verifiers, and reading their immutable versions."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from app import wire
from app.api.deps import (
    Cursor,
    Limit,
    Page,
    Received,
    answered,
    authorized,
    bad_cursor,
    json_response,
    services,
    takes,
)
from app.engine import Engine
from app.errors import Problem
from app.golds import Gold, fault_of, items_of
from app.idempotency import Answer, answer_once
from app.registry import NAME, REFERENCE, Compiled, compile_config, config_sha256, unknown_verifier
from app.services import Services
from app.store import reports
from app.store import verifiers as store
from app.store.database import Connection
from app.store.projects import Project
from verifiers.base import KINDS, Completion, ErrorType, Item, Prompt, Strict, Verifier
from verifiers.lent import HasGold, HasProbes

router = APIRouter(tags=["verifiers"])

BareName = Annotated[str, Path(description="The name, without a version.")]

MAX_EXAMPLES = 64
MAX_EXAMPLES_BYTES = 2**18
"""Of all examples as JSON; lists show them."""
EXPECTATION = re.compile(r"\s*(>=|<=|==|>|<)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*")
_COMPARE = {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt}


class RegisterExample(Strict):
    """An item and the score it must get; a registration whose examples fail is refused."""

    prompt: Prompt | None = None
    completion: Completion
    reference: Any = None
    expect: float | Annotated[str, Field(max_length=40)] = Field(
        description="A number, or a bound such as `>=0.5`.", examples=[1.0]
    )

    @field_validator("expect")
    @classmethod
    def _is_bound(cls, value: float | str) -> float | str:
        if isinstance(value, str) and not EXPECTATION.fullmatch(value):
            raise ValueError("must be a number, or a bound such as '>=0.5'")
        return value

    def holds(self, score: float) -> bool:
        if isinstance(self.expect, str):
            match = EXPECTATION.fullmatch(self.expect)
            return match is not None and bool(_COMPARE[match[1]](score, float(match[2])))
        return score == self.expect


class RegisterRequest(Strict):
    """A verifier to register."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "ends-politely",
                    "kind": "regex",
                    "config": {"pattern": "thank you\\W*$"},
                    "description": "The completion ends with thanks.",
                    "examples": [{"completion": "Done, thank you.", "expect": 1.0}],
                }
            ]
        }
    )
    name: str = Field(pattern=f"^{NAME}$", description="Yours; a kind's own name is taken.")
    kind: str = Field(max_length=100)
    config: dict[str, Any] = Field(default_factory=dict, description="By the kind's `config_schema`.")
    description: str = Field("", max_length=10_000)
    examples: list[RegisterExample] = Field(default_factory=list, max_length=MAX_EXAMPLES)


class VerifierVersion(BaseModel):
    """One immutable version of a verifier."""

    name: str
    version: int
    kind: str
    config: dict[str, Any] = Field(description="With every default filled in.")
    config_sha256: str
    description: str
    examples: list[dict[str, Any]]
    builtin: bool
    created_at: datetime
    archived_at: datetime | None
    reports: dict[str, Any] = Field(
        default_factory=dict,
        description="`probes`: what a judge accepted of completions that nobody should accept; `calibration`: how it "
        "agrees with labels. Lists leave them out.",
    )


def version_json(version: store.Version, found: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The wire form of a version, with its reports (each as JSON text)."""
    return {
        "name": version.name,
        "version": version.version,
        "kind": version.kind,
        "config": version.config,
        "config_sha256": version.config_sha256.hex(),
        "description": version.description,
        "examples": version.examples,
        "builtin": version.builtin,
        "created_at": version.created_at.isoformat(),
        "archived_at": None if version.archived_at is None else version.archived_at.isoformat(),
        "reports": {type: wire.decode(body.encode()) for type, body in (found or {}).items()},
    }


@router.post(
    "/verifiers",
    status_code=201,
    response_model=VerifierVersion,
    responses={200: {"model": VerifierVersion, "description": "The latest version has this configuration already."}},
    operation_id="register_verifier",
)
@takes(RegisterRequest)
async def register_verifier(request: Request) -> Response:
    """Register a verifier, or a new version of one. Its examples must score as they declare."""
    state = services(request)
    who = await authorized(request, "register")
    async with Received(request, RegisterRequest) as body:
        asked = body.value
        if asked.name in KINDS:
            raise Problem("conflict", f"{asked.name!r} is a built-in verifier; choose another name", pointer="/name")
        compiled = compile_config(asked.kind, asked.config)
        await state.registry.check_needs(who.project.id, compiled.needs, at="/config")
        examples = wire.encode([example.model_dump() for example in asked.examples])
        if len(examples) > MAX_EXAMPLES_BYTES:
            detail = f"/examples: {len(examples):,} bytes, more than the {MAX_EXAMPLES_BYTES:,} that are kept"
            raise Problem("invalid-body", detail, pointer="/examples")
        await _check_examples(state.engine, who.project, asked.kind, compiled.verifier, asked.examples)

        probes = await _probes(state, who.project, asked.name, compiled)

        async def produce(connection: Connection) -> Answer:
            version_id, new = await store.register(
                connection,
                project_id=who.project.id,
                name=asked.name,
                kind=asked.kind,
                config=wire.encode(compiled.config),
                config_sha256=config_sha256(asked.kind, compiled.config),
                description=wire.encode(asked.description),
                examples=examples,
            )
            if probes is not None:
                await reports.add(connection, who.project.id, version_id, "probes", wire.encode(probes))
            version = await store.get(connection, who.project.id, version_id)
            if version is None:
                raise AssertionError("a version just registered exists")
            found = await reports.latest(connection, who.project.id, version_id)
            return Answer(201 if new else 200, wire.encode(version_json(version, found)))

        return answered(await answer_once(state.database, who.project.id, body.key, body.sha256, produce))


async def _probes(state: Services, project: Project, name: str, compiled: Compiled) -> dict[str, Any] | None:
    """What the verifier accepts of what nobody should; None for one that has no probes, or that is known already.

    One is not known whose backend was down when it was probed.
    """
    if not isinstance(compiled.verifier, HasProbes):
        return None
    async with state.database.begin() as connection:
        versions = await store.versions_page(connection, project.id, name, None, 1)
        latest = versions[0] if versions else None
        found = {} if latest is None else await reports.latest(connection, project.id, latest.id)
    number = 1 if latest is None else latest.version + 1
    digest = config_sha256(compiled.verifier.kind, compiled.config)
    if latest is not None and (latest.kind, latest.config_sha256) == (compiled.verifier.kind, digest):
        if "probes" in found and wire.decode(found["probes"].encode())["share"] is not None:
            return None
        number = latest.version
    return await state.engine.probe(project, f"{name}@{number}", compiled.verifier)


async def _check_examples(
    engine: Engine, project: Project, kind: str, verifier: Verifier, examples: Sequence[RegisterExample]
) -> None:
    """Raise `Problem` (422) unless every example scores as it declares; 503 where that cannot be told now.

    A reference must accept its own answer too, where the kind can write that.
    """
    if not examples:
        return
    await _check_references(engine, project, kind, verifier, examples)
    items = [
        Item(prompt=example.prompt, completion=example.completion, reference=example.reference)
        for example in examples
    ]
    verdicts = await engine.trial(project, kind, verifier, items)
    for number, (example, verdict) in enumerate(zip(examples, verdicts, strict=True)):
        where = f"/examples/{number}"
        if verdict.score is not None and example.holds(verdict.score):
            continue
        if verdict.error is not None and verdict.error.type is not ErrorType.BAD_ITEM and verdict.error.retryable:
            raise Problem("verifier-unavailable", f"{where}: {verdict.error.message}", pointer=where)
        got = f"scored {verdict.score} ({verdict.outcome})" if verdict.error is None else verdict.error.message
        raise Problem(
            "example-failed",
            f"{where}: expected {example.expect}, but it {got}"
            if verdict.error is None
            else f"{where}: expected {example.expect}, but it was not scored: {got}",
            pointer=where,
        )


async def _check_references(
    engine: Engine, project: Project, kind: str, verifier: Verifier, examples: Sequence[RegisterExample]
) -> None:
    if not isinstance(verifier, HasGold):
        return
    items = items_of(verifier, [Gold(example.reference) for example in examples])
    usable = {number: item for number, item in enumerate(items) if isinstance(item, Item)}
    verdicts = await engine.trial(project, kind, verifier, list(usable.values()))
    for number, verdict in zip(usable, verdicts, strict=True):
        if verdict.score is not None and (fault := fault_of(verdict)):
            where = f"/examples/{number}/reference"
            raise Problem("example-failed", f"{where}: {fault}", pointer=where)


@router.get("/verifiers", response_model=Page[VerifierVersion], operation_id="list_verifiers")
async def list_verifiers(request: Request, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The latest version of each verifier of the project, and the built-in ones, by name."""
    state = services(request)
    who = await authorized(request, "read")
    if cursor is not None and not re.fullmatch(NAME, cursor):
        bad_cursor()
    async with state.database.begin() as connection:
        found = await store.list_page(connection, who.project.id, cursor, limit + 1)
    more = found[limit - 1].name if len(found) > limit else None
    return _page(found[:limit], more)


@router.get("/verifiers/{name}", response_model=VerifierVersion, operation_id="get_verifier")
async def get_verifier(
    request: Request, name: Annotated[str, Path(description="`name` (the latest version) or `name@version`.")]
) -> Response:
    """A verifier by `name` (its latest version) or `name@version`."""
    state = services(request)
    who = await authorized(request, "read")
    match = REFERENCE.fullmatch(name)
    if match is None:
        raise unknown_verifier(name)
    async with state.database.begin() as connection:
        if match[2] is not None:
            version = await store.get_numbered(connection, who.project.id, match[1], int(match[2]))
        else:
            newest = await store.versions_page(connection, who.project.id, match[1], None, 1)
            version = newest[0] if newest else None
        if version is None:
            raise unknown_verifier(name)
        found = await reports.latest(connection, who.project.id, version.id)
    return json_response(wire.encode(version_json(version, found)))


@router.get("/verifiers/{name}/versions", response_model=Page[VerifierVersion], operation_id="list_verifier_versions")
async def list_verifier_versions(
    request: Request, name: BareName, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """Every version of a verifier, newest first."""
    state = services(request)
    who = await authorized(request, "read")
    if not re.fullmatch(NAME, name):
        raise unknown_verifier(name)
    if cursor is not None and not re.fullmatch(r"[1-9][0-9]{0,8}", cursor):
        bad_cursor()
    async with state.database.begin() as connection:
        below = None if cursor is None else int(cursor)
        found = await store.versions_page(connection, who.project.id, name, below, limit + 1)
    if not found and cursor is None:
        raise unknown_verifier(name)
    return _page(found[:limit], str(found[limit - 1].version) if len(found) > limit else None)


@router.delete("/verifiers/{name}", status_code=204, response_class=Response, operation_id="archive_verifier")
async def archive_verifier(request: Request, name: BareName) -> Response:
    """Archive a verifier: its bare name stops resolving; `name@version` goes on for runs that pinned it."""
    state = services(request)
    who = await authorized(request, "register")
    if name in KINDS:
        raise Problem("conflict", f"{name!r} is a built-in verifier and cannot be archived")
    if not re.fullmatch(NAME, name):
        raise unknown_verifier(name)
    async with state.database.begin() as connection:
        if not await store.archive(connection, who.project.id, name):
            raise unknown_verifier(name)
    return Response(status_code=204)


def _page(versions: Sequence[store.Version], next_cursor: str | None) -> Response:
    items = [version_json(version) for version in versions]
    return json_response(wire.encode({"items": items, "next_cursor": next_cursor}))
