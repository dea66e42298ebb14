"""What a kind that is made of other verifiers scores its parts with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from app.errors import Problem
from app.registry import Registry, Resolved
from verifiers.base import ErrorType, Item, Verdict
from verifiers.lent import Cost, Other


class PartScorer:
    """`Context.score` of one project: a part's verdicts are reused like any others, and not recorded."""

    def __init__(
        self,
        registry: Registry,
        project_id: UUID,
        verify: Callable[[Resolved, Sequence[Item]], Awaitable[list[Verdict]]],
    ) -> None:
        self._registry = registry
        self._project_id = project_id
        self._verify = verify

    async def cost(self, verifier: Other) -> Cost:
        """See `verifiers.lent.Scorer`."""
        try:
            return (await self._registry.part(self._project_id, verifier)).cost
        except Problem:  # told when it is asked to score
            return Cost.LOOP

    async def __call__(self, verifier: Other, items: Sequence[Item]) -> list[Verdict]:
        """See `verifiers.lent.Scorer`."""
        try:
            resolved = await self._registry.part(self._project_id, verifier)
        except Problem as problem:
            away = problem.status >= 500
            type = ErrorType.KIND_UNAVAILABLE if away else ErrorType.VERIFIER_FAULT
            return [Verdict.unscored(type, problem.detail, retryable=away)] * len(items)
        return await self._verify(resolved, items)
