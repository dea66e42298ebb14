"""A sandbox that tests on any event loop may use: it lives on a loop of its own, in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from sandbox.base import GoOn, Job, Ran
from sandbox.open import Choice, open_sandbox
from sandbox.pool import SandboxPool

T = TypeVar("T")


class LiveSandbox:
    """A started pool, as `sandbox.base.Sandbox`; compiling may take `compile_cpu_s`, where that is given."""

    def __init__(self, choice: Choice, cells: int = 4, compile_cpu_s: float | None = None, **options: Any) -> None:
        self._compile_cpu_s = compile_cpu_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox", daemon=True)
        self._thread.start()
        self.pool: SandboxPool = open_sandbox(choice, cells=cells, **options)
        self._now(self.pool.start())

    def _now(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    @property
    def unavailable(self) -> str:
        return self.pool.unavailable

    @property
    def languages(self) -> Mapping[str, str]:
        return self.pool.languages

    @property
    def packages(self) -> Mapping[str, str]:
        return self.pool.packages

    async def run(self, job: Job, *, deadline: float, go_on: GoOn | None = None) -> Ran:
        if self._compile_cpu_s is not None:
            job = replace(job, compile_limits=replace(job.compile_limits, cpu_s=self._compile_cpu_s))
        work = self.pool.run(job, deadline=deadline, go_on=go_on)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def close(self) -> None:
        self._now(self.pool.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
