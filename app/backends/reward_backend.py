"""A reward model on somebody's server, as a backend: one way to ask, and what the server's refusals mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app import wire
from app.backends.caller import Caller, RefusedError
from app.backends.rewarding import RewardOptions, RewardServer, overflowed
from verifiers.base import ErrorType
from verifiers.lent import BackendError, Reward, Solution, StepScores


class RewardBackend:
    """Scores with a server's model over `caller`, which bounds requests in number, time and size."""

    def __init__(self, caller: Caller, name: str, options: RewardOptions) -> None:
        self._caller = caller
        self._name = name
        self._server = RewardServer(name, options.api, options, self._post)

    @property
    def id(self) -> object:
        """The backend's."""
        return self._caller.id

    @property
    def running(self) -> int:
        """Requests that wait or run."""
        return self._caller.running

    async def rewards(self, conversations: Sequence[Sequence[Mapping[str, str]]], *, deadline: float) -> list[Reward]:
        """See `verifiers.lent.Backends.rewards`."""
        return await self._server.rewards(conversations, deadline=deadline)

    async def steps(self, solutions: Sequence[Solution], *, deadline: float) -> list[StepScores]:
        """See `verifiers.lent.Backends.steps`."""
        return await self._server.steps(solutions, deadline=deadline)

    async def close(self) -> None:
        """Close its connections."""
        await self._caller.close()

    async def _post(self, body: Any, deadline: float) -> Any:
        try:
            return await self._caller.post(lambda: wire.encode(body).encode(), deadline=deadline)
        except RefusedError as error:
            if error.status == 500 or overflowed(error.status, error.content):
                message = f"the backend {self._name} takes fewer tokens than the text has"
                raise BackendError(ErrorType.CONTEXT_OVERFLOW, message, retryable=False) from None
            raise
