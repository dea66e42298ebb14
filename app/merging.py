"""Single items from many connections, scored in batches; the same item in flight twice is scored once.

Trainers that speak HTTP send one completion a call, each on a connection of its own, and send it again when they
lose patience. An item waits for others only while a batch like it is on its way, and then at most `WAIT_S`. A batch
is answered when its last item is, so that items of kinds that may take long (`_goes_apart`) are not merged.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from app.engine import Engine
from app.errors import Problem
from app.results import Result
from app.rows import item_json
from app.store.ids import uuid7
from app.store.projects import Project
from app.tasks import Options, Reference, Task
from verifiers.base import KINDS, Item, KindConfig, Outcome

K = TypeVar("K")
V = TypeVar("V")

MAX_BATCH = 512
"""Items of one batch."""
WAIT_S = 0.05
"""How long an item waits for the batch before it to end; what is worth waiting for takes longer anyway."""
KEPT_S = 300.0
"""How long an answer that nobody took is kept for whoever asks again; longer than any known client's time-out."""
MAX_KEPT = 10_000
"""Answers kept at most; the oldest go first. So it is with errors, and with kinds."""
GONE_S = 1.0
"""An answer that took longer may find nobody left; before that, no client has given up."""


@dataclass(slots=True, eq=False)
class Flight:
    """One item on its way; its recorded verdict will have the id `score_id`."""

    key: bytes
    score_id: UUID
    answer: asyncio.Future[Result]
    started: float = field(default_factory=time.monotonic)
    askers: int = 0
    """How many wait for the answer, or have taken it."""
    waiting: list[asyncio.Future[Result]] = field(default_factory=list)
    """A future of each asker's own, so that one who gives up takes nothing from the others."""

    def land(self, result: Result) -> None:
        """Give everybody the verdict."""
        for future in (self.answer, *self.waiting):
            if not future.done():
                future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Tell everybody why there is no verdict."""
        for future in (self.answer, *self.waiting):
            if not future.done():
                future.set_exception(error)
        self.answer.exception()  # one that nobody waits for (after `submit`) is the engine's to log, not the loop's


_Way = tuple[Project, Reference, Options]
"""What the items of a batch have in common: project, verifier, options."""


@dataclass(slots=True, eq=False)
class _Queue:
    """Items that one batch may hold."""

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
        self._failures: OrderedDict[UUID, str] = OrderedDict()
        self._kinds: OrderedDict[tuple[UUID, Reference], str | None] = OrderedDict()
        self._batches: set[asyncio.Task[None]] = set()

    async def score(
        self,
        project: Project,
        verifier: Reference,
        item: Item,
        options: Options,
        gone: Callable[[], Awaitable[bool]] | None = None,
    ) -> Result:
        """The item's recorded verdict, shared by all who ask meanwhile. Raises as `Engine.score` does.

        `gone` tells whether the asker has left. A verdict for which nobody is left is kept for whoever asks again,
        unless the item could not be scored: then it is tried again.
        """
        json = item_json(item)
        key = _key(project, verifier, item, json, options)
        kept = self._kept.pop(key, None)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        flight = self._flight(key, project, verifier, item, json, options)
        flight.askers += 1
        own: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        flight.waiting.append(own)  # not shield(flight.answer), which takes twice as long
        result = await own
        if gone is not None and time.monotonic() - flight.started > GONE_S and await gone():
            flight.askers -= 1
            if not flight.askers and result.outcome is not Outcome.UNSCORED:
                _remember(self._kept, key, (time.monotonic() + KEPT_S, result))
        return result

    def submit(self, project: Project, verifier: Reference, item: Item, options: Options) -> Flight:
        """Start scoring an item; its verdict will have the flight's `score_id` in /scores."""
        json = item_json(item)
        return self._flight(_key(project, verifier, item, json, options), project, verifier, item, json, options)

    def under_way(self, score_id: UUID) -> bool:
        """Whether this process is scoring the item whose verdict will have that id."""
        return score_id in self._under_way

    def failure(self, score_id: UUID) -> str | None:
        """Why scoring a submitted item failed in this process, so that there is no verdict; None where it did not."""
        return self._failures.get(score_id)

    def _flight(
        self, key: bytes, project: Project, verifier: Reference, item: Item, json: bytes, options: Options
    ) -> Flight:
        """The flight of an item, started now if there is none."""
        flight = self._flights.get(key)
        if flight is not None:
            return flight
        loop = asyncio.get_running_loop()
        flight = self._flights[key] = Flight(key, uuid7(), loop.create_future())
        self._under_way.add(flight.score_id)
        way = (project, verifier, options)
        queue = self._queues.get(way)
        if queue is None:
            queue = self._queues[way] = _Queue(way)
        queue.waiting.append((Task(item, score_id=flight.score_id, json=json), flight))
        if len(queue.waiting) >= MAX_BATCH or self._goes_apart(queue):
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
        project, verifier, options = queue.way
        try:
            scored = await self._engine.score(project, verifier, [task for task, _ in batch], options)
        except Exception as error:
            for _, flight in batch:
                self._landed(flight)
                if not flight.askers:
                    why = error.detail if isinstance(error, Problem) else "the service failed"
                    _remember(self._failures, flight.score_id, why)
                flight.fail(error)
        else:
            _remember(self._kinds, (project.id, verifier), scored.results[0].kind)
            for (_, flight), result in zip(batch, scored.results, strict=True):
                self._landed(flight)
                flight.land(result)
        finally:
            queue.batches -= 1
            if not queue.batches:
                if queue.waiting:
                    self._send(queue)
                else:
                    self._queues.pop(queue.way, None)

    def _goes_apart(self, queue: _Queue) -> bool:
        """Whether its items run in the sandbox or ask others, each for as long as it takes.

        While that is not known yet, none joins those that wait for a batch under way.
        """
        project, verifier, _ = queue.way
        kind = self._kinds.get((project.id, verifier))
        if kind is None:
            return queue.batches > 0
        cls = KINDS.get(kind)
        if cls is None:
            return False
        return cls.sandboxed or (issubclass(cls.Config, KindConfig) and cls.Config.needs is not KindConfig.needs)

    def _landed(self, flight: Flight) -> None:
        self._flights.pop(flight.key, None)
        self._under_way.discard(flight.score_id)


def _remember(known: OrderedDict[K, V], key: K, value: V) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > MAX_KEPT:
        known.popitem(last=False)


def _key(project: Project, verifier: Reference, item: Item, json: bytes, options: Options) -> bytes:
    """What makes two requests the same. Who waits for another time may get another verdict: none for want of time."""
    way = (str(verifier), item.id, item.group, options.run, options.step, options.deadline_s)
    hashed = hashlib.blake2b(json, digest_size=24)
    hashed.update(project.id.bytes + repr(way).encode())
    return hashed.digest()
