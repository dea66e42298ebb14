"""What the tests of the API share: a project of one's own, the shape of a problem, the service's database."""

from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import PROBLEMS, TYPE_PREFIX
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres
from app.store.embedded.account import server_account
from app.store.embedded.folders import find_base
from app.store.embedded.postmaster import Postmaster, processes, read_postmaster
from tests.service import Answer, Service

CONTAINS = {"kind": "text", "config": {"mode": "contains"}}
"""Sent inline: correct where the reference occurs in the completion."""


@dataclass(frozen=True)
class Project:
    """A project of a test's own: requests go out with its admin key, unless another is given."""

    service: Service
    key: str

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        options.setdefault("key", self.key)
        return self.service.request(method, path, body, **options)

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.request("POST", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.request("DELETE", path, **options)

    def score(self, verifier: Any, *items: Any, **fields: Any) -> Any:
        """The JSON answer of /score, which must be a 200."""
        return ok(self.post("/score", {"verifier": verifier, "items": list(items), **fields}))

    def new_key(self, *scopes: str) -> str:
        """A further key of this project."""
        made = ok(self.post("/keys", {"name": "further", "scopes": list(scopes)}), 201)
        return str(made["key"])

    def scores(self, **parameters: Any) -> list[dict[str, Any]]:
        """Every recorded verdict that the parameters select, newest first."""
        return list(self.pages("/scores", **parameters))

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The items of every page of a list."""
        parameters.setdefault("limit", 1000)
        while True:
            page = ok(self.get(f"{path}?{urlencode(parameters)}"))
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            parameters["cursor"] = page["next_cursor"]


def new_project(service: Service, **policy: Any) -> Project:
    """A project with a name of its own."""
    made = ok(service.post("/projects", {"name": unique("project"), **policy}), 201)
    return Project(service, made["key"]["key"])


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def ok(answer: Answer, status: int = 200) -> Any:
    """The answer's JSON; fails with the body where the status is another."""
    assert answer.status == status, f"{answer.status}: {answer.body[:2000]!r}"
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def problem(answer: Answer, status: int, name: str, pointer: str | None = None) -> Any:
    """The answer's problem+json, which must be the one that is named; `pointer` None: not looked at."""
    assert answer.status == status, f"{answer.status}: {answer.body[:2000]!r}"
    body = is_problem(answer)
    assert body["type"] == TYPE_PREFIX + name, body
    assert status == PROBLEMS[name].status
    if pointer is not None:
        assert body.get("pointer") == pointer, body
    return body


def is_problem(answer: Answer) -> Any:
    """The answer's problem+json, whichever: RFC 9457 members, one of the documented types, a bounded sentence."""
    assert answer.headers["content-type"] == "application/problem+json", answer
    body = answer.json()
    assert body["type"].removeprefix(TYPE_PREFIX) in PROBLEMS
    assert body["title"] == PROBLEMS[body["type"].removeprefix(TYPE_PREFIX)].title
    assert body["status"] == answer.status
    assert 0 < len(body["detail"]) < 1000
    assert len(answer.body) < 100_000
    if answer.status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    if answer.status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
    return body


def raw(service: Service, request: bytes, *, finish: bool = True) -> bytes:
    """What the service sends back to these bytes until it closes; `finish` False: the caller hangs up at once."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while finish and (chunk := connection.recv(65536)):
            received += chunk
        return received


def chunked(project: Project, pieces: Iterable[bytes], **headers: str) -> Answer:
    """POST /score in chunks, so that no length announces how much will come."""
    connection = HTTPConnection("127.0.0.1", project.service.port, timeout=60)
    sent = {"Authorization": f"Bearer {project.key}", "Transfer-Encoding": "chunked", **headers}
    try:
        connection.request("POST", "/score", pieces, sent, encode_chunked=True)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def _data(service: Service) -> Path:
    return find_base(service.home.resolve(), server_account()) / "data"


def postmaster(service: Service) -> Postmaster:
    """The embedded PostgreSQL that the service runs."""
    found = read_postmaster(_data(service))
    assert found is not None
    return found


def postgres_processes(service: Service) -> list[int]:
    """The pids of all its processes."""
    return processes(_data(service), server_account())


@asynccontextmanager
async def database_of(service: Service) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database behind the service, with the service's own rights."""
    connection = await asyncpg.connect(
        host=str(postmaster(service).socket_folder), user=EmbeddedPostgres.user, database=EmbeddedPostgres.database
    )
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def open_database(service: Service) -> AsyncIterator[AsyncConnection]:
    """A transaction in the same database, as the service's own code takes it."""
    folder = quote(str(postmaster(service).socket_folder))
    opened = Database(f"postgresql://{EmbeddedPostgres.user}@/{EmbeddedPostgres.database}?host={folder}", 1)
    try:
        async with opened.begin() as connection:
            yield connection
    finally:
        await opened.close()


async def rows_with(connection: asyncpg.Connection, needle: bytes) -> list[str]:
    """The tables that hold the bytes in any row, in any column's own representation.

    Rows go out as PostgreSQL's binary COPY format, in which text and bytea are their own bytes.
    """
    tables = await connection.fetch(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    )
    found = []
    for table in tables:
        dump = bytearray()

        async def keep(chunk: bytes, dump: bytearray = dump) -> None:
            dump.extend(chunk)

        query = f"SELECT * FROM {table['name']}"  # noqa: S608 - names from the catalogue, quoted there
        await connection.copy_from_query(query, output=keep, format="binary")
        if needle in dump:
            found.append(str(table["name"]))
    return found
