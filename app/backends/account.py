"""Whom what a backend takes is counted for: calls, tokens and cost by project, verifier and backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from app import metrics
from verifiers.chat import Abilities, ChatAnswer, ChatRequest
from verifiers.embedding import Embedding
from verifiers.lent import BackendType, Reward, Solution, StepScores

if TYPE_CHECKING:
    from app.backends.directory import Directory

MAX_PROJECTS = 200
"""Projects with labels of their own in one API process; those that come later are `other`."""
MAX_PAIRS = 50
"""Pairs of verifier and backend of one project with labels of their own; the verifiers of later ones are `other`.

A bound for each project: no project uses up another's, however many verifiers it registers.
"""
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Account:
    """A verifier of a project. Answers are shared within the project."""

    project_id: UUID
    project: str
    verifier: str
    """`name@version`, or `kind@inline`."""


class Labels:
    """Label values of what is counted by account, bounded in number."""

    def __init__(self) -> None:
        self._pairs: dict[str, set[tuple[str, str]]] = {}

    def of(self, account: Account, backend: str) -> tuple[str, str, str]:
        """Project, verifier and backend."""
        pairs = self._pairs.get(account.project)
        if pairs is None:
            if len(self._pairs) >= MAX_PROJECTS:
                return OTHER, OTHER, backend
            pairs = self._pairs[account.project] = set()
        pair = account.verifier, backend
        if pair not in pairs:
            if len(pairs) >= MAX_PAIRS:
                return account.project, OTHER, backend
            pairs.add(pair)
        return account.project, account.verifier, backend


_LABELS = Labels()


def count(
    account: Account | None,
    backend: str,
    *,
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    cost: float | None = None,
) -> None:
    """Count one call that a backend answered; without an account (probing what a server can do) it is nobody's."""
    if account is None:
        return
    labels = _LABELS.of(account, backend)
    metrics.USAGE_CALLS.labels(*labels).inc()
    metrics.USAGE_PROMPT_TOKENS.labels(*labels).inc(prompt_tokens)
    metrics.USAGE_COMPLETION_TOKENS.labels(*labels).inc(completion_tokens)
    if cost is not None:
        metrics.USAGE_COST.labels(*labels).inc(cost)


class AccountedBackends:
    """The backends as one verifier of one project is lent them (`verifiers.lent.Backends`)."""

    def __init__(self, directory: Directory, account: Account) -> None:
        self._directory = directory
        self._account = account

    async def exists(self, name: str, type: BackendType | None = None) -> bool:
        """See `verifiers.lent.Backends`."""
        return await self._directory.exists(name, type)

    async def post(self, name: str, body: Any, *, deadline: float) -> Any:
        """See `verifiers.lent.Backends`."""
        return await self._directory.post(name, body, deadline=deadline, account=self._account)

    async def abilities(self, name: str) -> Abilities:
        """See `verifiers.lent.Backends`."""
        return await self._directory.abilities(name)

    async def chat(self, name: str, request: ChatRequest, *, deadline: float) -> ChatAnswer:
        """See `verifiers.lent.Backends`."""
        return await self._directory.chat(name, request, deadline=deadline, account=self._account)

    async def embedding(self, name: str, text: str, *, deadline: float) -> Embedding:
        """See `verifiers.embedding.Embeds`."""
        return await self._directory.embedding(name, text, deadline=deadline, account=self._account)

    def discard(self, name: str, request: ChatRequest) -> None:
        """See `verifiers.lent.Backends`."""
        self._directory.discard(name, request, account=self._account)

    async def rewards(
        self, name: str, conversations: Sequence[Sequence[Mapping[str, str]]], *, deadline: float
    ) -> list[Reward]:
        """See `verifiers.lent.Backends`."""
        return await self._directory.rewards(name, conversations, deadline=deadline, account=self._account)

    async def steps(self, name: str, solutions: Sequence[Solution], *, deadline: float) -> list[StepScores]:
        """See `verifiers.lent.Backends`."""
        return await self._directory.steps(name, solutions, deadline=deadline, account=self._account)
