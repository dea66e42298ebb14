"""Every kind proves itself on known items before the service is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

import structlog

from app.registry import Compiled, compile_config, cost_of
from sandbox.base import Sandbox
from verifiers.base import KINDS, Context, Guard, Item, Verdict, Verifier, clip
from verifiers.lent import Cost, Other

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


class _Parts:
    """Scores the parts of known items, which are given by their configuration and never by a name."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    async def cost(self, verifier: Other) -> Cost:
        return cost_of(_part(verifier))

    async def __call__(self, verifier: Other, items: Sequence[Item]) -> list[Verdict]:
        return await _part(verifier).verifier.verify(items, self._ctx)


def _part(part: Other) -> Compiled:
    if isinstance(part, str):
        raise TypeError("known items name no registered verifier")
    return compile_config(part.kind, part.config)


def proving(guard: Guard, sandbox: Sandbox | None, seconds: float) -> Context:
    """What a kind needs to prove itself on known items."""
    ctx = Context(time.monotonic() + seconds, guard, sandbox)
    return replace(ctx, score=_Parts(ctx))


async def _failure(kind: str, guard: Guard, sandbox: Sandbox | None) -> str | None:
    for number, example in enumerate(KINDS[kind].examples):
        verifier = compile_config(kind, example.config).verifier
        ctx = proving(guard, sandbox, PROOF_S)
        [verdict] = await verifier.verify([example.item], ctx)
        if verdict.score != example.score:
            why = f": {verdict.error.message}" if verdict.error else ""
            return f"known item {number} scored {verdict.score} ({verdict.outcome}) instead of {example.score}{why}"
    return None
