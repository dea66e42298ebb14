"""How many programs a second go through a whole service with a sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

from bench.load import post
from bench.running import cpu_s, processes, service
from bench.sandbox_cells import in_containers
from bench.sandbox_client import Rate, drive
from bench.sandbox_items import score_body
from tests.service import Service

BATCH = 512
CONNECTIONS = 2
SINGLES = 300
SINGLES_AT_ONCE = 2


@contextmanager
def sandboxed(backend: str) -> Iterator[Service | str]:
    """A service whose sandbox is ready and warm; else why there is none."""
    with service(ASSAY_SANDBOX=backend) as running:
        sandbox = running.get("/readyz", key=None).json()["sandbox"]
        if not sandbox["ready"]:
            yield str(sandbox["reason"])
            return
        score(running, 1, BATCH // 4, 1)
        yield running


def score(running: Service, batches: int, size: int, connections: int) -> tuple[Rate, list[dict[str, Any]]]:
    """How fast items are scored, and the verdicts, which must all be right."""
    requests = [post("/score", score_body(size), running.key) for _ in range(batches)]
    server = processes(running)
    if running.get("/readyz", key=None).json()["sandbox"]["backend"] == "docker":
        server += in_containers({process.pid for process in server})
    before = cpu_s(server)
    load, bodies = uvloop.run(drive(running.port, requests, connections))
    used = cpu_s(server) - before
    if set(load.statuses) != {200}:
        raise RuntimeError(f"answers other than 200: {load.statuses}: {bodies[0][:500]!r}")
    verdicts = [verdict for body in bodies for verdict in json.loads(body)["items"]]
    if wrong := [verdict for verdict in verdicts if verdict["score"] != 1.0]:
        raise RuntimeError(f"{len(wrong)} of {len(verdicts)} verdicts are wrong: {wrong[0]}")
    return Rate(len(verdicts) / load.seconds, 1000 * used / len(verdicts)), verdicts
