"""What the query of a reward endpoint says, read by hand: a flood of single items spent a third of its time there.

Every client sends the same query again and again, so that each is checked once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.score import RUN
from app.errors import Problem
from verifiers.base import explain, pointer

F = TypeVar("F", bound=Callable[..., object])
Q = TypeVar("Q", bound="RewardQuery")


class RewardQuery(BaseModel):
    """How the items of a request are scored. A parameter that is not known is passed over."""

    model_config = ConfigDict(frozen=True)
    fallback: float | None = Field(
        None,
        ge=-1e6,
        le=1e6,
        allow_inf_nan=False,
        description="The reward of an item that cannot be scored. Without it, such an item makes the answer a 503.",
    )
    deadline_s: float | None = Field(
        None,
        gt=0,
        le=600,
        allow_inf_nan=False,
        description="When verifying stops, instead of a little before the client gives up.",
    )
    run: str | None = Field(None, pattern=RUN, description="The training run that the items belong to.")


def asks(model: type[RewardQuery]) -> Callable[[F], F]:
    """Declare the query that a handler reads by `query_of`, for the OpenAPI document."""

    def declare(handler: F) -> F:
        handler.query_model = model  # type: ignore[attr-defined]
        return handler

    return declare


def query_of(request: Request, model: type[Q]) -> Q:
    """The request's query. Raises `Problem` (422) naming the parameter at fault."""
    checked = _checked(model, request.scope["query_string"])
    if not isinstance(checked, model):
        raise TypeError(f"the query was read as another model than {model.__name__}")
    return checked


@lru_cache(maxsize=1024)
def _checked(model: type[RewardQuery], raw: bytes) -> RewardQuery:
    found: dict[str, list[str]] = {}
    for name, text in parse_qsl(raw.decode("latin-1"), keep_blank_values=True, encoding="utf-8", errors="replace"):
        found.setdefault(name, []).append(text)
    values: dict[str, Any] = {
        name: texts if name in model.model_fields and _is_list(model, name) else texts[-1]
        for name, texts in found.items()
    }
    try:
        return model.model_validate(values)
    except ValidationError as error:
        location, message = explain(error, values)
        where = pointer(location)
        raise Problem("invalid-parameter", f"{where}: {message}", pointer=where) from None


def _is_list(model: type[RewardQuery], name: str) -> bool:
    return isinstance(model.model_fields[name].default, tuple)
