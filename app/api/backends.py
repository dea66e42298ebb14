"""/backends: the servers that verifiers may ask, for the operator alone. Everybody else knows their names."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field, SecretStr
from yarl import URL

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
    unrecorded,
)
from app.auth import Principal
from app.backends.addresses import Reach, reach
from app.backends.config import MAX_HEADERS, BackendLimits, BackendUrl, ChatModel, HeaderName
from app.backends.directory import Directory, place
from app.backends.local import LocalOptions
from app.backends.rewarding import RewardOptions
from app.backends.secrets import Secret, SecretError, Vault
from app.errors import Problem
from app.idempotency import Answer, answer_once
from app.registry import NAME
from app.store import backends as store
from app.store.database import Connection
from app.store.ids import uuid7
from verifiers.base import ErrorType, Item, Strict
from verifiers.chat import ChatMessage, ChatRequest
from verifiers.lent import BackendError, BackendType, Solution
from verifiers.remote import asked, judged

router = APIRouter(tags=["backends"])

BackendName = Annotated[str, Path(description="What verifiers call it.")]

TEST_S = 30.0
QUESTION = "What is 6 times 7? Answer with the number alone."
CHAT_PATH = "/chat/completions"
ALLOW_PRIVATE = (
    "Whether it may be on this machine or a private network. Link-local addresses and cloud metadata never are."
)
KEYS = "`env:ASSAY_BACKEND_...` for a variable of the service, else the value, which ASSAY_SECRET_KEY encrypts"


_NEEDED = {
    "chat": 'its model, such as {"model": "gpt-4.1-mini"}',
    "reward": 'what it speaks, such as {"api": "classify"}',
    "local": 'its model, such as {"model": "/models/reward-8b"}',
}


class CreateBackend(Strict):
    """A server that verifiers may ask."""

    name: str = Field(pattern=f"^{NAME}$", description="What verifiers call it.", examples=["style-checker"])
    type: BackendType = Field(
        "verifier",
        description="verifier: a verifier of yours, for the kind `remote`; chat: a language model behind an "
        "OpenAI-compatible API that chats or embeds texts, for `judge` and `grader`; reward: a reward model's "
        "server, for `reward_model` and `process`; local: a reward model that the service serves itself.",
    )
    url: BackendUrl | None = Field(
        None,
        description="Where requests are posted to, or the base URL of a chat model's API, such as "
        "`https://api.openai.com/v1`; people who may ask it do not see it. Put no key into it. A local model has "
        "none.",
        examples=["https://verifier.example.com/score"],
    )
    key: SecretStr | None = Field(None, description=f"Sent as `Authorization: Bearer ...`: {KEYS}.")
    headers: dict[HeaderName, SecretStr] = Field(
        default_factory=dict,
        max_length=MAX_HEADERS,
        description=f"Further headers; values are kept like keys: {KEYS}.",
    )
    allow_private: bool = Field(False, description=ALLOW_PRIVATE)
    limits: BackendLimits = Field(default_factory=BackendLimits, description="Bounds of the requests to it.")
    chat: ChatModel | None = Field(None, description="Of the type chat, and only of it: the model and its prices.")
    reward: RewardOptions | None = Field(None, description="Of the type reward, and only of it: what it speaks.")
    local: LocalOptions | None = Field(None, description="Of the type local, and only of it: the model.")

    @property
    def options(self) -> ChatModel | RewardOptions | LocalOptions | None:
        """What its type has besides."""
        return self.chat or self.reward or self.local


class Backend(BaseModel):
    """A backend, without its keys."""

    id: UUID
    name: str
    type: BackendType
    url: str | None
    headers: dict[str, str] = Field(description="By name: `stored`, or the variable that has the value.")
    allow_private: bool = Field(description=ALLOW_PRIVATE)
    limits: BackendLimits
    chat: ChatModel | None
    reward: RewardOptions | None
    local: LocalOptions | None
    created_at: datetime
    archived_at: datetime | None


class BackendTest(BaseModel):
    """What came of asking a backend."""

    name: str
    ok: bool
    ms: float
    message: str = Field(description="What it answered, or what is wrong.")


def backend_json(backend: store.Backend) -> dict[str, Any]:
    """The wire form of a backend."""
    return {
        "id": str(backend.id),
        "name": backend.name,
        "type": backend.type,
        "url": backend.url or None,
        "headers": {secret["header"]: Secret(**secret).shown for secret in backend.secrets},
        "allow_private": backend.allow_private,
        "limits": backend.limits,
        **{type: backend.options if backend.type == type else None for type in ("chat", "reward", "local")},
        "created_at": backend.created_at.isoformat(),
        "archived_at": None if backend.archived_at is None else backend.archived_at.isoformat(),
    }


async def _operator(request: Request) -> Principal:
    who = await authorized(request, "admin")
    if not who.project.operates:
        raise Problem("forbidden", "only admin keys of the project 'default' see and change backends")
    return who


@router.post("/backends", status_code=201, response_model=Backend, operation_id="create_backend")
@takes(CreateBackend)
async def create_backend(request: Request) -> Response:
    """Name a server that verifiers may ask; for admin keys of the project `default`."""
    state = services(request)
    who = await _operator(request)
    async with Received(request, CreateBackend) as body:
        wanted = body.value
        _check_address(wanted)
        _check_type(wanted)
        id = uuid7()
        secrets = _kept(state.backends.vault, wanted, id)

        async def produce(connection: Connection) -> Answer:
            made = await store.create(
                connection,
                id=id,
                name=wanted.name,
                type=wanted.type,
                url=wanted.url or "",
                allow_private=wanted.allow_private,
                limits=wire.encode(wanted.limits.model_dump()),
                secrets=wire.encode([asdict(secret) for secret in secrets]),
                options=None if wanted.options is None else wire.encode(wanted.options.model_dump()),
            )
            if made is None:
                detail = f"a backend named {wanted.name!r} exists; remove it first, or choose another name"
                raise Problem("conflict", detail, pointer="/name")
            return Answer(201, wire.encode(backend_json(made)))

        return answered(await answer_once(state.database, who.project.id, body.key, body.sha256, produce))


def _check_address(wanted: CreateBackend) -> None:
    """Refuse a URL with an address that every request would be refused for; a name is looked up for each request."""
    host = URL(wanted.url or "").host or ""
    if not re.fullmatch(r"[0-9.]+|.*:.*", host):
        return
    found = reach(host)
    if found is Reach.NEVER:
        raise Problem("invalid-body", "/url: no backend may be at this address", pointer="/url")
    if found is Reach.PRIVATE and not wanted.allow_private:
        detail = "/url: this address is private; send allow_private: true if it is meant"
        raise Problem("invalid-body", detail, pointer="/url")


def _check_type(wanted: CreateBackend) -> None:
    """Refuse what does not belong to the type."""
    for pointer, type, given in (
        ("/chat", "chat", wanted.chat is not None),
        ("/limits/tokens_per_minute", "chat", wanted.limits.tokens_per_minute is not None),
        ("/reward", "reward", wanted.reward is not None),
        ("/local", "local", wanted.local is not None),
    ):
        if given and wanted.type != type:
            detail = f"{pointer}: belongs to backends of the type {type}; send type: {type} if it is one"
            raise Problem("invalid-body", detail, pointer=pointer)
    if wanted.type != "verifier" and wanted.options is None:
        pointer = f"/{wanted.type}"
        detail = f"{pointer}: a backend of the type {wanted.type} needs {_NEEDED[wanted.type]}"
        raise Problem("invalid-body", detail, pointer=pointer)
    if wanted.type == "local":
        sent = {"/url": wanted.url, "/key": wanted.key, "/headers": wanted.headers}
        for pointer, value in sent.items():
            if value:
                detail = f"{pointer}: the service serves a local model itself; leave it out"
                raise Problem("invalid-body", detail, pointer=pointer)
    elif wanted.url is None:
        raise Problem("invalid-body", "/url: only backends of the type local have none", pointer="/url")
    elif wanted.type == "chat" and URL(wanted.url).path.rstrip("/").endswith(CHAT_PATH):
        detail = f"/url: give the base URL, without {CHAT_PATH}, which the service adds"
        raise Problem("invalid-body", detail, pointer="/url")


def _kept(vault: Vault, wanted: CreateBackend, id: UUID) -> list[Secret]:
    """The headers as they are stored. Raises `Problem` (422)."""
    values = [("/headers/" + header, header, "", value) for header, value in wanted.headers.items()]
    if wanted.key is not None:
        values.append(("/key", "Authorization", "Bearer ", wanted.key))
    kept: list[Secret] = []
    for where, header, scheme, value in values:
        if any(header.lower() == other.header.lower() for other in kept):
            raise Problem("invalid-body", f"{where}: the header {header} is given twice", pointer=where)
        try:
            source = vault.keep(value.get_secret_value(), place(id, wanted.url or "", header))
        except SecretError as error:
            raise Problem("invalid-body", f"{where}: {error}", pointer=where) from None
        kept.append(Secret(header, scheme, source))
    return kept


@router.get("/backends", response_model=Page[Backend], operation_id="list_backends")
async def list_backends(request: Request, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Every backend by name, without its keys; for admin keys of the project `default`."""
    state = services(request)
    await _operator(request)
    if cursor is not None and not re.fullmatch(NAME, cursor):
        bad_cursor()
    async with state.database.begin() as connection:
        found = await store.list_page(connection, cursor, limit + 1)
    more = found[limit - 1].name if len(found) > limit else None
    items = [backend_json(backend) for backend in found[:limit]]
    return json_response(wire.encode({"items": items, "next_cursor": more}))


@router.delete("/backends/{name}", response_model=Backend, operation_id="archive_backend")
async def archive_backend(request: Request, name: BackendName) -> Response:
    """Remove a backend and its keys; within a second verifiers that ask it are unscored, until there is another."""
    state = services(request)
    await _operator(request)
    if not re.fullmatch(NAME, name):
        raise _unknown(name)
    async with state.database.begin() as connection:
        archived = await store.archive(connection, name)
    if archived is None:
        raise _unknown(name)
    state.backends.forget(name)
    return json_response(wire.encode(backend_json(archived)))


@router.post("/backends/{name}/test", response_model=BackendTest, operation_id="test_backend")
@unrecorded
async def test_backend(request: Request, name: BackendName) -> Response:
    """Ask a backend about a made-up item, or a model a question; for admin keys of the project `default`.

    Nothing is recorded.
    """
    state = services(request)
    await _operator(request)
    if not re.fullmatch(NAME, name) or not await state.backends.exists(name):
        raise _unknown(name)
    ask = _ask_rewards
    if await state.backends.exists(name, "chat"):
        ask = _ask_chat
    elif await state.backends.exists(name, "verifier"):
        ask = _ask_verifier
    started = time.monotonic()
    try:
        ok, message = await ask(state.backends, name, started + TEST_S)
    except BackendError as error:
        ok, message = False, str(error)
    ms = round((time.monotonic() - started) * 1000, 3)
    return json_response(wire.encode({"name": name, "ok": ok, "ms": ms, "message": message}))


async def _ask_verifier(backends: Directory, name: str, deadline: float) -> tuple[bool, str]:
    """Whether a verifier judges an item, and what it said. Raises `BackendError`."""
    item = Item(id="test", prompt="What is 6 times 7?", completion="42", reference="42")
    answer = await backends.post(name, asked([item], TEST_S), deadline=deadline)
    [verdict] = judged(answer, [item], name)
    if verdict.error is not None:
        return False, verdict.error.message
    return True, f"it gave the score {verdict.score}"


async def _ask_rewards(backends: Directory, name: str, deadline: float) -> tuple[bool, str]:
    """Whether a reward model scores a conversation, or the steps of a solution, and how."""
    question = {"role": "user", "content": "What is 6 times 7?"}
    [reward] = await backends.rewards(
        name, [[question, {"role": "assistant", "content": "It is 42."}]], deadline=deadline
    )
    if reward.score is not None:
        return True, f"it gave the score {reward.score:.6g}"
    [scores] = await backends.steps(name, [Solution([question], ["6 times 7 is 42."])], deadline=deadline)
    if scores.scores is not None:
        return True, f"it gave a step the score {scores.scores[0]:.6g}"
    return False, str(
        reward.error if scores.error is None or scores.error.type is ErrorType.BACKEND_FAULT else scores.error
    )


async def _ask_chat(backends: Directory, name: str, deadline: float) -> tuple[bool, str]:
    """Whether a chat model answers, and what it said and is able to. Raises `BackendError`."""
    # without a seed, so that it is asked and no answer is reused; at the temperature that every model takes
    question = ChatRequest((ChatMessage("user", QUESTION),), max_tokens=100, temperature=1.0)
    try:
        answer = await backends.chat(name, question, deadline=deadline)
    except BackendError as error:
        if error.type is not ErrorType.BACKEND_FAULT:
            raise
        return await _ask_embedding(backends, name, deadline, error)
    if not answer.text.strip():
        why = (
            "refused"
            if answer.refusal
            else f"answered nothing (finish_reason: {wire.quote(str(answer.finish_reason))})"
        )
        return False, f"the backend {name} {why}"
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            able = await backends.abilities(name)
    except TimeoutError:
        return True, f"it answered {wire.quote(answer.text)}; what else it is able to was not found out in time"
    schema, logprobs = ("yes" if one else "no" for one in (able.json_schema, able.logprobs))
    return True, f"it answered {wire.quote(answer.text)}; JSON schemas: {schema}, log-probabilities: {logprobs}"


async def _ask_embedding(backends: Directory, name: str, deadline: float, refusal: BackendError) -> tuple[bool, str]:
    """Whether a model that does not chat embeds a text. Raises `refusal`, its answer to a chat, where it does not."""
    try:
        found = await backends.embedding(name, QUESTION, deadline=deadline)
    except BackendError:
        raise refusal from None
    return True, f"it embedded a text: {len(found.vector):,} numbers"


def _unknown(name: str) -> Problem:
    return Problem("not-found", f"no backend {wire.quote(name)}; GET /backends lists them")
