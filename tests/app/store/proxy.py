"""A proxy before PostgreSQL that loses connections at chosen moments."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import make_url

SOCKET = ".s.PGSQL.5432"


class Proxy:
    """Passes connections on to PostgreSQL's Unix socket. `url` is the proxied database's."""

    def __init__(self, url: str, folder: Path) -> None:
        target = make_url(url)
        self.url = f"postgresql://{target.username}@/{target.database}?host={quote(str(folder))}"
        self.connections = 0
        """How many were opened so far."""
        self._target = f"{target.query['host']}/{SOCKET}"
        self._path = str(folder / SOCKET)
        self._server: asyncio.Server | None = None
        self._to_clients: set[asyncio.StreamWriter] = set()
        self._lose: tuple[bytes, int, str] | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._connected, self._path)

    async def stop(self) -> None:
        """Refuse connections, and lose those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.to_thread(Path(self._path).unlink)
        self.cut()

    def cut(self) -> None:
        """Lose the connections that are open."""
        for writer in self._to_clients:
            writer.transport.abort()

    async def announce_end(self) -> None:
        """Tell the clients that PostgreSQL stops, and end their connections a while later."""
        fields = b"".join(field + b"\0" for field in (b"SFATAL", b"VFATAL", b"C57P01", b"Mterminating"))
        message = b"E" + (len(fields) + 5).to_bytes(4, "big") + fields + b"\0"
        for writer in self._to_clients:
            writer.write(message)
        await asyncio.sleep(0.05)
        asyncio.get_running_loop().call_later(0.3, self.cut)

    def lose(self, message: bytes, *, nth: int = 1, at: str) -> None:
        """Lose the connection at the nth message of the client that holds `message`, once.

        `at` "request": PostgreSQL never sees it. "answer": it does what is asked, and the answer is lost. "late": as
        "answer", but PostgreSQL is asked only a while after the client has lost its connection.
        """
        self._lose = (message, nth, at)

    def _due(self, data: bytes) -> str | None:
        if self._lose is None or self._lose[0] not in data:
            return None
        message, nth, at = self._lose
        self._lose = (message, nth - 1, at) if nth > 1 else None
        return at if nth == 1 else None

    async def _connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self.connections += 1
        server, to_server = await asyncio.open_unix_connection(self._target)
        self._to_clients.add(to_client)
        answers = asyncio.create_task(self._pass_on(server, to_client))
        try:
            while data := await client.read(65536):
                due = self._due(data)
                if due == "request":
                    break
                if due is not None:
                    answers.cancel()
                    await asyncio.gather(answers, return_exceptions=True)
                    if due == "late":
                        to_client.transport.abort()
                        await asyncio.sleep(0.3)
                    to_server.write(data)
                    await server.read(65536)
                    break
                to_server.write(data)
                await to_server.drain()
        except OSError:
            return  # losing connections is what this is for
        finally:
            answers.cancel()
            self._to_clients.discard(to_client)
            to_client.transport.abort()
            to_server.transport.abort()

    @staticmethod
    async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """A running proxy before the database of `url`."""
    folder = Path(tempfile.mkdtemp(prefix="assay-proxy-"))  # a short path: a socket's name holds 107 bytes
    proxy = Proxy(url, folder)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
        await asyncio.sleep(0)
        shutil.rmtree(folder)
