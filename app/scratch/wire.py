"""A session of a role that is not trusted: the simple query protocol of PostgreSQL, with every byte counted.

asyncpg reads a whole result, and a whole row of up to a gigabyte, before anybody can say that it is too much; it
prepares statements one by one, and it asks the server about types that it does not know. Here, text comes as the
server writes it, several statements go in one message, and whoever reads may stop (PostgreSQL 18, chapter 54,
"Frontend/Backend Protocol").
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Self

PROTOCOL = 196_608
CANCEL = 80_877_102
TLS = 80_877_103
CONNECT_S = 10.0
_BUFFER = 256 * 1024
_HEAD = struct.Struct("!cI")
_RAISE = "exec_stmt_raise"
"""The server's routine behind RAISE (PL/pgSQL), which statements cannot change, unlike the rest of their error."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a folder with its socket, or a host; and how TLS is spoken, if it is."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that nothing has been said on. Raises OSError."""
        if self.host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self.host}/.s.PGSQL.{self.port}", limit=_BUFFER)
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=_BUFFER)
        if self.tls is not None:
            writer.write(struct.pack("!II", 8, TLS))
            if await reader.readexactly(1) != b"S":
                writer.close()
                raise ConnectionRefusedError("the server speaks no TLS")
            await writer.start_tls(self.tls, server_hostname=self.host)
        return reader, writer


class ServerError(Exception):
    """An error that the server reports: its severity, SQLSTATE and message."""

    def __init__(self, severity: str, code: str, message: str, routine: str = "") -> None:
        super().__init__(message)
        self.severity = severity
        self.code = code
        self.message = message
        self.raised = routine == _RAISE
        """Whether statements raised it themselves, with whatever SQLSTATE and message they please."""

    @property
    def fatal(self) -> bool:
        """Whether it ends the session."""
        return self.severity in ("FATAL", "PANIC")


class TooMuchError(Exception):
    """The server sends more than may be read."""


class Connection:
    """One session. Not for use by several tasks at once, but for `cancel`."""

    def __init__(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._address = address
        self._reader = reader
        self._writer = writer
        self._key = b""
        self.pid = 0
        """Of the process that serves it, on the server's host."""
        self.left = 2**20
        """Bytes that may still be read."""
        self.idle = False
        """Whether the last statements ended, and left no transaction open."""

    @classmethod
    async def open(
        cls, address: Address, *, user: str, password: str, database: str, settings: Mapping[str, str]
    ) -> Self:
        """Log in. Raises `ServerError`, OSError (of which TimeoutError is one), EOFError."""
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await address.connect()
            connection = cls(address, reader, writer)
            try:
                await connection._log_in(password, {"user": user, "database": database, **settings})
            except BaseException:
                connection.abort()
                raise
            return connection

    async def _log_in(self, password: str, parameters: Mapping[str, str]) -> None:
        told = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items())
        self._writer.write(struct.pack("!II", len(told) + 9, PROTOCOL) + told + b"\0")
        scram = Scram(password)
        while True:
            kind, body = await self._read()
            if kind == b"E":
                raise error_of(body)
            if kind == b"K":
                self.pid, self._key = struct.unpack("!I", body[:4])[0], body[4:]
            elif kind == b"Z":
                return
            elif kind == b"R":
                answer = scram.answer(struct.unpack("!I", body[:4])[0], body[4:])
                if answer is not None:
                    self._send(b"p", answer)

    async def messages(self, sql: str) -> AsyncIterator[tuple[bytes, bytes]]:
        """Send statements, and give each message that comes, until the server is ready for more.

        What it copies to us is given like anything else, and it is told that there is nothing to copy from us. Raises
        `TooMuchError`, EOFError, OSError; then the session is of no more use.
        """
        self.idle = False
        self._send(b"Q", sql.encode() + b"\0")
        while True:
            kind, body = await self._read()
            if kind == b"Z":
                self.idle = body == b"I"
                return
            if kind in (b"G", b"W"):
                self._send(b"f", b"there is nothing to copy from\0")
            yield kind, body

    async def cancel(self) -> None:
        """Ask the server to end what it does. It may not, and does not say. Raises OSError."""
        async with asyncio.timeout(CONNECT_S):
            _, writer = await self._address.connect()
            try:
                content = struct.pack("!II", CANCEL, self.pid) + self._key
                writer.write(struct.pack("!I", len(content) + 4) + content)
                await writer.drain()
            finally:
                writer.close()

    def close(self) -> None:
        """Say goodbye."""
        if not self._writer.is_closing():
            self._send(b"X", b"")
            self._writer.close()

    def abort(self) -> None:
        """Close at once, whatever is on its way."""
        self._writer.transport.abort()

    def _send(self, kind: bytes, body: bytes) -> None:
        self._writer.write(_HEAD.pack(kind, len(body) + 4) + body)

    async def _read(self) -> tuple[bytes, bytes]:
        kind, size = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
        self.left -= size
        if self.left < 0 or size < 4:
            raise TooMuchError
        return kind, await self._reader.readexactly(size - 4)


def error_of(body: bytes) -> ServerError:
    """The contents of an ErrorResponse message."""
    fields = {field[:1]: field[1:].decode("utf-8", "replace") for field in body.rstrip(b"\0").split(b"\0") if field}
    return ServerError(fields.get(b"V", "ERROR"), fields.get(b"C", ""), fields.get(b"M", ""), fields.get(b"R", ""))


class Scram:
    """The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding."""

    def __init__(self, password: str) -> None:
        self._password = password
        self._first = f"n=,r={secrets.token_urlsafe(18)}"
        self._signature = b""

    def answer(self, step: int, body: bytes) -> bytes | None:
        """What to send to a request for authentication; None where nothing is expected. Raises `ServerError`."""
        if step == 0:  # AuthenticationOk
            return None
        if step == 10 and b"SCRAM-SHA-256" in body.split(b"\0"):
            first = b"n,," + self._first.encode()
            return b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first
        if step == 11:
            return self._final(body.decode())
        if step == 12 and hmac.compare_digest(body, b"v=" + base64.b64encode(self._signature)):
            return None
        raise ServerError("FATAL", "28000", "the server asks for no password by SCRAM-SHA-256, or does not know it")

    def _final(self, said: str) -> bytes:
        fields = dict(part.split("=", 1) for part in said.split(","))
        ours = self._first.removeprefix("n=,r=")
        if not fields["r"].startswith(ours) or fields["r"] == ours:
            raise ServerError("FATAL", "28000", "the server answers another client")
        salted = hashlib.pbkdf2_hmac(
            "sha256", self._password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
        )
        without_proof = f"c=biws,r={fields['r']}"
        signed = f"{self._first},{said},{without_proof}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()
