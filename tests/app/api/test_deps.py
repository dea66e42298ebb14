"""How long a request's bytes count as in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Request
from pydantic import BaseModel

from app.api.deps import Received, header
from app.errors import Problem


class Words(BaseModel):
    words: list[str]


def request_of(body: bytes, services: Any) -> Request:
    async def stream() -> AsyncIterator[bytes]:
        yield body

    app = SimpleNamespace(state=SimpleNamespace(services=services))
    return cast(Request, SimpleNamespace(app=app, scope={"headers": []}, stream=stream))


@pytest.fixture
def services() -> Any:
    """Services that hold one MiB of bodies."""
    return SimpleNamespace(body_bytes=0, settings=SimpleNamespace(in_flight_mb=1))


BODY = b'{"words":["a"]}'


async def test_bytes_are_in_flight_while_the_request_is(services: Any) -> None:
    async with Received(request_of(BODY, services), Words) as body:
        assert body.value.words == ["a"]
        assert services.body_bytes == len(BODY)
    assert services.body_bytes == 0


async def test_bytes_of_what_goes_on_after_the_answer_stay_in_flight_until_it_is_done(services: Any) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    received = Received(request_of(BODY + b" " * 2**19, services), Words)
    async with received:
        received.hold_until(done)
    assert services.body_bytes > 2**19
    with pytest.raises(Problem, match="too many bytes"):
        async with Received(request_of(BODY + b" " * 2**19, services), Words):
            pass
    done.set_result(None)
    await asyncio.sleep(0)
    assert services.body_bytes == 0


async def test_what_was_done_before_the_answer_holds_nothing(services: Any) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    received = Received(request_of(BODY, services), Words)
    async with received:
        received.hold_until(done)
    await asyncio.sleep(0)
    assert services.body_bytes == 0


def test_of_several_headers_the_first_counts() -> None:
    headers = [(b"host", b"h"), (b"authorization", b"Bearer \xe9"), (b"authorization", b"Bearer b")]
    request = Request({"type": "http", "headers": headers})
    assert header(request, b"authorization") == request.headers.get("authorization") == "Bearer \xe9"
    assert header(request, b"idempotency-key") is None


async def test_a_refused_body_holds_nothing(services: Any) -> None:
    with pytest.raises(Problem):
        async with Received(request_of(b'{"words":3}', services), Words):
            pass
    assert services.body_bytes == 0
