"""What the adapters share: a client for each process, items out of a trainer's columns, and what to do unscored.

An outage that outlasts the deadline makes items unscored, like a verdict that says so: the trainer goes on. What no
waiting mends (a wrong key, an unknown verifier) raises, at the first batch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any

from trainer_client.async_client import AsyncRewardClient
from trainer_client.client import RewardClient
from trainer_client.encoding import UnsendableError, encoded
from trainer_client.errors import (
    AssayError,
    DeadlineError,
    ItemsUnscoredError,
    ServiceFaultError,
    ServiceUnavailableError,
)
from trainer_client.results import Verdict, VerdictError

logger = logging.getLogger("trainer_client")

REFERENCE_COLUMNS = ("reference", "expected_answer", "ground_truth", "label", "answer", "solution")
"""Where the reference is sought, in this order, unless the column is named."""
OUTAGES = (ServiceUnavailableError, DeadlineError, ServiceFaultError)
"""What leaves items without a verdict, and is nobody's fault on this side."""


def reward_client() -> RewardClient:
    """This process's client of the service that the environment names."""
    return _client(os.environ.get("ASSAY_URL"), os.environ.get("ASSAY_API_KEY"))


def async_reward_client() -> AsyncRewardClient:
    """The same for code that runs in an event loop."""
    return _async_client(os.environ.get("ASSAY_URL"), os.environ.get("ASSAY_API_KEY"))


@cache
def _client(url: str | None, api_key: str | None) -> RewardClient:
    return RewardClient(url, api_key)


@cache
def _async_client(url: str | None, api_key: str | None) -> AsyncRewardClient:
    return AsyncRewardClient(url, api_key)


def reference_column(columns: Mapping[str, Any], name: str | None) -> Any:
    """The column (or value) that holds the reference; None where there is none. Raises KeyError on a wrong `name`."""
    if name is not None:
        if name not in columns:
            raise KeyError(f"there is no column {name!r} to compare with; there are {sorted(columns)}")
        return columns[name]
    return next((columns[known] for known in REFERENCE_COLUMNS if known in columns), None)


def sendable_fields(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The entries of a trainer's own information that JSON has a form for; images and the like stay behind."""
    kept = {}
    for name, value in (values or {}).items():
        try:
            encoded({str(name): value})
        except UnsendableError:
            continue
        kept[str(name)] = value
    return kept


def scored(call: Callable[[], list[Verdict]], count: int) -> list[Verdict]:
    """What `call` returns; in an outage, `count` unscored verdicts."""
    try:
        return _noted(call())
    except OUTAGES as error:
        return _unscored(error, count)


async def scored_async(call: Awaitable[list[Verdict]], count: int) -> list[Verdict]:
    """What `call` results in; in an outage, `count` unscored verdicts."""
    try:
        return _noted(await call)
    except OUTAGES as error:
        return _unscored(error, count)


def _unscored(error: AssayError, count: int) -> list[Verdict]:
    reason = VerdictError("service_unavailable", str(error), True)
    return _noted(
        [Verdict(None, None, None, None, "unscored", {}, {}, None, reason, 0.0, False) for _ in range(count)]
    )


def _noted(verdicts: list[Verdict]) -> list[Verdict]:
    missing = [verdict for verdict in verdicts if verdict.score is None]
    if missing:
        logger.warning("%d of %d completions have no score: %s", len(missing), len(verdicts), why(missing[0]))
    return verdicts


def why(verdict: Verdict) -> str:
    """Why a verdict has no score."""
    return verdict.outcome if verdict.error is None else f"{verdict.error.type}: {verdict.error.message}"


def score_of(verdict: Verdict) -> float:
    """The score. Raises `ItemsUnscoredError` where there is none, for trainers that then drop the completion."""
    if verdict.score is None:
        raise ItemsUnscoredError(f"no score: {why(verdict)}", [verdict])
    return verdict.score


def number(verdict: Verdict, fallback: float | None) -> float:
    """The score; where there is none, the `fallback` that the user chose. Raises `ItemsUnscoredError` without one.

    There is no default: a number for what could not be scored is somebody's decision, and not this package's.
    """
    if verdict.score is not None:
        return verdict.score
    if fallback is None:
        raise ItemsUnscoredError(
            f"no score: {why(verdict)}. This trainer has no way to leave a completion out; "
            "choose what it counts with the option fallback",
            [verdict],
        )
    return fallback


def flags(verdict: Verdict, components: Sequence[str] = ()) -> dict[str, float]:
    """Numbers for a trainer's metrics: `unscored`, and the named components (0 where one is missing).

    Without `components`, those that the verdict has.
    """
    names = components or tuple(verdict.components)
    return {
        "unscored": float(verdict.score is None),
        **{name: verdict.components.get(name, 0.0) for name in names},
    }
