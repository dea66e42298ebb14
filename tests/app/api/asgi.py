"""The application in this process, without a database: for what a live service cannot be made to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import FastAPI

from app.auth import Principal
from app.cache import VerdictCache
from app.engine import Engine
from app.errors import Problem
from app.idempotency import ScoreFlights
from app.main import create_app
from app.merging import Merger
from app.recorder import Recorder
from app.registry import Registry, Resolved, compile_config
from app.sandbox_watch import SandboxWatch
from app.services import Services
from app.settings import Settings
from app.store.ids import uuid7
from app.store.projects import Project
from app.store.writer import Batch
from sandbox.pool import SandboxPool
from tests.app.fake_sandbox import FakePool
from tests.service import Answer
from verifiers.base import Guard, load_kinds

PROJECT = Project(uuid7(), "one", "full", None, datetime.now(UTC))
KEYS: Mapping[str, frozenset[str]] = {
    "scores": frozenset({"score"}),
    "reads": frozenset({"read"}),
    "admin": frozenset({"score", "register", "read", "admin"}),
}
"""Keys, and what they may do."""


class Keys:
    """Knows the keys above."""

    async def principal(self, header: str | None) -> Principal:
        key = (header or "").removeprefix("Bearer ")
        if key not in KEYS:
            raise Problem("unauthorized", "no such key")
        return Principal(uuid7(), PROJECT, KEYS[key])


class InProcess:
    """An application whose services are the test's own."""

    def __init__(self, pool: FakePool, engine: Any = None, **settings: Any) -> None:
        self.pool = pool
        self.engine = engine or SimpleNamespace(unavailable={})
        self.app: FastAPI = create_app(Settings(_env_file=None, **settings))
        sandbox = cast(SandboxPool, pool)
        self.app.state.services = Services(
            Settings(_env_file=None, **settings),
            cast(Any, SimpleNamespace(reachable=self._reachable)),
            cast(Any, Keys()),
            cast(Any, None),
            cast(Any, None),
            sandbox,
            SandboxWatch(sandbox),
            cast(Engine, self.engine),
            cast(Any, None),
            ScoreFlights(),
            Merger(cast(Engine, self.engine)),
        )

    @staticmethod
    async def _reachable() -> bool:
        return True

    async def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        key: str | None = "admin",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request; `body` is bytes as they are, or a value to send as JSON. `key` None sends none."""
        parts = urlsplit(url)
        sent = {"content-type": "application/json", **(headers or {})}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        messages: list[Any] = []
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        found = {name.decode().lower(): value.decode() for name, value in messages[0]["headers"]}
        return Answer(messages[0]["status"], found, b"".join(message.get("body", b"") for message in messages[1:]))

    async def get(self, url: str, **options: Any) -> Answer:
        return await self.request("GET", url, **options)

    async def post(self, url: str, body: Any = None, **options: Any) -> Answer:
        return await self.request("POST", url, body, **options)


class Ledger:
    """Records batches in memory."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    async def record(self, batch: Batch) -> None:
        self.batches.append(batch)


class Inlines:
    """Knows no names, and every configuration that a request sends."""

    async def inline(self, _: UUID, kind: str, config: Any) -> Resolved:
        verifier = compile_config(kind, config, at="/verifier").verifier
        return Resolved(uuid7(), f"{kind}@inline", kind, verifier.revision, verifier, caches=False)


def scoring(pool: FakePool, **settings: Any) -> tuple[InProcess, Ledger]:
    """An application with the engine as it is, on that pool; and what it records."""
    load_kinds()
    ledger = Ledger()
    engine = Engine(
        cast(Registry, Inlines()), cast(Recorder, ledger), cast(Guard, None), VerdictCache(0), cast(SandboxPool, pool)
    )
    return InProcess(pool, engine, **settings), ledger
