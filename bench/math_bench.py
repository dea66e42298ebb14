"""The `math` kind against Math-Verify on labelled completions and on closed forms: throughput, ratio and verdicts.

    python -m bench.math_bench [gsm8k | qwen | equal | unequal ...]

Both read the same rows in the same run, each in one process of its own work: ours is `verify` with the real guarded
workers behind it, in batches of 512; Math-Verify is its own `parse` and `verify` with their defaults. The targets are
8 times its throughput with no verdict worse on real completions and on equal closed forms, and 4 times on unequal
ones. Closed forms are generated: roots, logarithms, products, exponentials, sines and fractions with drawn numbers,
each with the same value written in another way, or with a value that differs in one number.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from app.guarded.pool import GuardedPool
from verifiers.base import Context, Item
from verifiers.math import Math
from verifiers.math.config import MathConfig

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "math"
BATCH = 512


class Row(NamedTuple):
    """One labelled completion."""

    completion: str
    reference: str
    label: bool


def gsm8k() -> list[Row]:
    """GSM8K solutions of several models; the reference is what follows `A:` in the ground truth."""
    return [
        Row(row["solution"], row["ground_truth"].rsplit("A:", 1)[1].strip(), row["is_correct"])
        for row in _lines("gsm8k_solutions_labelled")
    ]


def qwen_math() -> list[Row]:
    """Eight Qwen2.5-Math completions for each of a hundred MATH problems."""
    return [
        Row(completion, row["gt"], label)
        for row in _lines("math_qwen25_100x8_labelled")
        for completion, label in zip(row["completions"], row["correct"], strict=True)
    ]


def closed_forms(*, equal: bool, rows: int = 200) -> list[Row]:
    """Pairs of expressions that only algebra or evaluation can decide, all different."""
    drawn = random.Random(7)
    pairs: dict[tuple[str, str], None] = {}
    while len(pairs) < rows:
        form, same, other = _closed_form(drawn)
        pairs[form, same if equal else other] = None
    return [Row(f"Therefore it is $\\boxed{{{answer}}}$.", form, equal) for form, answer in pairs]


def _closed_form(drawn: random.Random) -> tuple[str, str, str]:
    """An expression, the same in another form, and one that is not the same."""
    a, b, c = (drawn.randint(2, 40) for _ in range(3))
    x = drawn.choice("xyzt")
    roots = f"\\sqrt{{{a}}}+\\sqrt"
    root, other_root = f"{a}\\sqrt{{{b}}}", f"{a * c + 1}\\sqrt{{{b}}}"
    return drawn.choice([
        (f"\\frac{{{a}}}{{\\sqrt{{{b}}}}}", f"\\frac{{{root}}}{{{b}}}", f"\\frac{{{root}}}{{{b + 1}}}"),
        (f"{a}\\sqrt{{{b * c * c}}}", f"{a * c}\\sqrt{{{b}}}", other_root),
        (f"({x}+{a})({x}+{b})", f"{x}^2+{a + b}{x}+{a * b}", f"{x}^2+{a + b + 1}{x}+{a * b}"),
        (f"\\ln {a * a}+\\ln {b}", f"2\\ln {a}+\\ln {b}", f"2\\ln {a}+\\ln {b + 1}"),
        (f"{a}+{b}\\pi", f"{b}\\pi+{a}", f"{b}\\pi+{a + 1}"),
        (f"{x}/{a}+{x}/{b}", f"\\frac{{{a + b}{x}}}{{{a * b}}}", f"\\frac{{{a + b + 1}{x}}}{{{a * b}}}"),
        (f"\\sqrt{{{a + b}+2\\sqrt{{{a * b}}}}}", f"{roots}{{{b}}}", f"{roots}{{{b + 1}}}"),
        (f"e^{{{a}{x}}}\\cdot e^{{{b}}}", f"e^{{{a}{x}+{b}}}", f"e^{{{a}{x}+{b + 1}}}"),
        (f"\\sin(2{x})+{a}", f"2\\sin {x}\\cos {x}+{a}", f"2\\sin {x}\\cos {x}+{a + 1}"),
        (f"\\log_{{{a}}} {b}", f"\\frac{{\\ln {b}}}{{\\ln {a}}}", f"\\frac{{\\ln {b + 1}}}{{\\ln {a}}}"),
    ])  # fmt: skip


def _lines(name: str) -> list[dict]:  # type: ignore[type-arg]
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


async def ours(rows: list[Row]) -> tuple[list[bool], float, float]:
    """Our verdicts, the seconds they took, and the share decided without a worker."""
    pool = GuardedPool(1, Math.guarded)
    await pool.start()
    try:
        math = Math(MathConfig())
        context = Context(time.monotonic() + 600, pool)
        await math.verify([example.item for example in Math.examples], context)  # the worker is up
        started = time.perf_counter()
        verdicts = []
        for at in range(0, len(rows), BATCH):
            items = [Item(completion=row.completion, reference=row.reference) for row in rows[at : at + BATCH]]
            verdicts += await math.verify(items, context)
        seconds = time.perf_counter() - started
    finally:
        await pool.close()
    evaluated = sum(verdict.detail.get("stage") in ("numeric", "cas", "guard") for verdict in verdicts)
    return [verdict.score == 1.0 for verdict in verdicts], seconds, 1 - evaluated / len(rows)


def math_verify(rows: list[Row]) -> tuple[list[bool], float]:
    """Math-Verify's verdicts and the seconds they took."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)
    verify(parse("$1$"), parse("$\\frac{2}{2}$"))  # its expressions and its parser are compiled
    started = time.perf_counter()
    verdicts = [bool(verify(parse(f"${row.reference}$"), parse(row.completion))) for row in rows]
    return verdicts, time.perf_counter() - started


def compare(name: str, load: Callable[[], list[Row]]) -> None:
    """Print the figures of one data set."""
    rows = load()
    mine, my_seconds, quick = asyncio.run(ours(rows))
    theirs, their_seconds = math_verify(rows)
    worse = [row for row, m, t in zip(rows, mine, theirs, strict=True) if m != row.label and t == row.label]
    better = sum(m == row.label and t != row.label for row, m, t in zip(rows, mine, theirs, strict=True))
    agree = sum(m == row.label for row, m in zip(rows, mine, strict=True))
    they_agree = sum(t == row.label for row, t in zip(rows, theirs, strict=True))
    print(
        f"{name:<12} {len(rows):>6} {len(rows) / my_seconds:>12,.0f} {len(rows) / their_seconds:>12,.0f} "
        f"{their_seconds / my_seconds:>6.1f}x {agree:>8} {they_agree:>8} {len(worse):>6} {better:>7} {quick:>8.2%}"
    )
    for row in worse:
        print(f"    worse: reference {row.reference!r}, label {row.label}, ...{row.completion[-60:]!r}")


def main() -> None:
    """Run the data sets named, or all."""
    if not DATA.is_dir():
        raise SystemExit("the shared data folder is not here: nothing to measure")
    sets: dict[str, Callable[[], list[Row]]] = {
        "gsm8k": gsm8k,
        "qwen": qwen_math,
        "equal": lambda: closed_forms(equal=True),
        "unequal": lambda: closed_forms(equal=False),
    }
    print(
        f"{'data':<12} {'rows':>6} {'ours/s':>12} {'theirs/s':>12} {'ratio':>7} {'agree':>8} {'theirs':>8} "
        f"{'worse':>6} {'better':>7} {'no CAS':>8}"
    )
    for name in sys.argv[1:] or sets:
        compare(name, sets[name])


if __name__ == "__main__":
    main()
