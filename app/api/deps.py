"""What request handlers share: the services, the principal, the decoded body, a page of a list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NoReturn, TypeVar, cast

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import ClientDisconnect

from app import wire
from app.auth import Principal, Scope
from app.errors import Problem
from app.idempotency import Answer, request_key, request_sha256
from app.metrics import IN_FLIGHT_BYTES
from app.services import Services
from verifiers.base import explain, pointer

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])
M = TypeVar("M", bound=BaseModel)

MAX_PAGE = 1000
BODY_S = 60.0
"""How long a body may take to come; its bytes count as in flight meanwhile."""


def services(request: Request) -> Services:
    """The services of this process."""
    return cast(Services, request.app.state.services)


def header(request: Request, name: bytes) -> str | None:
    """The first header of that name, in small letters. `Request.headers` takes four times as long to find it."""
    for known, value in request.scope["headers"]:
        if known == name:
            text: str = value.decode("latin-1")
            return text
    return None


async def authorized(request: Request, scope: Scope) -> Principal:
    """Who is asking. Raises `Problem`: 401 without a valid key, 403 without the scope."""
    principal = await services(request).auth.principal(header(request, b"authorization"))
    principal.require(scope)
    return principal


class Received(Generic[M]):
    """A request's decoded and validated body, as a context: within it, its bytes count as in flight.

    Raises `Problem` on entry: 4xx for a body that cannot be accepted, 503 where too much is in flight.
    """

    def __init__(self, request: Request, model: type[M]) -> None:
        self._request = request
        self._model = model
        self._services = services(request)
        self._bytes = 0
        self._done: asyncio.Future[Any] | None = None

    async def __aenter__(self) -> Body[M]:
        request = self._request
        try:
            async with asyncio.timeout(BODY_S):
                raw = await wire.read_body(
                    request.stream(),
                    content_length=header(request, b"content-length"),
                    content_encoding=header(request, b"content-encoding"),
                    hold=self._hold,
                )
            key = request_key(header(request, b"idempotency-key"))
            sha256 = b"" if key is None else request_sha256(request.method, request.url.path, raw)
            return Body(validated(self._model, wire.decode(raw)), key, sha256)
        except BaseException as error:
            self._hold(-self._bytes)
            if isinstance(error, TimeoutError):
                raise Problem("body-too-slow", f"the body did not come within {BODY_S:.0f} seconds") from None
            if isinstance(error, ClientDisconnect):
                raise Problem("invalid-json", "the body ended before its end") from None
            raise

    async def __aexit__(self, *_: object) -> None:
        if self._done is None:
            self._hold(-self._bytes)
        else:
            self._done.add_done_callback(lambda _: self._hold(-self._bytes))

    def hold_until(self, done: asyncio.Future[Any]) -> None:
        """Its bytes count as in flight until then, though the request is answered before."""
        self._done = done

    def _hold(self, size: int) -> None:
        state = self._services
        if size > 0 and state.body_bytes + size > state.settings.in_flight_mb * 2**20:
            raise Problem("overloaded", "too many bytes of requests are in flight; send this one again")
        self._bytes += size
        state.body_bytes += size
        IN_FLIGHT_BYTES.set(state.body_bytes)


@dataclass(frozen=True, slots=True)
class Body(Generic[M]):
    """A body's value, and what `Idempotency-Key` needs of the request."""

    value: M
    key: str | None
    sha256: bytes
    """Of method, path and body; empty without a key."""


def takes(model: type[BaseModel]) -> Callable[[F], F]:
    """Declare what body a handler reads, for the OpenAPI document: `Received` is called by hand, for speed."""

    def declare(handler: F) -> F:
        handler.body_model = model  # type: ignore[attr-defined]
        return handler

    return declare


def unrecorded(handler: F) -> F:
    """Declare that a POST records nothing, so that it has nothing to repeat for an `Idempotency-Key`."""
    handler.unrecorded = True  # type: ignore[attr-defined]
    return handler


def validated(model: type[M], value: Any) -> M:
    """`value` as the model. Raises `Problem` (422) naming the first field at fault and what it should be."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        location, message = explain(error, value)
        where = pointer(location)
        raise Problem("invalid-body", f"{where or 'the body'}: {message}", pointer=where) from None


def json_response(body: str, status: int = 200) -> Response:
    """A response whose body is JSON text already."""
    return Response(body, status, media_type="application/json")


def problem_response(problem: Problem) -> Response:
    """The problem+json response."""
    return Response(
        wire.encode(problem.body()),
        problem.status,
        headers=dict(problem.headers()),
        media_type="application/problem+json",
    )


def answered(answer: Answer) -> Response:
    """The response of an idempotent answer."""
    return json_response(answer.body, answer.status)


Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most items of a page.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")]


class Page(BaseModel, Generic[T]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None = Field(None, description="Send it as `cursor` for the next page.")


def bad_cursor() -> NoReturn:
    raise Problem("invalid-parameter", "cursor: send next_cursor of an earlier page, unchanged", pointer="/cursor")
