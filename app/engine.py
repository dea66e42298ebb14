"""The one scoring path: resolve, cache, merge duplicates, verify under a deadline, check, record, answer."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog

from app import metrics
from app.backends.account import Account, AccountedBackends
from app.backends.directory import Directory
from app.cache import VerdictCache
from app.errors import Problem
from app.parts import PartScorer
from app.recorder import Recorder
from app.registry import Registry, Resolved
from app.results import Result, ScoredBatch
from app.rows import NO_VERDICT, item_json, prepared, refused
from app.selfcheck import lacks_sandbox
from app.soundness import is_sound
from app.store.ids import uuid7
from app.store.projects import Project
from app.store.writer import IdempotencyRow
from app.tasks import Inline, Options, Reference, Slot, Task
from sandbox.base import Sandbox
from verifiers.base import Context, ErrorType, GivingWay, Guard, Item, Verdict, Verifier, past_deadline
from verifiers.databases import Databases
from verifiers.lent import HasProbes, Pair, Prefers

log = structlog.get_logger()

TRIAL_S = 30.0
"""How long the examples of a registration may take."""
PROBE_S = 60.0
"""How long probing a verifier that is registered may take."""
GRACE_S = 1.0
"""How far past its deadline a kind may run before the engine answers without it."""

USAGE = frozenset(("calls", "prompt_tokens", "completion_tokens", "cost"))
"""What `usage` in a verdict's detail tells of the backends that were asked for it."""
MERGE_ROUNDS = 3
"""How often an item is tried again because the request that was verifying it failed."""


class DuplicateError(Exception):
    """The idempotency key was recorded by another process while this one computed; nothing was recorded here."""


class Engine:
    """Scores batches for one process. `unavailable` maps a kind that failed its self-check to the reason."""

    def __init__(
        self,
        registry: Registry,
        recorder: Recorder,
        guard: Guard,
        cache: VerdictCache,
        sandbox: Sandbox | None = None,
        backends: Directory | None = None,
        databases: Databases | None = None,
    ) -> None:
        self.unavailable: dict[str, str] = {}
        self._registry = registry
        self._recorder = recorder
        self._guard = guard
        self._cache = cache
        self._sandbox = sandbox
        self._backends = backends
        self._databases = databases
        self._in_flight: dict[bytes, asyncio.Future[Verdict]] = {}
        self._late: set[asyncio.Task[list[Verdict]]] = set()

    async def score(
        self,
        project: Project,
        verifier: Reference | None,
        tasks: Sequence[Task],
        options: Options,
        *,
        idempotency: IdempotencyRow | None = None,
    ) -> ScoredBatch:
        """Verify and record a batch; results have the tasks' order and length.

        `verifier` serves the tasks that name none of their own. Raises `Problem`: 4xx where it does not exist or
        cannot work, 503 where the database cannot be reached (then nothing is recorded); `DuplicateError` where the
        idempotency key has been recorded meanwhile.
        """
        slots = await self.verify(project, verifier, tasks, options)
        return await self.record(project, tasks, slots, options, idempotency=idempotency)

    async def record(
        self,
        project: Project,
        tasks: Sequence[Task],
        slots: Sequence[Slot],
        options: Options,
        *,
        idempotency: IdempotencyRow | None = None,
    ) -> ScoredBatch:
        """Record verdicts, one for each task. Raises `Problem` (503) and `DuplicateError` as `score` does."""
        batch_id = uuid7()
        results, batch = await prepared(project, tasks, slots, options, batch_id, idempotency)
        await self._recorder.record(batch)
        if batch.duplicate:
            raise DuplicateError
        for position in batch.refused:
            results[position] = refused(results[position])
        _count(results)
        return ScoredBatch(batch_id, results)

    async def verify(
        self, project: Project, verifier: Reference | None, tasks: Sequence[Task], options: Options
    ) -> list[Slot]:
        """Verdicts without recording them, in the tasks' order. Raises as `score` does."""
        deadline = time.monotonic() + options.deadline_s
        slots = [Slot(json=task.json) for task in tasks]
        resolved = await self._resolve(project, verifier, tasks)
        groups: dict[UUID, tuple[list[Slot], list[Item]]] = {}
        for task, slot in zip(tasks, slots, strict=True):
            found = resolved[task.verifier]
            if isinstance(found, Resolved):
                slot.resolved = found
            if task.item is None:
                slot.verdict = Verdict.bad_item(task.fault or "the item cannot be read")
            elif isinstance(found, Resolved):
                group_slots, items = groups.setdefault(found.version_id, ([], []))
                group_slots.append(slot)
                items.append(task.item)
            else:
                slot.verdict = Verdict.bad_item(found)
        await asyncio.gather(
            *(self._verify_group(project, group, items, options, deadline) for group, items in groups.values())
        )
        return slots

    async def trial(self, project: Project, kind: str, verifier: Verifier, items: Sequence[Item]) -> list[Verdict]:
        """Verdicts of a verifier that is not registered (yet), for its examples. Nothing is recorded."""
        resolved = Resolved(uuid7(), f"{kind}@inline", kind, verifier.revision, verifier, caches=False)
        slots = [Slot() for _ in items]
        await self._call(project, resolved, slots, items, time.monotonic() + TRIAL_S)
        return [slot.verdict or NO_VERDICT for slot in slots]

    async def probe(self, project: Project, label: str, verifier: HasProbes) -> dict[str, Any]:
        """What a verifier accepts of what nobody should; see `verifiers.lent.HasProbes`. Nothing is recorded."""
        return await verifier.probe(self._context(project, label, time.monotonic() + PROBE_S))

    async def prefer(
        self, project: Project, resolved: Resolved, pairs: Sequence[Pair], deadline: float
    ) -> list[Verdict]:
        """Which of each pair is better, by a verifier that compares: 1 the first, 0 the second, 0.5 neither.

        `deadline` is in `time.monotonic()` seconds. Nothing is recorded.
        """
        verifier = resolved.verifier
        if not isinstance(verifier, Prefers):
            raise TypeError(f"{resolved.label} does not compare")
        unavailable = self._unavailable(resolved)
        if unavailable is not None:
            return [unavailable] * len(pairs)
        try:
            verdicts = await verifier.prefer(pairs, self._context(project, resolved.label, deadline))
        except Exception as error:
            log.exception("verifier raised", kind=resolved.kind, pairs=len(pairs))
            return [_raised(resolved, error)] * len(pairs)
        return self._checked(resolved, [pair.first for pair in pairs], verdicts)

    async def _resolve(
        self, project: Project, verifier: Reference | None, tasks: Sequence[Task]
    ) -> Mapping[Reference | None, Resolved | str]:
        """What each reference means, or why it means nothing; None stands for the batch's verifier."""
        found: dict[Reference | None, Resolved | str] = {
            None: "the item names no verifier and neither does the request"
            if verifier is None
            else await self._resolve_one(project, verifier)
        }
        for reference in {task.verifier: None for task in tasks}:
            if reference is None:
                continue
            try:
                found[reference] = await self._resolve_one(project, reference)
            except Problem as problem:
                if problem.status >= 500:
                    raise
                found[reference] = problem.detail
        return found

    async def _resolve_one(self, project: Project, reference: Reference) -> Resolved:
        if isinstance(reference, UUID):
            return await self._registry.by_id(project.id, reference)
        if isinstance(reference, Inline):
            return await self._registry.inline(project.id, reference.kind, reference.config)
        return await self._registry.resolve(project.id, reference)

    async def _verify_group(
        self, project: Project, slots: list[Slot], items: Sequence[Item], options: Options, deadline: float
    ) -> None:
        """Fill the slots of the items that one verifier verifies."""
        resolved = slots[0].resolved
        if resolved is None:
            raise AssertionError("a group has a verifier")
        if not (resolved.caches and options.cache):
            await self._call(project, resolved, slots, items, deadline)
            return
        await self._reuse_or_call(project, resolved, slots, items, deadline)

    async def _reuse_or_call(
        self, project: Project, resolved: Resolved, slots: list[Slot], items: Sequence[Item], deadline: float
    ) -> None:
        """Take verdicts from the cache, wait for those in flight elsewhere, and verify the rest once each."""
        keys = []
        turn = GivingWay()
        for slot, item in zip(slots, items, strict=True):
            await turn.over()
            keys.append(_cache_key(project.id, resolved, slot.json or item_json(item)))
        left: Sequence[int] = range(len(items))
        for _ in range(MERGE_ROUNDS):
            leading, following = self._divide(keys, left, slots)
            try:
                await self._call(
                    project, resolved, [slots[p] for p in leading], [items[p] for p in leading], deadline
                )
            finally:
                for position in leading:
                    verdict = slots[position].verdict or past_deadline()
                    self._in_flight.pop(keys[position]).set_result(verdict)
                    self._cache.put(keys[position], verdict)
            left, overdue = await self._follow(slots, following, deadline)
            await self._call(project, resolved, [slots[p] for p in overdue], [items[p] for p in overdue], deadline)
            if not left:
                return
        # others' requests failed that often; this one has its own time
        await self._call(project, resolved, [slots[p] for p in left], [items[p] for p in left], deadline)

    def _divide(
        self, keys: Sequence[bytes], positions: Sequence[int], slots: Sequence[Slot]
    ) -> tuple[list[int], list[tuple[int, asyncio.Future[Verdict]]]]:
        """Fill what the cache has; of the rest, the positions to verify, and those that someone verifies already."""
        leading: list[int] = []
        following: list[tuple[int, asyncio.Future[Verdict]]] = []
        for position in positions:
            key = keys[position]
            known = self._cache.get(key)
            if known is not None:
                slots[position].verdict, slots[position].cached = _reused(known), True
            elif key in self._in_flight:
                following.append((position, self._in_flight[key]))
            else:
                self._in_flight[key] = asyncio.get_running_loop().create_future()
                leading.append(position)
        return leading, following

    @staticmethod
    async def _follow(
        slots: Sequence[Slot], following: Sequence[tuple[int, asyncio.Future[Verdict]]], deadline: float
    ) -> tuple[list[int], list[int]]:
        """Take the verdicts that others were computing.

        Returns the positions to try again, since theirs failed for want of time or a worker, and those to verify
        without waiting longer, since theirs takes more than half of the time that is left.
        """
        if not following:
            return [], []
        await asyncio.wait({future for _, future in following}, timeout=max(0.0, deadline - time.monotonic()) / 2)
        again: list[int] = []
        overdue: list[int] = []
        for position, future in following:
            if not future.done():
                overdue.append(position)
                continue
            verdict = future.result()
            slots[position].verdict = verdict
            if verdict.error.retryable if verdict.error else verdict.transient:
                again.append(position)
            else:
                slots[position].verdict, slots[position].cached = _reused(verdict), True
        return again, overdue

    def _unavailable(self, resolved: Resolved) -> Verdict | None:
        """The verdict of a kind that has no sandbox, or failed its self-check; None for a sound one."""
        without = lacks_sandbox(resolved.verifier, self._sandbox)
        if without:
            return Verdict.unscored(ErrorType.SANDBOX_UNAVAILABLE, without, retryable=True)
        reason = self.unavailable.get(resolved.kind)
        if reason is None:
            return None
        message = f"kind {resolved.kind} failed its self-check: {reason}"
        return Verdict.unscored(ErrorType.KIND_UNAVAILABLE, message, retryable=True)

    async def _call(
        self, project: Project, resolved: Resolved, slots: Sequence[Slot], items: Sequence[Item], deadline: float
    ) -> None:
        """Call the kind and check what it returns."""
        if not items:
            return
        unavailable = self._unavailable(resolved)
        if unavailable is not None:
            for slot in slots:
                slot.verdict = unavailable
            return
        started = time.perf_counter()
        verdicts = await self._within(resolved, items, self._context(project, resolved.label, deadline))
        elapsed = time.perf_counter() - started
        metrics.VERIFY_SECONDS.labels(resolved.kind).observe(elapsed)
        each = elapsed * 1000 / len(items)
        for slot, verdict in zip(slots, verdicts, strict=True):
            slot.verdict = verdict
            slot.ms = each

    def _context(self, project: Project, label: str, deadline: float) -> Context:
        """What a kind is lent; what it takes of backends is counted for the project and the verifier's label."""

        async def verify(resolved: Resolved, items: Sequence[Item]) -> list[Verdict]:
            slots = [Slot(resolved=resolved) for _ in items]
            await self._verify_group(project, slots, items, Options(), deadline)
            return [slot.verdict or NO_VERDICT for slot in slots]

        parts = PartScorer(self._registry, project.id, verify)
        backends = None
        if self._backends is not None:
            backends = AccountedBackends(self._backends, Account(project.id, project.name, label))
        return Context(deadline, self._guard, self._sandbox, parts, backends, self._databases)

    async def _within(self, resolved: Resolved, items: Sequence[Item], ctx: Context) -> Sequence[Verdict]:
        """The kind's verdicts; if it overruns its deadline it is left to finish, and the engine answers for it."""
        task = asyncio.create_task(self._guarded_verify(resolved, items, ctx))
        done, _ = await asyncio.wait({task}, timeout=max(0.0, ctx.deadline - time.monotonic()) + GRACE_S)
        if done:
            return task.result()
        log.error("verify overran its deadline", kind=resolved.kind, items=len(items))
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return [past_deadline()] * len(items)

    async def _guarded_verify(self, resolved: Resolved, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """`verify`, its contract enforced. Where it raises on a batch, items are tried alone."""
        try:
            return self._checked(resolved, items, await resolved.verifier.verify(items, ctx))
        except Exception as error:
            log.exception("verifier raised", kind=resolved.kind, items=len(items))
            if len(items) == 1:
                return [_raised(resolved, error)]
        return [await self._verified_alone(resolved, item, ctx) for item in items]

    async def _verified_alone(self, resolved: Resolved, item: Item, ctx: Context) -> Verdict:
        if time.monotonic() > ctx.deadline:
            return past_deadline()
        try:
            return self._checked(resolved, [item], await resolved.verifier.verify([item], ctx))[0]
        except Exception as error:  # logged for the batch, once
            return _raised(resolved, error)

    @staticmethod
    def _checked(resolved: Resolved, items: Sequence[Item], verdicts: object) -> list[Verdict]:
        if not isinstance(verdicts, Sequence) or len(verdicts) != len(items):
            return [_fault(f"{resolved.label} did not give one verdict for each of {len(items)} items")] * len(items)
        unsound = _fault(f"{resolved.label} gave an unsound verdict")
        return [verdict if is_sound(verdict) else unsound for verdict in verdicts]


def _cache_key(project_id: UUID, resolved: Resolved, json: bytes) -> bytes:
    """`json` is the item's `item_json`."""
    hashed = hashlib.blake2b(json, digest_size=24)
    hashed.update(project_id.bytes + resolved.version_id.bytes + resolved.revision.to_bytes(4, "big"))
    return hashed.digest()


def _reused(verdict: Verdict) -> Verdict:
    """A verdict that is given again: what backends took for it was told the first time."""
    nothing = _nothing_used(verdict.detail.get("usage"))
    return verdict if nothing is None else replace(verdict, detail={**verdict.detail, "usage": nothing})


def _nothing_used(usage: Any) -> dict[str, Any] | None:
    """The same counts at 0, also where they are counted by model; None for what holds no such counts."""
    if not isinstance(usage, dict) or not usage:
        return None
    if usage.keys() <= USAGE:
        return dict.fromkeys(usage, 0)
    by_model = {model: _nothing_used(counts) for model, counts in usage.items()}
    return None if None in by_model.values() else by_model


def _raised(resolved: Resolved, error: Exception) -> Verdict:
    return _fault(f"{resolved.label} raised {type(error).__name__}")


def _fault(message: str) -> Verdict:
    return Verdict.unscored(ErrorType.VERIFIER_FAULT, message, retryable=False)


def _count(results: Sequence[Result]) -> None:
    for (kind, outcome), count in Counter((r.kind or "none", r.outcome) for r in results).items():
        metrics.ITEMS.labels(kind, outcome).inc(count)
    for (kind, error), count in Counter((r.kind or "none", r.error) for r in results if r.error).items():
        metrics.ERRORS.labels(kind, error).inc(count)
    for kind, count in Counter(r.kind or "none" for r in results if r.cached).items():
        metrics.CACHED.labels(kind).inc(count)
