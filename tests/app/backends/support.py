"""HTTP servers on loopback that answer, or misbehave, as a test wants; and callers of them."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from app.backends.caller import Caller
from app.backends.config import BackendLimits
from app.backends.resolver import Lookup, system_lookup
from app.store.ids import uuid7

Handle = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]
OK: dict[str, Any] = {"items": [{"score": 1}]}


@dataclass(frozen=True)
class Asked:
    """A request as the server got it."""

    head: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A server and what it was asked."""

    port: int = 0
    requests: list[Asked] = field(default_factory=list)
    connections: int = 0

    def url(self, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}/verify"


@asynccontextmanager
async def serving(
    handle: Handle, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server whose `handle` writes whatever it likes; the connection is closed when it returns."""
    server = Server()
    tasks: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            size = next(
                (int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0
            )
            asked = Asked(head, await reader.readexactly(size))
            server.requests.append(asked)
            await handle(asked, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, host, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answer(value: Any = OK, status: int = 200, **headers: str) -> bytes:
    """A whole response; `value` is JSON, or bytes as they are."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {content}" for name, content in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answering(*responses: bytes) -> Handle:
    """Gives these responses in turn, and the last one for ever."""
    left = list(responses)

    async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return handle


@asynccontextmanager
async def calling(
    url: str,
    *,
    allow_private: bool = True,
    headers: Mapping[str, str] | None = None,
    lookup: Lookup = system_lookup,
    workers: int = 1,
    **limits: Any,
) -> AsyncIterator[Caller]:
    """A caller of the backend at `url`, whose name is `it`."""
    caller = Caller(
        uuid7(), "it", url, BackendLimits(**limits), headers or {},
        allow_private=allow_private, lookup=lookup, workers=workers,
    )  # fmt: skip
    try:
        yield caller
    finally:
        await caller.close()


async def post(caller: Caller, body: bytes = b"{}", seconds: float = 20.0) -> Any:
    """The answer to a request with so many seconds left."""
    return await caller.post(lambda: body, deadline=time.monotonic() + seconds)
