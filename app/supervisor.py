"""`assay serve`: starts the database, brings it up to date, runs the API processes, and stops it all again.

Only this process starts the embedded PostgreSQL; the API processes are told where it is.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import structlog
import uvicorn
from pydantic import SecretStr
from uvicorn.supervisors import Multiprocess

from app.auth import ENVIRONMENT_KEY_NAME, FIRST_KEY_NAME, SCOPES, digest, new_secret
from app.first_score import show_first_score
from app.logs import configure
from app.main import create_app
from app.registry import register_builtins
from app.settings import Settings
from app.store import keys, projects
from app.store.database import Database, migrate
from app.store.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.store.faults import is_denied
from app.store.scores import ensure_partitions
from app.store.tables import BUILTIN_PROJECT, DEFAULT_PROJECT
from verifiers.base import load_kinds

log = structlog.get_logger()

BACKLOG = 2048
"""Connections that wait to be accepted."""
ACCEPTS = 8
"""Connections accepted in one turn of the event loop."""
WATCH_S = 1.0
"""How often the embedded database is looked at."""
EMBEDDED_CONNECTIONS = 20
"""Most connections that one service takes of the embedded database's, which two services may share."""
DATABASE_WAIT_S = 60.0
"""How long the service waits at start for a database that does not answer yet."""


class StartError(Exception):
    """The service cannot start; the message says what to do."""


def serve(settings: Settings) -> None:
    """Run until a signal ends it. Raises `StartError`."""
    configure(settings)
    listener = _listen(settings)
    try:
        with _database(settings) as url:
            ready = settings.model_copy(update={"database_url": SecretStr(url)})
            if settings.database_url is None and settings.database_connections > EMBEDDED_CONNECTIONS:
                log.warning("the embedded database takes fewer connections", used=EMBEDDED_CONNECTIONS)
                ready = ready.model_copy(update={"database_connections": EMBEDDED_CONNECTIONS})
            secret = asyncio.run(prepare(ready))
            threading.Thread(target=show_first_score, args=(ready, secret), name="first score", daemon=True).start()
            _serve(ready, listener)
    except EmbeddedPostgresError as error:
        raise StartError(str(error)) from error
    finally:
        listener.close()


def _serve(settings: Settings, listener: socket.socket) -> None:
    # what the API processes are told beyond the environment that they share
    os.environ["ASSAY_DATABASE_URL"] = settings.database_url.get_secret_value() if settings.database_url else ""
    os.environ["ASSAY_DATABASE_CONNECTIONS"] = str(settings.database_connections)
    options = {
        "loop": "uvloop",
        "http": "httptools",
        "lifespan": "on",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": 35,  # more than the default deadline of a request
        "timeout_keep_alive": 75,
        "timeout_worker_healthcheck": 30,  # a process that waits for a busy host is not hung
    }
    if settings.workers == 1:
        uvicorn.Server(uvicorn.Config(create_app(settings), **options)).run(sockets=_several(listener))  # type: ignore[arg-type]
        return
    with tempfile.TemporaryDirectory(prefix="assay-metrics-") as metrics:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        config = uvicorn.Config("app.main:create_app", factory=True, workers=settings.workers, **options)  # type: ignore[arg-type]
        Multiprocess(config, sockets=_several(listener)).run()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)  # two services can bind one port at once, but not listen on it
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "set ASSAY_PORT or ASSAY_HOST, or stop what listens there"
        ) from None
    listener.set_inheritable(True)
    return listener


def _several(listener: socket.socket) -> list[socket.socket]:
    """The listener under several descriptors: uvloop accepts one connection of each in a turn of its loop.

    With one, a flood of fresh connections takes a turn each, and their items meet in small batches only.
    """
    return [listener, *(listener.dup() for _ in range(ACCEPTS - 1))]


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """The URL of the database to use; an embedded one is started, watched, and released at the end."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    server = EmbeddedPostgres.start(settings.home)
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(server, done), name="database watch", daemon=True)
    watch.start()
    try:
        yield server.dsn
    finally:
        done.set()
        watch.join()
        server.stop()


def _watch(server: EmbeddedPostgres, done: threading.Event) -> None:
    """Bring the embedded database back if it dies."""
    while not done.wait(WATCH_S):
        try:
            server.ensure_running()
        except EmbeddedPostgresError as error:
            log.error("the embedded database is down", reason=str(error))


async def prepare(settings: Settings) -> str | None:
    """Bring the database up to date: schema, partitions, built-in verifiers, first key.

    Returns the admin key where it is known: the one of the environment, or one just made.
    """
    if settings.database_url is None:
        raise StartError("no database")
    load_kinds()
    try:
        database = Database(settings.database_url.get_secret_value(), 1)
    except ValueError as error:
        raise StartError(str(error)) from error
    try:
        await _wait_for(database)
        await migrate(database)
        async with database.begin() as connection:
            await ensure_partitions(connection, datetime.now(UTC))
            await projects.ensure(connection, ".builtin", BUILTIN_PROJECT)
            project = await projects.ensure(connection, DEFAULT_PROJECT)
            await register_builtins(connection)
            if settings.api_key is not None:
                secret = settings.api_key.get_secret_value()
                if not await keys.replace_named(
                    connection, project.id, ENVIRONMENT_KEY_NAME, digest(secret), secret[-4:], SCOPES
                ):
                    raise StartError("ASSAY_API_KEY is a key of another project; choose another one")
                return secret
            if await keys.any_live(connection, project.id, "admin"):
                return None
            secret = new_secret()
            await keys.create(connection, project.id, FIRST_KEY_NAME, digest(secret), secret[-4:], SCOPES)
        sys.stdout.write(f"\nYour admin key, shown this once:\n\n    {secret}\n\n")
        sys.stdout.flush()
        return secret
    finally:
        await database.close()


async def _wait_for(database: Database) -> None:
    for attempt in range(int(DATABASE_WAIT_S)):
        try:
            if await database.reachable():
                return
        except Exception as error:
            if not is_denied(error):
                raise
            cause = str(getattr(error, "orig", error)).partition("\n")[0].rpartition(">: ")[2]
            raise StartError(f"the database at ASSAY_DATABASE_URL does not let us in: {cause}") from error
        if attempt == 0:
            log.warning("waiting for the database")
        await asyncio.sleep(1)
    raise StartError("the database at ASSAY_DATABASE_URL does not answer; check the URL, and that it runs")
