"""One HTTP request to the service, sent again until it is answered or its deadline passes.

What is sent again is byte for byte the same and carries the same `Idempotency-Key`, so that it is recorded once.
aiohttp is imported here and nowhere else; this module is imported when the first request is made.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import socket
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import pydantic_core

from trainer_client.errors import (
    AssayError,
    DeadlineError,
    NotAssayError,
    RefusedError,
    ServiceUnavailableError,
    closed,
    refusal,
)

T = TypeVar("T")

CONNECT_S = 10.0
MOST = 2**30
"""Bytes of an answer; a stream without end is none of Assay's, and would fill the memory."""
EXACT = float("inf")
"""Above this aiohttp rounds a time-out up to the next full second."""
LARGE = 2**20
"""Bytes of a body above which it is written in parts, between which others have their turn."""
KEEP_ALIVE_S = 4.0
"""Below the service's own 5 s, so that no request is sent on a connection that it is closing."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0
"""Bounds of the pause before a request is sent again; it is drawn from 0 to the bound ("full jitter":
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)."""

_random = random.SystemRandom()
"""Not seeded: processes forked from one another must not retry in step."""
_open: weakref.WeakSet[Transport] = weakref.WeakSet()


class _BrokenAnswerError(Exception):
    """A success whose body cannot be read."""


class _Connector(aiohttp.TCPConnector):
    """Connections that can be let go of where no event loop closes them: in a forked child, or when it has ended."""

    def __init__(self, limit: int) -> None:
        self._pid, self._made_in = os.getpid(), asyncio.get_running_loop()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        super().__init__(limit=limit, keepalive_timeout=KEEP_ALIVE_S, socket_factory=self._socket)

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        made = socket.socket(*address[:3])
        self._sockets.add(made)
        return made

    def cut(self) -> None:
        """End what is being sent: closing alone would wait until a peer that reads nothing has read it."""
        for each in list(self._sockets):
            with suppress(OSError):  # it is not connected
                each.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        """Close the descriptors, which the garbage collector of a large process would leave open for long."""
        if os.getpid() != self._pid or self._made_in.is_closed():
            for each in list(self._sockets):
                each.close()

    def __del__(self) -> None:  # type: ignore[override]
        if os.getpid() == self._pid and not self._made_in.is_closed():
            super().__del__()


class Transport:
    """The connections of one event loop to one service. Made inside that loop."""

    def __init__(self, url: str, api_key: str, connections: int) -> None:
        self._url = url
        self._proxy = _proxy(url)
        self._connector = _Connector(connections)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": "assay-trainer"},
        )
        self._calls: dict[asyncio.Task[Any], bool] = {}
        """The tasks that wait for an answer, and whether closing has ended their wait."""
        _open.add(self)

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        read: Callable[[Any], T],
        *,
        deadline: float,
        params: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> T:
        """`read` of the answer's JSON value; a value that `read` cannot take is a broken answer, and asked for again.

        `deadline` is in `time.monotonic()` seconds. Raises `AssayError`, also where the client is closed meanwhile.
        """
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        started, bound = time.monotonic(), FIRST_PAUSE_S
        with self._until_closed():
            while True:
                wait = 0.0
                try:
                    status, answered, content = await self._once(method, path, body, params, headers, deadline)
                    if status < 300:
                        return _read(content, read)
                    error: Exception = refusal(status, content, self._url)
                    if not isinstance(error, RefusedError) or not error.retried:
                        raise error
                    wait = _retry_after(answered)
                except (ValueError, aiohttp.ClientConnectorCertificateError) as failure:  # InvalidURL is a ValueError
                    raise NotAssayError(
                        f"{self._url} cannot be called: {failure}; check ASSAY_URL and ASSAY_API_KEY"
                    ) from None
                except (aiohttp.ClientError, TimeoutError, OSError, _BrokenAnswerError) as failure:
                    error = failure
                pause = wait + _random.uniform(0, bound)
                if time.monotonic() + pause >= deadline:
                    self._give_up(error, time.monotonic() - started)
                await asyncio.sleep(pause)
                bound = min(2 * bound, LAST_PAUSE_S)

    @contextmanager
    def _until_closed(self) -> Iterator[None]:
        """Closing ends the block of this task with `AssayError`; whoever cancels the task, by cancelling it."""
        task = cast(asyncio.Task[Any], asyncio.current_task())
        before = task.cancelling()
        self._calls[task] = False
        try:
            yield
        except asyncio.CancelledError:
            if self._calls[task] and task.cancelling() == before + 1:  # closing ended the call, and nobody the task
                raise closed() from None
            raise
        finally:
            if self._calls.pop(task):
                task.uncancel()

    async def _once(
        self,
        method: str,
        path: str,
        body: bytes | None,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
        deadline: float,
    ) -> tuple[int, Mapping[str, str], bytes]:
        left = max(deadline - time.monotonic(), 0.001)
        timeout = aiohttp.ClientTimeout(total=left, sock_connect=min(CONNECT_S, left), ceil_threshold=EXACT)
        async with self._session.request(
            method,
            self._url + path,
            data=io.BytesIO(body) if body is not None and len(body) > LARGE else body,
            params=params,
            headers=headers,
            timeout=timeout,
            proxy=self._proxy,
            allow_redirects=False,
        ) as response:
            content = await self._content(response)
            if 200 <= response.status < 300 and content and response.content_type != "application/json":
                raise _not_assay(self._url, f"with {response.content_type}")
            if 300 <= response.status < 400:
                raise _not_assay(self._url, f"with a redirection to {response.headers.get('Location', 'nowhere')}")
            return response.status, response.headers, content

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        parts, size = [], 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > MOST:
                raise _not_assay(self._url, f"with more than {MOST} bytes")
            parts.append(part)
        return b"".join(parts)

    def _give_up(self, error: Exception, seconds: float) -> NoReturn:
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
            raise DeadlineError(
                f"no answer from {self._url} within {seconds:.1f} s; raise deadline_s, or send less at once"
            ) from None
        if isinstance(error, aiohttp.ClientConnectorError):
            why = f"nothing answers at {self._url} ({error.os_error.strerror or error}); is it the right ASSAY_URL?"
        elif isinstance(error, RefusedError):
            why = str(error)
        else:
            why = f"the connection to {self._url} broke ({str(error) or type(error).__name__})"
        raise ServiceUnavailableError(f"tried for {seconds:.1f} s: {why}") from None

    async def close(self) -> None:
        """End what waits for an answer, and close the connections."""
        _open.discard(self)
        for task in self._calls:
            self._calls[task] = True
            task.cancel()
        self._connector.cut()
        await self._session.close()

    def detach(self) -> None:
        """Forget the connections without closing them in an event loop: it is another process's, or has ended."""
        self._session.detach()
        self._connector.let_go()


def _read(content: bytes, read: Callable[[Any], T]) -> T:
    try:
        return read(_value(content) if content else None)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _BrokenAnswerError(f"an answer that cannot be read: {error!r}"[:200]) from None


def _value(content: bytes) -> Any:
    """The value of a JSON text. Pydantic's parser is the quicker one, and refuses lone surrogates."""
    try:
        return pydantic_core.from_json(content, cache_strings="keys", allow_inf_nan=False)
    except ValueError:
        return json.loads(content, parse_constant=_no_number)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _not_assay(url: str, how: str) -> AssayError:
    return NotAssayError(f"{url} answered {how}, and not as Assay does; check ASSAY_URL or url")


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of the header Retry-After; 0 where there is none, or a date."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL; none for this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127.") or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def _leave_to_parent() -> None:
    for transport in list(_open):
        transport.detach()
    _open.clear()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_leave_to_parent)
