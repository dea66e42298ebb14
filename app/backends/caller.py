"""Requests to one backend: bounded in number, time and size, tried again where that may help, and nowhere else."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import aiohttp
from yarl import URL

from app import metrics, wire
from app.backends.addresses import RefusedAddressError, require
from app.backends.breaker import Breaker
from app.backends.chat_errors import overflows
from app.backends.config import BackendLimits
from app.backends.rates import Rates, TooLateError
from app.backends.resolver import CheckedResolver, Lookup
from app.errors import Problem
from verifiers.base import ErrorType
from verifiers.lent import BackendError

FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0
"""Before a further try: the first pause, doubled each time up to the last."""
PATIENT = 0.5
"""Of `timeout_s`, what a try must have had to show that a backend is down: callers in haste, and requests whose turn
came late, would else close it to those with time."""
MAX_REFUSAL = 65_536
"""Bytes that are read of what a backend says with a status of 400 to 499."""
_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "assay",
}


class _PassingError(Exception):
    """A try that failed in a way that another may not. `pause_s` is what the backend asks for."""

    def __init__(self, message: str, *, down: bool, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.down = down
        """Whether it shows that the backend is down."""
        self.pause_s = pause_s


class RefusedError(BackendError):
    """The backend refused the request for good.

    By 400 to 499, but for 408 and 429, which may pass; by 501, for it does no such thing; by a 500 that is about too
    many tokens.
    """

    def __init__(self, message: str, status: int, content: Any) -> None:
        super().__init__(ErrorType.BACKEND_FAULT, message, retryable=False)
        self.status = status
        self.content = content
        """The JSON value that came with it; None where that is none. It may quote anything, a key too."""


class Caller:
    """Sends one backend's requests. Its messages never hold an address or a key."""

    def __init__(
        self,
        id: UUID,
        name: str,
        url: str,
        limits: BackendLimits,
        headers: Mapping[str, str],
        *,
        allow_private: bool,
        lookup: Lookup,
        workers: int,
    ) -> None:
        self.id = id
        self._name = name
        self._url = URL(url)
        self._places = {"": self._url}
        self._limits = limits
        self._turns = asyncio.Semaphore(max(1, limits.concurrency // workers))
        self._breaker = Breaker()
        self.rates = Rates(limits.requests_per_minute, limits.tokens_per_minute, workers)
        self.running = 0
        """Requests that wait or run."""

        def checked_socket(info: tuple[Any, ...]) -> socket.socket:
            """A socket for exactly this address, which is checked once more: a URL may hold it instead of a name."""
            family, type, protocol, _, address = info
            require(str(address[0]), allow_private=allow_private)
            return socket.socket(family, type, protocol)

        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(lookup, allow_private=allow_private),
            use_dns_cache=False,
            limit=0,  # `_turns` bounds them
            socket_factory=checked_socket,
            ssl=ssl.create_default_context() if self._url.scheme == "https" else True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={**_HEADERS, **headers},
            timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # `wire.read_body` does, within bounds
            trust_env=False,
        )

    async def close(self) -> None:
        """Break off what runs."""
        await self._session.close()
        connector = self._session.connector
        if connector is not None:
            await connector.close()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps it from being closed as idle."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def post(self, encode: Callable[[], bytes], *, deadline: float, tokens: int = 0, below: str = "") -> Any:
        """See `verifiers.lent.Backends.post`; raises `RefusedError` for what the backend refused.

        `encode` gives the body, when its turn has come: of a thousand that wait, none is held. `tokens` is what each
        try takes of the backend's tokens per minute. `below` is a path below the backend's URL.
        """
        with self.in_use():
            async with self._turn(deadline):
                return await self._tried(self.place(below), encode(), deadline, tokens)

    def place(self, below: str) -> URL:
        """The URL with a path added to it; its query is kept (`?api-version=...`)."""
        if below not in self._places:
            self._places[below] = self._url.joinpath(*below.split("/")).with_query(self._url.query)
        return self._places[below]

    @asynccontextmanager
    async def _turn(self, deadline: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._turns.acquire()
        except TimeoutError:
            raise self._unavailable("was busy until the deadline") from None
        try:
            yield
        finally:
            self._turns.release()

    async def _tried(self, url: URL, body: bytes, deadline: float, tokens: int) -> Any:
        """The answer, from one of several tries."""
        pause = FIRST_PAUSE_S
        for left in range(self._limits.retries, -1, -1):
            if not self._breaker.admit():
                metrics.BACKEND_REQUESTS.labels(self._name, "not_sent").inc()
                raise self._unavailable("has failed several times in a row, and is left alone for some seconds")
            try:
                await self.rates.admit(tokens, deadline)
            except TooLateError:
                raise self._unavailable(
                    "is at its limit of requests or tokens per minute until the deadline"
                ) from None
            try:
                answer = await self._observed(url, body, deadline)
            except _PassingError as error:
                wait = max(error.pause_s, pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
                if not left or time.monotonic() + wait >= deadline:
                    raise self._unavailable(str(error)) from None
            else:
                return answer
            await asyncio.sleep(wait)
            pause = min(2 * pause, LAST_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    async def _observed(self, url: URL, body: bytes, deadline: float) -> Any:
        """One try; the breaker and the metrics hear of it."""
        started = time.monotonic()
        outcome = "unavailable"
        try:
            answer = await self._once(url, body, deadline)
            outcome = "answered"
        except _PassingError as error:
            if error.down:
                self._breaker.failed()
            else:
                self._breaker.succeeded()
            raise
        except BackendError as error:
            if error.type is ErrorType.BACKEND_FAULT:
                self._breaker.succeeded()
                outcome = "fault"
            raise
        else:
            self._breaker.succeeded()
            return answer
        finally:
            metrics.BACKEND_REQUESTS.labels(self._name, outcome).inc()
            metrics.BACKEND_SECONDS.labels(self._name).observe(time.monotonic() - started)
            metrics.BACKEND_DOWN.labels(self._name).set(self._breaker.open)

    async def _once(self, url: URL, body: bytes, deadline: float) -> Any:
        started = time.monotonic()
        patience = min(self._limits.timeout_s, deadline - started)
        try:
            async with asyncio.timeout(max(0.0, patience)):
                async with self._session.post(url, data=body, allow_redirects=False) as response:
                    return await self._answer(response)
        except aiohttp.ServerTimeoutError:
            raise _PassingError("could not be connected to in time", down=True) from None
        except TimeoutError:
            if patience >= PATIENT * self._limits.timeout_s:
                self._breaker.failed()
            raise self._unavailable("did not answer in time") from None
        except aiohttp.ClientConnectorCertificateError:
            raise self._unavailable("has a TLS certificate that is not valid for it", retryable=False) from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, RefusedAddressError):
                message = f"has a {error.os_error}, which an operator must allow, or which no backend may have"
                raise self._unavailable(message, retryable=False) from None
            raise _PassingError("cannot be reached", down=True) from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            raise _PassingError("broke the connection off", down=True) from None
        except aiohttp.ClientError:
            raise self._fault("does not speak HTTP") from None

    async def _answer(self, response: aiohttp.ClientResponse) -> Any:
        status = response.status
        if status == 500 and overflows(content := await _refusal(response)):
            raise self._refused(status, content)
        if status in (408, 429) or (status >= 500 and status != 501):
            # 500 is about this request, and an answer; the others are about the server
            raise _PassingError(f"answered {status}", down=status > 500, pause_s=_asked_for(response))
        if 300 <= status < 400:
            raise self._fault(f"answered {status}; redirects are not followed")
        if status >= 400:
            raise self._refused(status, await _refusal(response))
        if not 200 <= status < 300:
            raise self._fault(f"answered {status}")
        try:
            return await _read(response, self._limits.answer_kb * 1024)
        except Problem as problem:
            if problem.name == "body-too-large":
                raise self._fault(f"answered more than {self._limits.answer_kb} KiB") from None
            if problem.name == "invalid-json":
                raise self._fault("answered what is no JSON of finite numbers") from None
            raise self._fault("answered in a content encoding that is unknown or damaged") from None

    def _unavailable(self, what: str, *, retryable: bool = True) -> BackendError:
        return BackendError(ErrorType.BACKEND_UNAVAILABLE, f"the backend {self._name} {what}", retryable=retryable)

    def _refused(self, status: int, content: Any) -> RefusedError:
        return RefusedError(f"the backend {self._name} answered {status}", status, content)

    def _fault(self, what: str) -> BackendError:
        return BackendError(ErrorType.BACKEND_FAULT, f"the backend {self._name} {what}", retryable=False)


async def _read(response: aiohttp.ClientResponse, limit: int) -> Any:
    """The JSON value of a response. Raises `Problem`."""
    return wire.decode(
        await wire.read_body(
            response.content.iter_any(),
            content_length=response.headers.get("Content-Length"),
            content_encoding=response.headers.get("Content-Encoding"),
            limit=limit,
        )
    )


async def _refusal(response: aiohttp.ClientResponse) -> Any:
    """What a backend says to a refusal, if it can be read: the status is an answer without it."""
    try:
        return await _read(response, MAX_REFUSAL)
    except (Problem, aiohttp.ClientError):
        return None


def _asked_for(response: aiohttp.ClientResponse) -> float:
    """The seconds of a Retry-After header; a date counts as nothing."""
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0.0
