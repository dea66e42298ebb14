"""What judging takes of the service beyond the model's own time, and its memory with a thousand judgements in flight.

    python -m bench.judge_bench [--items 2048] [--chars 2000]

The model is a script in a process of its own. The first table is processor time of an item, all of it: the request,
the prompt, the call over HTTP, reading the answer, and recording the verdict, of which the kind `text` takes the part
that is no judging. The second is the memory of the API process and of all of the service's processes (proportional:
what they share counts once), and of PostgreSQL's apart, while every one of the items waits for a model that takes its
time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bench.running import cpu_s, processes, service
from tests.service import ROOT, Service

BATCH = 256
"""Items of a request: as many as one call judges at once."""
IN_FLIGHT = 1_000
SLOW_S = 12.0
"""Of the model, so that all are in flight for some seconds on a busy host, too."""
TARGET_MS = 2.0
TARGET_MB = 400


@contextmanager
def scripted_model() -> Iterator[str]:
    """The address of a `bench.judge_model`."""
    command = [sys.executable, "-m", "bench.judge_model"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("the model has no output")
        yield process.stdout.readline().strip()
        process.kill()


def register(running: Service, url: str, name: str, seconds: float, **config: Any) -> str:
    """A judge by a model that takes so many seconds; what to name it by."""
    chat = {"model": str(seconds), "json_schema": "no", "logprobs": "no"}
    limits = {"concurrency": 1_024, "timeout_s": 120.0}
    backend = {
        "name": name, "type": "chat", "url": f"{url}/v1", "allow_private": True, "chat": chat, "limits": limits,
    }  # fmt: skip
    answer = running.post("/backends", backend)
    if answer.status != 201:
        raise RuntimeError(answer.body.decode())
    judge = {"name": name, "kind": "judge", "config": {"backend": name, "output": "marker", **config}}
    answer = running.post("/verifiers", judge)
    if answer.status != 201:
        raise RuntimeError(answer.body.decode())
    return f"{name}@1"


def items(count: int, chars: int, salt: str) -> list[dict[str, Any]]:
    """Completions of so many characters, no two alike."""
    return [
        {
            "id": f"{salt}-{number}",
            "prompt": "Explain how the tide comes about, and why there are two a day.",
            "completion": f"[{salt} {number}] "
            + "The moon pulls at the near side more than at the far one. " * (chars // 58),
            "reference": "By the difference of the pull across the earth.",
        }
        for number in range(count)
    ]


def send(running: Service, verifier: str, batch: Sequence[dict[str, Any]], outcome: str) -> None:
    """One request; every item must have this outcome."""
    body = {"verifier": verifier, "items": batch, "options": {"deadline_ms": 300_000}}
    answer = running.post("/score", body, timeout=360)
    if answer.status != 200:
        raise RuntimeError(answer.body.decode()[:500])
    found = {item["outcome"] for item in answer.json()["items"]}
    if found != {outcome}:
        errors = {(item["error"] or {}).get("message") for item in answer.json()["items"]}
        raise RuntimeError(f"outcomes {found}: {errors}")


def split(running: Service) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """The service's own processes, and PostgreSQL's."""
    found = processes(running)
    database = [process for process in found if process.name().startswith("postgres")]
    return [process for process in found if process not in database], database


def spent(running: Service, work: Callable[[], None], count: int) -> tuple[float, float]:
    """Milliseconds of processor time of an item, in the service and in PostgreSQL."""
    before = [cpu_s(found) for found in split(running)]
    work()
    after = [cpu_s(found) for found in split(running)]
    ours, database = ((b - a) * 1000 / count for a, b in zip(before, after, strict=True))
    return ours, database


class Peak:
    """The most memory so far, in MiB: the API process's resident, and proportional that of all and of PostgreSQL."""

    def __init__(self, running: Service) -> None:
        self._running = running
        self._over = threading.Event()
        self.api = self.service = self.database = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.25):
            with suppress(psutil.NoSuchProcess):  # an idle worker has just ended: look again
                ours, database = split(self._running)
                self.api = max(self.api, ours[0].memory_info().rss / 2**20)
                self.service = max(self.service, proportional(ours))
                self.database = max(self.database, proportional(database))


def proportional(found: Sequence[psutil.Process]) -> float:
    """Memory of processes in MiB, what they share counted once."""
    return float(sum(process.memory_full_info().pss for process in found)) / 2**20


def overhead(running: Service, url: str, count: int, chars: int) -> float:
    """The first table; the milliseconds of an item."""
    verifier = register(running, url, "quick", 0.0)
    table = Table(title=f"Processor time of an item, completions of {chars:,} characters (ms)")
    for column in ("what", "service", "PostgreSQL"):
        table.add_column(column, justify="left" if column == "what" else "right")

    def scored(by: str, salt: str, outcome: str) -> tuple[float, float]:
        made = items(count, chars, salt)

        def work() -> None:
            for at in range(0, count, BATCH):
                send(running, by, made[at : at + BATCH], outcome)

        return spent(running, work, count)

    scored(verifier, "warm", "scored")
    judged, stored = scored(verifier, "judge", "scored")
    table.add_row(f"judge, batches of {BATCH}", f"{judged:.2f}", f"{stored:.2f}")
    plain, stored = scored("text", "text", "incorrect")
    table.add_row(f"text, batches of {BATCH}", f"{plain:.2f}", f"{stored:.2f}")
    table.add_row("judging", f"{judged - plain:.2f}", "")
    Console(width=120).print(table)
    return judged


def in_flight(running: Service, url: str, chars: int) -> float:
    """The second table; the service's memory in MiB."""
    verifier = register(running, url, "slow", SLOW_S)
    made = items(IN_FLIGHT, chars, "flight")
    quarter = IN_FLIGHT // 4
    with Peak(running) as rest:
        time.sleep(1)
    with Peak(running) as peak, ThreadPoolExecutor(4) as threads:
        sent = [
            threads.submit(send, running, verifier, made[at : at + quarter], "scored")
            for at in range(0, IN_FLIGHT, quarter)
        ]
        for one in sent:
            one.result()
    with urllib.request.urlopen(f"{url}/peak") as response:  # noqa: S310 - our own server
        most = json.load(response)["peak"]
    table = Table(title=f"Memory with {most:,} judgements in flight, completions of {chars:,} characters (MB)")
    columns = ("when", "API process, resident", "all processes, proportional", "PostgreSQL, proportional")
    for column in columns:
        table.add_column(column, justify="left" if column == "when" else "right")
    for when, found in (("before", rest), ("most", peak)):
        table.add_row(when, f"{found.api:,.0f}", f"{found.service:,.0f}", f"{found.database:,.0f}")
    Console(width=120).print(table)
    if most < IN_FLIGHT:
        sys.exit(f"only {most} judgements were in flight at once")
    return peak.service


def main() -> int:
    """Print both tables; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.judge_bench", description=__doc__)
    parser.add_argument("--items", type=int, default=2_048)
    parser.add_argument("--chars", type=int, default=2_000)
    arguments = parser.parse_args()
    with scripted_model() as url, service() as running:
        taken = overhead(running, url, arguments.items, arguments.chars)
    with scripted_model() as url, service() as running:
        held = in_flight(running, url, arguments.chars)
    return int(taken > TARGET_MS or held > TARGET_MB)


if __name__ == "__main__":
    sys.exit(main())
