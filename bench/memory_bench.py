"""How much memory the service takes at rest, and whether that grows over a million items.

`python -m bench.memory_bench`
"""

from __future__ import annotations

import time

import uvloop
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.http_bench import BATCH, body
from bench.load import drive, post
from bench.running import memory, service
from tests.service import Service

ITEMS = 1_000_000
STEPS = 5
REST_S = 90
"""Long enough for idle guarded workers to end."""


def main() -> None:
    """Print the table."""
    table = Table(title="Memory of all processes, the embedded PostgreSQL included (MB)")
    for column in ("after items", "resident, summed", "proportional", "API process, resident"):
        table.add_column(column, justify="right")
    with service() as running:
        request = post("/score", body(BATCH), running.key)
        time.sleep(REST_S)
        _row(table, 0, running)
        for step in track(range(1, STEPS + 1), "scoring"):
            uvloop.run(drive(running.port, [request] * (ITEMS // STEPS // BATCH + 1), 4))
            _row(table, step * ITEMS // STEPS, running)
    Console(width=120).print(table)


def _row(table: Table, items: int, running: Service) -> None:
    sizes = memory(running)
    api = next(rss for name, (rss, _) in sizes.items() if "serve" in name)
    megabyte = 2**20
    table.add_row(
        f"{items:,}",
        f"{sum(rss for rss, _ in sizes.values()) / megabyte:,.0f}",
        f"{sum(pss for _, pss in sizes.values()) / megabyte:,.0f}",
        f"{api / megabyte:,.0f}",
    )


if __name__ == "__main__":
    main()
