"""Settles in guarded workers, in a few calls for a whole batch, what was not decided on the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from verifiers.base import Context, GivingWay, GuardFault, GuardLimits, GuardResult, Verdict, guard_fault
from verifiers.math.attempt import Attempt
from verifiers.math.case import Case, judged
from verifiers.math.compare import Question
from verifiers.math.config import MathConfig

LIMITS = GuardLimits(cpu_s=2.0, wall_s=20.0, memory_mb=512)
"""Of one answer in a guarded worker."""
GOLD_LIMITS = GuardLimits(cpu_s=1.0, wall_s=20.0, memory_mb=512)
"""Of a reference alone, evaluated where an answer broke its limits."""
_CANDIDATES_FAULTS = (GuardFault.CPU, GuardFault.MEMORY, GuardFault.CRASHED)


@dataclass(slots=True)
class Waiting:
    """A case that is not settled yet."""

    case: Case
    attempt: Attempt | None = None
    """Its attempt, unless it is judged in a worker."""
    questions: Sequence[Question] = ()
    """What the verdict hangs on."""
    verdict: Verdict | None = None


async def settle(waiting: Sequence[Waiting], config: MathConfig, ctx: Context) -> list[Verdict]:
    """The verdict of every case."""
    costly = [one for one in waiting if one.attempt is None]
    await _judge_apart(costly, [{}] * len(costly), config, ctx)
    hanging = [one for one in waiting if one.verdict is None]
    answers = await _answers(hanging, config, ctx)
    turn = GivingWay()
    known: list[dict[Question, bool]] = []
    apart = []
    for one in hanging:
        await turn.over()
        answer = answers[tuple(one.questions)]
        if answer.fault is not None:
            one.verdict = guard_fault(answer)
        elif "bad_gold" in answer.value:
            one.verdict = Verdict.bad_item(
                "reference: it has no value, cannot be read, or takes too long to evaluate; check its LaTeX"
            )
        else:
            says = {q: said == "equal" for q, said in zip(one.questions, answer.value, strict=True)}
            if one.attempt is None:
                apart.append(one)
                known.append(says)
            else:
                one.verdict = _verdict(one.attempt.judge(says))
    await _judge_apart(apart, known, config, ctx)
    return [_verdict(one.verdict) for one in waiting]


async def _judge_apart(
    costly: Sequence[Waiting], known: Sequence[dict[Question, bool]], config: MathConfig, ctx: Context
) -> None:
    """Judge in workers, as far as what is known allows."""
    if not costly:
        return
    payloads = [one.case.payload(config, says) for one, says in zip(costly, known, strict=True)]
    results = await ctx.guard.run("verifiers.math.case:judge", payloads, limits=LIMITS, deadline=ctx.deadline)
    for one, result in zip(costly, results, strict=True):
        said = guard_fault(result) if result.fault is not None else judged(result.value)
        if isinstance(said, Verdict):
            one.verdict = said
        else:
            one.questions = said


async def _answers(
    hanging: Sequence[Waiting], config: MathConfig, ctx: Context
) -> dict[tuple[Question, ...], GuardResult]:
    """What the workers say, asked once for each distinct set of questions; equal references are neighbours."""
    batches = sorted({tuple(one.questions) for one in hanging})
    if not batches:
        return {}
    results = dict(zip(batches, await _ask(batches, config, LIMITS, ctx), strict=True))
    broken = [batch for batch in batches if results[batch].fault in _CANDIDATES_FAULTS]
    if broken:  # a reference that cannot be evaluated by itself is no fault of the candidate's
        alone = [tuple(q._replace(answer=q.gold) for q in batch) for batch in broken]
        for batch, result in zip(broken, await _ask(alone, config, GOLD_LIMITS, ctx), strict=True):
            if result.fault in _CANDIDATES_FAULTS:
                results[batch] = GuardResult(["bad_gold"])
            elif result.fault is not None:
                results[batch] = result
    return results


async def _ask(
    batches: Sequence[tuple[Question, ...]], config: MathConfig, limits: GuardLimits, ctx: Context
) -> list[GuardResult]:
    payloads = [{"questions": batch, "tolerance": str(config.tolerance)} for batch in batches]
    return await ctx.guard.run("verifiers.math.cas:compare", payloads, limits=limits, deadline=ctx.deadline)


def _verdict(result: Verdict | Sequence[Question] | None) -> Verdict:
    if not isinstance(result, Verdict):
        raise RuntimeError("a comparison is still open after all its questions were answered")
    return result
