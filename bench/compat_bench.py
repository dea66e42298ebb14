"""Single OpenRLHF calls on fresh connections, against a bare HTTP server that echoes the same bodies.

`python -m bench.compat_bench`
"""

from __future__ import annotations

import json

import uvloop
from rich.console import Console
from rich.table import Table

from bench.load import Load, drive_fresh, post
from bench.running import cpu_s, echo, processes, service

CALLS = 10_000
CONCURRENCY = 256
ROUNDS = 3


def call(path: str, number: int) -> bytes:
    """What OpenRLHF sends for one completion; every one differs."""
    prompt = f"<|im_start|>user\nWhat is {number} plus 1?<|im_end|>\n<|im_start|>assistant\n"
    query = f"{prompt}Adding one to {number} gives \\boxed{{{number + number % 2}}}.<|im_end|>"
    return post(path, json.dumps({"query": [query], "prompts": [prompt], "labels": [str(number + 1)]}).encode())


def main() -> None:
    """Print the table."""
    table = Table(
        title=f"{CALLS:,} OpenRLHF calls of one item, fresh connections, {CONCURRENCY} at a time, kind math"
    )
    for column in ("round", "calls/s", "p50 ms", "p99 ms", "errors", "service CPU us a call", "bare server calls/s"):
        table.add_column(column, justify="right")
    with service() as running, echo() as bare:
        path = f"/compat/openrlhf/math?key={running.key}"

        def load(port: int, first: int, count: int) -> Load:
            requests = [call(path, first + place) for place in range(count)]
            result: Load = uvloop.run(drive_fresh(port, requests, CONCURRENCY))
            return result

        load(running.port, 0, 1000)
        for place in range(ROUNDS):
            before = cpu_s(processes(running))
            ours = load(running.port, (place + 1) * CALLS, CALLS)
            used = cpu_s(processes(running)) - before
            theirs = load(bare, 0, CALLS)
            errors = sum(count for status, count in ours.statuses.items() if status != 200)
            table.add_row(
                str(place + 1), f"{ours.per_second:,.0f}", f"{ours.quantile(0.5) * 1000:.0f}",
                f"{ours.quantile(0.99) * 1000:.0f}", str(errors), f"{used / CALLS * 1e6:.0f}",
                f"{theirs.per_second:,.0f}",
            )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
