"""The items of one batch that share a fixture: golds first, then candidates, then the comparison."""

from __future__ import annotations

import asyncio
import hashlib
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sandbox.base import SandboxError, SandboxUnavailableError
from verifiers.base import Context, ErrorType, GivingWay, Outcome, Verdict, clip, past_deadline
from verifiers.databases import (
    DatabaseDeadlineError,
    DatabaseRun,
    DatabaseUnavailableError,
    FixtureError,
    RunFault,
)
from verifiers.in_sandbox import sandbox_error
from verifiers.sql import sqlite
from verifiers.sql.cells import Types
from verifiers.sql.compare import Rules
from verifiers.sql.config import SqlConfig
from verifiers.sql.expected import Asked, Kept, Need
from verifiers.sql.judging import Comparison, Expected, compared, fault_verdict, reason
from verifiers.sql.sqltext import depends_on_moment, may_depend_on_moment

_NO_RESULT = b"[null,null]"
_NO_TABLE = b"[null,"
"""How a result begins that has no rows."""
_SHORT = 1_000
"""Characters of a candidate that are read in a few milliseconds."""

Wanted = tuple[str, bool]
"""Statements, and whether the contents of all tables are wanted that they leave behind."""
Ended = DatabaseRun | Exception
"""What became of statements: a run, or why there is none."""


class Fixture:
    """Runs statements on copies of one fixture, each on its own, and judges what they return."""

    def __init__(self, setup: str, config: SqlConfig, kept: Kept, ctx: Context) -> None:
        self._setup = setup
        self._config = config
        self._limits = config.limits.limits()
        self._kept = kept
        self._ctx = ctx

    async def verdicts(self, work: Sequence[tuple[Asked, str]]) -> list[Verdict]:
        """One for each pair of what is asked and a candidate's statements. Never raises: faults are verdicts."""
        try:
            return await self._verdicts(work)
        except Exception as error:  # of these items alone; the engine would try those of all fixtures again
            return [_failed(error)] * len(work)

    async def _verdicts(self, work: Sequence[tuple[Asked, str]]) -> list[Verdict]:
        golds = await self._golds([ask for ask, _ in work])
        verdicts: dict[int, Verdict] = {}
        by_run: dict[Wanted, list[int]] = {}
        for index, (ask, sql) in enumerate(work):
            gold = golds[ask.need]
            if isinstance(gold, Verdict):
                verdicts[index] = gold
            elif ask.rows and ask.given is None and gold.startswith(_NO_TABLE):
                verdicts[index] = Verdict.bad_item(
                    "reference: the gold statements return no rows; set compare to state for what they leave behind"
                )
            else:
                by_run.setdefault((sql, ask.state), []).append(index)

        async def judge(chunk: Sequence[Wanted]) -> None:
            """Run a chunk, and compare what it returns at once: all results of a batch may be too large to hold."""
            here = {index: wanted for wanted in chunk for index in by_run[wanted]}
            try:
                runs = dict(zip(chunk, await self._run_chunk(chunk), strict=True))
                comparisons: dict[int, Comparison] = {}
                for index, wanted in here.items():
                    found = self._judged(runs[wanted], golds[work[index][0].need], work[index][0])
                    if isinstance(found, Verdict):
                        verdicts[index] = found
                    else:
                        comparisons[index] = found
                judged = await compared(list(comparisons.values()), self._ctx)
                verdicts.update(zip(comparisons, judged, strict=True))
            except Exception as error:  # of this chunk alone
                verdicts.update(dict.fromkeys(here, _failed(error)))

        await asyncio.gather(*(judge(chunk) for chunk in self._chunks(list(by_run))))
        await self._excuse([ask for ask, _ in work], golds, verdicts)
        turn = GivingWay()
        for index, pair in enumerate(work):
            await turn.over()
            verdicts[index] = self._of_moment(verdicts[index], *pair)
        return [verdicts[index] for index in range(len(work))]

    def _judged(self, run: Ended, gold: bytes | Verdict, ask: Asked) -> Verdict | Comparison:
        """The verdict on what became of a candidate, or what is to be compared for it."""
        if isinstance(gold, Verdict):
            return gold
        if isinstance(run, Exception):
            return _failed(run)
        if run.fault is not None:
            return fault_verdict(run, self._limits)
        return Comparison(run.result, Expected(gold, ask.given), ask.rows, ask.state, self._rules(ask))

    def _rules(self, ask: Asked) -> Rules:
        return Rules(self._config.columns, ask.ordered, Types(self._config.types, self._config.tolerance))

    async def _excuse(
        self, asks: Sequence[Asked], golds: dict[Need, bytes | Verdict], verdicts: dict[int, Verdict]
    ) -> None:
        """No candidate is wrong where the gold is not right either, run again: its result depends on the moment.

        Candidates have run between the two, so where these agree, it was not the time that made a candidate differ.
        """
        doubted: dict[Wanted, list[int]] = {}
        for index, ask in enumerate(asks):
            differs = verdicts[index].outcome is Outcome.INCORRECT and verdicts[index].detail["stage"] != "run"
            if differs and ask.transient and ask.gold is not None:
                doubted.setdefault((ask.gold, ask.state), []).append(index)
        for wanted, run in (await self._run(list(doubted))).items():
            indices = doubted[wanted]
            ask, first = asks[indices[0]], golds[wanted]
            if isinstance(run, Exception):
                excuse = _failed(run)
            elif run.fault is not None:
                excuse = self._bad_gold(run, wanted[0])
            elif isinstance(first, Verdict):
                excuse = first
            else:
                comparison = Comparison(run.result, Expected(first), ask.rows, ask.state, self._rules(ask))
                [excuse] = await compared([comparison], self._ctx)
                if excuse.outcome is Outcome.CORRECT:
                    continue
                if excuse.score is not None:
                    excuse = Verdict.bad_item(
                        "reference: the result of the gold statements depends on the time at which they are run, or "
                        "on chance; give what asks for it fixed values, in the fixture too"
                    )
            verdicts.update(dict.fromkeys(indices, excuse))

    def _of_moment(self, verdict: Verdict, ask: Asked, sql: str) -> Verdict:
        """Not to be cached where gold or candidate may ask for the time."""
        if verdict.transient or not (ask.transient or self._may_change(sql)):
            return verdict
        return replace(verdict, transient=True)

    def _may_change(self, sql: str) -> bool:
        return may_depend_on_moment(sql) if len(sql) > _SHORT else depends_on_moment(sql, self._config.dialect)

    async def _golds(self, asks: Sequence[Asked]) -> dict[Need, bytes | Verdict]:
        """The gold result of each need; or the verdict on all items that need it, where there is none."""
        golds: dict[Need, bytes | Verdict] = {}
        missing: dict[Wanted, bool] = {}
        fixture = hashlib.sha256(self._setup.encode()).digest()
        keys: dict[Need, bytes] = {}
        for ask in asks:
            if ask.need in golds:
                continue
            if ask.gold is None:
                golds[ask.need] = _NO_RESULT
                continue
            keys[ask.need] = key = hashlib.sha256(fixture + bytes([ask.state]) + ask.gold.encode()).digest()
            kept = self._kept.get(key)
            if kept is None:
                missing[ask.gold, ask.state] = ask.transient
            else:
                golds[ask.need] = kept
        for (gold, state), run in (await self._run(list(missing))).items():
            need: Need = (gold, state)
            if isinstance(run, Exception):
                golds[need] = _failed(run)
            elif run.fault is not None:
                golds[need] = self._bad_gold(run, gold)
            else:
                golds[need] = run.result
                if not missing[gold, state]:
                    self._kept.put(keys[need], run.result)
        return golds

    def _bad_gold(self, run: DatabaseRun, gold: str) -> Verdict:
        if run.fault is RunFault.WALL:
            message = "the gold statements ran out of time by the clock: the host may be busy"
            return Verdict.unscored(ErrorType.WORKER_TIMEOUT, message, retryable=True)
        if not gold:  # the contents of the fixture itself
            return Verdict.bad_item(f"setup: the fixture {reason(run, self._limits)}; raise limits")
        return Verdict.bad_item(f"reference: the gold statements cannot be used: {reason(run, self._limits)}")

    async def _run(self, wanted: Sequence[Wanted]) -> dict[Wanted, Ended]:
        """What becomes of each of several statements."""
        chunks = self._chunks(wanted)
        ended = await asyncio.gather(*(self._run_chunk(chunk) for chunk in chunks))
        return {
            each: end
            for chunk, ends in zip(chunks, ended, strict=True)
            for each, end in zip(chunk, ends, strict=True)
        }

    def _chunks(self, wanted: Sequence[Wanted]) -> list[Sequence[Wanted]]:
        """What is run together: in SQLite a few of a kind, as they share the making of the fixture."""
        if self._config.dialect == "postgresql":
            return [[each] for each in wanted]
        chunks: list[Sequence[Wanted]] = []
        for contents in (False, True):
            alike = [each for each in wanted if each[1] is contents]
            chunks += [alike[at : at + sqlite.PER_JOB] for at in range(0, len(alike), sqlite.PER_JOB)]
        return chunks

    async def _run_chunk(self, chunk: Sequence[Wanted]) -> Sequence[Ended]:
        if self._config.dialect == "postgresql":
            return [await self._run_postgresql(sql, contents) for sql, contents in chunk]
        if self._ctx.sandbox is None:
            return [SandboxUnavailableError("this process has no sandbox")] * len(chunk)
        return await sqlite.run_all(
            self._setup,
            [sql for sql, _ in chunk],
            contents=chunk[0][1],
            limits=self._limits,
            sandbox=self._ctx.sandbox,
            deadline=self._ctx.deadline,
        )

    async def _run_postgresql(self, sql: str, contents: bool) -> Ended:
        databases = self._ctx.databases
        if databases is None:
            return DatabaseUnavailableError("this process has no PostgreSQL for throw-away databases")
        try:
            return await databases.run(
                self._setup, sql, contents=contents, limits=self._limits, deadline=self._ctx.deadline
            )
        except Exception as error:  # a fault of this item's, and of no neighbour's
            return error


def _failed(error: Exception) -> Verdict:
    """The verdict where statements have no result, for a reason that is not theirs."""
    match error:
        case FixtureError():
            return Verdict.bad_item(f"setup: the fixture cannot be made: {clip(str(error), 300)}")
        case SandboxError():
            return sandbox_error(error)
        case DatabaseUnavailableError():
            return Verdict.unscored(ErrorType.DATABASE_UNAVAILABLE, clip(str(error), 500), retryable=True)
        case DatabaseDeadlineError():
            return past_deadline()
        case _:  # ours: its type and place, without its message, which may quote the item
            frame = traceback.extract_tb(error.__traceback__)[-1]
            message = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
            return Verdict.unscored(ErrorType.VERIFIER_FAULT, message, retryable=False)
