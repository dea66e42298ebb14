"""Comparisons too large for the event loop: the same functions, called in guarded workers.

A payload is plain JSON, so bytes travel as the characters of the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from verifiers.base import Context, GuardLimits, guard_fault
from verifiers.code.decided import DecidedError
from verifiers.code.output import same_output
from verifiers.code.reference import Compare
from verifiers.code.value import Rules, difference

LIMITS = GuardLimits(cpu_s=20.0, wall_s=120.0, memory_mb=2048)


def output_payload(output: bytes, expected: bytes, compare: Compare, tolerance: float) -> dict[str, Any]:
    """What `compare_output` takes."""
    return {
        "output": output.decode("latin-1"),
        "expected": expected.decode("latin-1"),
        "compare": compare,
        "tolerance": tolerance,
    }


def compare_output(payload: dict[str, Any]) -> bool:
    """In a guarded worker: `same_output`."""
    output, expected = payload["output"].encode("latin-1"), payload["expected"].encode("latin-1")
    return same_output(output, expected, payload["compare"], payload["tolerance"])


def value_payload(data: bytes, expected: Any, rules: Rules, limit_bytes: int) -> dict[str, Any]:
    """What `compare_value` takes."""
    return {"data": data.decode("latin-1"), "expected": expected, "rules": asdict(rules), "limit_bytes": limit_bytes}


def compare_value(payload: dict[str, Any]) -> str | None:
    """In a guarded worker: `difference`."""
    data = payload["data"].encode("latin-1")
    return difference(data, payload["expected"], Rules(**payload["rules"]), payload["limit_bytes"])


async def compared(function: str, payloads: Sequence[dict[str, Any]], ctx: Context) -> list[Any]:
    """What a function of this module says of each payload. Raises `DecidedError` where a worker says nothing."""
    results = await ctx.guard.run(f"{__name__}:{function}", payloads, limits=LIMITS, deadline=ctx.deadline)
    for result in results:
        if result.fault is not None:
            raise DecidedError(guard_fault(result))
    return [result.value for result in results]
