"""Throw-away databases for one API process: opened when the first is wanted, a few at once, fixtures kept."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from app.errors import Problem
from app.scratch import embedded
from app.scratch.harden import BASE
from app.scratch.server import Place, Server, Template, UnusableError
from app.scratch.session import CrowdedError, LostError, Session
from app.scratch.wire import Address
from app.store.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.store.embedded.folders import PORT
from verifiers.databases import (
    DatabaseDeadlineError,
    DatabaseRun,
    DatabaseUnavailableError,
    FixtureError,
    RunFault,
    RunLimits,
)

log = structlog.get_logger()

MAX_FIXTURES = 16
"""Fixtures that are kept as templates; each takes 8 MB of the disk and more."""
SETUP_CPU_S = 30.0
SETUP_BYTES = 64 * 2**20
"""What a fixture's script may take: processor seconds, and bytes of what it returns, which nobody reads."""
AGAIN_S = 5.0
"""How long a server that could not be opened is left alone."""
LATE_S = 0.5
"""How long past its deadline a run may take to end its session, before it is left behind."""
RECOVER_S = 20.0
"""How long a server that went away may take to come back before a run is given up."""


@dataclass(slots=True)
class _Fixture:
    """A template; or why there is none."""

    ready: asyncio.Task[Template]
    users: int = 0
    unused: list[Place] = field(default_factory=list)
    """Copies that nothing has changed, for the next one."""


@dataclass(slots=True)
class _Opened:
    server: Server
    embedded: EmbeddedPostgres | None
    fixtures: OrderedDict[bytes, _Fixture] = field(default_factory=OrderedDict)


class ScratchDatabases:
    """An implementation of `verifiers.databases.Databases`. Nothing is started before the first run."""

    def __init__(
        self,
        home: Path,
        url: str | None,
        *,
        databases: int,
        process_mb: int,
        storage_identifier: Callable[[], Awaitable[int]],
    ) -> None:
        """`url` names the operator's own server; None starts one. `storage_identifier` tells which may not be it."""
        self._home = home
        self._url = url
        self._databases = databases
        self._process_mb = process_mb
        self._storage_identifier = storage_identifier
        self._opening: asyncio.Task[_Opened] | None = None
        self._refused: tuple[float, str] = (0.0, "")
        self._slots = asyncio.Semaphore(databases)
        self._alone = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, setup: str, sql: str, *, contents: bool, limits: RunLimits, deadline: float) -> DatabaseRun:
        """See `Databases.run`."""
        try:
            async with asyncio.timeout_at(_loop_time(deadline + LATE_S)):
                return await self._run(setup, sql, contents, limits, deadline)
        except TimeoutError:
            raise DatabaseDeadlineError from None

    async def close(self) -> None:
        """Drop what there is, and stop the server if it is ours."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=10)
        if self._opening is None:
            return
        opening, self._opening = self._opening, None
        [opened] = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(opened, _Opened):
            await self._close(opened)

    async def _close(self, opened: _Opened) -> None:
        try:
            async with asyncio.timeout(20):
                for fixture in opened.fixtures.values():
                    for name in await _names(fixture):
                        await opened.server.drop(name)
        except (LostError, TimeoutError) as error:
            log.warning("throw-away databases are left to the next service", reason=str(error))
        await opened.server.close()
        if opened.embedded is not None:
            try:
                await asyncio.to_thread(opened.embedded.stop)
            except EmbeddedPostgresError as error:
                log.error("the server for throw-away databases did not stop", reason=str(error))

    # one run

    async def _run(self, setup: str, sql: str, contents: bool, limits: RunLimits, deadline: float) -> DatabaseRun:
        try:
            opened = await self._open()
            await self._slots.acquire()
            return await self._in_copy(opened, setup, sql, contents, limits, deadline)
        except LostError as error:
            log.warning("a run in a throw-away database is tried again", reason=str(error))
        # whatever it was that took the server away, it may have been a neighbour: now there is none
        try:
            async with self._alone_here():
                opened = await self._recovered()
                await self._slots.acquire()
                return await self._in_copy(opened, setup, sql, contents, limits, deadline)
        except CrowdedError:
            return DatabaseRun(RunFault.MEMORY)
        except LostError as error:
            raise DatabaseUnavailableError(str(error)) from None

    @asynccontextmanager
    async def _alone_here(self) -> AsyncIterator[None]:
        """Nobody else in this process runs anything; one slot is free."""
        held = 0
        async with self._alone:
            try:
                for _ in range(self._databases):
                    await self._slots.acquire()
                    held += 1
                self._slots.release()
                held -= 1
                yield
            finally:
                for _ in range(held):
                    self._slots.release()

    async def _in_copy(
        self, opened: _Opened, setup: str, sql: str, contents: bool, limits: RunLimits, deadline: float
    ) -> DatabaseRun:
        """Run in a copy of the fixture. Takes over a slot, which is free again once the copy is dropped."""
        ending: asyncio.Task[None] | None = None
        try:
            async with self._fixture(opened, setup) as fixture:
                template = fixture.ready.result()
                place = fixture.unused.pop() if fixture.unused else opened.server.new_place("i")
                session: Session | None = None
                try:
                    if not place.mark:
                        await opened.server.make(place, template.name)
                    session = await opened.server.enter(place, limits)
                    return await session.run(sql, contents=contents, deadline=deadline)
                finally:
                    again = session is not None and session.over and not template.sequences
                    ending = self._later(self._end(opened, fixture if again else None, place))
        finally:
            if ending is None:
                self._slots.release()
            else:
                ending.add_done_callback(lambda _: self._slots.release())

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have work done that nobody has to wait for."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _end(self, opened: _Opened, fixture: _Fixture | None, place: Place) -> None:
        """Keep a copy for the next run of its fixture if nothing has changed in it, and drop it otherwise."""
        try:
            if fixture is not None and await opened.server.mark() == place.mark:
                fixture.unused.append(place)
                return
        except LostError:
            pass  # it is not known, so it goes
        await self._drop(opened, place.name)

    @staticmethod
    async def _drop(opened: _Opened, name: str) -> None:
        try:
            await opened.server.drop(name)
        except LostError as error:
            log.warning("a throw-away database is left behind", name=name, reason=str(error))

    # fixtures

    @asynccontextmanager
    async def _fixture(self, opened: _Opened, setup: str) -> AsyncIterator[_Fixture]:
        """A fixture that is ready, made where it is missing. Raises `FixtureError`."""
        key = hashlib.sha256(setup.encode()).digest()
        found = opened.fixtures.get(key)
        if found is None or _failed_for_another_reason(found.ready):
            found = _Fixture(asyncio.create_task(self._make_fixture(opened.server, setup)))
            opened.fixtures[key] = found
        opened.fixtures.move_to_end(key)
        found.users += 1
        try:
            await asyncio.shield(found.ready)
            yield found
        finally:
            found.users -= 1
            self._forget_old(opened)

    def _forget_old(self, opened: _Opened) -> None:
        for key, fixture in list(opened.fixtures.items()):
            if len(opened.fixtures) <= MAX_FIXTURES:
                return
            if not fixture.users and fixture.ready.done():
                del opened.fixtures[key]
                self._later(self._forget(opened, fixture))

    async def _forget(self, opened: _Opened, fixture: _Fixture) -> None:
        for name in await _names(fixture):
            await self._drop(opened, name)

    async def _make_fixture(self, server: Server, setup: str) -> Template:
        if not setup.strip():
            return Template(BASE, sequences=False)
        place = server.new_place("f")
        limits = RunLimits(SETUP_CPU_S, SETUP_BYTES, SETUP_BYTES, 0)
        try:
            await server.make(place, BASE)
            session = await server.enter(place, limits)
            run = await session.run(setup, contents=False, deadline=float("inf"))
            if run.fault is not None:
                raise FixtureError(run.message or _FIXTURE_FAULTS.get(run.fault, str(run.fault)))
            return await server.seal(place)
        except BaseException:
            await server.drop(place.name)
            raise

    # the server

    async def _open(self) -> _Opened:
        """The server, started if need be. Raises `DatabaseUnavailableError`."""
        if self._opening is None:
            until, reason = self._refused
            if time.monotonic() < until:
                raise DatabaseUnavailableError(reason)
            self._opening = asyncio.create_task(self._start())
        opening = self._opening
        try:
            return await asyncio.shield(opening)
        except (UnusableError, LostError, EmbeddedPostgresError) as error:
            reason = str(error)
            if self._opening is opening:
                self._opening = None
                self._refused = (time.monotonic() + AGAIN_S, reason)
                log.error("no throw-away databases", reason=reason)
            raise DatabaseUnavailableError(reason) from None

    async def _start(self) -> _Opened:
        try:
            forbidden = await self._storage_identifier()
        except Problem as problem:
            raise LostError(problem.detail) from None
        own: EmbeddedPostgres | None = None
        if self._url is None:
            own = await asyncio.to_thread(embedded.start, self._home, self._process_mb)
            server = Server(Address(str(own.socket_dir), PORT), embedded.ADMIN, None, embedded=True)
        else:
            server = server_of(self._url)
        try:
            return _Opened(await server.open(self._databases, forbidden), own)
        except BaseException:
            if own is not None:
                await asyncio.to_thread(own.stop)
            raise

    async def _recovered(self) -> _Opened:
        """The server, once it answers again. Raises `LostError`, `DatabaseUnavailableError`."""
        give_up = time.monotonic() + RECOVER_S
        while True:
            opened = await self._open()
            try:
                if opened.embedded is not None:
                    await asyncio.to_thread(opened.embedded.ensure_running)
                await opened.server.answer()
            except (LostError, EmbeddedPostgresError) as error:
                if time.monotonic() > give_up:
                    raise LostError(str(error)) from None
                await asyncio.sleep(0.2)
            else:
                return opened


def server_of(url: str) -> Server:
    """The operator's server. Raises `UnusableError` where the URL cannot be used."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("postgresql", "postgres") or not parsed.username:
        raise UnusableError(
            "ASSAY_SCRATCH_DATABASE_URL cannot be used; write it as postgresql://user:password@host/postgres"
        )
    query = {name: value for name, value in parsed.query.items() if isinstance(value, str)}
    host = query.get("host") or parsed.host or "127.0.0.1"
    context: ssl.SSLContext | None = None
    if query.get("sslmode") in ("require", "verify-ca", "verify-full"):
        context = ssl.create_default_context()
        if query["sslmode"] != "verify-full":
            context.check_hostname = False
        if query["sslmode"] == "require":
            context.verify_mode = ssl.CERT_NONE
    address = Address(host, int(query.get("port") or parsed.port or PORT), context)
    return Server(address, parsed.username, parsed.password, embedded=False)


async def _names(fixture: _Fixture) -> list[str]:
    """The databases that are dropped with a fixture."""
    [template] = await asyncio.gather(fixture.ready, return_exceptions=True)
    names = [place.name for place in fixture.unused]
    if isinstance(template, Template) and template.name != BASE:
        names.append(template.name)
    return names


def _failed_for_another_reason(ready: asyncio.Task[Template]) -> bool:
    """Whether a fixture could not be made, and another try may do it."""
    if not ready.done():
        return False
    return ready.cancelled() or not isinstance(ready.exception(), FixtureError | None)


def _loop_time(deadline: float) -> float:
    return asyncio.get_running_loop().time() + deadline - time.monotonic()


_FIXTURE_FAULTS = {
    RunFault.CPU: f"it takes more than {SETUP_CPU_S:g} s",
    RunFault.WALL: f"it takes more than {4 * SETUP_CPU_S:g} s by the clock",
    RunFault.DISK: "it takes too much of the disk",
    RunFault.MEMORY: "it takes too much memory",
    RunFault.OUTPUT: "it returns too much",
}
