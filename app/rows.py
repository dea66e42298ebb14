"""The answers to a batch, and the rows that record them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID

from app import wire
from app.results import Result, verdict_body, without_text
from app.store.ids import uuid7s
from app.store.outcomes import key_sha256
from app.store.projects import Project
from app.store.writer import Batch, CompletionRow, IdempotencyRow, OutcomeRow, ScoreRow
from app.tasks import Options, Slot, Task
from verifiers.base import ErrorType, GivingWay, Item, Outcome, Verdict

NO_VERDICT = Verdict.unscored(ErrorType.VERIFIER_FAULT, "no verdict", retryable=False)


async def prepared(
    project: Project,
    tasks: Sequence[Task],
    slots: Sequence[Slot],
    options: Options,
    batch_id: UUID,
    idempotency: IdempotencyRow | None,
) -> tuple[list[Result], Batch]:
    """The answers, and the rows that record them."""
    results: list[Result] = []
    rows: list[ScoreRow] = []
    completions: dict[UUID, CompletionRow] = {}
    outcomes: dict[UUID, OutcomeRow] = {}
    turn = GivingWay()
    new_ids = iter(uuid7s(sum(task.score_id is None for task in tasks)))
    for task, slot in zip(tasks, slots, strict=True):
        await turn.over()
        score_id = task.score_id or next(new_ids)
        result, stored = _result(task, slot, score_id, options, project)
        results.append(result)
        resolved = slot.resolved
        group = task.item.group if task.item is not None else None
        rows.append(
            (
                project.id,
                score_id,
                batch_id,
                None if resolved is None else resolved.version_id,
                0 if resolved is None else resolved.revision,
                options.run,
                options.step,
                None if result.item_id is None else wire.encode(result.item_id).encode(),
                None if group is None else wire.encode(group).encode(),
                result.outcome,
                result.score,
                stored.encode(),
                result.ms,
                result.cached,
            )
        )
        if task.item is not None and project.keep != "none":
            completions[score_id] = _completion_row(project, score_id, task.item, slot.json)
        if result.outcome is Outcome.PENDING:
            outcomes[score_id] = _outcome_row(project, score_id, slot, options.run)
    return results, Batch(rows, completions, _Substitutes(rows), idempotency, outcomes)


class _Substitutes(Sequence[ScoreRow]):
    """For each row the one that takes its place if the database refuses it: unscored, without the caller's text."""

    def __init__(self, rows: Sequence[ScoreRow]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: int) -> ScoreRow:  # type: ignore[override]
        row = self._rows[position]
        body = verdict_body(_NOT_RECORDED, "brief").encode()
        return (*row[:7], None, None, Outcome.UNSCORED, None, body, row[12], False)


_NOT_RECORDED = Verdict.unscored(
    ErrorType.NOT_RECORDED,
    "the database refused this verdict's row, and a verdict that is not recorded is not given",
    retryable=False,
)


def refused(result: Result) -> Result:
    return Result(
        result.item_id, result.score_id, result.verifier, result.kind, Outcome.UNSCORED, None,
        verdict_body(_NOT_RECORDED, "brief"), ErrorType.NOT_RECORDED, result.ms, False,
    )  # fmt: skip


def _result(task: Task, slot: Slot, score_id: UUID, options: Options, project: Project) -> tuple[Result, str]:
    """An item's answer, and the body to store (which keeps the brief detail even where none is asked for)."""
    verdict = slot.verdict or NO_VERDICT
    body = verdict_body(verdict, options.detail)
    if project.keep != "full":
        stored = without_text(verdict)
    elif options.detail == "none":
        stored = verdict_body(verdict, "brief")
    else:
        stored = body
    resolved = slot.resolved
    result = Result(
        item_id=task.item.id if task.item is not None else task.item_id,
        score_id=score_id,
        verifier=None if resolved is None else resolved.label,
        kind=None if resolved is None else resolved.kind,
        outcome=verdict.outcome,
        score=verdict.score,
        body=body,
        error=None if verdict.error is None else verdict.error.type,
        ms=slot.ms,
        cached=slot.cached,
    )
    return result, stored


def item_json(item: Item) -> bytes:
    """What of an item decides its verdict, as JSON: what is kept of it, and what its cache key hashes."""
    prompt, completion = item.prompt, item.completion
    return wire.encode(
        {
            "prompt": prompt
            if prompt is None or isinstance(prompt, str)
            else [message.model_dump(exclude_unset=True) for message in prompt],
            "completion": completion
            if isinstance(completion, str)
            else [message.model_dump(exclude_unset=True) for message in completion],
            "reference": item.reference,
            "tokens": item.tokens,
            "finish_reason": item.finish_reason,
            "metadata": item.metadata,
        }
    ).encode()


def _completion_row(project: Project, score_id: UUID, item: Item, json: bytes | None) -> CompletionRow:
    completion = item.completion
    text = completion if isinstance(completion, str) else item.text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return (project.id, score_id, digest, json or item_json(item) if project.keep == "full" else None)


def _outcome_row(project: Project, score_id: UUID, slot: Slot, run: str | None) -> OutcomeRow:
    pending = None if slot.verdict is None else slot.verdict.pending
    if pending is None or slot.resolved is None:
        raise AssertionError("a pending verdict says what settles it")
    key = None if pending.key is None else key_sha256(project.id, pending.key)
    return (project.id, score_id, slot.resolved.version_id, run, key, pending.default, pending.wait_s)
