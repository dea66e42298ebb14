"""A cheap load generator: keep-alive connections that post prepared bodies as fast as they are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast


@dataclass(slots=True)
class Load:
    """What was measured: seconds from first request to last answer, each latency, and the statuses seen."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """The latency, in seconds, that `share` of the requests stayed under."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Connection(asyncio.Protocol):
    def __init__(
        self, requests: list[bytes], load: Load, done: asyncio.Future[None], asked: float | None = None
    ) -> None:
        """`asked` is when the first request was, if that was before the connection."""
        self._asked = asked
        self._requests = requests
        self._load = load
        self._done = done
        self._buffer = b""
        self._need = -1
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        if self._transport is None:
            return
        if not self._requests:
            self._transport.close()
            return
        self._buffer, self._need = b"", -1
        self._sent, self._asked = self._asked or time.perf_counter(), None
        self._transport.write(self._requests.pop())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._need < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            status = int(head[9:12])
            self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
            at = head.index(b"content-length:") + 15
            self._need = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) >= self._need:
            self._load.latencies.append(time.perf_counter() - self._sent)
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done.done():
            return
        if exc is None and not self._requests:
            self._done.set_result(None)
        else:
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))


def post(path: str, body: bytes, key: str = "") -> bytes:
    """A whole HTTP/1.1 request."""
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{authorization}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def drive(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Post every request once over so many connections."""
    loop = asyncio.get_running_loop()
    load = Load()
    waiting = list(requests)
    started = time.perf_counter()
    ends = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        await loop.create_connection(lambda done=done: _Connection(waiting, load, done), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ends)
    load.seconds = time.perf_counter() - started
    return load


async def drive_fresh(port: int, requests: Sequence[bytes], concurrency: int) -> Load:
    """Post every request once, each on a connection of its own, so many at a time.

    The latency of a request starts with its connection.
    """
    loop = asyncio.get_running_loop()
    load = Load()
    waiting = list(requests)

    async def worker() -> None:
        while waiting:
            alone = [waiting.pop()]
            done: asyncio.Future[None] = loop.create_future()
            asked = time.perf_counter()
            await loop.create_connection(partial(_Connection, alone, load, done, asked), "127.0.0.1", port)
            await done

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    load.seconds = time.perf_counter() - started
    return load
