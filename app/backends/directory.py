"""The backends by name: what kinds are lent, an implementation of `verifiers.lent.Backends`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from app import wire
from app.backends.account import Account, count
from app.backends.answers import Answers
from app.backends.caller import Caller
from app.backends.chat_server import ChatServer
from app.backends.config import BackendLimits, ChatModel
from app.backends.local import LocalOptions, LocalServer
from app.backends.resolver import Lookup, system_lookup
from app.backends.reward_backend import RewardBackend
from app.backends.rewarding import RewardOptions
from app.backends.secrets import Secret, SecretError, Vault
from app.errors import Problem
from app.store import backends as store
from app.store.database import Database
from verifiers.base import ErrorType
from verifiers.chat import Abilities, ChatAnswer, ChatRequest
from verifiers.embedding import Embedding
from verifiers.lent import BackendError, BackendType, Reward, Solution, StepScores

log = structlog.get_logger()

Server = Caller | ChatServer | RewardBackend | LocalServer
TRUST_S = 1.0
"""How long what is known of a name is believed before the database is asked again."""
FIND_S = 10.0
"""How long a look-up may take where nobody sets a deadline."""


def place(backend_id: object, url: str, header: str) -> str:
    """What a stored key is bound to."""
    return f"{backend_id}\n{url}\n{header}"


class Directory:
    """Finds backends for one process. One that is archived elsewhere is gone here within `TRUST_S`."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        *,
        workers: int = 1,
        lookup: Lookup = system_lookup,
        home: Path | None = None,
    ) -> None:
        """`home` is where the sockets of models lie that are served here; None for a process that serves none."""
        self.vault = vault
        self._home = home
        self._database = database
        self._workers = workers
        self._lookup = lookup
        self._answers = Answers()
        self._known: dict[str, tuple[Server, float]] = {}
        self._retired: list[Server] = []
        self._finding: dict[str, asyncio.Task[Server | None]] = {}

    async def exists(self, name: str, type: BackendType | None = None) -> bool:
        """See `verifiers.lent.Backends`. Raises `Problem` (503) where the database cannot be reached."""
        async with self._database.begin() as connection:
            found = await store.find(connection, name)
        return found is not None and type in (None, found.type)

    async def post(self, name: str, body: Any, *, deadline: float, account: Account | None = None) -> Any:
        """See `verifiers.lent.Backends`; here and below, what it takes is counted for `account`."""
        caller = await self._server(name, deadline)
        if not isinstance(caller, Caller):
            raise _unavailable(f"the backend {name} is a model, and no verifier", retryable=False)
        answer = await caller.post(lambda: wire.encode(body).encode(), deadline=deadline)
        count(account, name)
        return answer

    async def abilities(self, name: str) -> Abilities:
        """See `verifiers.lent.Backends`."""
        return await (await self._chat_server(name, time.monotonic() + FIND_S)).abilities()

    async def chat(
        self, name: str, request: ChatRequest, *, deadline: float, account: Account | None = None
    ) -> ChatAnswer:
        """See `verifiers.lent.Backends`."""
        return await (await self._chat_server(name, deadline)).chat(request, deadline=deadline, account=account)

    async def embedding(self, name: str, text: str, *, deadline: float, account: Account | None = None) -> Embedding:
        """See `verifiers.embedding.Embeds`."""
        server = await self._chat_server(name, deadline)
        return await server.embedder.embedding(text, deadline=deadline, account=account)

    def discard(self, name: str, request: ChatRequest, *, account: Account | None = None) -> None:
        """See `verifiers.lent.Backends`."""
        known = self._known.get(name)
        if known is not None and isinstance(known[0], ChatServer):
            known[0].discard(request, account=account)

    async def rewards(
        self,
        name: str,
        conversations: Sequence[Sequence[Mapping[str, str]]],
        *,
        deadline: float,
        account: Account | None = None,
    ) -> list[Reward]:
        """See `verifiers.lent.Backends`."""
        try:
            server = await self._reward_server(name, deadline)
        except BackendError as error:
            return [Reward(None, error)] * len(conversations)
        rewards = await server.rewards(conversations, deadline=deadline)
        _count_read(account, name, rewards)
        return rewards

    async def steps(
        self, name: str, solutions: Sequence[Solution], *, deadline: float, account: Account | None = None
    ) -> list[StepScores]:
        """See `verifiers.lent.Backends`."""
        try:
            server = await self._reward_server(name, deadline)
        except BackendError as error:
            return [StepScores(None, error)] * len(solutions)
        scores = await server.steps(solutions, deadline=deadline)
        _count_read(account, name, scores)
        return scores

    def forget(self, name: str) -> None:
        """Ask the database at the next request: the backend was changed in this process."""
        known = self._known.get(name)
        if known is not None:
            self._known[name] = (known[0], 0.0)

    async def close(self) -> None:
        """Close every connection."""
        for server in [*(server for server, _ in self._known.values()), *self._retired]:
            await server.close()
        self._known.clear()

    async def _chat_server(self, name: str, deadline: float) -> ChatServer:
        server = await self._server(name, deadline)
        if not isinstance(server, ChatServer):
            raise _unavailable(f"the backend {name} is no chat model", retryable=False)
        return server

    async def _reward_server(self, name: str, deadline: float) -> RewardBackend | LocalServer:
        server = await self._server(name, deadline)
        if not isinstance(server, RewardBackend | LocalServer):
            raise _unavailable(f"the backend {name} is no reward model", retryable=False)
        return server

    async def _server(self, name: str, deadline: float) -> Server:
        """The backend of that name, looked up by the deadline. Raises `BackendError`."""
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                server = await self._looked_up(name)
        except (TimeoutError, Problem):
            raise _unavailable(f"the backend {name} could not be looked up", retryable=True) from None
        except SecretError as error:
            raise _unavailable(f"the backend {name} has no usable key: {error}", retryable=False) from None
        if server is None:
            raise _unavailable(f"there is no backend {name} any more", retryable=False)
        return server

    async def _looked_up(self, name: str) -> Server | None:
        known = self._known.get(name)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        finding = self._finding.get(name)
        if finding is None:
            finding = self._finding[name] = asyncio.create_task(self._find(name), name="backend lookup")
            finding.add_done_callback(lambda done: self._found(name, done))
        return await asyncio.shield(finding)

    def _found(self, name: str, done: asyncio.Task[Server | None]) -> None:
        self._finding.pop(name, None)
        if not done.cancelled():
            done.exception()  # whoever asked may have stopped waiting for it

    async def _find(self, name: str) -> Server | None:
        async with self._database.begin() as connection:
            backend = await store.find(connection, name)
        known = self._known.pop(name, None)
        if known is not None and backend is not None and known[0].id == backend.id:
            server = known[0]
        else:
            if known is not None:
                self._retired.append(known[0])
            await self._close_retired()
            if backend is None:
                return None
            server = self._made(backend)
        self._known[name] = (server, time.monotonic() + TRUST_S)
        return server

    def _made(self, backend: store.Backend) -> Server:
        if backend.type == "local":
            if self._home is None:
                raise _unavailable(
                    f"the backend {backend.name} is a model, and this process serves none", retryable=False
                )
            return LocalServer(backend.name, LocalOptions.model_validate(backend.options), self._home, backend.id)
        headers: dict[str, str] = {}
        for member in backend.secrets:
            secret = Secret(**member)
            bound = place(backend.id, backend.url, secret.header)
            headers[secret.header] = secret.scheme + self.vault.value(secret.source, bound)
        caller = Caller(
            backend.id,
            backend.name,
            backend.url,
            BackendLimits.model_validate(backend.limits),
            headers,
            allow_private=backend.allow_private,
            lookup=self._lookup,
            workers=self._workers,
        )
        match backend.type:
            case "chat":
                return ChatServer(caller, backend.name, ChatModel.model_validate(backend.options), self._answers)
            case "reward":
                return RewardBackend(caller, backend.name, RewardOptions.model_validate(backend.options))
            case _:
                return caller

    async def _close_retired(self) -> None:
        """Close those whose last request has ended."""
        idle = [server for server in self._retired if not server.running]
        self._retired = [server for server in self._retired if server.running]
        for server in idle:
            await server.close()


def _count_read(account: Account | None, name: str, heard: Sequence[Reward | StepScores]) -> None:
    """Count what a reward model has read; what it gave no score for is not known to have taken anything."""
    for one in heard:
        if one.error is None:
            count(account, name, prompt_tokens=one.tokens or 0)


def _unavailable(message: str, *, retryable: bool) -> BackendError:
    return BackendError(ErrorType.BACKEND_UNAVAILABLE, message, retryable=retryable)
