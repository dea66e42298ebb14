"""Kinds whose verdict on one item is a plain function of the item.

Such a function runs on the event loop while its cost is known to be small, and the same function runs in a guarded
worker where a large or hostile item could make it slow, so both ways give the same verdict.
"""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from verifiers.base import (
    KINDS,
    BadItemError,
    Context,
    ErrorType,
    GuardLimits,
    GuardResult,
    Item,
    Outcome,
    Verdict,
    VerdictError,
    guard_fault,
    verify_each,
)

LIMITS = GuardLimits()
_DEFERRED = Verdict(Outcome.PENDING, None)
"""Stands for an item that a guarded worker will judge; never leaves this module."""


C = TypeVar("C", bound=BaseModel)


class DirectKind(ABC, Generic[C]):
    """Base of a kind that judges one item at a time without waiting for anything."""

    kind: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    guarded: ClassVar[Sequence[str]]
    sandboxed: ClassVar[bool] = False
    fault_score: float = 0.0
    """What an item scores that used up a worker's time or memory: the lowest score the kind gives."""

    def __init_subclass__(cls) -> None:
        cls.guarded = (__name__, cls.__module__)

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    def verify_one(self, item: Item) -> Verdict:
        """The verdict on one item. Raises `BadItemError` where its reference cannot be used."""

    def costly(self, item: Item) -> bool:
        """Whether judging the item may take longer than a few milliseconds. Itself takes microseconds."""
        return False

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order: cheap items at once, costly ones from guarded workers."""
        verdicts = await verify_each(items, ctx, self._verify_or_defer)
        deferred = [i for i, verdict in enumerate(verdicts) if verdict is _DEFERRED]
        if deferred:
            config = self.config.model_dump(by_alias=True)
            payloads = [self._payload(items[i], config) for i in deferred]
            results = await ctx.guard.run(f"{__name__}:judge", payloads, limits=LIMITS, deadline=ctx.deadline)
            for i, result in zip(deferred, results, strict=True):
                verdicts[i] = self._verdict(result)
        return verdicts

    def _verify_or_defer(self, item: Item) -> Verdict:
        return _DEFERRED if self.costly(item) else self.verify_one(item)

    def _payload(self, item: Item, config: dict[str, Any]) -> dict[str, Any]:
        return {
            "module": type(self).__module__,
            "kind": self.kind,
            "config": config,
            "item": {
                "completion": item.text,
                "prompt": item.prompt_text,
                "reference": item.reference,
                "tokens": item.tokens,
            },
        }

    def _verdict(self, result: GuardResult) -> Verdict:
        if result.fault is None:
            return _from_json(result.value)
        verdict = guard_fault(result)
        return verdict if verdict.score is None else replace(verdict, score=self.fault_score)


def judge(payload: dict[str, Any]) -> dict[str, Any]:
    """In a guarded worker: one item's verdict as plain JSON. The payload is `DirectKind._payload`'s."""
    verifier = _verifier(payload["module"], payload["kind"], json.dumps(payload["config"]))
    try:
        verdict = verifier.verify_one(Item(**payload["item"]))
    except BadItemError as error:
        verdict = Verdict.bad_item(str(error))
    return asdict(verdict)


@lru_cache(maxsize=64)
def _verifier(module: str, kind: str, config: str) -> DirectKind[Any]:
    importlib.import_module(module)
    cls = KINDS[kind]
    verifier = cls(cls.Config.model_validate(json.loads(config)))
    if not isinstance(verifier, DirectKind):
        raise TypeError(f"{kind} does not judge items directly")
    return verifier


def _from_json(value: dict[str, Any]) -> Verdict:
    error = value["error"]
    if error is not None:
        error = VerdictError(ErrorType(error["type"]), error["message"], error["retryable"])
    return Verdict(**{**value, "outcome": Outcome(value["outcome"]), "error": error})
