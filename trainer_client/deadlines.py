"""Calls that are ended when their time is up."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Generic, Protocol, TypeVar

FEW = 1024


class Waiting(Protocol):
    """A call that waits for its answer."""

    done: asyncio.Future[None]

    def expire(self) -> None:
        """End it."""


W = TypeVar("W", bound=Waiting)


class Deadlines(Generic[W]):
    """Ends the calls of one event loop at their deadlines.

    One timer serves all of them, since a timer each costs more than all else that is done for a call. Calls that are
    done are forgotten when they are as many as those that wait.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, W]] = []
        """A heap; the number keeps calls of one deadline from being compared."""
        self._number = itertools.count()
        self._bound = FEW
        self._timer: asyncio.TimerHandle | None = None
        self._rings = float("inf")

    def watch(self, call: W, deadline: float) -> None:
        """End `call` at `deadline` (`time.monotonic()` seconds), unless it is done by then."""
        if len(self._waiting) >= self._bound:
            self._waiting = [entry for entry in self._waiting if not entry[2].done.done()]
            heapq.heapify(self._waiting)
            self._bound = max(FEW, 2 * len(self._waiting))
        heapq.heappush(self._waiting, (deadline, next(self._number), call))
        if deadline < self._rings:
            self._set(deadline)

    def stop(self) -> list[W]:
        """End nothing any more. The calls that were waited for, some of which may be done."""
        calls = [call for _, _, call in self._waiting]
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        return calls

    def _set(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings = deadline
        self._timer = asyncio.get_running_loop().call_later(max(deadline - time.monotonic(), 0), self._ring)

    def _ring(self) -> None:
        now = time.monotonic()
        waiting = self._waiting
        while waiting and (waiting[0][0] <= now or waiting[0][2].done.done()):
            heapq.heappop(waiting)[2].expire()
        self._timer, self._rings = None, float("inf")
        if waiting:
            self._set(waiting[0][0])
