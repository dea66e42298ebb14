"""Who may use a foreign protocol: many of its clients can send no header, so the key may stand in the URL."""

from __future__ import annotations

from functools import lru_cache

from fastapi import Request
from starlette.datastructures import QueryParams

from app.api.deps import header, services
from app.auth import Principal

ONLY_SCORING = frozenset({"score"})


async def may_score(request: Request, own_header: str | None = None) -> Principal:
    """Who is asking, by `Authorization`, by the protocol's own header or by `?key=`.

    They may do nothing but score, whatever the key can do elsewhere. Raises `Problem`: 401 without a valid key, 403
    where the key cannot score.
    """
    given = header(request, b"authorization") or None  # reward-kit sends an empty one
    if given is None and own_header is not None:
        given = _bearer(request.headers.get(own_header))
    if given is None:
        given = _bearer(_key_in(request.scope["query_string"]))
    principal = await services(request).auth.principal(given)
    principal.require("score")
    return Principal(principal.key_id, principal.project, principal.scopes & ONLY_SCORING)


@lru_cache(maxsize=1024)  # a client sends the same query again and again
def _key_in(query: bytes) -> str | None:
    """The key in a query; of several the last."""
    return QueryParams(query).get("key")


def _bearer(key: str | None) -> str | None:
    """The key as `Authorization` has it. The trainers' own headers hold it with or without the scheme."""
    return key if key is None or key.lower().startswith("bearer ") else f"Bearer {key}"
