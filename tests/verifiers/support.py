"""Scoring without a service: verifiers from plain configurations, and a guard that runs in this process."""

from __future__ import annotations

import importlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from sandbox.base import Sandbox
from verifiers.base import (
    Context,
    Guard,
    GuardFault,
    GuardLimits,
    GuardResult,
    Item,
    Verdict,
    Verifier,
    load_kinds,
)
from verifiers.lent import Cost, Other

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
"""Text that may hold NUL and lone surrogates."""
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=8,
)


class InProcessGuard:
    """Calls guarded functions here, their payloads and values passed through JSON as a worker's are."""

    def __init__(self) -> None:
        self.payloads: list[Any] = []
        """Every payload so far."""

    async def run(
        self, function: str, payloads: Sequence[Any], *, limits: GuardLimits, deadline: float
    ) -> list[GuardResult]:
        module, _, name = function.partition(":")
        called = getattr(importlib.import_module(module), name)
        self.payloads += payloads
        return [_result(called, payload) for payload in payloads]


def _result(called: Any, payload: Any) -> GuardResult:
    try:
        return GuardResult(json.loads(json.dumps(called(json.loads(json.dumps(payload))), allow_nan=False)))
    except Exception as error:
        return GuardResult(fault=GuardFault.RAISED, message=repr(error))


class NoGuard:
    """Fails the test that needs a guarded worker."""

    async def run(
        self, function: str, payloads: Sequence[Any], *, limits: GuardLimits, deadline: float
    ) -> list[GuardResult]:
        raise AssertionError(f"{function} was called for {len(payloads)} items")


class FaultyGuard:
    """Answers every call with the same fault."""

    def __init__(self, fault: GuardFault) -> None:
        self._result = GuardResult(fault=fault, message="as the test wants it")

    async def run(
        self, function: str, payloads: Sequence[Any], *, limits: GuardLimits, deadline: float
    ) -> list[GuardResult]:
        return [self._result] * len(payloads)


class Parts:
    """Scores with verifiers given by their configuration, and with those of `named`."""

    def __init__(self, ctx: Context, named: Mapping[str, Verifier] | None = None) -> None:
        self._ctx = ctx
        self._named = named or {}
        self.asked: list[tuple[Other, int]] = []
        """Every verifier that was asked so far, with the number of items."""

    async def cost(self, verifier: Other) -> Cost:
        return Cost.SANDBOX if self._of(verifier).sandboxed else Cost.LOOP

    async def __call__(self, verifier: Other, items: Sequence[Item]) -> list[Verdict]:
        self.asked.append((verifier, len(items)))
        return await self._of(verifier).verify(items, self._ctx)

    def _of(self, verifier: Other) -> Verifier:
        return self._named[verifier] if isinstance(verifier, str) else configured(verifier.kind, verifier.config)


def configured(kind: str, config: dict[str, Any] | None = None) -> Verifier:
    """A verifier from the configuration as a caller writes it."""
    cls = load_kinds()[kind]
    return cls(cls.Config.model_validate(config or {}))


async def score_all(
    verifier: Verifier,
    items: Sequence[Item],
    guard: Guard | None = None,
    *,
    sandbox: Sandbox | None = None,
    seconds: float = 60,
) -> list[Verdict]:
    """Every item's verdict, with a minute's time."""
    ctx = Context(time.monotonic() + seconds, guard or InProcessGuard(), sandbox)
    return await verifier.verify(items, replace(ctx, score=Parts(ctx)))


async def score(
    kind: str,
    config: dict[str, Any] | None = None,
    guard: Guard | None = None,
    *,
    sandbox: Sandbox | None = None,
    **item: Any,
) -> Verdict:
    """The verdict on one item, given by its fields."""
    [verdict] = await score_all(configured(kind, config), [Item(**item)], guard, sandbox=sandbox)
    return verdict


def assert_sound(verdict: Verdict) -> None:
    """What holds of every verdict: a finite score and a stage, or none and an error; and plain JSON."""
    if verdict.score is None:
        assert verdict.outcome == ("unscored" if verdict.pending is None else "pending")
        assert (verdict.error is None) == (verdict.pending is not None)
        assert verdict.error is None or verdict.error.message
    else:
        assert math.isfinite(verdict.score)
        assert verdict.error is None
        assert verdict.detail["stage"]
    json.dumps([verdict.detail, verdict.full, verdict.components], allow_nan=False)
