"""Throw-away databases that tests on any event loop may use: they live on a loop of their own, in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from app.scratch import ScratchDatabases
from verifiers.databases import DatabaseRun, RunLimits

T = TypeVar("T")
STORAGE = 7
"""The system identifier of a storage server that there is not."""


async def no_storage() -> int:
    return STORAGE


class LiveDatabases:
    """An embedded server of the test's own, as `verifiers.databases.Databases`."""

    def __init__(self, home: Path, databases: int = 2, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="databases", daemon=True)
        self._thread.start()
        options = {"url": None, "process_mb": 256, "storage_identifier": no_storage, **options}
        self.databases = ScratchDatabases(home, databases=databases, **options)

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, run where the databases are."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def here(self, work: Coroutine[Any, Any, T]) -> T:
        """The same, without holding up the test's own loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def run(self, setup: str, sql: str, *, contents: bool, limits: RunLimits, deadline: float) -> DatabaseRun:
        work = self.databases.run(setup, sql, contents=contents, limits=limits, deadline=deadline)
        return await self.here(work)

    def close(self) -> None:
        self.now(self.databases.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
