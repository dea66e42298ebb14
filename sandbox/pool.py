"""The pool of cells: each job gets one of its own, those that die are replaced, a fault is tried again elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from sandbox.base import (
    GoOn,
    Job,
    NotOfferedError,
    Program,
    Ran,
    Run,
    SandboxDeadlineError,
    SandboxFaultError,
    SandboxUnavailableError,
    Status,
    Stdio,
)
from sandbox.cell.limits import MAX_COUNT, MOST
from sandbox.cells import Backend, Cell, Flavour
from sandbox.channel import CellFaultError, CellLostError
from sandbox.languages import LANGUAGES
from sandbox.plan import Plan, make_plan
from sandbox.selfcheck import failures

log = structlog.get_logger()

STOP_S = 1.0
"""How long a cell may take to end a job that it is told to stop; after that it is killed."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 30.0
"""Between two tries to start a cell: the first pause, doubled at each failure up to the last."""
CHECK_S = 60.0
SURVEY_S = 30.0
TRIES = 2
_PLAIN: Flavour = frozenset()


class _Waiter:
    __slots__ = ("cell", "flavour", "since")

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.since = time.monotonic()
        self.cell: asyncio.Future[Cell] = asyncio.get_running_loop().create_future()


class Progress:
    """What a job has so far; it outlives the cell that ran the first part of it."""

    def __init__(self, count: int, go_on: GoOn | None) -> None:
        self.prepared: Run | None = None
        self.runs: list[Run] = []
        self.over = False
        self._count = count
        self._go_on = go_on

    def take(self, index: int, run: Run) -> bool:
        """A result; returns whether the job is to go on. What comes after its end is no part of it."""
        if self.over:
            return False
        run = _plain_status(run)
        if index == -1:
            self.prepared = run
            self.over = run.status is not Status.OK
        elif index == len(self.runs) < self._count:
            self.runs.append(run)
            wanted = self._go_on is None or self._go_on(index, run)
            self.over = len(self.runs) == self._count or not wanted
        else:
            raise ValueError("a result that is not the next one")
        return not self.over


_NO_MEMORY = (b"MemoryError", b"std::bad_alloc", b"heap out of memory", b"OutOfMemoryError", b"out of memory")


def _plain_status(run: Run) -> Run:
    """A program that ended because its runtime found no memory has exceeded its memory."""
    if run.status in (Status.EXIT, Status.SIGNAL) and run.stderr:
        end = run.stderr[-8192:]  # some show a stack after it
        if any(words in end for words in _NO_MEMORY):
            return replace(run, status=Status.MEMORY)
    return run


class SandboxPool:
    """Up to `size` cells of one backend, an implementation of `sandbox.base.Sandbox`."""

    def __init__(self, backend: Backend, size: int, *, memory_mb: int, note: str = "") -> None:
        self.unavailable = "the sandbox is not running"
        self.counters: Counter[str] = Counter()
        """`jobs`, `runs`, `faults` (of the sandbox), `started` and `lost` cells."""
        self.note = note
        """Why this backend was taken."""
        self._backend = backend
        self._size = size
        self._memory_mb = memory_mb
        self._idle: dict[Flavour, deque[Cell]] = {}
        self._alive: dict[Cell, None] = {}
        self._starting: Counter[Flavour] = Counter()
        self._waiting: dict[Flavour, deque[_Waiter]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: set[asyncio.Task[Any]] = set()
        """Never cancelled, so that nothing is left behind."""
        self._pause = FIRST_PAUSE_S
        self._closed = True
        self._checked = False
        self._survey: asyncio.Task[dict[str, str]] | None = None
        self._facts: Mapping[str, Any] = {}

    # what there is

    @property
    def backend(self) -> str:
        """`docker` or `local`."""
        return self._backend.name

    @property
    def cells(self) -> int:
        """The most cells at once."""
        return self._size

    @property
    def busy(self) -> int:
        """Cells that run a job at this moment."""
        return len(self._alive) - sum(map(len, self._idle.values()))

    @property
    def alive(self) -> tuple[Cell, ...]:
        """The cells there are."""
        return tuple(self._alive)

    @property
    def languages(self) -> Mapping[str, str]:
        """See `Sandbox.languages`; Python alone until the others have been looked for."""
        if self._survey is not None and self._survey.done() and not self._survey.cancelled():
            return self._survey.result()
        return {"python": str(self._facts["python"])} if self._facts else {}

    @property
    def packages(self) -> Mapping[str, str]:
        """See `Sandbox.packages`."""
        return self._backend.packages

    def describe(self) -> dict[str, Any]:
        """Facts for people."""
        return {
            "backend": self.backend,
            "chosen": self.note,
            "cells": self._size,
            "busy": self.busy,
            "memory_mb": self._memory_mb,
            **{name: self._facts[name] for name in ("control_group", "landlock") if name in self._facts},
            **self._backend.describe(),
        }

    # its life

    async def start(self) -> None:
        """Start and prove the first cell; the others start when they are needed.

        Never raises for want of isolation: `unavailable` then says why, and it is tried again in the background.
        """
        self._closed = False
        await self._open()
        if self.unavailable:
            self._spawn(self._keep_trying())

    async def close(self) -> None:
        """Kill every cell; jobs that run become `SandboxUnavailableError`."""
        self._closed = True
        self.unavailable = "the sandbox is stopping"
        self._refuse_waiting()
        while self._tasks:  # some start others as they end
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        for cell in list(self._alive):
            self._discard(cell)
        while self._closing:
            await asyncio.wait(self._closing)
        self._idle.clear()
        await self._backend.close()

    async def _open(self) -> None:
        try:
            await self._backend.open()
            cell = await self._backend.start(_PLAIN)
        except SandboxUnavailableError as error:
            self.unavailable = str(error)
            return
        self._add(cell)
        weak = [] if self._checked else await self._check(cell)
        if weak:
            self.unavailable = f"the {self.backend} backend isolates less than promised: {'; '.join(weak)}"
            self._discard(cell)
            return
        self._checked = True
        self._facts = cell.facts
        self.unavailable = ""
        self._free(cell)
        if self._survey is None:
            self._survey = asyncio.create_task(self._look_for_languages())
            self._tasks.add(self._survey)
            self._survey.add_done_callback(self._done)

    async def _check(self, cell: Cell) -> list[str]:
        async def run(job: Job) -> Ran:
            progress = Progress(make_plan(job).count, None)
            await self._run_in(cell, make_plan(job), progress)
            return Ran(progress.prepared, progress.runs)

        try:
            async with asyncio.timeout(CHECK_S):
                return await failures(run)
        except TimeoutError:
            return [f"its checks did not end within {CHECK_S:.0f} s"]
        except (CellLostError, CellFaultError) as error:
            return [str(error)]

    async def _keep_trying(self) -> None:
        while self.unavailable and not self._closed:
            log.error("sandbox unavailable", backend=self.backend, reason=self.unavailable, again_in_s=self._pause)
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, LAST_PAUSE_S)
            await self._open()
        self._pause = FIRST_PAUSE_S
        log.info("sandbox available", backend=self.backend)

    async def _look_for_languages(self) -> dict[str, str]:
        """Which declared languages are installed in the sandbox."""
        found = {"python": str(self._facts["python"])}
        deadline = time.monotonic() + SURVEY_S

        async def look(name: str) -> None:
            probe = Job(Program(" ".join(LANGUAGES[name].version).encode(), "bash"), Stdio([b""]))
            ran = await self._run(make_plan(probe), _PLAIN, deadline, None)
            if ran.runs and ran.runs[0].status is Status.OK:
                found[name] = ran.runs[0].stdout.split(b"\n")[0][:100].decode("utf-8", "replace").strip()

        names = [name for name in LANGUAGES if name != "python"]
        for name, failed in zip(names, await asyncio.gather(*map(look, names), return_exceptions=True), strict=True):
            if isinstance(failed, Exception):
                log.warning("a language could not be looked for", language=name, reason=str(failed))
        return {name: found[name] for name in LANGUAGES if name in found}

    # jobs

    async def run(self, job: Job, *, deadline: float, go_on: GoOn | None = None) -> Ran:
        """See `Sandbox.run`."""
        program = job.program
        if not self.unavailable:
            await self._require(program, deadline)
        # what compiling takes is the sandbox's business: it gets what there is
        compile_limits = replace(job.compile_limits, memory_mb=min(job.compile_limits.memory_mb, self._memory_mb))
        job = replace(job, compile_limits=compile_limits)
        for limits in (job.limits, compile_limits):
            if limits.memory_mb > self._memory_mb:
                raise NotOfferedError(
                    f"a run may have at most {self._memory_mb} MiB here (ASSAY_SANDBOX_MEMORY_MB), "
                    f"not {limits.memory_mb}"
                )
            for name, most in MOST.items():
                if getattr(limits, name) > most:
                    raise NotOfferedError(f"{name} is at most {most}")
        plan = make_plan(job)
        if plan.count > MAX_COUNT:
            raise NotOfferedError(f"a job has at most {MAX_COUNT} runs")
        return await self._run(plan, program.packages, deadline, go_on)

    async def _require(self, program: Program, deadline: float) -> None:
        if program.language != "python" and self._survey is not None and not self._survey.done():
            await asyncio.wait([self._survey], timeout=deadline - time.monotonic())
            if not self._survey.done():
                raise SandboxDeadlineError("the deadline passed before the languages here were known")
        if program.language not in self.languages:
            raise NotOfferedError(
                f"this sandbox has no {program.language!r}; it has {', '.join(self.languages)} (GET /sandbox)"
            )
        if missing := program.packages - self.packages.keys():
            raise NotOfferedError(
                f"this sandbox has no package {', '.join(sorted(missing))}; it has "
                f"{', '.join(self.packages) or 'none'} (GET /sandbox)"
            )

    async def _run(self, plan: Plan, flavour: Flavour, deadline: float, go_on: GoOn | None) -> Ran:
        progress = Progress(plan.count, go_on)
        faults: list[str] = []
        self.counters["jobs"] += 1
        while len(faults) < TRIES:
            cell = await self._acquire(flavour, deadline)
            try:
                async with asyncio.timeout_at(self._loop_time(deadline)):
                    await self._run_in(cell, plan, progress)
            except TimeoutError:
                self._spawn(self._stop(cell))
                raise SandboxDeadlineError("the deadline passed") from None
            except CellLostError as error:
                self._discard(cell)
                self.counters["lost"] += 1
                faults.append(str(error))
            except CellFaultError as error:
                self._free(cell)
                faults.append(str(error))
            except BaseException:
                self._spawn(self._stop(cell))
                raise
            else:
                self._free(cell)
                self.counters["runs"] += len(progress.runs)
                return Ran(progress.prepared, progress.runs)
            if progress.over:
                return Ran(progress.prepared, progress.runs)
            self.counters["faults"] += 1
            log.error("sandbox fault", backend=self.backend, reason=faults[-1], try_=len(faults))
        raise SandboxFaultError(f"the sandbox failed twice: {faults[-1]}")

    @staticmethod
    async def _run_in(cell: Cell, plan: Plan, progress: Progress) -> None:
        await cell.channel.run(lambda number: plan.frame(number, len(progress.runs)), progress.take)
        if not progress.over and len(progress.runs) < plan.count:
            raise CellFaultError("the cell ended a job before its end")

    @staticmethod
    def _loop_time(deadline: float) -> float:
        return asyncio.get_running_loop().time() + deadline - time.monotonic()

    async def _stop(self, cell: Cell) -> None:
        """End what the cell runs, and have it back; or kill it."""
        if not self._closed and await cell.channel.stop(STOP_S):
            self._free(cell)
        else:
            self._discard(cell)

    # cells

    async def _acquire(self, flavour: Flavour, deadline: float) -> Cell:
        if self.unavailable:
            raise SandboxUnavailableError(self.unavailable)
        idle = self._idle.get(flavour)
        while idle:
            cell = idle.pop()
            if not cell.channel.lost.done():
                return cell
            self._discard(cell)
        waiter = _Waiter(flavour)
        self._waiting.setdefault(flavour, deque()).append(waiter)
        self._start_where_needed()
        try:
            async with asyncio.timeout_at(self._loop_time(deadline)):
                return await waiter.cell
        except BaseException as error:
            if waiter.cell.done() and not waiter.cell.cancelled() and waiter.cell.exception() is None:
                self._free(waiter.cell.result())  # it came in the very moment
            elif waiter in self._waiting[flavour]:
                self._waiting[flavour].remove(waiter)
            if isinstance(error, TimeoutError):
                raise SandboxDeadlineError("the deadline passed before a cell was free") from None
            raise

    def _free(self, cell: Cell) -> None:
        """A cell has no job: give it to whoever waits, unless another flavour has waited longer and has no cell."""
        if cell.channel.lost.done() or self._closed:
            self._discard(cell)
            return
        waiting = self._waiting.get(cell.flavour)
        while waiting and waiting[0].cell.done():
            waiting.popleft()
        if self._starved(cell.flavour, waiting[0].since if waiting else float("inf")):
            self._discard(cell)
        elif waiting:
            waiting.popleft().cell.set_result(cell)
        else:
            self._idle.setdefault(cell.flavour, deque()).append(cell)

    def _starved(self, flavour: Flavour, since: float) -> bool:
        """Whether another flavour has waited longer, and neither has a cell nor gets one."""
        served = {cell.flavour for cell in self._alive} | {other for other, count in self._starting.items() if count}
        return any(
            waiting and waiting[0].since < since and other not in served
            for other, waiting in self._waiting.items()
            if other != flavour
        )

    def _start_where_needed(self) -> None:
        """Start cells for those who wait, within the pool's size; an idle cell of another flavour makes room."""
        for flavour, waiting in sorted(self._waiting.items(), key=lambda entry: entry[1][0].since if entry[1] else 0):
            missing = len(waiting) - self._starting[flavour]
            while missing > 0:
                if len(self._alive) + self._starting.total() >= self._size and not self._make_room(flavour):
                    break
                self._starting[flavour] += 1
                self._spawn(self._start_one(flavour))
                missing -= 1

    def _make_room(self, flavour: Flavour) -> bool:
        for other, idle in self._idle.items():
            if other != flavour and idle:
                self._discard(idle.popleft(), refill=False)
                return True
        return False

    async def _start_one(self, flavour: Flavour) -> None:
        try:
            cell = await self._backend.start(flavour)
        except SandboxUnavailableError as error:
            self._starting[flavour] -= 1
            log.error("a cell cannot start", backend=self.backend, packages=sorted(flavour), reason=str(error))
            if flavour:  # it may be a package that cannot be imported; whoever asks again finds out
                self._refuse(self._waiting.get(flavour, deque()), str(error))
            elif self._alive:  # those that live go on
                await asyncio.sleep(self._pause)
                self._start_where_needed()
            if not flavour and not self._alive and not self.unavailable and not self._closed:
                self.unavailable = str(error)
                self._refuse_waiting()
                self._spawn(self._keep_trying())
            return
        except BaseException:
            self._starting[flavour] -= 1
            raise
        self._starting[flavour] -= 1
        self._add(cell)
        self._free(cell)

    def _add(self, cell: Cell) -> None:
        self.counters["started"] += 1
        self._alive[cell] = None
        cell.channel.lost.add_done_callback(lambda _: self._notice(cell))

    def _notice(self, cell: Cell) -> None:
        """A cell is gone; a busy one is noticed by its job."""
        idle = self._idle.get(cell.flavour)
        if idle and cell in idle and not self._closed:
            idle.remove(cell)
            self.counters["lost"] += 1
            self._discard(cell)

    def _discard(self, cell: Cell, *, refill: bool = True) -> None:
        """Close a cell, which is none of the pool's from now on; nobody has to wait for it to go."""
        if cell in self._alive:
            del self._alive[cell]
            self._spawn(cell.close(), self._closing)
            if refill and not self._closed:
                self._start_where_needed()

    def _refuse_waiting(self) -> None:
        for waiting in self._waiting.values():
            self._refuse(waiting, self.unavailable)

    @staticmethod
    def _refuse(waiting: deque[_Waiter], reason: str) -> None:
        while waiting:
            waiter = waiting.popleft()
            if not waiter.cell.done():
                waiter.cell.set_exception(SandboxUnavailableError(reason))

    def _spawn(self, work: Any, into: set[asyncio.Task[Any]] | None = None) -> None:
        task = asyncio.create_task(work)
        tasks = self._tasks if into is None else into
        tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._closing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a task of the sandbox failed", exc_info=error)
