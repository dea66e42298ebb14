"""Statistics over verified rollouts, in the names that NeMo Gym's `aggregate_metrics` gives them."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from app import wire

TASK, ROLLOUT = "_ng_task_index", "_ng_rollout_index"
Rollout = dict[str, Any]
LARGEST = 1e150
"""Numbers beyond are left out: their squares are no floats."""


def aggregated_json(rollouts: Sequence[Rollout]) -> str:
    """`aggregated` as JSON. Its long lists are encoded entry by entry, so that other threads get their turn."""
    members = []
    for name, value in aggregated(rollouts).items():
        text = f"[{','.join(map(wire.encode, value))}]" if isinstance(value, list) else wire.encode(value)
        members.append(f"{wire.encode(name)}:{text}")
    return f"{{{','.join(members)}}}"


def aggregated(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """The answer of `aggregate_metrics`: statistics of every top-level number and of the tokens used.

    Masked rollouts are counted (`coverage/...`) and are in no statistic; where all are masked there is none.
    """
    measured = [rollout for rollout in rollouts if not _masked(rollout)]
    coverage = _coverage(rollouts, measured) if len(measured) < len(rollouts) else {}
    if not measured:
        return {
            "group_level_metrics": [],
            "agent_metrics": dict(coverage),
            "key_metrics": dict(coverage),
            "perf_summary": None,
            "repeat_level_metrics": [],
        }
    overall = _statistics(measured)
    repeats = _by(measured, ROLLOUT)
    tasks = _by(measured, TASK)
    return {
        "group_level_metrics": [
            {TASK: task, **_statistics(group), "num_rollouts": len(group)} for task, group in tasks.items()
        ],
        "agent_metrics": {**overall, **coverage, "num_repeats": len(_by(rollouts, ROLLOUT))},
        "key_metrics": {name: value for name, value in overall.items() if name.startswith("mean/")} | coverage,
        "perf_summary": None,
        "repeat_level_metrics": [
            {
                ROLLOUT: place,
                "sample_count": len(_by(group, TASK)),
                "missing_count": len(tasks) - len(_by(group, TASK)),
                **_statistics(group),
            }
            for place, group in repeats.items()
        ]
        if len(repeats) > 1
        else [],
    }


def _masked(rollout: Rollout) -> bool:
    config = rollout.get("instance_config")
    return rollout.get("mask_sample") is True or (isinstance(config, dict) and config.get("mask_sample") is True)


def _index(rollout: Rollout, name: str) -> int:
    value = rollout.get(name, 0)
    return value if isinstance(value, int) else 0


def _by(rollouts: Iterable[Rollout], name: str) -> dict[int, list[Rollout]]:
    groups: dict[int, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        groups[_index(rollout, name)].append(rollout)
    return dict(sorted(groups.items()))


def _coverage(rollouts: Sequence[Rollout], measured: Sequence[Rollout]) -> dict[str, int]:
    tasks, measured_tasks = _by(rollouts, TASK), _by(measured, TASK)
    return {
        "coverage/measured_rollouts": len(measured),
        "coverage/masked_rollouts": len(rollouts) - len(measured),
        "coverage/measured_tasks": len(measured_tasks),
        "coverage/fully_masked_tasks": len(tasks) - len(measured_tasks),
    }


def _std(values: list[float]) -> float:
    """The sample's standard deviation; `statistics.stdev` is exact and 30 times slower."""
    if len(values) < 2 or min(values) == max(values):
        return 0.0
    mean = statistics.fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "mean": statistics.fmean,
    "max": max,
    "min": min,
    "median": statistics.median,
    "std": _std,
}


def _statistics(rollouts: Iterable[Rollout]) -> dict[str, float]:
    columns: dict[str, list[float]] = defaultdict(list)
    for rollout in rollouts:
        response = rollout.get("response")
        usage = response.get("usage") if isinstance(response, dict) else None
        for name, value in {**rollout, **(usage if isinstance(usage, dict) else {})}.items():
            if not name.startswith("_") and isinstance(value, int | float) and abs(value) < LARGEST:
                columns[name].append(float(value))
    return {
        f"{statistic}/{name}": compute(values)
        for statistic, compute in STATISTICS.items()
        for name, values in columns.items()
    }
