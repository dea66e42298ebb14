"""One chat model: asked once for what is the same, its tokens and cost counted, its abilities found out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

from app import metrics, wire
from app.backends.account import Account, count
from app.backends.answers import Answers
from app.backends.caller import Caller, RefusedError
from app.backends.chat_errors import ChatError, does_not_take, refused
from app.backends.chat_wire import LimitField, answer_of, body_of, estimated_tokens
from app.backends.config import Able, ChatModel
from app.backends.embeddings import Embedder
from verifiers.base import ErrorType
from verifiers.chat import Abilities, ChatAnswer, ChatMessage, ChatRequest
from verifiers.lent import BackendError

ABILITIES_S = 3_600.0
"""How long what was found out is believed. A failure to find out is believed by nobody."""
PROBE_S = 60.0
"""What finding out may take."""
_PATH = "chat/completions"
_WORD = "zqv"
_PROBE = (ChatMessage("user", "Say hello."),)
SCHEMA_PROBE = ChatRequest(
    _PROBE,
    max_tokens=100,
    json_schema={
        "type": "object",
        "properties": {_WORD: {"type": "string", "enum": [_WORD]}},
        "required": [_WORD],
        "additionalProperties": False,
    },
)
"""Nobody answers like this to that, who is not made to."""
LOGPROBS_PROBE = ChatRequest(_PROBE, max_tokens=1, top_logprobs=2)
_OF_EVERY_REQUEST = (401, 403, 404)
"""Refusals that say nothing of what was asked for."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Flight:
    """A request under way, which others of the same wait for."""

    task: asyncio.Task[ChatAnswer]
    deadline: float


class ChatServer:
    """Sends one backend's chat requests by its `Caller`."""

    def __init__(self, caller: Caller, name: str, model: ChatModel, answers: Answers) -> None:
        self._caller = caller
        self._name = name
        self._model = model
        self._answers = answers
        self.embedder = Embedder(caller, name, model)
        self._limit: LimitField = "max_tokens"
        self._flights: dict[bytes, _Flight] = {}
        self._finding: asyncio.Task[Abilities] | None = None
        self._found: tuple[Abilities, float] | None = None

    @property
    def id(self) -> UUID:
        """The backend's."""
        return self._caller.id

    @property
    def running(self) -> int:
        """Requests that wait or run."""
        return self._caller.running

    async def close(self) -> None:
        """Break off what runs."""
        tasks: list[asyncio.Task[ChatAnswer] | asyncio.Task[Abilities]] = [
            flight.task for flight in self._flights.values()
        ]
        if self._finding is not None:
            tasks.append(self._finding)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._caller.close()

    async def chat(self, request: ChatRequest, *, deadline: float, account: Account | None = None) -> ChatAnswer:
        """See `verifiers.lent.Backends.chat`. What it takes is counted for `account`.

        A request whose answer is not left to chance (temperature 0, or a seed) is asked once in a project: the same
        at the same time, or later, gets the same answer, which has cost nothing. Without a seed, every sample is one
        of its own.
        """
        if request.temperature > 0 and request.seed is None:
            with self._caller.in_use():
                return await self._asked(request, deadline, account)
        key = self._key(request, account)
        while True:
            kept = self._answers.get(key)
            if kept is not None:
                return self._reused(kept)
            flight = self._flights.get(key)
            if flight is None:
                return await asyncio.shield(self._launched(key, request, deadline, account))
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    return self._reused(await asyncio.shield(flight.task))
            except TimeoutError:
                message = f"the backend {self._name} did not answer in time"
                raise BackendError(ErrorType.BACKEND_UNAVAILABLE, message, retryable=True) from None
            except BackendError as error:
                if not error.retryable or flight.deadline >= deadline:
                    raise
                # it had less time than there is left

    async def abilities(self) -> Abilities:
        """See `verifiers.lent.Backends.abilities`."""
        if self._found is not None and self._found[1] > time.monotonic():
            return self._found[0]
        if self._finding is None:
            self._finding = self._started(self._find_out())
        return await asyncio.shield(self._finding)

    def discard(self, request: ChatRequest, *, account: Account | None = None) -> None:
        """See `verifiers.lent.Backends.discard`."""
        self._answers.remove(self._key(request, account))

    def _key(self, request: ChatRequest, account: Account | None) -> bytes:
        """What decides the answer. A backend never changes, so its id stands for its URL.

        The project is part of it: that an answer cost nothing would tell one what another has judged.
        """
        body = body_of(self._model.model, request)
        project = b"" if account is None else account.project_id.bytes
        return hashlib.sha256(self.id.bytes + project + wire.encode(body).encode()).digest()

    def _reused(self, answer: ChatAnswer) -> ChatAnswer:
        metrics.BACKEND_REUSED.labels(self._name).inc()
        return replace(answer, prompt_tokens=0, completion_tokens=0, cost=None if answer.cost is None else 0.0)

    def _launched(
        self, key: bytes, request: ChatRequest, deadline: float, account: Account | None
    ) -> asyncio.Task[ChatAnswer]:
        async def ask() -> ChatAnswer:
            try:
                answer = await self._asked(request, deadline, account)
                self._answers.put(key, answer)
                return answer
            finally:
                del self._flights[key]

        task = self._started(ask())
        self._flights[key] = _Flight(task, deadline)
        return task

    def _started(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that goes on when whoever came first has gone; until it ends, the connections are kept."""

        def over(task: asyncio.Task[T]) -> None:
            self._caller.running -= 1
            if not task.cancelled():
                task.exception()  # nobody may be left who waits for it

        self._caller.running += 1
        task = asyncio.create_task(work, name="chat model")
        task.add_done_callback(over)
        return task

    async def _asked(self, request: ChatRequest, deadline: float, account: Account | None) -> ChatAnswer:
        """The server's answer. Raises `BackendError`."""
        try:
            return await self._answered(request, deadline, account)
        except ChatError as error:
            raise self._error(error) from None

    async def _answered(self, request: ChatRequest, deadline: float, account: Account | None = None) -> ChatAnswer:
        """The server's answer, and what it took counted. Raises `ChatError`, and the caller's `BackendError`."""
        estimated = estimated_tokens(request) if self._caller.rates.count_tokens else 0
        limit = self._limit
        try:
            try:
                value = await self._posted(request, limit, deadline, estimated)
            except RefusedError as error:
                if limit == "max_completion_tokens" or not does_not_take(limit, error.content):
                    raise
                self._limit = "max_completion_tokens"
                value = await self._posted(request, self._limit, deadline, estimated)
        except RefusedError as error:
            self._caller.rates.settle(estimated, 0)
            raise refused(error.status, error.content) from None
        return self._counted(answer_of(value, request), estimated, account)

    async def _posted(self, request: ChatRequest, limit: LimitField, deadline: float, tokens: int) -> Any:
        model = self._model.model
        return await self._caller.post(
            lambda: wire.encode(body_of(model, request, limit)).encode(),
            deadline=deadline,
            tokens=tokens,
            below=_PATH,
        )

    def _counted(self, answer: ChatAnswer, estimated: int, account: Account | None) -> ChatAnswer:
        used = answer.prompt_tokens + answer.completion_tokens
        if used:
            self._caller.rates.settle(estimated, used)
        metrics.BACKEND_PROMPT_TOKENS.labels(self._name).inc(answer.prompt_tokens)
        metrics.BACKEND_COMPLETION_TOKENS.labels(self._name).inc(answer.completion_tokens)
        cost = self._cost(answer)
        if cost is not None:
            metrics.BACKEND_COST.labels(self._name).inc(cost)
        count(
            account,
            self._name,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            cost=cost,
        )
        return replace(answer, cost=cost)

    def _cost(self, answer: ChatAnswer) -> float | None:
        """What an answer costs; None where there are no prices, or the server counts no tokens."""
        price_in, price_out = self._model.price_in, self._model.price_out
        counted = answer.prompt_tokens or answer.completion_tokens
        if not counted or (price_in is None and price_out is None):
            return None
        return (answer.prompt_tokens * (price_in or 0.0) + answer.completion_tokens * (price_out or 0.0)) / 1e6

    def _error(self, error: ChatError) -> BackendError:
        return BackendError(error.type, f"the backend {self._name} {error}", retryable=error.retryable)

    async def _find_out(self) -> Abilities:
        deadline = time.monotonic() + PROBE_S
        try:
            json_schema, logprobs = await asyncio.gather(
                self._able(self._model.json_schema, SCHEMA_PROBE, _is_bound, deadline),
                self._able(self._model.logprobs, LOGPROBS_PROBE, _has_logprobs, deadline),
            )
            found = Abilities(json_schema=json_schema, logprobs=logprobs)
            self._found = (found, time.monotonic() + ABILITIES_S)
            return found
        finally:
            self._finding = None

    async def _able(
        self, said: Able, probe: ChatRequest, shows: Callable[[ChatAnswer], bool], deadline: float
    ) -> bool:
        """What the operator says, or an answer shows; a server that refuses such a request is not able."""
        if said != "auto":
            return said == "yes"
        try:
            return shows(await self._answered(probe, deadline))
        except ChatError as error:
            if error.type is ErrorType.BACKEND_FAULT and error.status not in _OF_EVERY_REQUEST:
                return False
            raise self._error(error) from None
        except BackendError as error:
            if error.type is ErrorType.BACKEND_FAULT:  # what is no JSON, such as a log-probability of NaN
                return False
            raise


def _is_bound(answer: ChatAnswer) -> bool:
    try:
        return bool(json.loads(answer.text) == {_WORD: _WORD})
    except (ValueError, RecursionError):
        return False


def _has_logprobs(answer: ChatAnswer) -> bool:
    return any(token.top for token in answer.tokens)
