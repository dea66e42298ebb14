"""Single items from many connections, scored in batches; the same item in flight twice is scored once.

Trainers that speak HTTP send one completion a call, each on a connection of its own, and send it again when they
lose patience. An item waits for others only while a batch like it is on its way, and then at most `WAIT_S`.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from uuid import UUID

from app import wire
from app.engine import Engine
from app.results import Result
from app.rows import item_json
from app.store.ids import uuid7
from app.store.projects import Project
from app.tasks import Options, Reference, Task
from verifiers.base import Item

MAX_BATCH = 512
"""Items of one batch."""
WAIT_S = 0.05
"""How long an item waits for the batch before it to end; what is worth waiting for takes longer anyway."""
KEPT_S = 300.0
"""How long an answer that nobody took is kept for whoever asks again; longer than any known client's time-out."""
MAX_KEPT = 10_000
"""Answers kept at most; the oldest go first."""


@dataclass(slots=True, eq=False)
class Flight:
    """One item on its way; its recorded verdict will have the id `score_id`."""

    key: bytes
    score_id: UUID
    answer: asyncio.Future[Result]


_Way = tuple[UUID, Reference, Options]
"""What the items of a batch have in common: project, verifier, options."""


@dataclass(slots=True, eq=False)
class _Queue:
    """Items that one batch may hold."""

    project: Project
    way: _Way
    waiting: list[tuple[Task, Flight]] = field(default_factory=list)
    batches: int = 0
    """Batches on their way."""
    timer: asyncio.Handle | None = None


class Merger:
    """Scores single items through the engine, those that come together in one call."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queues: dict[_Way, _Queue] = {}
        self._flights: dict[bytes, Flight] = {}
        self._under_way: set[UUID] = set()
        self._kept: OrderedDict[bytes, tuple[float, Result]] = OrderedDict()
        self._batches: set[asyncio.Task[None]] = set()

    async def score(self, project: Project, verifier: Reference, item: Item, options: Options) -> Result:
        """The item's recorded verdict, shared by all who ask meanwhile. Raises as `Engine.score` does."""
        key = _key(project, verifier, item, options)
        kept = self._kept.pop(key, None)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        return await asyncio.shield(self._flight(key, project, verifier, item, options).answer)

    def submit(self, project: Project, verifier: Reference, item: Item, options: Options) -> UUID:
        """Start scoring an item; the id that its verdict will have in /scores."""
        return self._flight(_key(project, verifier, item, options), project, verifier, item, options).score_id

    def under_way(self, score_id: UUID) -> bool:
        """Whether this process is scoring the item whose verdict will have that id."""
        return score_id in self._under_way

    def keep(self, project: Project, verifier: Reference, item: Item, options: Options, result: Result) -> None:
        """Keep an answer whose asker was gone before it could be sent, for when they ask again."""
        self._kept[_key(project, verifier, item, options)] = (time.monotonic() + KEPT_S, result)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def _flight(self, key: bytes, project: Project, verifier: Reference, item: Item, options: Options) -> Flight:
        """The flight of an item, started now if there is none."""
        flight = self._flights.get(key)
        if flight is not None:
            return flight
        loop = asyncio.get_running_loop()
        flight = self._flights[key] = Flight(key, uuid7(), loop.create_future())
        self._under_way.add(flight.score_id)
        # an error that nobody waits for (after `submit`) is the engine's to log, not the loop's
        flight.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        way = (project.id, verifier, options)
        queue = self._queues.setdefault(way, _Queue(project, way))
        queue.waiting.append((Task(item, score_id=flight.score_id), flight))
        if len(queue.waiting) >= MAX_BATCH:
            self._send(queue)
        elif queue.timer is None:
            # alone, it leaves once what has arrived already is read; else it may wait for others
            queue.timer = (
                loop.call_later(WAIT_S, self._send, queue) if queue.batches else loop.call_soon(self._send, queue)
            )
        return flight

    def _send(self, queue: _Queue) -> None:
        if queue.timer is not None:
            queue.timer.cancel()
            queue.timer = None
        batch, queue.waiting = queue.waiting, []
        if batch:
            queue.batches += 1
            task = asyncio.create_task(self._scored(queue, batch))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)

    async def _scored(self, queue: _Queue, batch: list[tuple[Task, Flight]]) -> None:
        _, verifier, options = queue.way
        try:
            scored = await self._engine.score(queue.project, verifier, [task for task, _ in batch], options)
        except Exception as error:
            for _, flight in batch:
                self._landed(flight)
                flight.answer.set_exception(error)
        else:
            for (_, flight), result in zip(batch, scored.results, strict=True):
                self._landed(flight)
                flight.answer.set_result(result)
        finally:
            queue.batches -= 1
            if not queue.batches:
                if queue.waiting:
                    self._send(queue)
                else:
                    self._queues.pop(queue.way, None)

    def _landed(self, flight: Flight) -> None:
        self._flights.pop(flight.key, None)
        self._under_way.discard(flight.score_id)


def _key(project: Project, verifier: Reference, item: Item, options: Options) -> bytes:
    way = wire.encode([str(project.id), str(verifier), item.id, item.group, options.run, options.step])
    return hashlib.blake2b((way + item_json(item)).encode(), digest_size=24).digest()
