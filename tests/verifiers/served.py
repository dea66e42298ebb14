"""Reward models that say what a test wants, over the protocol that real ones are reached by."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.verifiers.support import InProcessGuard, Parts, configured
from verifiers.base import Context, Item, Verdict, Verifier
from verifiers.chat import Abilities, ChatAnswer, ChatRequest
from verifiers.lent import BackendError, Reward, Solution, StepScores

Messages = Sequence[Mapping[str, str]]


class Served:
    """One model of each sort, by a function. Remembers what it was asked."""

    def __init__(
        self,
        reward: Callable[[Messages], float | Reward | BackendError] = lambda messages: 0.0,
        steps: Callable[[Solution], Sequence[float] | StepScores] = lambda solution: [1.0] * len(solution.steps),
    ) -> None:
        self._reward = reward
        self._steps = steps
        self.conversations: list[list[Messages]] = []
        self.solutions: list[list[Solution]] = []

    async def rewards(self, name: str, conversations: Sequence[Messages], *, deadline: float) -> list[Reward]:
        self.conversations.append(list(conversations))
        return [self._rewarded(messages) for messages in conversations]

    def _rewarded(self, messages: Messages) -> Reward:
        said = self._reward(messages)
        if isinstance(said, BackendError):
            return Reward(None, said)
        return said if isinstance(said, Reward) else Reward(said, tokens=7)

    async def steps(self, name: str, solutions: Sequence[Solution], *, deadline: float) -> list[StepScores]:
        self.solutions.append(list(solutions))
        said = [self._steps(solution) for solution in solutions]
        return [one if isinstance(one, StepScores) else StepScores(tuple(one), tokens=9) for one in said]

    async def exists(self, name: str, *_: Any) -> bool:
        return True

    async def post(self, name: str, body: Any, *, deadline: float) -> Any:
        raise AssertionError("reward models are not posted to")

    async def abilities(self, name: str) -> Abilities:
        raise AssertionError("reward models do not chat")

    async def chat(self, name: str, request: ChatRequest, *, deadline: float) -> ChatAnswer:
        raise AssertionError("reward models do not chat")

    def discard(self, name: str, request: ChatRequest) -> None:
        raise AssertionError("reward models do not chat")


async def judged_by(
    served: Served | None,
    kind: str,
    config: dict[str, Any],
    items: Sequence[Item],
    *,
    seconds: float = 60,
    named: Mapping[str, Verifier] | None = None,
) -> list[Verdict]:
    """Every item's verdict with these backends."""
    ctx = Context(time.monotonic() + seconds, InProcessGuard(), backends=served)
    return await configured(kind, config).verify(items, replace(ctx, score=Parts(ctx, named)))
