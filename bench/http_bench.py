"""How fast items go through the whole service, committed, against HTTP and JSON alone, and PostgreSQL alone.

`python -m bench.http_bench`
"""

from __future__ import annotations

import asyncio
import json
import time
from uuid import uuid4

import asyncpg
import uvloop
from rich.console import Console
from rich.table import Table

from app.store.embedded import EmbeddedPostgres
from app.store.ids import uuid7s
from bench.load import Load, drive, post
from bench.running import echo, service

BATCH = 512
BATCHES = 300
SINGLES = 12_000
CONNECTIONS = 64
ROUNDS = 3


def body(items: int) -> bytes:
    """A /score body of so many items of the kind `text`."""
    return json.dumps(
        {
            "verifier": "text",
            "items": [
                {
                    "id": f"item-{i}",
                    "prompt": "What is the capital of France?",
                    "completion": "The capital of France is Paris." if i % 2 else f"I believe it is Lyon ({i}).",
                    "reference": "The capital of France is Paris.",
                }
                for i in range(items)
            ],
        }
    ).encode()


def _best(loads: list[Load]) -> Load:
    for load in loads:
        if set(load.statuses) != {200}:
            raise RuntimeError(f"answers other than 200: {load.statuses}")
    return sorted(loads, key=lambda load: load.per_second)[len(loads) // 2]


async def _insert_alone(server: EmbeddedPostgres) -> float:
    """Rows a second that PostgreSQL takes into the same tables by INSERT ... SELECT unnest, 512 a commit."""
    connection = await asyncpg.connect(host=str(server.socket_dir), user=server.user, database=server.database)
    project, version = uuid4(), uuid4()
    scores = (
        "INSERT INTO scores SELECT $1, id, $2, $3, 1, NULL, NULL, NULL, NULL, 'correct', 1.0, verdict, 0.1, false "
        "FROM unnest($4::uuid[], $5::bytea[]) AS rows (id, verdict)"
    )
    completions = (
        "INSERT INTO completions SELECT $1, id, sha, item FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) "
        "AS rows (id, sha, item)"
    )
    verdict = [b'"detail":{"stage":"exact"},"components":{},"steps":null,"error":null'] * BATCH
    item = [body(1)] * BATCH
    sha = [bytes(32)] * BATCH
    started = time.perf_counter()
    for _ in range(50):
        ids = uuid7s(BATCH)
        async with connection.transaction():
            await connection.execute(scores, project, uuid4(), version, ids, verdict)
            await connection.execute(completions, project, ids, sha, item)
    rate = 50 * BATCH / (time.perf_counter() - started)
    await connection.close()
    return rate


def main() -> None:
    """Print the table."""
    batch, single = body(BATCH), body(1)
    table = Table(title="Through POST /score, committed (kind text, one API process)")
    for column in ("what", "Assay", "baseline", "share of it", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "what" else "right")
    with service() as running, echo() as bare:

        def load(port: int, content: bytes, count: int, connections: int) -> Load:
            request = post("/score", content, running.key)
            result: Load = uvloop.run(drive(port, [request] * count, connections))
            return result

        load(running.port, batch, 20, 4)
        ours = _best([load(running.port, batch, BATCHES, 4) for _ in range(ROUNDS)])
        theirs = _best([load(bare, batch, BATCHES, 4) for _ in range(ROUNDS)])
        shared = EmbeddedPostgres.start(running.home)
        database = asyncio.run(_insert_alone(shared))
        shared.stop()
        items = ours.per_second * BATCH
        for name, baseline in (("echo", theirs.per_second * BATCH), ("insert", database)):
            table.add_row(
                f"items/s in batches of {BATCH}, against {name} alone",
                f"{items:,.0f}", f"{baseline:,.0f}", f"{items / baseline:.2f}",
                f"{ours.quantile(0.5) * 1000:.1f}", f"{ours.quantile(0.99) * 1000:.1f}",
            )  # fmt: skip
        ours = _best([load(running.port, single, SINGLES, CONNECTIONS) for _ in range(ROUNDS)])
        theirs = _best([load(bare, single, SINGLES, CONNECTIONS) for _ in range(ROUNDS)])
        table.add_row(
            f"single items/s at {CONNECTIONS} connections, against echo alone",
            f"{ours.per_second:,.0f}", f"{theirs.per_second:,.0f}", f"{ours.per_second / theirs.per_second:.2f}",
            f"{ours.quantile(0.5) * 1000:.1f}", f"{ours.quantile(0.99) * 1000:.1f}",
        )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
