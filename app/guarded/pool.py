"""`GuardedPool`: the service's guarded workers, an implementation of `verifiers.base.Guard`."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import structlog

from app.guarded.call import Call
from app.guarded.process import Worker
from app.guarded.spawner import Spawner, SpawnError
from verifiers.base import GuardFault, GuardLimits, GuardResult

log = structlog.get_logger()

MAX_CHUNK = 64
"""Payloads given to a worker at once, at most."""
CHUNK_S = 0.02
"""How long a chunk should take: long beside a round trip to a worker, short for a call that waits its turn."""
OVERTIME_S = 0.1
"""A chunk that runs longer is taken back while anything else waits, or a slot is idle."""
MAX_GROWTH = 128 * 2**20
"""Bytes of anonymous memory a worker may gain before it is replaced."""
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 30.0
"""Pause between two starts of a zygote: the first, doubled at each failure up to the last."""
FORK_PAUSE_S = 0.1
"""Pause after a worker could not be started."""

CRASHED_TWICE = GuardResult(fault=GuardFault.CRASHED, message="the worker process died, twice")
KILLED_TWICE = GuardResult(
    fault=GuardFault.UNAVAILABLE,
    message="the worker process was killed from outside, twice: is the host out of memory?",
)


class GuardedPool:
    """Up to `size` workers, forked on demand from one zygote that has imported `modules`.

    A worker is replaced after `recycle_after` payloads and ends after `idle_s` seconds without work.
    """

    def __init__(
        self, size: int, modules: Sequence[str], *, idle_s: float = 30.0, recycle_after: int = 10_000
    ) -> None:
        self.kills: Counter[GuardFault] = Counter()
        """Workers killed, or dead of themselves, by fault."""
        self.unavailable = "the guarded workers are not running"
        """Why no call is served now; empty while calls are."""
        self._size = size
        self._modules = tuple(modules)
        self._idle_s = idle_s
        self._recycle_after = recycle_after
        self._spawner: Spawner | None = None
        self._up = asyncio.Event()
        self._calls: set[Call] = set()
        self._queue: deque[Call] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._workers: list[Worker | None] = [None] * size
        self._chunk: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def workers_alive(self) -> int:
        """Worker processes at this moment."""
        return sum(worker is not None and worker.alive for worker in self._workers)

    async def start(self) -> None:
        """Start the zygote; returns at once, and calls wait until it has imported its modules."""
        self.unavailable = ""
        self._tasks = [asyncio.create_task(self._keep_zygote())]
        self._tasks += [asyncio.create_task(self._serve(slot)) for slot in range(self._size)]
        for task in self._tasks:
            task.add_done_callback(self._notice_end)

    def _notice_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("a task of the guarded pool failed", exc_info=error)
            self._refuse("the guarded workers failed; restart the service, and see its log")

    async def close(self) -> None:
        """Kill every process of the pool; calls that are not finished become `UNAVAILABLE`."""
        self._refuse("the guarded workers are stopping")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._spawner is not None:
            await self._spawner.close()

    async def run(
        self, function: str, payloads: Sequence[Any], *, limits: GuardLimits, deadline: float
    ) -> list[GuardResult]:
        """See `Guard.run`. Raises ValueError for a function outside the pool's modules.

        A cancelled run kills the workers that are busy with it.
        """
        module, _, name = function.partition(":")
        if module not in self._modules or not name:
            raise ValueError(f"{function!r} is not a function of the guarded modules {', '.join(self._modules)}")
        call = Call(function, payloads, limits, self._size)
        if not payloads:
            return []
        if reason := self.unavailable or self._import_failure(function):
            return call.give_up(GuardFault.UNAVAILABLE, reason)
        self._calls.add(call)
        self._enqueue(call)
        try:
            await asyncio.wait([call.done], timeout=max(0.0, deadline - time.monotonic()))
            if not call.done.done():
                self.kills[GuardFault.DEADLINE] += len(call.workers)
        finally:
            results = self._give_up(call)
        return results

    def _give_up(self, call: Call) -> list[GuardResult]:
        self._calls.discard(call)
        if call in self._queue:
            self._queue.remove(call)
        if not call.done.done():
            for worker in call.workers:
                worker.end()
        return call.give_up(GuardFault.DEADLINE)

    def _refuse(self, reason: str) -> None:
        self.unavailable = reason
        self._fail_calls(reason)

    def _fail_calls(self, reason: str) -> None:
        for call in self._calls:
            call.give_up(GuardFault.UNAVAILABLE, reason)

    def _import_failure(self, function: str) -> str:
        module = function.partition(":")[0]
        reason = self._spawner.failed.get(module) if self._spawner else None
        return f"cannot import {module}: {reason}; install what it needs and restart" if reason else ""

    def _report_import_failures(self, spawner: Spawner) -> None:
        for module, reason in spawner.failed.items():
            log.error("guarded module cannot be imported", module=module, reason=reason)
        for call in self._calls:
            if reason := self._import_failure(call.function):
                call.give_up(GuardFault.UNAVAILABLE, reason)

    async def _keep_zygote(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            try:
                spawner = self._spawner = Spawner(self._modules)
                await spawner.ready()
                self.unavailable, pause = "", FIRST_PAUSE_S
                self._report_import_failures(spawner)
                self._up.set()
                await asyncio.wait([spawner.gone])
                self._up.clear()
                await spawner.close()
                log.warning("guarded zygote ended, starting another", pid=spawner.pid)
            except SpawnError as error:
                self._refuse(f"cannot start guarded workers: {error}")
                log.error("guarded zygote cannot be started", reason=str(error), again_in_s=pause)
                pause = min(2 * pause, LAST_PAUSE_S)
            await asyncio.sleep(max(0.0, started + pause - time.monotonic()))

    def _enqueue(self, call: Call) -> None:
        self._queue.append(call)
        for _ in range(min(len(self._idle), len(call.payloads))):
            self._idle.pop().set_result(None)

    async def _serve(self, slot: int) -> None:
        """The life of one slot: at most one worker at a time, a new one where the last has ended."""
        again: tuple[Call, list[int]] | None = None
        try:
            while True:
                worker = self._workers[slot]
                if worker is not None and (worker.served >= self._recycle_after or worker.grown > MAX_GROWTH):
                    worker.end()
                if not self._queue and not again:
                    await self._rest(worker)
                elif worker is None or not worker.alive:
                    self._workers[slot] = await self._fork()
                else:
                    # no name here for the call, which would keep its payloads while the slot rests
                    again = await self._work(slot, worker, *(again or self._next_chunk(slot)))
        finally:
            if (worker := self._workers[slot]) is not None:
                worker.end()

    def _next_chunk(self, slot: int) -> tuple[Call, list[int]]:
        """A chunk of the call that has waited longest."""
        call = self._queue.popleft()
        chunk = call.take(slot, self._chunk.get(call.function, 1))
        if call.waiting:
            self._queue.append(call)
        return call, chunk

    async def _rest(self, worker: Worker | None) -> None:
        """Wait for work. Warm workers are woken first, the one used last before others; idle ones end."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        warm = worker is not None and worker.alive
        if warm:
            self._idle.append(woken)
        else:
            self._idle.appendleft(woken)
        await asyncio.wait([woken], timeout=self._idle_s if warm else None)
        if not woken.done():
            self._idle.remove(woken)
            if worker is not None:
                worker.end()

    async def _fork(self) -> Worker | None:
        await self._up.wait()
        spawner = self._spawner
        if spawner is None:
            return None
        try:
            return await spawner.fork()
        except SpawnError as error:
            if not spawner.gone.done() and not self.workers_alive:
                log.error("guarded worker cannot be started", reason=str(error))
                self._fail_calls(str(error))
            await asyncio.sleep(FORK_PAUSE_S)
            return None

    async def _work(self, slot: int, worker: Worker, call: Call, chunk: list[int]) -> tuple[Call, list[int]] | None:
        """Run one chunk. Returns what of it is to be tried again on a fresh worker, before anything else."""
        if call.done.done() or not chunk:
            return None
        began = time.monotonic()

        def answered(index: int, result: GuardResult) -> None:
            call.settle(index, result)
            if worker.running is not None and (worker.grown > MAX_GROWTH or self._overdue(call, began)):
                worker.end()

        served = worker.served
        call.workers.add(worker)
        try:
            await worker.run(call.function, [(i, call.payloads[i]) for i in chunk], call.limits, answered)
        finally:
            call.workers.discard(worker)
        self._set_pace(call.function, worker.served - served, time.monotonic() - began)
        if not worker.alive:
            await self._account(call, worker)
            if call.done.done():
                return None
            if worker.lost:
                return call, [index for index in chunk if call.results[index] is None]
            call.put_back(slot, chunk)
            if call.waiting and call not in self._queue:
                self._enqueue(call)
        return None

    def _overdue(self, call: Call, began: float) -> bool:
        waited_for = bool(self._idle) or any(other is not call for other in self._queue)
        return waited_for and time.monotonic() - began > OVERTIME_S

    def _set_pace(self, function: str, answered: int, seconds: float) -> None:
        """Choose the next chunk so that it takes about `CHUNK_S`."""
        fitting = int(answered * CHUNK_S / seconds)
        self._chunk[function] = max(1, min(fitting, 2 * self._chunk.get(function, 1), MAX_CHUNK))

    async def _account(self, call: Call, worker: Worker) -> None:
        """Give the payload that was running when `worker` ended its result, if it is to blame."""
        index = worker.running
        if index is None:
            return
        blame = worker.blame
        if worker.lost:
            call.deaths[index] += 1
            self.kills[GuardFault.CRASHED] += 1
            if call.deaths[index] > 1:  # the first may have been chance
                blame = CRASHED_TWICE
                if self._spawner is None or await self._spawner.killed(worker.pid):
                    blame = KILLED_TWICE
        elif blame is not None and blame.fault is not None:
            self.kills[blame.fault] += 1
        if blame is not None:
            call.settle(index, blame)
