"""Dynamic batching: inputs of all clients are merged into batches of like length.

A batch is made when the one before it has ended. It holds the input that has waited longest, and with it those whose
lengths are nearest, so that little is padded; an input can be passed over only by a batch that holds an older one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

R = TypeVar("R")

WASTE = 0.05
"""The share of a batch that may be padding: what is computed for it is lost."""
MAX_WAITING = 20_000
"""Inputs that may wait at once."""


class BusyError(Exception):
    """Too many inputs wait already."""


class TooLargeError(Exception):
    """A batch did not fit into the device's memory; raised by the function that runs it."""


async def _nobody_asks() -> None:
    return


@dataclass(slots=True, eq=False)
class _Waiting(Generic[R]):
    tokens: Sequence[int]
    since: float
    done: asyncio.Future[R] = field(repr=False)
    alone: bool
    begin: Callable[[], Awaitable[None]]


class Batcher(Generic[R]):
    """Runs `run` on one batch after the other, in `executor`'s threads; `at_once` of them may overlap.

    `max_tokens` bounds a batch's padded size (its longest input times its inputs); a longer single input goes alone.
    Below `least_tokens` a batch's size hardly changes the device's time. `latency_s` is how long a batch waits for
    more while the device is idle.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Sequence[int]]], Sequence[R]],
        executor: Executor,
        *,
        max_tokens: int,
        least_tokens: int = 0,
        waste: float = WASTE,
        latency_s: float,
        at_once: int = 1,
    ) -> None:
        self._run = run
        self._executor = executor
        self._max_tokens = max_tokens
        self._least_tokens = least_tokens
        self._waste = waste
        self._latency_s = latency_s
        self._waiting: list[_Waiting[R]] = []
        self._came = asyncio.Event()
        self._at_once = at_once
        self._free = asyncio.Semaphore(at_once)
        self._task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.batches = 0
        """How many were run."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._serve(), name="batches")

    async def close(self) -> None:
        """Stop; whoever waits is cancelled."""
        if self._task is not None:
            for task in (self._task, *self._running):
                task.cancel()
            await asyncio.gather(self._task, *self._running, return_exceptions=True)
        for entry in self._waiting:
            entry.done.cancel()

    async def submit(
        self, tokens: Sequence[int], *, alone: bool = False, begin: Callable[[], Awaitable[None]] = _nobody_asks
    ) -> R:
        """The result for one input. Raises `BusyError`, `TooLargeError`, or what `run` raises.

        `alone` runs it with nothing else in its batch and no other batch beside. `begin` is called each time that it
        is about to run, and must raise nothing. One that is cancelled while it waits is not run.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise BusyError
        loop = asyncio.get_running_loop()
        entry: _Waiting[R] = _Waiting(tokens, loop.time(), loop.create_future(), alone, begin)
        self._waiting.append(entry)
        self._came.set()
        return await entry.done

    async def _serve(self) -> None:
        while True:
            await self._came.wait()
            if self._waiting:
                await self._gather()
            await self._free.acquire()
            self._waiting = [entry for entry in self._waiting if not entry.done.done()]
            if not self._waiting:
                self._free.release()
                self._came.clear()
                continue
            entries, slots = self._next(), 1
            while entries[0].alone and slots < self._at_once:
                await self._free.acquire()
                slots += 1
            running = asyncio.create_task(self._finish(entries), name="batch")
            self._running.add(running)
            running.add_done_callback(partial(self._ended, slots))

    def _next(self) -> list[_Waiting[R]]:
        """Take the next batch from those that wait, of which there is one."""
        if self._waiting[0].alone:
            return [self._waiting.pop(0)]
        merging = [entry for entry in self._waiting if not entry.alone]
        lengths = [len(entry.tokens) for entry in merging]
        batch = chosen(lengths, self._max_tokens, least_tokens=self._least_tokens, waste=self._waste)
        entries = [merging[index] for index in batch]
        taken = set(map(id, entries))
        self._waiting = [entry for entry in self._waiting if id(entry) not in taken]
        return entries

    def _ended(self, slots: int, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        for _ in range(slots):
            self._free.release()

    async def _gather(self) -> None:
        """Wait for more inputs, up to the latency budget of the oldest, unless a full batch is there."""
        until = self._waiting[0].since + self._latency_s
        loop = asyncio.get_running_loop()
        while not self._waiting[0].alone and (left := until - loop.time()) > 0:
            if sum(len(entry.tokens) for entry in self._waiting) >= self._max_tokens:
                return
            self._came.clear()
            try:
                async with asyncio.timeout(left):
                    await self._came.wait()
            except TimeoutError:
                self._came.set()

    async def _finish(self, entries: Sequence[_Waiting[R]]) -> None:
        """Run a batch; one that does not fit is halved, and what fails alone fails alone."""
        self.batches += 1
        loop = asyncio.get_running_loop()
        for entry in entries:
            await entry.begin()
        fault: Exception | None = None
        results: Sequence[R] = ()
        try:
            results = await loop.run_in_executor(self._executor, self._run, [entry.tokens for entry in entries])
            if len(results) != len(entries):
                raise RuntimeError(f"{len(results)} results for {len(entries)} inputs")
        except Exception as error:
            fault = error
        if fault is None:
            for entry, result in zip(entries, results, strict=True):
                if not entry.done.done():
                    entry.done.set_result(result)
        elif len(entries) > 1:
            fault = None  # with its frames, which hold what the batch had on the device
            middle = len(entries) // 2
            await self._finish(entries[:middle])
            await self._finish(entries[middle:])
        elif isinstance(fault, TooLargeError) and self._at_once > 1 and not entries[0].alone:
            entries[0].alone = True  # what ran beside it may have had the memory
            self._waiting.insert(0, entries[0])
            self._came.set()
        elif not entries[0].done.done():
            entries[0].done.set_exception(fault)


def chosen(lengths: Sequence[int], max_tokens: int, *, least_tokens: int = 0, waste: float = WASTE) -> list[int]:
    """Which of the waiting inputs (the oldest first) make the next batch, shortest first.

    The oldest is among them; the others are those nearest to it in length, as many as `max_tokens` has room for while
    at most the share `waste` of the batch is padding. A batch of up to `least_tokens` may be padded more.
    """
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    low = high = order.index(0)
    held = lengths[0]

    def fits(longest: int, added: int) -> bool:
        size = longest * (high - low + 2)
        padding = size - held - added
        return size <= max_tokens and (size <= least_tokens or padding <= waste * size)

    while True:
        shorter = lengths[order[low - 1]] if low > 0 else None
        longer = lengths[order[high + 1]] if high + 1 < len(order) else None
        down = shorter is not None and fits(lengths[order[high]], shorter)
        up = longer is not None and fits(longer, longer)
        if down and up and shorter is not None and longer is not None:
            down = lengths[0] - shorter <= longer - lengths[0]
        if down and shorter is not None:
            low, held = low - 1, held + shorter
        elif up and longer is not None:
            high, held = high + 1, held + longer
        else:
            return order[low : high + 1]
