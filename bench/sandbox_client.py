"""A load generator that keeps the answers, to be looked at once the clock has stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from bench.load import Load


class Rate(NamedTuple):
    """How fast something is, and what it costs."""

    per_second: float
    cpu_ms: float | None = None
    """Processor time of each run, of all processes that take part; on a busy host this says more than the rate."""


async def drive(port: int, requests: Sequence[bytes], connections: int) -> tuple[Load, list[bytes]]:
    """Post every request once over so many connections; what was measured, and the bodies in the requests' order."""
    load = Load()
    bodies = [b""] * len(requests)
    waiting = iter(range(len(requests)))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        for index in waiting:
            sent = time.perf_counter()
            writer.write(requests[index])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            at = head.index(b"content-length:") + 15
            bodies[index] = await reader.readexactly(int(head[at:].split(b"\r\n", 1)[0]))
            load.latencies.append(time.perf_counter() - sent)
            status = int(head[9:12])
            load.statuses[status] = load.statuses.get(status, 0) + 1
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    load.seconds = time.perf_counter() - started
    return load, bodies
