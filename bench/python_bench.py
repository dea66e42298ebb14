"""The `python` kind beside an interpreter for each item, and beside calling the function here.

    python -m bench.python_bench

The same function judges the same items three ways: through the kind and a sandbox; in a fresh, unisolated
`python -I` for each item, as many at once as there are cores; and called in this process, which isolates nothing and
bounds nothing. The target is to be at least as fast as an interpreter for each item.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.guarded.pool import GuardedPool
from app.settings import default_cells
from sandbox.open import open_sandbox
from verifiers.base import Context, Item, load_kinds
from verifiers.python import Python, PythonConfig

ITEMS = 512
ROUNDS = 5
BATCHES = (1, 8, 64, ITEMS)


def verify(completion: str, reference: float) -> dict[str, Any]:
    """A small verifier: the last number, near the expected one, and a JSON object somewhere."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?", completion)
    near = bool(numbers) and math.isclose(float(numbers[-1]), reference, rel_tol=1e-6)
    found = re.search(r"\{.*?\}", completion)
    return {"score": float(near), "components": {"json": float(found is not None and bool(json.loads(found[0])))}}


CODE = "import json, math, re\nfrom typing import Any\n\n" + inspect.getsource(verify)
ALONE = CODE + "\nimport sys\nprint(json.dumps(verify(**json.loads(sys.stdin.read()))))\n"


def items() -> list[Item]:
    """Half of them right, no two alike."""
    return [
        Item(completion=f'{{"step": {n}}} so the answer is {n if n % 2 else n + 1}.5', reference=n + 0.5)
        for n in range(ITEMS)
    ]


def here(given: Sequence[Item]) -> list[float]:
    """Called in this process."""
    return [verify(item.text, item.reference)["score"] for item in given]


def alone(given: Sequence[Item]) -> list[float]:
    """An interpreter for each item."""

    def one(item: Item) -> float:
        body = json.dumps({"completion": item.text, "reference": item.reference})
        ran = subprocess.run(
            [sys.executable, "-I", "-c", ALONE], input=body, capture_output=True, text=True, check=True
        )
        return float(json.loads(ran.stdout)["score"])

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(one, given))


async def rate(judge: Callable[[Sequence[Item]], Awaitable[list[float]]], given: Sequence[Item], batch: int) -> float:
    """Items a second, in batches of a size; every score must be right."""
    started = time.perf_counter()
    scores: list[float] = []
    for start in range(0, len(given), batch):
        scores += await judge(given[start : start + batch])
    elapsed = time.perf_counter() - started
    if scores != [float(n % 2) for n in range(len(given))]:
        raise AssertionError("a wrong score")
    return len(given) / elapsed


async def main() -> None:
    """Measure, and print a table."""
    load_kinds()
    sandbox = open_sandbox("auto", cells=default_cells())
    await sandbox.start()
    if sandbox.unavailable:
        raise SystemExit(sandbox.unavailable)
    guard = GuardedPool(1, [])
    kind = Python(PythonConfig(code=CODE))

    async def through(given: Sequence[Item]) -> list[float]:
        verdicts = await kind.verify(given, Context(time.monotonic() + 600, guard, sandbox))
        return [-1.0 if verdict.score is None else verdict.score for verdict in verdicts]

    async def alone_in_threads(given: Sequence[Item]) -> list[float]:
        return await asyncio.to_thread(alone, given)

    async def plain(given: Sequence[Item]) -> list[float]:
        return here(given)

    given = items()
    await rate(through, given[:64], 64)
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):  # in turn, so that a busy host is busy for all
        for batch in BATCHES:
            some = given[: min(ITEMS, 64 * batch)]
            found.setdefault(f"kind python, batches of {batch}", []).append(await rate(through, some, batch))
        found.setdefault("an interpreter for each item", []).append(await rate(alone_in_threads, given[:128], 128))
        found.setdefault("called here", []).append(await rate(plain, given, ITEMS))
    await sandbox.close()
    base = found["an interpreter for each item"]
    print(f"backend {sandbox.backend}, {len(os.sched_getaffinity(0))} cores, medians of {ROUNDS} rounds")
    print(f"{'':34}{'items/s':>10}{'ms an item':>12}{'to an interpreter each':>24}")
    for name, rates in found.items():
        ratio = statistics.median(one / other for one, other in zip(rates, base, strict=True))
        median = statistics.median(rates)
        print(f"{name:34}{median:>10,.0f}{1000 / median:>12.3f}{ratio:>24.1f}")


if __name__ == "__main__":
    asyncio.run(main())
