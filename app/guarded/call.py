"""The bookkeeping of one guarded call: which payloads are taken, by whom, and what became of them."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from app.guarded.process import Worker
from verifiers.base import GuardFault, GuardLimits, GuardResult


class Call:
    """The payloads of one `run`, dealt out in contiguous chunks.

    Every slot of the pool owns a span of the payloads and takes chunks from its front, so that neighbours, which
    often share a reference that workers keep, stay together. A slot whose span is used up takes the back half of the
    longest one (work stealing, as in Cilk).
    """

    def __init__(self, function: str, payloads: Sequence[Any], limits: GuardLimits, slots: int) -> None:
        self.function = function
        self.payloads = payloads
        self.limits = limits
        self.results: list[GuardResult | None] = [None] * len(payloads)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once every payload has its result, or the call is given up."""
        self.workers: set[Worker] = set()
        """Those that run a chunk of it now."""
        self.deaths: Counter[int] = Counter()
        """How often a worker died of itself while it ran a payload."""
        self._left = len(payloads)
        bounds = [len(payloads) * slot // slots for slot in range(slots + 1)]
        self._spans = [[start, stop] for start, stop in itertools.pairwise(bounds)]

    @property
    def waiting(self) -> bool:
        """Whether any payload is not taken yet."""
        return not self.done.done() and any(start < stop for start, stop in self._spans)

    def take(self, slot: int, count: int) -> list[int]:
        """Up to `count` indices of payloads for a slot that has none of them now."""
        span = self._spans[slot]
        if span[0] == span[1]:
            longest = max(self._spans, key=lambda other: other[1] - other[0])
            middle = (longest[0] + longest[1]) // 2
            span[:] = middle, longest[1]
            longest[1] = middle
        start, span[0] = span[0], min(span[0] + count, span[1])
        return [index for index in range(start, span[0]) if self.results[index] is None]

    def put_back(self, slot: int, indices: Sequence[int]) -> None:
        """Return what is unanswered of the chunk that `slot` took last."""
        if unanswered := [index for index in indices if self.results[index] is None]:
            self._spans[slot][0] = unanswered[0]

    def settle(self, index: int, result: GuardResult) -> None:
        """Record one result; the first one stands."""
        if self.results[index] is None and not self.done.done():
            self.results[index] = result
            self._left -= 1
            if not self._left:
                self.done.set_result(None)

    def give_up(self, fault: GuardFault, message: str = "") -> list[GuardResult]:
        """End the call: what has no result gets `fault`. Returns all results, in order."""
        if not self.done.done():
            self.done.set_result(None)
        missing = GuardResult(fault=fault, message=message)
        self.results = [missing if result is None else result for result in self.results]
        return [result for result in self.results if result is not None]
