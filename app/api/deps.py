"""What request handlers share: the services, the principal, the decoded body, a page of a list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, Generic, NoReturn, TypeVar, cast

from fastapi import Depends, Query, Request, Response, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app import wire
from app.auth import Principal, Scope
from app.errors import Problem
from app.idempotency import Answer, request_key, request_sha256
from app.metrics import IN_FLIGHT_BYTES
from app.services import Services

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

MAX_PAGE = 1000

_bearer = HTTPBearer(auto_error=False, description="An API key.")


class Strict(BaseModel):
    """Base of request bodies: unknown fields are refused, numbers are finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def services(request: Request) -> Services:
    """The services of this process."""
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(services)]


def needs(scope: Scope) -> Any:
    """A dependency: the principal, who must have the scope."""

    async def principal(request: Request) -> Principal:
        found = await services(request).auth.principal(request.headers.get("authorization"))
        found.require(scope)
        return found

    async def documented(request: Request, _: Annotated[Any, Security(_bearer)]) -> Principal:
        return await principal(request)

    return Depends(documented)


Scorer = Annotated[Principal, needs("score")]
Registrar = Annotated[Principal, needs("register")]
Reader = Annotated[Principal, needs("read")]
Admin = Annotated[Principal, needs("admin")]


class Body(Generic[M]):
    """A decoded and validated body, with its bytes (their hash is what makes two requests the same)."""

    __slots__ = ("key", "sha256", "value")

    def __init__(self, value: M, key: str | None, sha256: bytes) -> None:
        self.value = value
        self.key = key
        """The request's idempotency key."""
        self.sha256 = sha256


def body_of(model: type[M]) -> Callable[[Request], AsyncIterator[Body[M]]]:
    """A dependency that reads a body by the one path of `app.wire` and holds its memory to a budget.

    `app.api.openapi` finds `model` on the dependency to document the body.
    """

    async def read(request: Request) -> AsyncIterator[Body[M]]:
        state = services(request)
        raw = await wire.read_body(
            request.stream(),
            content_length=request.headers.get("content-length"),
            content_encoding=request.headers.get("content-encoding"),
        )
        if state.body_bytes + len(raw) > state.settings.in_flight_mb * 2**20:
            raise Problem("overloaded", "too many bytes of requests are in flight; send this one again")
        state.body_bytes += len(raw)
        IN_FLIGHT_BYTES.set(state.body_bytes)
        try:
            key = request_key(request.headers.get("idempotency-key"))
            sha256 = b"" if key is None else request_sha256(request.method, request.url.path, raw)
            yield Body(validated(model, wire.decode(raw)), key, sha256)
        finally:
            state.body_bytes -= len(raw)
            IN_FLIGHT_BYTES.set(state.body_bytes)

    read.model = model  # type: ignore[attr-defined]
    return read


def validated(model: type[M], value: Any) -> M:
    """`value` as the model. Raises `Problem` (422) naming the first field at fault and what it should be."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError, name: str = "invalid-body") -> Problem:
    """The problem that a validation error stands for; never quotes the caller's text."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return Problem(name, describe(first), pointer=pointer(first["loc"]))


def describe(error: Any) -> str:
    """One validation error as a sentence."""
    where = pointer(error["loc"]) or "the body"
    return f"{where}: {error['msg']}"


def pointer(location: Sequence[int | str]) -> str:
    """The JSON pointer (RFC 6901) of a validation error's location."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def json_response(body: str, status: int = 200) -> Response:
    """A response whose body is JSON text already."""
    return Response(body, status, media_type="application/json")


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


