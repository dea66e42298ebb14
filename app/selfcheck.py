"""Every kind proves itself on known items before the service is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import structlog

from sandbox.base import Sandbox
from verifiers.base import KINDS, Context, Guard, Verifier, clip

log = structlog.get_logger()

PROOF_S = 60.0
"""How long the proof of one kind may take; a cold start of the guarded workers is part of it."""

GRACE_S = 1.0
"""How long a kind may overrun its deadline in the proof."""


def lacks_sandbox(verifier: Verifier | type[Verifier], sandbox: Sandbox | None) -> str:
    """Why a kind that runs code cannot do so now; empty where it can, or runs none."""
    if not verifier.sandboxed:
        return ""
    return "this process has no sandbox" if sandbox is None else sandbox.unavailable


async def check_kinds(
    guard: Guard, sandbox: Sandbox | None = None, only: Collection[str] | None = None
) -> dict[str, str]:
    """The kinds that cannot prove themselves, each with the reason."""
    failed: dict[str, str] = {}
    for kind in sorted(KINDS):
        if only is not None and kind not in only:
            continue
        without = lacks_sandbox(KINDS[kind], sandbox)
        if without:
            failed[kind] = without
            continue
        try:
            async with asyncio.timeout(PROOF_S + GRACE_S):
                reason = await _failure(kind, guard, sandbox)
        except TimeoutError:
            reason = f"still not done after {PROOF_S + GRACE_S:.0f} s"
        except Exception as error:
            log.exception("self-check raised", kind=kind)
            reason = f"{type(error).__name__}: {clip(str(error))}"
        if reason is not None:
            log.error("kind failed its self-check", kind=kind, reason=reason)
            failed[kind] = reason
    return failed


async def _failure(kind: str, guard: Guard, sandbox: Sandbox | None) -> str | None:
    cls = KINDS[kind]
    for number, example in enumerate(cls.examples):
        verifier = cls(cls.Config.model_validate(example.config))
        ctx = Context(time.monotonic() + PROOF_S, guard, sandbox)
        [verdict] = await verifier.verify([example.item], ctx)
        if verdict.score != example.score:
            why = f": {verdict.error.message}" if verdict.error else ""
            return f"known item {number} scored {verdict.score} ({verdict.outcome}) instead of {example.score}{why}"
    return None
