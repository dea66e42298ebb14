"""Fixtures that every test may use: a live service, and a database of one's own."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings

from app.store.database import Database, migrate
from app.store.embedded import EmbeddedPostgres
from tests.sandbox.live import LiveSandbox
from tests.service import Service

DATA = Path(__file__).parent.parent.parent / "shared" / "data"

# how long an example takes says more about the machine than about the code
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the shared data where it is absent."""
    if DATA.is_dir():
        return
    absent = pytest.mark.skip(reason="the shared data folder is absent")
    for item in items:
        if "data" in item.keywords:
            item.add_marker(absent)


@pytest.fixture(scope="session")
def homes() -> Iterator[Path]:
    """A folder for homes of services. Unlike pytest's own, the database's user may pass through it."""
    with tempfile.TemporaryDirectory(prefix="assay-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def service(homes: Path) -> Iterator[Service]:
    """A live service that all tests share: leave it as you found it, and make projects of your own."""
    running = Service(homes / "service")
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def local_sandbox() -> Iterator[LiveSandbox]:
    """A sandbox of local cells that tests share; skips where this host allows none."""
    live = LiveSandbox("local")
    try:
        if live.unavailable:
            pytest.skip(f"no local sandbox: {live.unavailable}")
        yield live
    finally:
        live.close()


@pytest.fixture(scope="session")
def docker_sandbox() -> Iterator[LiveSandbox]:
    """A sandbox of Docker cells that tests share; skips where there is no engine, or no image."""
    live = LiveSandbox("docker")
    try:
        if live.unavailable:
            pytest.skip(f"no docker sandbox: {live.unavailable}")
        yield live
    finally:
        live.close()


@pytest.fixture(scope="session", params=["local", "docker"])
def sandbox(request: pytest.FixtureRequest) -> LiveSandbox:
    """Each backend in turn."""
    live: LiveSandbox = request.getfixturevalue(f"{request.param}_sandbox")
    return live


@pytest.fixture(scope="session")
def postgres(homes: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server that tests of the store share."""
    server = EmbeddedPostgres.start(homes / "postgres")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a new database without tables."""
    name = f"test_{uuid.uuid4().hex}"

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(
            host=str(postgres.socket_dir), user=postgres.user, database=postgres.database
        )
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run(f"CREATE DATABASE {name}"))
    yield f"postgresql://{postgres.user}@/{name}?host={postgres.socket_dir}"
    for attempt in range(50):  # autovacuum may be looking at it, and only a superuser may end that
        try:
            asyncio.run(run(f"DROP DATABASE {name} WITH (FORCE)"))
            break
        except asyncpg.PostgresError:
            if attempt == 49:
                raise
            time.sleep(0.1)


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    """A migrated database of the test's own."""
    opened = Database(empty_database_url, 4)
    await migrate(opened)
    yield opened
    await opened.close()
