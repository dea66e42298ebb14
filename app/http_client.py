"""A client of a running service, for the command line: one call, its answer or the reason why there is none."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

CONNECT_S = 10.0
READ_S = 660.0
"""Longest silence of the service within an answer: the longest deadline of /score, and a minute to record."""
PATIENCE_S = 120.0
"""How long a request that the service cannot take now is sent again."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 10.0
PAGE = 1000


class ServiceError(Exception):
    """A call that brought no answer; the message says why and what to do."""

    retryable = False


class UnreachableError(ServiceError):
    """Nothing answers, or the connection was lost before the answer."""

    retryable = True


class RefusedError(ServiceError):
    """The service refused: `status`, and the message made of its problem+json."""

    def __init__(self, status: int, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: its status and its JSON value."""

    status: int
    value: Any


class Client:
    """Calls one service with one key. Made by `connect`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """One request; `body` is JSON text. Raises `UnreachableError` or `RefusedError`."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        data = None if body is None else body.encode("ascii")
        try:
            async with self._session.request(
                method, self._url + path, params=params, data=data, headers=headers
            ) as response:
                content = await response.read()
        except aiohttp.InvalidURL:
            raise ServiceError(f"{self._url!r} is not the URL of a service; it looks like http://host:8000") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from None
        if response.status >= 400:
            raise self._refused(response.status, content)
        try:
            return Answer(response.status, json.loads(content))
        except ValueError:
            raise RefusedError(response.status, self._not_ours(response.status), retryable=False) from None

    async def post_once(
        self, path: str, body: str, idempotency_key: str, on_retry: Callable[[ServiceError], None]
    ) -> Any:
        """POST until it is answered: what the service records under the key, it records once.

        Sent again, with growing pauses, where the connection is lost or the service answers 503; `on_retry` hears
        why. Raises `ServiceError` after `PATIENCE_S` seconds of that, or at once on any other refusal.
        """
        give_up, pause = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S
        while True:
            try:
                return (await self.call("POST", path, body=body, idempotency_key=idempotency_key)).value
            except ServiceError as error:
                if not error.retryable or time.monotonic() > give_up:
                    raise
                on_retry(error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
            pause = min(2 * pause, LAST_PAUSE_S)

    async def pages(
        self, path: str, limit: int | None = None, cursor: str | None = None, **filters: str
    ) -> AsyncIterator[Any]:
        """The items of a list, from a cursor on and up to `limit`, over as many pages as that takes."""
        left = limit
        while left is None or left > 0:
            params = {"limit": str(PAGE if left is None else min(left, PAGE)), **filters}
            if cursor is not None:
                params["cursor"] = cursor
            page = (await self.call("GET", path, params=params)).value
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return
            if left is not None:
                left -= len(page["items"])

    def _unreachable(self, error: Exception) -> UnreachableError:
        if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
            number = error.os_error.errno
            why = os.strerror(number) if number is not None and number > 0 else error.os_error.strerror
            return UnreachableError(
                f"nothing answers at {self._url} ({why}): start the service with 'assay serve', "
                "or name it with --url or ASSAY_URL"
            )
        return UnreachableError(f"no answer from {self._url} ({str(error) or type(error).__name__})")

    def _refused(self, status: int, content: bytes) -> RefusedError:
        try:
            problem = json.loads(content)
            message = f"{problem['title']}: {problem['detail']}"
        except (ValueError, KeyError, TypeError):
            # a gateway's 502, 503 or 504 says that the service behind it is away
            return RefusedError(status, self._not_ours(status), retryable=status in (502, 503, 504))
        pointer = problem.get("pointer")
        if pointer and pointer not in problem["detail"]:
            message += f" (at {pointer})"
        if status == 401:
            message += "; check --key or ASSAY_API_KEY"
        return RefusedError(status, message, retryable=status == 503)

    def _not_ours(self, status: int) -> str:
        return f"{self._url} answered {status}, and not as Assay does: check --url or ASSAY_URL"


@asynccontextmanager
async def connect(url: str, key: str) -> AsyncIterator[Client]:
    """A client of the service at `url` (http or https, with an optional path) that sends `key`."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S)
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "assay-cli"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        yield Client(session, url.rstrip("/"))
