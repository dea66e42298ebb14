"""A file through POST /score: rows in batches, several requests in flight, results in the order of the rows."""

from __future__ import annotations

import asyncio
import queue
import threading
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from app import wire
from app.cli.tally import Tally
from app.http_client import Client, RefusedError, ServiceError
from app.readers import Choice, Row, Source

T = TypeVar("T")

BATCH_ITEMS = 512
BATCH_BYTES = 8 * 2**20
"""Bytes of the items of a batch, unless it is a single one: well below what the service takes."""
MAX_ITEM_BYTES = wire.MAX_BODY - 2**16
"""Bytes of one item, which leaves room for the rest of the request."""
IN_FLIGHT = 4
"""Requests under way at once: enough to keep the service busy while results are written."""
DEADLINE_MS = 600_000
"""The longest that the service allows: nobody waits for one verdict of a file."""


@dataclass(frozen=True, slots=True)
class Request:
    """What every batch of a file is sent with."""

    verifier: str | None
    on_error: str
    detail: str
    run: str | None
    step: int | None

    def body(self, items: list[str]) -> str:
        """The body of POST /score for encoded items."""
        options = {"on_error": self.on_error, "detail": self.detail, "deadline_ms": DEADLINE_MS}
        rest = wire.encode({"verifier": self.verifier, "options": options, "run": self.run, "step": self.step})
        return f'{{"items":[{",".join(items)}],{rest[1:]}'

    def unsent(self, fault: str) -> dict[str, Any]:
        """The result of a row that cannot be sent, in the form of the service's own."""
        return {
            "id": None,
            "score_id": None,
            "verifier": None,
            "score": 0.0 if self.on_error == "zero" else None,
            "outcome": "unscored",
            "detail": {},
            "components": {},
            "steps": None,
            "error": {"type": "bad_item", "message": fault, "retryable": False},
            "ms": 0.0,
            "cached": False,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a row, encoded, or the row's fault; `place` is where it stands in the file."""

    place: dict[str, int]
    group: str | None
    encoded: str | None
    fault: str | None = None


@dataclass(slots=True)
class Batch:
    """Entries that are sent together; `position` is how far the file had been read."""

    entries: list[Entry] = field(default_factory=list)
    size: int = 0
    position: int = 0

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.size += len(entry.encoded or "")

    def has_room_for(self, entry: Entry) -> bool:
        return not self.entries or (
            len(self.entries) < BATCH_ITEMS and self.size + len(entry.encoded or "") <= BATCH_BYTES
        )


class Listener(Protocol):
    """Who follows a file's progress."""

    def fault(self, line: int, message: str) -> None:
        """A row cannot be sent."""

    def retry(self, error: ServiceError) -> None:
        """A batch is sent again."""

    def progress(self, position: int, size: int | None) -> None:
        """Results were counted; the file has been read up to `position` of `size` bytes."""


def batches(source: Source, choice: Choice) -> Generator[Batch, None, None]:
    """The rows of a file in batches. Raises `InputError`."""
    batch = Batch()
    for row in source.rows(choice):
        for entry in _entries(row):
            if not batch.has_room_for(entry):
                batch.position = source.position
                yield batch
                batch = Batch()
            batch.add(entry)
    if batch.entries:
        batch.position = source.position
        yield batch


def _entries(row: Row) -> Iterator[Entry]:
    if row.fault is not None:
        yield Entry({"line": row.line}, None, None, row.fault)
    for sample, item in enumerate(row.items):
        place = {"line": row.line, "sample": sample} if row.several else {"line": row.line}
        encoded = wire.encode(item)
        if len(encoded) > MAX_ITEM_BYTES:
            yield Entry(place, None, None, f"an item of more than {MAX_ITEM_BYTES // 2**20} MiB")
        else:
            yield Entry(place, item.get("group"), encoded)


class Run:
    """One file on its way through the service."""

    def __init__(self, client: Client, request: Request, write: Callable[[str], object], listener: Listener) -> None:
        self._client = client
        self._request = request
        self._write = write
        self._listener = listener
        self._name = uuid.uuid4().hex
        self.tally = Tally()
        """What is known so far, also after an interruption."""
        self.in_flight = 0
        """Items sent whose results are not written: they may have been recorded."""

    async def score(self, source: Source, choice: Choice) -> None:
        """Score every row; writes one line of JSON for each item, in order. Raises `ServiceError`, `InputError`."""
        pending: deque[tuple[Batch, asyncio.Task[list[dict[str, Any]]]]] = deque()
        number = 0
        try:
            async with aclosing(made_in_thread(batches(source, choice))) as made:
                async for batch in made:
                    pending.append((batch, asyncio.create_task(self._results(number, batch))))
                    number += 1
                    # the first goes alone: what is wrong with its request would be wrong with every one
                    if len(pending) == IN_FLIGHT or number == 1:
                        await self._finish(source, *pending.popleft())
            while pending:
                await self._finish(source, *pending.popleft())
        finally:
            for _, task in pending:
                task.cancel()
            await asyncio.gather(*(task for _, task in pending), return_exceptions=True)

    async def _results(self, number: int, batch: Batch) -> list[dict[str, Any]]:
        items = [entry.encoded for entry in batch.entries if entry.encoded is not None]
        if not items:
            return []
        self.in_flight += len(items)
        body = self._request.body(items)
        key = f"{self._name}-{number}"
        try:
            answer = await self._client.post_once("/score", body, key, self._listener.retry)
        except RefusedError as error:
            if error.status < 500:  # the request was at fault, and nothing of it was scored
                self.in_flight -= len(items)
            raise
        results: list[dict[str, Any]] = answer["items"]
        if len(results) != len(items):
            raise ServiceError(f"the service answered {len(results)} results for {len(items)} items")
        return results

    async def _finish(self, source: Source, batch: Batch, task: asyncio.Task[list[dict[str, Any]]]) -> None:
        results = iter(await task)
        for entry in batch.entries:
            if entry.fault is None:
                result: Mapping[str, Any] = next(results)
                self.in_flight -= 1
            else:
                result = self._request.unsent(entry.fault)
                self.tally.malformed += 1
                self._listener.fault(entry.place["line"], entry.fault)
            self.tally.add(result, entry.group)
            self._write(wire.encode({**entry.place, **result}) + "\n")
        self._listener.progress(batch.position, source.size)


async def made_in_thread(values: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """The values, each made in a daemon thread when it is asked for.

    Reading a pipe may wait for ever. It must hold up neither the results under way nor Ctrl-C, nor the end of the
    process, as the threads of asyncio's own executor would.
    """
    loop = asyncio.get_running_loop()
    asked: queue.SimpleQueue[asyncio.Future[T | None] | None] = queue.SimpleQueue()

    def settle(future: asyncio.Future[T | None], value: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def work() -> None:
        while (future := asked.get()) is not None:
            value, error = None, None
            try:
                value = next(values, None)
            except Exception as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, future, value, error)
        values.close()

    threading.Thread(target=work, name="reader", daemon=True).start()
    try:
        while True:
            future: asyncio.Future[T | None] = loop.create_future()
            asked.put(future)
            value = await future
            if value is None:
                return
            yield value
    finally:
        asked.put(None)
