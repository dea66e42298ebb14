"""Many runs through the whole service at once: every verdict must be the right one, and nothing may be left behind.

    python -m bench.soak [--backend local|docker] [--runs 100000] [--at-once 256] [--overload 8]

Posts items whose verdicts are known, right and wrong ones mixed with programs that crash, hang, flood, bomb and
leave daemons, one to a request, `--at-once` requests in flight; then a part of them again with `--overload` times as
many in flight. Prints a table, and ends with status 1 if a verdict was wrong or missing, or if a process, mount,
control group, container, descriptor or temporary file is left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.running import service
from sandbox.local import FIRST_UID
from tests.service import Service

DEADLINE_MS = 600_000
TIGHT = {"cpu_s": 0.5, "wall_s": 2.0, "memory_mb": 64, "processes": 16, "output_kb": 32, "disk_mb": 4}


@dataclass(frozen=True)
class Known:
    """An item and what its verdict must be."""

    completion: str
    reference: dict[str, Any]
    outcome: str
    config: dict[str, Any] = field(default_factory=dict)


def _stdio(stdout: str) -> dict[str, Any]:
    return {"type": "stdio", "cases": [{"stdin": "", "stdout": stdout}]}


_DAEMON = """import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(99)
    os._exit(0)
print(1)"""


def _known(number: int, dice: random.Random) -> Known:
    """One of many sorts of items, made distinct by its number."""
    roll = dice.random()
    mark = f"# {number}\n"
    cases = [{"args": [number, k], "expected": number + k} for k in (1, 2)]
    add = {"type": "function", "entry_point": "add", "cases": cases}
    asserts = {"type": "asserts", "asserts": [f"assert add({number}, 1) == {number + 1}", "assert add(2, 2) == 4"]}
    if roll < 0.55:
        return Known(f"print({number} * 2)", _stdio(str(2 * number)), "correct")
    if roll < 0.70:
        return Known(f"print({number} * 2 + 1)", _stdio(str(2 * number)), "incorrect")
    if roll < 0.78:
        return Known(mark + "def add(a, b): return a + b", add, "correct")
    if roll < 0.82:
        return Known(mark + "def add(a, b): return a - b", add, "incorrect")
    if roll < 0.88:
        return Known(mark + "def add(a, b): return a + b", asserts, "correct")
    if roll < 0.91:
        return Known(mark + "def add(a, b): return a * b + 1", asserts, "incorrect")
    if roll < 0.94:
        return Known(mark + "raise SystemExit(3)", _stdio("1"), "crashed")
    if roll < 0.96:
        return Known(mark + _DAEMON, _stdio("1"), "correct")
    if roll < 0.975:
        return Known(mark + "while True: print('x' * 999)", _stdio("1"), "output_exceeded", {"limits": TIGHT})
    if roll < 0.985:
        hog = "held = [bytearray(2**20) for _ in range(500)]"
        return Known(mark + hog, _stdio("1"), "memory_exceeded", {"limits": TIGHT})
    if roll < 0.99:
        bomb = "import os\ntry:\n    while True: os.fork()\nexcept OSError: pass\nos._exit(5)"
        return Known(mark + bomb, _stdio("1"), "crashed", {"limits": TIGHT})
    if roll < 0.995:
        return Known(mark + "open('f', 'wb').write(bytes(2**24))", _stdio("1"), "crashed", {"limits": TIGHT})
    return Known(mark + "while True: pass", _stdio("1"), "timeout", {"limits": TIGHT})


@dataclass
class Tally:
    """What came of a set of items."""

    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def _post(url: str, key: str, items: list[Known], at_once: int, say: Progress, title: str) -> Tally:
    tally = Tally()
    bar = say.add_task(title, total=len(items))
    left = iter(enumerate(items))
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=2 * DEADLINE_MS / 1000)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector, timeout=timeout) as session:

        async def work() -> None:
            for number, known in left:
                body = {
                    "verifier": {"kind": "code", "config": known.config},
                    "items": [{"completion": known.completion, "reference": known.reference}],
                    "options": {"deadline_ms": DEADLINE_MS, "cache": False},
                }
                async with session.post("/score", data=json.dumps(body)) as response:
                    answer = await response.json()
                [verdict] = answer.get("items", [{"outcome": f"status {response.status}"}])
                tally.outcomes[verdict["outcome"]] += 1
                if verdict["outcome"] != known.outcome:
                    tally.wrong.append(f"{number}: {verdict} instead of {known.outcome}: {known.completion[:80]!r}")
                say.advance(bar)

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_once)))
        tally.seconds = time.perf_counter() - started
    return tally


def _left(running: Service) -> dict[str, int]:
    """What could be left behind, counted."""
    if running.process is None:
        raise RuntimeError("the service is not running")
    api = psutil.Process(running.process.pid)
    below = api.children(recursive=True)  # local cells; those of Docker are the engine's, and told by their user
    cells = [process for process in below if _is_cell(process)] or [
        process for process in psutil.process_iter() if _is_cell(process)
    ]
    return {
        "descriptors of the service": api.num_fds(),
        "processes below the service": len(below),
        "processes of cells": len(cells),
        "descriptors of cells": sum(process.num_fds() for process in cells),
        "mounts of the host": len(Path("/proc/self/mounts").read_text().splitlines()),
        "mounts of cells": sum(_lines(f"/proc/{process.pid}/mounts") for process in cells),
        "control groups": sum(1 for _ in _groups()),
        "temporary files": sum(1 for _ in Path(tempfile.gettempdir()).iterdir()),
        "resident MB of cells": sum(process.memory_info().rss for process in cells) >> 20,
    }


def _is_cell(process: psutil.Process) -> bool:
    try:
        return bool(process.uids().real >= FIRST_UID)
    except psutil.NoSuchProcess:
        return False


def _lines(path: str) -> int:
    try:
        return len(Path(path).read_text().splitlines())
    except OSError:
        return 0


def _groups() -> Iterator[Path]:
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        yield from (Path(folder, name) for name in names)


def main() -> None:
    """Run it, print the tables, and exit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("local", "docker"), default="local")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--at-once", type=int, default=256)
    parser.add_argument("--overload", type=int, default=8)
    asked = parser.parse_args()
    dice = random.Random(1)
    items = [_known(number, dice) for number in range(asked.runs)]
    again = items[: max(1, asked.runs // 10)]
    console = Console(width=120)
    with service(ASSAY_SANDBOX=asked.backend, ASSAY_CACHE_MB="0") as running, Progress(console=console) as say:

        def post(some: list[Known], at_once: int, title: str) -> Tally:
            return asyncio.run(_post(running.url, running.key, some, at_once, say, title))

        warm = post(items[:500], asked.at_once, "warming up")
        time.sleep(2)
        before = _left(running)
        calm = post(items, asked.at_once, f"{asked.at_once} at once")
        crowded = post(again, asked.at_once * asked.overload, f"{asked.at_once * asked.overload} at once")
        time.sleep(5)
        after = _left(running)
    table = Table(title=f"{asked.backend}: {asked.runs:,} items", title_justify="left")
    for column in ("what", "items", "items/s", "wrong", "outcomes"):
        table.add_column(column)
    sets = (("warm-up", warm, 500), ("calm", calm, len(items)), ("overload", crowded, len(again)))
    for title, tally, count in sets:
        shown = ", ".join(f"{name} {count}" for name, count in sorted(tally.outcomes.items()))
        table.add_row(title, f"{count:,}", f"{count / tally.seconds:.0f}", str(len(tally.wrong)), shown)
    console.print(table)
    table = Table(title="left behind", title_justify="left")
    for column in ("what", "before", "after"):
        table.add_column(column)
    for name, count in before.items():
        table.add_row(name, str(count), str(after[name]))
    console.print(table)
    wrong = [*warm.wrong, *calm.wrong, *crowded.wrong]
    console.print("\n".join(wrong[:20]), markup=False)
    grown = [
        name
        for name, count in before.items()
        if after[name] > count and name not in ("descriptors of the service", "resident MB of cells")
    ]
    if after["descriptors of the service"] > before["descriptors of the service"] + 16:  # database connections
        grown.append("descriptors of the service")
    sys.exit(f"left behind: {', '.join(grown)}" if grown else 1 if wrong else 0)


if __name__ == "__main__":
    main()
