"""Every kind proves itself on known items before the service is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import structlog

from verifiers.base import KINDS, Context, Guard, clip

log = structlog.get_logger()

PROOF_S = 60.0
"""How long the proof of one kind may take; a cold start of the guarded workers is part of it."""

GRACE_S = 1.0
"""How long a kind may overrun its deadline in the proof."""


async def check_kinds(guard: Guard, only: Collection[str] | None = None) -> dict[str, str]:
    """The kinds that cannot prove themselves, each with the reason."""
    failed: dict[str, str] = {}
    for kind in sorted(KINDS):
        if only is not None and kind not in only:
            continue
        try:
            async with asyncio.timeout(PROOF_S + GRACE_S):
                reason = await _failure(kind, guard)
        except TimeoutError:
            reason = f"still not done after {PROOF_S + GRACE_S:.0f} s"
        except Exception as error:
            log.exception("self-check raised", kind=kind)
            reason = f"{type(error).__name__}: {clip(str(error))}"
        if reason is not None:
            log.error("kind failed its self-check", kind=kind, reason=reason)
            failed[kind] = reason
    return failed


async def _failure(kind: str, guard: Guard) -> str | None:
    cls = KINDS[kind]
    for number, example in enumerate(cls.examples):
        verifier = cls(cls.Config.model_validate(example.config))
        [verdict] = await verifier.verify([example.item], Context(time.monotonic() + PROOF_S, guard))
        if verdict.score != example.score:
            why = f": {verdict.error.message}" if verdict.error else ""
            return f"known item {number} scored {verdict.score} ({verdict.outcome}) instead of {example.score}{why}"
    return None
