"""Group commit: the scores of concurrent requests share one transaction, and nobody is answered before it."""

from __future__ import annotations

import asyncio
import time

import structlog

from app.metrics import COMMIT_BATCHES, COMMIT_SECONDS
from app.store.database import Database, unknown_end, unreachable
from app.store.faults import may_pass
from app.store.writer import Batch, Writer

log = structlog.get_logger()

MAX_ROWS = 8192
"""Rows of one commit, unless a single batch has more."""
PATIENCE_S = 10.0
"""How long a batch waits for a database that is away before its request is answered with 503."""


class Recorder:
    """Collects batches while a commit is under way, and writes what has gathered in the next one."""

    def __init__(self, database: Database) -> None:
        self._writer = Writer(database)
        self._waiting: list[tuple[Batch, asyncio.Future[None], float]] = []
        self._taken: list[tuple[Batch, asyncio.Future[None], float]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="recorder")

    async def record(self, batch: Batch) -> None:
        """Return once the batch is committed (or found to be a duplicate). Raises `Problem` (503) if it cannot be."""
        if self._closing:
            raise unreachable()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, done, time.monotonic()))
        self._wake.set()
        await done

    async def _run(self) -> None:
        pause = 0.05
        while not (self._closing and not self._waiting):
            await self._wake.wait()
            taken = self._taken = self._take()
            if not taken:
                self._wake.clear()
                continue
            try:
                with COMMIT_SECONDS.time():
                    async with asyncio.timeout(PATIENCE_S):
                        await self._writer.commit([batch for batch, _, _ in taken])
            except Exception as error:
                if may_pass(error):
                    log.warning("commit put off: database unreachable", error=type(error).__name__)
                    self._waiting[:0] = self._patient(taken)
                    self._taken = []
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, 1.0)
                else:
                    log.exception("commit failed")
                    _fail(taken, error)
                continue
            pause = 0.05
            COMMIT_BATCHES.observe(len(taken))
            for _, done, _ in taken:
                if not done.done():
                    done.set_result(None)

    def _take(self) -> list[tuple[Batch, asyncio.Future[None], float]]:
        rows = 0
        for position, (batch, _, _) in enumerate(self._waiting):
            rows += len(batch.scores)
            if rows > MAX_ROWS and position > 0:
                break
        else:
            position = len(self._waiting)
        taken, self._waiting = self._waiting[:position], self._waiting[position:]
        return taken

    @staticmethod
    def _patient(
        taken: list[tuple[Batch, asyncio.Future[None], float]],
    ) -> list[tuple[Batch, asyncio.Future[None], float]]:
        limit = time.monotonic() - PATIENCE_S
        _fail([entry for entry in taken if entry[2] <= limit], unknown_end())
        return [entry for entry in taken if entry[2] > limit]

    async def close(self) -> None:
        """Write what is waiting, then stop. What the database does not take in time is answered with 503."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PATIENCE_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        _fail(self._taken, unknown_end())
        _fail(self._waiting, unreachable())
        await self._writer.close()


def _fail(taken: list[tuple[Batch, asyncio.Future[None], float]], error: Exception) -> None:
    for _, done, _ in taken:
        if not done.done():
            done.set_exception(error)
