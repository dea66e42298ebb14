"""Computing for a thousand items that are ready at once, without holding up everyone else."""

from __future__ import annotations

import asyncio
from types import TracebackType

from verifiers.base import GivingWay


class Pace:
    """Held while something is computed: one holder at a time, who first gives way to others if it is their turn.

    Answers may all come in the same round of the event loop, whose every task would then compute in that round.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._turn = GivingWay()

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        try:
            await self._turn.over()
        except BaseException:
            self._lock.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
