"""How fast the trainer client is, however its caller cuts the work, against ready-made batches posted raw.

    python -m bench.client_bench [items]

The same items (kind `text`, 100,000 of them unless told otherwise) go to the same service: posted raw in prepared
bodies of 512 over eight connections, and through `AsyncRewardClient` in calls of one, 8, 64 and 512. Each ratio is
the median over rounds in which both were measured one right after the other; processor time is that of this process,
whose event loop is asyncio's own for the client, and uvloop for what is posted raw.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from bench.load import drive, post
from bench.running import cpu_s, processes, service
from tests.service import Service
from trainer_client import AsyncRewardClient

ITEMS = 100_000
BATCH = 512
CONNECTIONS = 8
"""In flight at once, for both sides; the client's default."""
AT_ONCE = CONNECTIONS * BATCH
"""Items that callers have under way at once."""
GRANULARITIES = (1, 8, 64, 512)
ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """Items a second, and microseconds of CPU for each: of this process, and of the service with its database."""

    per_second: float
    cpu_us: float
    service_us: float


def items_of(count: int) -> list[dict[str, Any]]:
    """Items of which no two are alike, and half are right."""
    return [
        {
            "id": f"item-{i}",
            "prompt": "What is the capital of France?",
            "completion": f"The capital of France is Paris ({i}).",
            "reference": f"The capital of France is Paris ({i + i % 2}).",
        }
        for i in range(count)
    ]


def _measured(running: Service, count: int, work: Callable[[], Any]) -> Measured:
    service_before = cpu_s(processes(running))
    started, used = time.perf_counter(), time.process_time()
    work()
    seconds, own = time.perf_counter() - started, time.process_time() - used
    return Measured(count / seconds, own / count * 1e6, (cpu_s(processes(running)) - service_before) / count * 1e6)


def raw(running: Service, items: Sequence[dict[str, Any]]) -> Measured:
    """Prepared bodies, sent as fast as they are answered; the answers are not even parsed."""
    bodies = [
        post("/score", json.dumps({"verifier": "text", "items": items[at : at + BATCH]}).encode(), running.key)
        for at in range(0, len(items), BATCH)
    ]

    def work() -> None:
        load = uvloop.run(drive(running.port, bodies, CONNECTIONS))
        if set(load.statuses) != {200}:
            raise RuntimeError(f"answers other than 200: {load.statuses}")

    return _measured(running, len(items), work)


async def _workers(
    calls: Iterator[Sequence[dict[str, Any]]], call: Callable[[Any], Awaitable[int]], many: int
) -> int:
    async def work() -> int:
        return sum([await call(items) for items in calls])

    return sum(await asyncio.gather(*(work() for _ in range(many))))


async def _through_client(running: Service, items: Sequence[dict[str, Any]], size: int) -> int:
    """How many items came out right, which has to be half."""
    async with AsyncRewardClient(running.url, running.key, max_in_flight=CONNECTIONS, deadline_s=600) as client:

        async def one(call: Sequence[dict[str, Any]]) -> int:
            (item,) = call
            return (await client.score_one("text", **item)).score == 1.0

        async def several(call: Sequence[dict[str, Any]]) -> int:
            return sum(verdict.score == 1.0 for verdict in await client.score("text", call))

        calls = (items[at : at + size] for at in range(0, len(items), size))
        return await _workers(calls, one if size == 1 else several, AT_ONCE // size)


def client(running: Service, items: Sequence[dict[str, Any]], size: int) -> Measured:
    """Calls of `size` items, `AT_ONCE` items under way."""

    def work() -> None:
        right = asyncio.run(_through_client(running, items, size))
        if right != len(items) // 2:
            raise RuntimeError(f"{right} of {len(items)} items came out right, not half")

    return _measured(running, len(items), work)


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ITEMS
    items = items_of(count)
    rates: dict[int, list[tuple[Measured, float]]] = {size: [] for size in GRANULARITIES}
    baselines = []
    with service() as running:
        raw(running, items[: 20 * BATCH])
        for _ in range(ROUNDS):
            for size in GRANULARITIES:
                baseline = raw(running, items)
                ours = client(running, items, size)
                baselines.append(baseline)
                rates[size].append((ours, ours.per_second / baseline.per_second))
    table = Table(title=f"Through the trainer client ({count:,} items, kind text)", title_justify="left")
    for column in ("what", "items/s", "of raw batches", "client CPU us an item", "service CPU us an item"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for size, found in rates.items():
        table.add_row(
            "one item a call" if size == 1 else f"{size} items a call",
            f"{statistics.median(ours.per_second for ours, _ in found):,.0f}",
            f"{statistics.median(ratio for _, ratio in found):.2f}",
            f"{statistics.median(ours.cpu_us for ours, _ in found):.0f}",
            f"{statistics.median(ours.service_us for ours, _ in found):.0f}",
        )
    table.add_row(
        f"batches of {BATCH} posted raw",
        f"{statistics.median(baseline.per_second for baseline in baselines):,.0f}",
        "",
        f"{statistics.median(baseline.cpu_us for baseline in baselines):.0f}",
        f"{statistics.median(baseline.service_us for baseline in baselines):.0f}",
    )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
